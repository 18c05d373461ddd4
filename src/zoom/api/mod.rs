//! Questions to Zoom's API. Each product has an API and credentials of its own; with none of them the service works
//! as long as Zoom's events bring tokens in time.
//!
//! - [`Api`]: what can be asked; begin reading here
//! - [`error`]: why there is no answer, and what follows from that
//! - [`list`]: all recordings of an account or a user, page by page; [`days`]: and the spans of time for that
//! - [`change`]: to the trash, back, or deleted
//! - [`live`]: the recording of a session that goes on
//! - [`webhook_log`]: what Zoom could not deliver
//! - [`limits`]: how fast all of it is asked
//! - `purpose`: what each call is for: product, weight, scope
//! - `jwt`: bearer tokens for the Video SDK API, signed by us
//! - `oauth`: bearer tokens for the API of meetings, fetched once for all
//! - `path`: addresses, with ids that hold `/` and `+`
//! - `call`: one request and its answer
//! - `refusal`: what Zoom says instead of an answer

mod call;
pub mod change;
pub mod days;
pub mod error;
mod jwt;
pub mod limits;
pub mod list;
pub mod live;
mod oauth;
mod path;
mod purpose;
mod refusal;
mod trail;
pub mod webhook_log;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use self::call::{Answer, Question};
pub use self::error::ApiError;
use self::jwt::Signer;
use self::limits::Limits;
use self::oauth::AccessTokens;
use self::purpose::Purpose;
pub use self::purpose::Use;
use super::meeting_transcript::Transcript;
use super::payload;
use crate::clock::{Clock, ClockElsewhere};
use crate::config::secrets::ZoomCredentials;
use crate::config::zoom::ZoomConfig;
use crate::domain::event::{Event, EventContent};
use crate::domain::ids::EventId;
use crate::domain::recording::{RecordingIdentity, RecordingKind};
use crate::outgoing::Clients;

/// Zoom's two APIs, told apart by their credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Product {
    /// Video SDK: sessions.
    VideoSdk,
    /// Meetings, which webinars are a kind of.
    Meetings,
}

impl Product {
    /// The one that can be asked about a recording.
    fn of(recording: &RecordingIdentity) -> Result<Self, ApiError> {
        match recording.kind {
            RecordingKind::Phone => Err(ApiError::NoCredentials(RecordingKind::Phone)),
            kind => Ok(kind.into()),
        }
    }
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
    limits: Limits,
    timeout: Duration,
    token_ttl_secs: u64,
    page_size: u32,
    clock: Clock,
    elsewhere: ClockElsewhere,
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
            clients: Clients::new(config.connect_timeout(), |builder| builder)?,
            base: config.api_base_url.clone(),
            video_sdk: credentials.video_sdk.map(Signer::new),
            meetings: credentials.oauth.map(|oauth| AccessTokens::new(oauth, &config.oauth_base_url)),
            limits: Limits::new(config),
            timeout: config.api_timeout(),
            token_ttl_secs: config.token_ttl_secs,
            page_size: config.api_page_size,
            clock,
            elsewhere: ClockElsewhere::default(),
        })
    }

    /// Seconds by which Zoom's clock is ahead of this machine's, once Zoom has answered.
    #[must_use]
    pub fn clock_ahead_secs(&self) -> Option<i64> {
        self.elsewhere.seconds_ahead()
    }

    /// The scopes that the app for meetings lacks for a use, by what Zoom has said when it gave the last access token.
    /// `None` where that says nothing of it: no token has been given yet, or the app has scopes by Zoom's older names.
    pub async fn lacks(&self, what: Use) -> Option<Vec<&'static str>> {
        let given = self.meetings.as_ref()?.scopes().await;
        given
            .iter()
            .any(|scope| scope.starts_with(GRANULAR))
            .then(|| what.scopes().filter(|scope| !purpose::is_given(scope, &given)).collect())
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

    /// Zoom's id of the account whose recordings of this kind it gives, as far as the credentials say.
    #[must_use]
    pub fn account_id(&self, kind: RecordingKind) -> Option<&str> {
        match kind.into() {
            Product::VideoSdk => self.video_sdk.as_ref().and_then(Signer::account_id),
            Product::Meetings => self.meetings.as_ref().map(AccessTokens::account_id),
        }
    }

    /// Asks for one recording, with a fresh download token for all of its files, and returns the answer as an event
    /// to be recorded: it refreshes the files that are known, and brings those that are not.
    ///
    /// A file that Zoom still works on is in it, with `status` `processing` in its metadata; one that Zoom has no
    /// more is not.
    ///
    /// # Errors
    /// See [`ApiError`]; an answer that names another recording than the one asked about is [`ApiError::Refused`].
    pub async fn recording(&self, identity: &RecordingIdentity) -> Result<Event, ApiError> {
        let product = Product::of(identity)?;
        let (purpose, name) = match product {
            Product::VideoSdk => (&purpose::SESSION_RECORDINGS, "api.session_recordings"),
            Product::Meetings => (&purpose::MEETING_RECORDINGS, "api.meeting_recordings"),
        };
        let mut url = path::under(&self.base, &path::recordings_of(product, &identity.instance_id))?;
        url.query_pairs_mut()
            .append_pair("include_fields", "download_access_token")
            .append_pair("ttl", &self.token_ttl_secs.to_string());
        let answer = self.get(purpose, &url).await?;
        let odd = |reason| ApiError::refused(format!("Zoom's API answered {reason}"));
        check_named(identity, product, &answer).map_err(odd)?;
        let (announcement, body) = payload::read_answer(identity, answer).map_err(odd)?;
        Ok(Event {
            id: EventId::new(),
            received_at: self.clock.now(),
            name: name.to_owned(),
            body,
            content: EventContent::Announcement(announcement),
            trace: None,
        })
    }

    /// Asks where AI Companion's transcript of a meeting is.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn transcript(&self, identity: &RecordingIdentity) -> Result<Transcript, ApiError> {
        let url = path::under(&self.base, &path::transcript_of(&identity.instance_id))?;
        Ok(Transcript::read(&self.get(&purpose::MEETING_TRANSCRIPT, &url).await?))
    }

    /// Returns the bearer token for questions about recordings of this kind; another one than `refused`.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn bearer(
        &self,
        kind: RecordingKind,
        refused: Option<&SecretString>,
    ) -> Result<SecretString, ApiError> {
        if Product::from(kind) == Product::VideoSdk {
            return Ok(self.video_sdk.as_ref().ok_or(NO_VIDEO_SDK)?.sign(self.clock.now()));
        }
        let tokens = self.meetings.as_ref().ok_or(NO_MEETINGS)?;
        let late = |_| ApiError::Unreachable(format!("no answer within {} ms", self.timeout.as_millis()));
        let fetched = async {
            let token = tokens.current(&self.clients, self.clock).await?;
            match refused {
                Some(refused) if refused.expose_secret() == token.bearer().expose_secret() => {
                    tokens.instead_of(&token, &self.clients, self.clock).await
                }
                _ => Ok(token),
            }
        };
        let token = tokio::time::timeout(self.timeout, fetched).await.map_err(late)??;
        Ok(token.bearer().clone())
    }

    /// Whether Zoom still accepts this bearer token, whatever it may not do: asked about a recording, it says so of one that is out
    /// of force. One that we sign ourselves is in force.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn accepts(
        &self,
        identity: &RecordingIdentity,
        bearer: &SecretString,
    ) -> Result<bool, ApiError> {
        if Product::from(identity.kind) == Product::VideoSdk {
            return Ok(true);
        }
        let path = path::recordings_of(Product::Meetings, &identity.instance_id);
        let question = Question::get(path::under(&self.base, &path)?);
        let give_up = Instant::now() + self.timeout;
        let asked = self.ask_once(&purpose::MEETING_RECORDINGS, &question, bearer, give_up);
        let late = |_| ApiError::Unreachable(format!("no answer within {} ms", self.timeout.as_millis()));
        let answer = tokio::time::timeout_at(give_up, asked).await.map_err(late)??;
        Ok(!matches!(answer, Answer::Refused(refusal) if refusal.is_about_the_token()))
    }

    /// Whether a URL has the origin of the API, or of its OAuth server.
    #[must_use]
    pub fn is_at(&self, url: &Url) -> bool {
        let oauth = self.meetings.as_ref().map(AccessTokens::base);
        [Some(&self.base), oauth].into_iter().flatten().any(|base| base.origin() == url.origin())
    }

    async fn get(&self, purpose: &Purpose, url: &Url) -> Result<Value, ApiError> {
        self.ask(purpose, &Question::get(url.clone())).await
    }

    /// One question, with everything it takes, within the time for it.
    async fn ask(&self, purpose: &Purpose, question: &Question) -> Result<Value, ApiError> {
        let give_up = Instant::now() + self.timeout;
        let asked = async {
            let answer = match purpose.product {
                Product::VideoSdk => {
                    let signer = self.video_sdk.as_ref().ok_or(NO_VIDEO_SDK)?;
                    self.ask_once(purpose, question, &signer.sign(self.clock.now()), give_up).await?
                }
                Product::Meetings => {
                    let tokens = self.meetings.as_ref().ok_or(NO_MEETINGS)?;
                    self.ask_with_access_token(purpose, question, tokens, give_up).await?
                }
            };
            answer.or_error(purpose)
        };
        let late = |_| ApiError::Unreachable(format!("no answer within {} ms", self.timeout.as_millis()));
        tokio::time::timeout_at(give_up, asked).await.map_err(late)?
    }

    /// The access token may be refused although its time has not come: one that another process has fetched for the same app
    /// may have put it out of force, or somebody changed the app. Then a fresh one is tried, a few times: with every fresh one
    /// the other process loses its own.
    async fn ask_with_access_token(
        &self,
        purpose: &Purpose,
        question: &Question,
        tokens: &AccessTokens,
        give_up: Instant,
    ) -> Result<Answer, ApiError> {
        let mut token = tokens.current(&self.clients, self.clock).await?;
        for refused in 0.. {
            match self.ask_once(purpose, question, token.bearer(), give_up).await? {
                Answer::Refused(refusal) if refusal.is_about_the_token() && refused < FRESH_TOKENS => {
                    // At random, so that two processes do not keep step.
                    let rest = FRESH_TOKEN_REST * refused;
                    tokio::time::sleep(rest.mul_f64(rand::random_range(0.5..1.5))).await;
                    token = tokens.instead_of(&token, &self.clients, self.clock).await?;
                }
                answer => return Ok(answer),
            }
        }
        unreachable!("the last refusal is returned")
    }

    /// Waits for its turn, and asks; what Zoom says of its limits holds for all who come after.
    async fn ask_once(
        &self,
        purpose: &Purpose,
        question: &Question,
        token: &SecretString,
        give_up: Instant,
    ) -> Result<Answer, ApiError> {
        let patience = give_up.saturating_duration_since(Instant::now());
        let turn = self.limits.turn(purpose.class, patience).await;
        let _turn = turn.map_err(|rest| ApiError::Refused {
            reason: format!("Zoom's API is not to be asked for another {} s (429)", rest.as_secs()),
            retry_after: Some(rest),
        })?;
        let answer = call::ask(&self.clients, question, token, self.clock, &self.elsewhere).await?;
        if let Answer::Refused(refusal) = &answer
            && refusal.is_too_many()
        {
            self.limits.close(purpose.class, refusal.retry_after());
        }
        Ok(answer)
    }
}

/// Times that a fresh access token is fetched in place of one that was refused.
const FRESH_TOKENS: u32 = 4;
/// Rest before the second of them, about; so much longer before each further one.
const FRESH_TOKEN_REST: Duration = Duration::from_millis(150);
/// What scopes for recordings begin with.
const GRANULAR: &str = "cloud_recording:";
const NO_VIDEO_SDK: ApiError = ApiError::NoCredentials(RecordingKind::VideoSdk);
const NO_MEETINGS: ApiError = ApiError::NoCredentials(RecordingKind::Meeting);

/// Whether an answer is about the recording that was asked about, as far as it says.
fn check_named(asked: &RecordingIdentity, product: Product, answer: &Value) -> Result<(), String> {
    let key = match product {
        Product::VideoSdk => "session_id",
        Product::Meetings => "uuid",
    };
    match payload::text(answer.get(key)) {
        Some(named) if named != asked.instance_id => Err(format!("about another recording (its {key})")),
        _ => Ok(()),
    }
}
