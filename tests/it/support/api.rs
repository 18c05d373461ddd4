//! A fake Zoom whose API is asked directly.

use zoom_archiver::clock::Clock;
use zoom_archiver::config::load::{self, Environment};
use zoom_archiver::config::{Config, Secrets};
use zoom_archiver::domain::event::{Event, EventContent};
use zoom_archiver::domain::recording::{Announcement, RecordingIdentity};
use zoom_archiver::simulator::ledger::{ApiRequest, Endpoint};
use zoom_archiver::simulator::{ApiFault, FakeRecording, FakeZoom, Options, When};
use zoom_archiver::zoom::api::{Api, ApiError};

/// Long enough for anything on loopback; only a hanging test ever waits for it.
const PATIENCE_MS: u64 = 20_000;

/// A fake Zoom, and how its API is to be asked.
pub(crate) struct Scene {
    pub(crate) zoom: FakeZoom,
    pub(crate) environment: Environment,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        let zoom = FakeZoom::start(Options::default()).await.unwrap();
        let mut environment = Environment::from([
            ("ZOOM_ARCHIVER_ZOOM__API_BASE_URL".to_owned(), zoom.api_base_url()),
            ("ZOOM_ARCHIVER_ZOOM__OAUTH_BASE_URL".to_owned(), zoom.oauth_base_url()),
            ("ZOOM_ARCHIVER_ZOOM__API_TIMEOUT_MS".to_owned(), PATIENCE_MS.to_string()),
        ]);
        for (name, value) in zoom.video_sdk_credentials().into_iter().chain(zoom.oauth_credentials()) {
            environment.insert(name.to_owned(), value.to_owned());
        }
        Self { zoom, environment }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn api(&self) -> Api {
        let Config { zoom, .. } = load::load(None, &self.environment).unwrap();
        let secrets = Secrets::read(&self.environment, "/nowhere".as_ref()).unwrap();
        Api::new(&zoom, secrets.zoom, Clock::System).unwrap()
    }

    /// Puts a recording on the shelf and asks about it.
    pub(crate) async fn ask(&self, recording: &FakeRecording) -> Result<Event, ApiError> {
        self.zoom.library().add(recording);
        self.api().recording(&identity(recording)).await
    }

    /// Asks about a recording while the API goes wrong about it.
    pub(crate) async fn ask_amid(&self, recording: &FakeRecording, fault: ApiFault) -> ApiError {
        self.zoom.library().clear_api_faults();
        self.zoom.library().inject_api(recording, fault, When::Always);
        self.ask(recording).await.expect_err("the API goes wrong")
    }

    pub(crate) fn calls(&self, endpoint: Endpoint) -> u64 {
        self.zoom.library().api_calls(endpoint)
    }

    pub(crate) fn last_request(&self) -> ApiRequest {
        self.zoom.library().api_requests().pop().expect("something was asked")
    }
}

pub(crate) fn identity(recording: &FakeRecording) -> RecordingIdentity {
    RecordingIdentity {
        account_id: recording.account_id.clone(),
        kind: recording.kind,
        instance_id: recording.instance_id.clone(),
    }
}

pub(crate) fn announcement(event: &Event) -> &Announcement {
    match &event.content {
        EventContent::Announcement(announcement) => announcement,
        other => panic!("not an announcement: {other:?}"),
    }
}
