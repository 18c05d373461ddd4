//! What docs/operating.md says of backup and restore, tried: a database of yesterday, restored beside an archive of
//! today, goes on, finds what was archived since, and makes no second object.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};
use tokio::process::Command;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::job::Task;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{FakeFile, FakeRecording, FakeZoom, Options};

use crate::support::place::MARKER;
use crate::support::postgres::PostgresDatabase;
use crate::support::program::fake_zoom;
use crate::support::scene::{open_store, sender_to, until_settled, with_api};
use crate::support::service::{Service, Setup};
use crate::support::split::all_files;

/// A recording of one file, of just now.
fn recording(seed: u64) -> FakeRecording {
    let mut recording =
        FakeRecording::new(RecordingKind::VideoSdk, seed).with([FakeFile::generated(seed, 9_000 + seed)]);
    recording.start_time = zoom_archiver::clock::Clock::System.now() - chrono::TimeDelta::hours(1);
    recording
}

async fn announce(zoom: &FakeZoom, service: &Service, recording: &FakeRecording) {
    let body = zoom.announce(recording, EventKind::Recording, Quirks::default());
    assert!(sender_to(service).deliver(&body).await.answer.is_accepted());
}

/// Every object in a directory, with the time at which it was written.
fn objects(folder: &Path) -> Vec<(PathBuf, SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with(MARKER) {
            continue;
        }
        if path.is_dir() {
            found.extend(objects(&path));
        } else if path.file_name().is_some_and(|name| name != "recording.json") {
            let written = path.metadata().unwrap().modified().unwrap();
            found.push((path, written));
        }
    }
    found.sort();
    found
}

/// Runs a program of PostgreSQL's to its end.
async fn postgres_program(name: &str, arguments: &[&str]) {
    let folder = std::env::var_os("TEST_PG_BIN").map(PathBuf::from).unwrap_or_default();
    let output = Command::new(folder.join(name)).args(arguments).output().await.expect("it runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// One kind of database, and how it is backed up and restored.
enum Kind {
    Sqlite,
    Postgres { dumped: PostgresDatabase, restored: PostgresDatabase },
}

impl Kind {
    async fn postgres() -> Self {
        let (dumped, restored) = (PostgresDatabase::create().await, PostgresDatabase::create().await);
        Self::Postgres { dumped, restored }
    }

    /// The database that is backed up.
    fn url(&self, data: &Path) -> String {
        match self {
            Self::Sqlite => format!("sqlite:{}", data.join("zoom-archiver.db").display()),
            Self::Postgres { dumped, .. } => dumped.url().expose_secret().to_owned(),
        }
    }

    /// Backs it up while it is used.
    async fn back_up(&self, data: &Path) {
        let backup = data.join("backup");
        match self {
            Self::Sqlite => {
                let mut sql = SqliteConnection::connect(&self.url(data)).await.unwrap();
                let vacuum = format!("VACUUM INTO '{}'", backup.display());
                sql.execute(AssertSqlSafe(vacuum)).await.unwrap();
                sql.close().await.unwrap();
            }
            Self::Postgres { dumped, .. } => {
                let (file, url) = (format!("--file={}", backup.display()), dumped.url());
                postgres_program("pg_dump", &["--format=custom", "--no-owner", &file, url.expose_secret()])
                    .await;
            }
        }
    }

    /// Restores the backup, with no service running; returns where it is.
    async fn restore(&self, data: &Path) -> String {
        let backup = data.join("backup");
        match self {
            Self::Sqlite => {
                for suffix in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(data.join(format!("zoom-archiver.db{suffix}")));
                }
                std::fs::copy(backup, data.join("zoom-archiver.db")).unwrap();
                self.url(data)
            }
            Self::Postgres { restored, .. } => {
                let url = restored.url();
                let into = format!("--dbname={}", url.expose_secret());
                let backup = backup.display().to_string();
                postgres_program("pg_restore", &["--no-owner", "--exit-on-error", &into, &backup]).await;
                url.expose_secret().to_owned()
            }
        }
    }
}

/// Starts a service, lets all that is known be archived, and returns the files.
async fn archive_all(setup: &Setup, url: &str) -> Vec<FileRow> {
    let service = setup.clone().env("DATABASE_URL", url).start().await;
    let store = open_store(url).await;
    until_settled(&store).await;
    let files = all_files(&store).await;
    store.close().await;
    assert_eq!(service.stop().await.0, Some(0));
    files
}

async fn a_restored_backup_goes_on(kind: Kind) {
    let data = tempfile::tempdir().unwrap();
    let zoom = fake_zoom(Options::default()).await;
    let setup = with_api(Setup::new(data.path()), &zoom).env("ZOOM_ARCHIVER_RECONCILE__LATE_FILES", "");
    let url = kind.url(data.path());
    let receiver = setup.clone().roles("receiver").env("DATABASE_URL", &url).start().await;
    let [archived, waiting, unknown] = [1, 2, 3].map(recording);
    announce(&zoom, &receiver, &archived).await;
    assert_eq!(archive_all(&setup, &url).await.len(), 1);
    announce(&zoom, &receiver, &waiting).await;
    kind.back_up(data.path()).await;
    announce(&zoom, &receiver, &unknown).await;
    assert_eq!(archive_all(&setup, &url).await.len(), 3);
    receiver.stop().await;
    let archive = data.path().join("archive");
    let before = objects(&archive);
    assert_eq!(before.len(), 3);

    let url = kind.restore(data.path()).await;
    // The file that waited is carried again, and finds its object; the one that is unknown is found at Zoom.
    assert_eq!(archive_all(&setup, &url).await.len(), 2);
    let store = open_store(&url).await;
    assert!(store.repeat(Task::Reconcile, Duration::ZERO).await.unwrap());
    store.close().await;
    let files = archive_all(&setup, &url).await;
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
    assert_eq!(objects(&archive), before, "an object was written a second time");
    assert_eq!(zoom.library().violations(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_goes_on_and_finds_what_was_archived_since() {
    a_restored_backup_goes_on(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_restored_backup_of_postgresql_goes_on_and_finds_what_was_archived_since() {
    a_restored_backup_goes_on(Kind::postgres().await).await;
}
