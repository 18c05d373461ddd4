//! Questions to Zoom's API. Each product has an API and credentials of its own; with none of them the service works
//! as long as Zoom's events bring tokens in time.
//!
//! - [`Api`]: what can be asked; begin reading here
//! - [`error`]: why there is no answer, and what follows from that
//! - `jwt`: bearer tokens for the Video SDK API, signed by us
//! - `oauth`: bearer tokens for the API of meetings, fetched once for all
//! - `path`: addresses, with ids that hold `/` and `+`
//! - `call`: one request and its answer
//! - `refusal`: what Zoom says instead of an answer

mod call;
pub mod error;
mod jwt;
mod oauth;
mod path;
mod refusal;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

use self::call::Answer;
pub use self::error::ApiError;
use self::jwt::Signer;
use self::oauth::AccessTokens;
use super::client::Clients;
use super::payload;
use crate::clock::Clock;
use crate::config::secrets::ZoomCredentials;
use crate::config::zoom::ZoomConfig;
use crate::domain::event::{Event, EventContent};
use crate::domain::ids::EventId;
use crate::domain::recording::{RecordingIdentity, RecordingKind};

/// Zoom's two APIs, told apart by their credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Product {
    /// Video SDK: sessions.
    VideoSdk,
    /// Meetings, which webinars are a kind of.
    Meetings,
}

impl From<RecordingKind> for Product {
    fn from(kind: RecordingKind) -> Self {
        match kind {
            RecordingKind::VideoSdk => Self::VideoSdk,
            RecordingKind::Meeting | RecordingKind::Webinar | RecordingKind::Phone => Self::Meetings,
        }
    }
}

/// Asks Zoom's API, for one account. Share one of them: it keeps the access token and the limits.
#[derive(Debug)]
pub struct Api {
    clients: Clients,
    base: Url,
    video_sdk: Option<Signer>,
    meetings: Option<AccessTokens>,
    turns: Semaphore,
    timeout: Duration,
    token_ttl_secs: u64,
    clock: Clock,
}

/// Why there is no API client.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client: {0}")]
pub struct ApiSetupError(#[from] reqwest::Error);

impl Api {
    /// A client for the API of `config`, with what credentials there are.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        config: &ZoomConfig,
        credentials: ZoomCredentials,
        clock: Clock,
    ) -> Result<Self, ApiSetupError> {
        Ok(Self {
            clients: Clients::new(config, |builder| builder)?,
            base: config.api_base_url.clone(),
            video_sdk: credentials.video_sdk.map(Signer::new),
            meetings: credentials.oauth.map(|oauth| AccessTokens::new(oauth, &config.oauth_base_url)),
            turns: Semaphore::new(config.api_calls_at_once.try_into().unwrap_or(1)),
            timeout: config.api_timeout(),
            token_ttl_secs: config.token_ttl_secs,
            clock,
        })
    }

    /// Whether there are credentials to ask about recordings of this kind.
    #[must_use]
    pub fn knows(&self, kind: RecordingKind) -> bool {
        match kind {
            RecordingKind::VideoSdk => self.video_sdk.is_some(),
            RecordingKind::Meeting | RecordingKind::Webinar => self.meetings.is_some(),
            // No call asks about them.
            RecordingKind::Phone => false,
        }
    }

    /// Asks for one recording, with a fresh download token for all of its files, and returns the answer as an event
    /// to be recorded: it refreshes the files that are known, and brings those that are not. The recording is the
    /// one that was asked about, whatever the answer says or leaves out.
    ///
    /// A file that Zoom still works on is in it, with `status` `processing` in its metadata; one that Zoom has no
    /// more is not.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn recording(&self, identity: &RecordingIdentity) -> Result<Event, ApiError> {
        let product = identity.kind.into();
        let url = self.recording_url(product, identity)?;
        let answer = self.ask(identity.kind, &url).await?;
        let (announcement, body) = payload::read_answer(identity, answer)
            .map_err(|reason| ApiError::refused(format!("Zoom's API answered {reason}")))?;
        let name = match product {
            Product::VideoSdk => "api.session_recordings",
            Product::Meetings => "api.meeting_recordings",
        };
        Ok(Event {
            id: EventId::new(),
            received_at: self.clock.now(),
            name: name.to_owned(),
            body,
            content: EventContent::Announcement(announcement),
        })
    }

    fn recording_url(&self, product: Product, identity: &RecordingIdentity) -> Result<Url, ApiError> {
        let things = match product {
            Product::VideoSdk => "videosdk/sessions",
            Product::Meetings => "meetings",
        };
        let id = path::encoded(&identity.instance_id);
        let mut url = path::under(&self.base, &format!("{things}/{id}/recordings"))?;
        url.query_pairs_mut()
            .append_pair("include_fields", "download_access_token")
            .append_pair("ttl", &self.token_ttl_secs.to_string());
        Ok(url)
    }

    /// One question, with everything it takes, within the time for it.
    async fn ask(&self, kind: RecordingKind, url: &Url) -> Result<Value, ApiError> {
        let asked = async {
            match kind.into() {
                Product::VideoSdk => {
                    let signer = self.video_sdk.as_ref().ok_or(ApiError::NoCredentials(kind))?;
                    let answer = self.get(url, &signer.sign(self.clock.now())).await?;
                    answer.or_error(Product::VideoSdk)
                }
                Product::Meetings => {
                    let tokens = self.meetings.as_ref().ok_or(ApiError::NoCredentials(kind))?;
                    self.ask_with_access_token(tokens, url).await?.or_error(Product::Meetings)
                }
            }
        };
        let late = |_| ApiError::Unreachable(format!("no answer within {} ms", self.timeout.as_millis()));
        tokio::time::timeout(self.timeout, asked).await.map_err(late)?
    }

    /// The access token may be refused although its time has not come: a later one may have put it out of force, or
    /// somebody changed the app. Then a fresh one is tried, once.
    async fn ask_with_access_token(&self, tokens: &AccessTokens, url: &Url) -> Result<Answer, ApiError> {
        let token = tokens.current(&self.clients, self.clock).await?;
        match self.get(url, token.bearer()).await? {
            Answer::Refused(refusal) if refusal.is_about_the_token() => {
                let fresh = tokens.instead_of(&token, &self.clients, self.clock).await?;
                self.get(url, fresh.bearer()).await
            }
            answer => Ok(answer),
        }
    }

    async fn get(&self, url: &Url, token: &SecretString) -> Result<Answer, ApiError> {
        // Never closed, so there is always a turn to wait for.
        let _turn = self.turns.acquire().await;
        call::get(&self.clients, url, token, self.clock).await
    }
}
