//! A real PostgreSQL: the server that `TEST_DATABASE_URL` names, with a throw-away database for each test.

use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use url::Url;
use uuid::Uuid;

/// An empty database, dropped with this value.
pub(crate) struct PostgresDatabase {
    server: SecretString,
    name: String,
}

impl PostgresDatabase {
    /// Creates one.
    ///
    /// # Panics
    /// Where `TEST_DATABASE_URL` names no server: tests that need one are marked `#[ignore]`, and somebody has asked for
    /// them all the same.
    pub(crate) async fn create() -> Self {
        Self::create_if_named().await.expect("TEST_DATABASE_URL is not set: see scripts/test")
    }

    /// Creates one; `None` where no server is named. For tests that run on SQLite as well.
    pub(crate) async fn create_if_named() -> Option<Self> {
        let server = SecretString::from(server_url()?);
        let name = format!("zoom_archiver_test_{}", Uuid::now_v7().simple());
        // From template0, which nobody may be connected to: template1 cannot be copied by two at once.
        execute(&server, format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        Some(Self { server, name })
    }

    /// Its URL.
    pub(crate) fn url(&self) -> SecretString {
        let mut url = Url::parse(self.server.expose_secret()).expect("TEST_DATABASE_URL is a URL");
        url.set_path(&self.name);
        url.to_string().into()
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), std::mem::take(&mut self.name));
        // A runtime of its own: the test's may be the one that is going down.
        let dropper = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(execute(&server, format!("DROP DATABASE {name} WITH (FORCE)")));
        });
        let dropped = dropper.join().is_ok();
        assert!(dropped || std::thread::panicking(), "the test's database could not be dropped");
    }
}

async fn execute(server: &SecretString, sql: String) {
    let mut connection =
        PgConnection::connect(server.expose_secret()).await.expect("TEST_DATABASE_URL can be reached");
    connection.execute(AssertSqlSafe(sql)).await.expect("TEST_DATABASE_URL names a superuser");
    connection.close().await.expect("the server says goodbye");
}

fn server_url() -> Option<String> {
    std::env::var("TEST_DATABASE_URL").ok().filter(|url| !url.is_empty())
}
