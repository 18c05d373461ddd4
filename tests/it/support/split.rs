//! Several processes that share a database, an archive and a fake Zoom.

use std::time::Duration;

use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};
use zoom_archiver::domain::file::FileRow;
use zoom_archiver::domain::job::JobState;
use zoom_archiver::simulator::{FakeZoom, Options};
use zoom_archiver::store::SharedStore;

use super::place::Place;
use super::postgres::PostgresDatabase;
use super::program::fake_zoom;
use super::service::{Service, Setup};

/// A database that several processes share: PostgreSQL where there is one, else one SQLite file.
pub(crate) struct Shared {
    pub(crate) url: String,
    _server: Option<PostgresDatabase>,
    _folder: tempfile::TempDir,
}

impl Shared {
    /// Another one, empty and not migrated yet.
    pub(crate) async fn create() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let server = PostgresDatabase::create_if_named().await;
        let url = match &server {
            Some(database) => database.url().expose_secret().to_owned(),
            None => format!("sqlite:{}", folder.path().join("shared.db").display()),
        };
        Self { url, _server: server, _folder: folder }
    }
}

/// What several processes work on together, and how to start one of them.
pub(crate) struct Split {
    pub(crate) database: Shared,
    pub(crate) place: Place,
    pub(crate) zoom: FakeZoom,
    pub(crate) base: Setup,
    _data: tempfile::TempDir,
}

impl Split {
    pub(crate) async fn stage(place: Place, options: Options) -> Self {
        let database = Shared::create().await;
        let zoom = fake_zoom(options).await;
        let data = tempfile::tempdir().expect("a directory");
        let base = Setup::new(data.path())
            .env("DATABASE_URL", &database.url)
            .env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", zoom.origin());
        let base = place.point(base);
        Self { database, place, zoom, base, _data: data }
    }
}

impl Shared {
    /// Puts a process that works on it to sleep, at a moment at which it does not hold SQLite's only write lock: else
    /// nobody could work on, and that is no news. (PostgreSQL locks no more than rows.)
    pub(crate) async fn put_to_sleep(&self, worker: &Service) {
        loop {
            worker.signal(Signal::SIGSTOP);
            if self.can_be_written().await {
                return;
            }
            worker.signal(Signal::SIGCONT);
        }
    }

    async fn can_be_written(&self) -> bool {
        let Some(path) = self.url.strip_prefix("sqlite:") else { return true };
        // Others hold the lock for a moment only.
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_millis(500));
        let mut connection = options.connect().await.expect("the file opens");
        let locked = connection.execute("BEGIN IMMEDIATE").await.is_err();
        connection.close().await.expect("the file closes");
        !locked
    }
}

/// A Zoom whose large files take some seconds.
pub(crate) fn slow() -> Options {
    Options { bytes_per_sec: Some(8 * 1024 * 1024), ..Options::default() }
}

/// All files.
pub(crate) async fn all_files(store: &SharedStore) -> Vec<FileRow> {
    store.files(&[], None, 100_000).await.expect("the database answers")
}

/// How many jobs are in a state.
pub(crate) async fn jobs_in(store: &SharedStore, state: JobState) -> u64 {
    let depths = store.depth().await.expect("the database answers");
    depths.iter().filter(|depth| depth.state == state).map(|depth| depth.jobs).sum()
}
