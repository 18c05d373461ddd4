//! The whole fake Zoom: library, server, and the events that announce the one by URLs of the other.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chrono::{DateTime, Utc};
use url::Url;

use super::credentials;
use super::events::{self, EventKind, Happening, Links, Quirks};
use super::library::Library;
use super::now;
use super::recording::FakeRecording;
use super::sender::{Delivery, Sender};
use super::server::Server;

/// How a fake Zoom is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the download server listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What download URLs begin with, when the receiver reaches the server by another name.
    pub public_url: Option<Url>,
    /// Slows every download down to so many bytes a second.
    pub bytes_per_sec: Option<u64>,
    /// How long a download token is good. Zoom's: 24 hours.
    pub token_lifetime: Duration,
    /// Where tokens and URLs come from; the same for the same seed, but for the time in them.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            public_url: None,
            bytes_per_sec: None,
            token_lifetime: Duration::from_secs(24 * 3600),
            seed: 1,
        }
    }
}

/// A running fake Zoom. Dropped, it is gone at once: connections break, ports are free.
pub struct FakeZoom {
    library: Library,
    server: Server,
    base: Url,
    token_lifetime: Duration,
}

impl FakeZoom {
    /// Starts one.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let library = Library::new(options.seed);
        let server =
            Server::start(options.listen, options.public_url, library.clone(), options.bytes_per_sec).await?;
        let base = server.base.clone();
        Ok(Self { library, server, base, token_lifetime: options.token_lifetime })
    }

    /// What it has recorded, what is wrong with it, and what was asked of it.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The origin of its download URLs: the entry that a receiver's `zoom.download_hosts` needs.
    #[must_use]
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// The origin that [`RedirectTo::OtherOrigin`](super::fault::RedirectTo::OtherOrigin) leads to.
    #[must_use]
    pub fn second_origin(&self) -> String {
        format!("http://{}", self.server.behind)
    }

    /// Where its API is: a receiver's `zoom.api_base_url`.
    #[must_use]
    pub fn api_base_url(&self) -> String {
        format!("{}/v2", self.base.as_str().trim_end_matches('/'))
    }

    /// Where its OAuth server is: a receiver's `zoom.oauth_base_url`.
    #[must_use]
    pub fn oauth_base_url(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// API key and API secret that its Video SDK API accepts, and the account that they are for.
    #[must_use]
    pub fn video_sdk_credentials(&self) -> [(&'static str, &'static str); 3] {
        [
            ("ZOOM_VIDEO_SDK_API_KEY", credentials::API_KEY),
            ("ZOOM_VIDEO_SDK_API_SECRET", credentials::API_SECRET),
            ("ZOOM_VIDEO_SDK_ACCOUNT_ID", credentials::ACCOUNT_ID),
        ]
    }

    /// Account id, client id and client secret that its OAuth server accepts.
    #[must_use]
    pub fn oauth_credentials(&self) -> [(&'static str, &'static str); 3] {
        [
            ("ZOOM_ACCOUNT_ID", credentials::ACCOUNT_ID),
            ("ZOOM_CLIENT_ID", credentials::CLIENT_ID),
            ("ZOOM_CLIENT_SECRET", credentials::CLIENT_SECRET),
        ]
    }

    /// The body of an event of this kind, with a fresh token and URLs that no earlier event had. The
    /// recording's files are on the shelf from now on.
    #[must_use]
    pub fn announce(&self, recording: &FakeRecording, kind: EventKind, quirks: Quirks) -> Vec<u8> {
        self.library.add(recording);
        let variant = self.library.new_variant();
        let token = self.library.issue_token(&recording.instance_id, self.token_lifetime);
        let links = Links { base: &self.base, variant: &variant, token: &token };
        events::body(recording, kind, &links, quirks, now())
    }

    /// The body of an event about what happened to a recording at this time; `None` where there is no such event for
    /// its product. Files that it announces are on the shelf from now on.
    #[must_use]
    pub fn tell(
        &self,
        recording: &FakeRecording,
        what: Happening<'_>,
        quirks: Quirks,
        at: DateTime<Utc>,
    ) -> Option<Vec<u8>> {
        self.library.add(recording);
        let variant = self.library.new_variant();
        let token = self.library.issue_token(&recording.instance_id, self.token_lifetime);
        let links = Links { base: &self.base, variant: &variant, token: &token };
        events::happening(recording, what, &links, quirks, at)
    }

    /// Delivers an event, and writes into the webhook log how that went.
    pub async fn deliver(&self, sender: &Sender, body: &[u8]) -> Delivery {
        let delivery = sender.deliver(body).await;
        self.library.log_delivery(body, &delivery);
        delivery
    }

    /// Begins a live session with the id and the name of this recording; returns the body of the event that says so.
    #[must_use]
    pub fn begin_session(&self, recording: &FakeRecording) -> Vec<u8> {
        self.library.begin_session(&recording.instance_id);
        events::session_started(recording, now())
    }

    /// Stops it once the answers that are under way have left, or `grace` is over: what counts as served may
    /// still be on its way.
    pub async fn finish(self, grace: Duration) {
        self.server.finish(grace).await;
    }

    /// Stops it at once, as dropping it does.
    pub fn stop(self) {
        drop(self);
    }
}
