//! A whole scene: a fake Zoom, the program, and what lies between and behind them.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zoom_archiver::config::load::{self, Environment};
use zoom_archiver::domain::file::{FileRow, FileState, Sha256Digest};
use zoom_archiver::domain::job::JobState;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{FakeRecording, FakeZoom, Options, Sender};
use zoom_archiver::store::{self, SharedStore};

use super::service::{Log, PATIENCE, SECRET, Service, Setup, eventually, eventually_within};

/// A fake Zoom and one running service on SQLite and a directory.
pub(crate) struct Scene {
    pub(crate) zoom: FakeZoom,
    pub(crate) service: Service,
    pub(crate) setup: Setup,
    pub(crate) sender: Sender,
    pub(crate) store: SharedStore,
    pub(crate) data: tempfile::TempDir,
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
        let data = tempfile::tempdir().expect("a directory");
        let zoom = FakeZoom::start(options).await.expect("a fake Zoom");
        let setup = Setup::new(data.path()).env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", zoom.origin());
        let setup = change(setup, &zoom);
        let service = setup.start().await;
        let sender = sender_to(&service);
        let store = open_store(&format!("sqlite:{}", data.path().join("zoom-archiver.db").display())).await;
        Self { zoom, service, setup, sender, store, data }
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

    /// Waits until nothing waits and nothing runs.
    pub(crate) async fn settled(&self) {
        until_settled(&self.store).await;
    }

    /// An archived object's bytes.
    pub(crate) fn object(&self, file: &FileRow) -> Vec<u8> {
        let key = file.object_key.as_deref().expect("it has a place");
        std::fs::read(self.data.path().join("archive").join(key)).expect("it is there")
    }

    /// Asserts that a file lies in the archive with just these bytes, and that the row says so.
    pub(crate) fn assert_archived(&self, file: &FileRow, content: zoom_archiver::simulator::Content) {
        let archived = file.archived.as_ref().expect("it is archived");
        let bytes = self.object(file);
        assert_eq!(bytes.len() as u64, content.len());
        assert_eq!(archived.bytes, content.len());
        assert_eq!(Sha256Digest(Sha256::digest(&bytes).into()), content.sha256());
        assert_eq!(archived.sha256, content.sha256());
    }

    /// Everything that lies in the archive's folder but is no finished object.
    pub(crate) fn leftovers(&self) -> Vec<String> {
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
        let leftovers = self.leftovers();
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
