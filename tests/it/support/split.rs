//! Several processes that share a database, an archive and a fake Zoom.

use secrecy::ExposeSecret;
use zoom_archiver::domain::file::FileRow;
use zoom_archiver::domain::job::JobState;
use zoom_archiver::simulator::{FakeZoom, Options};
use zoom_archiver::store::SharedStore;

use super::place::Place;
use super::postgres::PostgresDatabase;
use super::service::Setup;

/// A database that several processes share: PostgreSQL where there is one, else one SQLite file.
pub(crate) struct Shared {
    pub(crate) url: String,
    _server: Option<PostgresDatabase>,
    _folder: tempfile::TempDir,
}

impl Shared {
    async fn create() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let server = PostgresDatabase::create().await;
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
        let zoom = FakeZoom::start(options).await.expect("a fake Zoom");
        let data = tempfile::tempdir().expect("a directory");
        let base = Setup::new(data.path())
            .env("DATABASE_URL", &database.url)
            .env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", zoom.origin());
        let base = place.point(base);
        Self { database, place, zoom, base, _data: data }
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
