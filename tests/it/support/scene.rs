//! A whole scene: a fake Zoom, the program, and what lies between and behind them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zoom_archiver::config::load::{self, Environment};
use zoom_archiver::domain::file::{FileRow, FileState, Sha256Digest};
use zoom_archiver::domain::job::JobState;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{FakeRecording, FakeZoom, Options, Sender};
use zoom_archiver::store::{self, SharedStore};

use super::place::{Bucket, MANIFEST};
use super::postgres::PostgresDatabase;
use super::program::fake_zoom;
use super::service::{Log, PATIENCE, SECRET, Service, Setup, eventually, eventually_within};

/// What a service stands on.
pub(crate) enum Ground {
    /// SQLite and a directory, both within its data directory: the default.
    Embedded,
    /// A bucket, and PostgreSQL.
    Servers {
        /// Of a test's own; `None` leaves SQLite.
        database: Option<PostgresDatabase>,
        /// Likewise.
        bucket: Bucket,
    },
}

impl Ground {
    /// Servers.
    pub(crate) async fn servers() -> Self {
        Self::Servers { database: Some(PostgresDatabase::create().await), bucket: Bucket::new().await }
    }

    /// Puts a service on it.
    pub(crate) fn point(&self, setup: Setup) -> Setup {
        match self {
            Self::Embedded => setup,
            Self::Servers { database: None, bucket } => bucket.point(setup, None),
            Self::Servers { database: Some(database), bucket } => {
                bucket.point(setup.env("DATABASE_URL", database.url().expose_secret()), None)
            }
        }
    }

    /// The address of the database.
    pub(crate) fn database_url(&self, data: &Path) -> String {
        match self {
            Self::Servers { database: Some(database), .. } => database.url().expose_secret().to_owned(),
            Self::Embedded | Self::Servers { database: None, .. } => {
                format!("sqlite:{}", data.join("zoom-archiver.db").display())
            }
        }
    }
}

/// Makes two tests of each sentence, an `async fn(Ground)`: one on what is embedded, one on servers.
macro_rules! on_each_ground {
    ($($sentence:ident),* $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $sentence() {
                    super::$sentence($crate::support::scene::Ground::Embedded).await;
                }
            )*
        }

        mod on_servers {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "needs PostgreSQL: scripts/test"]
                async fn $sentence() {
                    super::$sentence($crate::support::scene::Ground::servers().await).await;
                }
            )*
        }
    };
}

pub(crate) use on_each_ground;

/// A fake Zoom and one running service, on SQLite and a directory where nothing else is said.
pub(crate) struct Scene {
    pub(crate) zoom: FakeZoom,
    pub(crate) service: Service,
    pub(crate) setup: Setup,
    pub(crate) sender: Sender,
    pub(crate) store: SharedStore,
    pub(crate) data: tempfile::TempDir,
    ground: Ground,
}

impl Scene {
    /// The embedded default.
    pub(crate) async fn start() -> Self {
        Self::with(|setup| setup).await
    }

    /// The embedded default with changes.
    pub(crate) async fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        Self::staged(Options::default(), |setup, _| change(setup)).await
    }

    /// A fake Zoom of some kind, and changes that may depend on it.
    pub(crate) async fn staged(options: Options, change: impl FnOnce(Setup, &FakeZoom) -> Setup) -> Self {
        Self::staged_on(Ground::Embedded, options, change).await
    }

    /// The same, on some ground.
    pub(crate) async fn staged_on(
        ground: Ground,
        options: Options,
        change: impl FnOnce(Setup, &FakeZoom) -> Setup,
    ) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let zoom = fake_zoom(options).await;
        let setup = Setup::new(data.path()).env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", zoom.origin());
        let setup = change(ground.point(setup), &zoom);
        let service = setup.start().await;
        let sender = sender_to(&service);
        let store = open_store(&ground.database_url(data.path())).await;
        Self { zoom, service, setup, sender, store, data, ground }
    }

    /// Announces a recording as Zoom does; the event must be accepted.
    pub(crate) async fn announce(&self, recording: &FakeRecording, kind: EventKind) {
        let body = self.zoom.announce(recording, kind, Quirks::default());
        let delivery = self.sender.deliver(&body).await;
        assert!(delivery.answer.is_accepted(), "{}", delivery.answer);
    }

    /// Puts a recording's files on the shelf, so that faults can be set before it is announced.
    pub(crate) fn shelve(&self, recording: &FakeRecording) {
        self.zoom.library().add(recording);
    }

    /// The address of the database.
    pub(crate) fn database_url(&self) -> String {
        self.ground.database_url(self.data.path())
    }

    /// All files.
    pub(crate) async fn files(&self) -> Vec<FileRow> {
        self.store.files(&[], None, 10_000).await.expect("the database answers")
    }

    /// Waits until there is one file, and it is in this state.
    pub(crate) async fn one_file_in(&self, state: FileState) -> FileRow {
        eventually(&format!("the one file is {state}"), || async {
            self.files().await.into_iter().find(|file| file.state == state)
        })
        .await
    }

    /// The bucket that it stands on.
    pub(crate) fn bucket(&self) -> &Bucket {
        match &self.ground {
            Ground::Servers { bucket, .. } => bucket,
            Ground::Embedded => panic!("it stands on no bucket"),
        }
    }

    /// Waits until nothing waits and nothing runs.
    pub(crate) async fn settled(&self) {
        until_settled(&self.store).await;
    }

    /// An archived object's bytes.
    pub(crate) async fn object(&self, file: &FileRow) -> Bytes {
        self.bytes(file.object_key.as_deref().expect("it has a place")).await.expect("it is there")
    }

    /// The bytes under a key of the archive; `None` when there is nothing.
    pub(crate) async fn bytes(&self, key: &str) -> Option<Bytes> {
        match &self.ground {
            Ground::Embedded => std::fs::read(self.path(key)).ok().map(Bytes::from),
            Ground::Servers { bucket, .. } => bucket.server.bytes(&bucket.name, key).await,
        }
    }

    /// The manifest of the recording that a file is of; nothing while there is none.
    pub(crate) async fn manifest(&self, file: &FileRow) -> serde_json::Value {
        let (folder, _) = file.object_key.as_deref().and_then(|key| key.rsplit_once('/')).expect("a place");
        let manifest = self.bytes(&format!("{folder}/{MANIFEST}")).await;
        manifest.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Puts other bytes into the place of an archived file, or none, behind everybody's back.
    pub(crate) async fn spoil(&self, file: &FileRow, bytes: Option<&[u8]>) {
        let key = file.object_key.as_deref().expect("it has a place");
        match &self.ground {
            Ground::Embedded => {
                std::fs::remove_file(self.path(key)).expect("it is there");
                if let Some(bytes) = bytes {
                    std::fs::write(self.path(key), bytes).expect("it can be written");
                }
            }
            Ground::Servers { bucket, .. } => bucket.server.overwrite(&bucket.name, key, bytes).await,
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.data.path().join("archive").join(key)
    }

    /// Asserts that a file lies in the archive with just these bytes, and that the row says so.
    pub(crate) async fn assert_archived(&self, file: &FileRow, content: zoom_archiver::simulator::Content) {
        let archived = file.archived.as_ref().expect("it is archived");
        let bytes = self.object(file).await;
        assert_eq!(bytes.len() as u64, content.len());
        assert_eq!(archived.bytes, content.len());
        assert_eq!(Sha256Digest(Sha256::digest(&bytes).into()), content.sha256());
        assert_eq!(archived.sha256, content.sha256());
    }

    /// Everything that lies in the archive but is no finished object.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        if let Ground::Servers { bucket, .. } = &self.ground {
            let mut uploads = Vec::new();
            for file in self.files().await {
                // Some servers list the uploads of one key only.
                let Some(key) = &file.object_key else { continue };
                uploads.extend(bucket.server.uploads(&bucket.name, key).await);
            }
            return uploads;
        }
        let staging = self.data.path().join("archive/.staging");
        match std::fs::read_dir(staging) {
            Ok(entries) => entries
                .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    /// Stops the service and gives its log, which must be free of secrets, as the archive is free of leftovers.
    pub(crate) async fn close(self) -> Log {
        assert_eq!(self.zoom.library().violations(), []);
        let leftovers = self.leftovers().await;
        let (code, log) = self.service.stop().await;
        assert_eq!(code, Some(0), "{}", log.text());
        assert_eq!(leftovers, Vec::<String>::new());
        // Tokens are JWTs, and what is signed in a URL lies behind this path.
        log.assert_free_of(["eyJ", "webhook_download", SECRET]);
        log
    }
}

/// With credentials for both of the fake Zoom's APIs.
pub(crate) fn with_api(setup: Setup, zoom: &FakeZoom) -> Setup {
    let credentials = zoom.video_sdk_credentials().into_iter().chain(zoom.oauth_credentials());
    credentials
        .fold(setup, |setup, (name, value)| setup.env(name, value))
        .env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", zoom.origin())
        .env("ZOOM_ARCHIVER_ZOOM__API_BASE_URL", zoom.api_base_url())
        .env("ZOOM_ARCHIVER_ZOOM__OAUTH_BASE_URL", zoom.oauth_base_url())
}

/// A sender to a service, without repetitions.
pub(crate) fn sender_to(service: &Service) -> Sender {
    sender(service, Vec::new())
}

/// A sender to a service that may be too busy to answer in time: it repeats, as Zoom does, but sooner.
pub(crate) fn patient_sender_to(service: &Service) -> Sender {
    sender(service, vec![Duration::from_millis(100); 20])
}

fn sender(service: &Service, retries: Vec<Duration>) -> Sender {
    let target = service.webhook().parse().expect("a URL");
    Sender::new(target, SecretString::from(SECRET), retries).expect("a sender")
}

/// Opens the record beside the service.
pub(crate) async fn open_store(url: &str) -> SharedStore {
    let config = load::load(None, &Environment::new()).expect("the defaults make sense");
    let store = store::open(&url.into(), &config.store).await.expect("the database is there");
    Arc::clone(&store)
}

/// Waits until nothing waits and nothing runs.
pub(crate) async fn until_settled(store: &SharedStore) {
    until_settled_within(PATIENCE, store).await;
}

/// The same, for so long.
pub(crate) async fn until_settled_within(patience: Duration, store: &SharedStore) {
    eventually_within(patience, "the queue is empty", || async {
        let busy = |state| matches!(state, JobState::Waiting | JobState::Running);
        let depths = store.depth().await.ok()?;
        (!depths.iter().any(|depth| depth.jobs > 0 && busy(depth.state))).then_some(())
    })
    .await;
}

/// Waits for something at the fake Zoom.
pub(crate) async fn until_zoom(
    zoom: &FakeZoom,
    what: &str,
    holds: impl FnMut(&zoom_archiver::simulator::library::Library) -> bool,
) {
    let waited = tokio::time::timeout(PATIENCE, zoom.library().until(holds)).await;
    assert!(waited.is_ok(), "never happened: {what}");
}
