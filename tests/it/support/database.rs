//! A fresh database of either kind, as the store sees it and as SQL sees it.

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor, PgPool, Sqlite, SqlitePool};
use tempfile::TempDir;
use zoom_archiver::config::store::StoreConfig;
use zoom_archiver::store::{self, Intake, Migrated, SharedStore, StoreError};

use super::postgres::PostgresDatabase;

/// The version of the schema that this program has.
pub(crate) const NEWEST: i64 = 14;

/// A database of a test's own, gone when the test is.
pub(crate) struct Database {
    url: SecretString,
    sql: Sql,
    _kept: Kept,
}

/// Plain SQL on the same database.
enum Sql {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

enum Kept {
    Folder(#[expect(dead_code, reason = "deleted when dropped")] TempDir),
    Server(#[expect(dead_code, reason = "dropped when dropped")] PostgresDatabase),
}

impl Database {
    /// An empty SQLite file.
    pub(crate) async fn sqlite() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        // Migrating creates the folder, too.
        let path = folder.path().join("data").join("store.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let sql = SqlitePool::connect_lazy_with(options);
        let url = format!("sqlite:{}", path.display()).into();
        Self { url, sql: Sql::Sqlite(sql), _kept: Kept::Folder(folder) }
    }

    /// An empty PostgreSQL database.
    pub(crate) async fn postgres() -> Self {
        let database = PostgresDatabase::create().await;
        let url = database.url();
        let sql = PgPool::connect_lazy(url.expose_secret()).expect("the URL of a database");
        Self { url, sql: Sql::Postgres(sql), _kept: Kept::Server(database) }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> &SecretString {
        &self.url
    }

    /// Which kind it is: the first word of the store's description.
    pub(crate) fn kind(&self) -> &'static str {
        match self.sql {
            Sql::Sqlite(_) => "sqlite",
            Sql::Postgres(_) => "postgres",
        }
    }

    /// Migrates.
    pub(crate) async fn migrate(&self) -> Result<Migrated, StoreError> {
        store::migrate(&self.url, &config()).await
    }

    /// A store on it, as another process would open it.
    pub(crate) async fn open(&self) -> SharedStore {
        store::open(&self.url, &config()).await.expect("the store opens")
    }

    /// Migrates and opens with something to be decided about files.
    pub(crate) async fn store_with(&self, intake: Intake) -> SharedStore {
        self.migrate().await.expect("the schema is migrated");
        store::open_with(&self.url, &config(), intake).await.expect("the store opens")
    }

    /// Migrates and opens.
    pub(crate) async fn store(&self) -> SharedStore {
        self.migrate().await.expect("the schema is migrated");
        self.open().await
    }

    /// Takes the steps of the schema up to `version`, from the files in `migrations/`.
    pub(crate) async fn migrate_to(&self, version: i64) {
        let folder = format!("{}/migrations/{}", env!("CARGO_MANIFEST_DIR"), self.kind());
        let migrator = Migrator::new(std::path::Path::new(&folder)).await.expect("migrations");
        match &self.sql {
            Sql::Sqlite(_) => {
                let path = self.url.expose_secret().trim_start_matches("sqlite:");
                let path = std::path::Path::new(path);
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is created");
                let options =
                    sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
                let pool = SqlitePool::connect_with(options).await.expect("the file is created");
                migrator.run_to(version, &pool).await
            }
            Sql::Postgres(pool) => migrator.run_to(version, pool).await,
        }
        .expect("the step is taken");
    }

    /// A connection to a SQLite file that holds its write lock, as another process would.
    pub(crate) async fn lock_sqlite(&self) -> PoolConnection<Sqlite> {
        let Sql::Sqlite(pool) = &self.sql else { panic!("is no SQLite file") };
        let mut connection = pool.acquire().await.expect("the file opens");
        connection.execute("BEGIN IMMEDIATE").await.expect("the write lock is free");
        connection
    }

    /// Connections to a PostgreSQL database, for transactions of a test's own.
    pub(crate) fn postgres_pool(&self) -> &PgPool {
        let Sql::Postgres(pool) = &self.sql else { panic!("is no PostgreSQL database") };
        pool
    }

    /// Runs a statement that both databases understand; returns how many rows it changed.
    pub(crate) async fn execute(&self, sql: &str) -> Result<u64, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(match &self.sql {
            Sql::Sqlite(pool) => sqlx::query(sql).execute(pool).await?.rows_affected(),
            Sql::Postgres(pool) => sqlx::query(sql).execute(pool).await?.rows_affected(),
        })
    }

    /// The only column of every row that a statement returns.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.sql {
            Sql::Sqlite(pool) => sqlx::query_scalar(sql).fetch_all(pool).await,
            Sql::Postgres(pool) => sqlx::query_scalar(sql).fetch_all(pool).await,
        }
        .expect("the statement is understood")
    }

    /// The number that a statement returns.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.sql {
            Sql::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
            Sql::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
        }
        .expect("the statement is understood")
    }
}

/// Settings for tests: few connections, and patience with a machine that is busy with other tests.
pub(crate) fn config() -> StoreConfig {
    StoreConfig { max_connections: 8, acquire_timeout_ms: 20_000 }
}

/// Makes two tests of each sentence, an `async fn(Database)`: one on SQLite, one on PostgreSQL. Those on PostgreSQL are
/// ignored unless they are asked for, as `scripts/test` does.
macro_rules! on_each_database {
    ($($sentence:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $sentence() {
                    super::$sentence(super::Database::sqlite().await).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "needs PostgreSQL: scripts/test"]
                async fn $sentence() {
                    super::$sentence(super::Database::postgres().await).await;
                }
            )*
        }
    };
}

pub(crate) use on_each_database;
