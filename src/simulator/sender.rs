//! Signs events and delivers them as Zoom does: three seconds for an answer, and another try only after a 5xx
//! or no answer at all (Zoom, "Using webhooks", section "Webhook retries").

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use url::{Host, Url};

use super::{events, now};
use crate::zoom::signature::{SIGNATURE_HEADER, TIMESTAMP_HEADER, encrypt_plain_token, sign};

/// How long Zoom waits for an answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// When Zoom tries again, each time counted from the try before: after 5, 20 and 60 minutes.
pub const ZOOM_RETRIES: [Duration; 3] =
    [Duration::from_secs(5 * 60), Duration::from_secs(20 * 60), Duration::from_secs(60 * 60)];

/// Of an answer no more than this is read; what Zoom needs to see has some hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What is wrong with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// Signed with another secret.
    WrongSecret,
    /// The body was changed after it was signed.
    ChangedBody,
    /// Signed so long ago.
    Stale(Duration),
    /// Not signed at all.
    Unsigned,
}

/// What came back for one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP answer with this status.
    Status(StatusCode),
    /// None: no connection, cut, or too late. In words, without the URL.
    None(String),
}

impl Answer {
    /// Whether Zoom takes the event for delivered.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Status(status) if status.is_success())
    }

    /// Whether Zoom tries again.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        match self {
            Self::Status(status) => status.is_server_error(),
            Self::None(_) => true,
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::None(why) => write!(f, "no answer ({why})"),
        }
    }
}

/// How a delivery went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Requests made.
    pub tries: u32,
    /// What the last of them brought.
    pub answer: Answer,
}

/// Why a URL was not validated.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    /// No answer, or one with another status than 200.
    #[error("the receiver did not accept the URL validation: {0}")]
    NotAccepted(Answer),
    /// The answer is not the JSON object that Zoom wants.
    #[error("the receiver's answer to the URL validation cannot be read")]
    Unreadable,
    /// The answer holds something else than Zoom expects.
    #[error("the receiver's answer to the URL validation is wrong: {0}")]
    Wrong(&'static str),
}

/// Sends events to one URL.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    target: Url,
    secret: SecretString,
    retries: Vec<Duration>,
}

impl Sender {
    /// A sender that signs with `secret`, and tries again after each of `retries` (see [`ZOOM_RETRIES`]). A
    /// target on this machine is reached without a proxy.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(target: Url, secret: SecretString, retries: Vec<Duration>) -> reqwest::Result<Self> {
        let mut builder = Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .redirect(Policy::none())
            .user_agent("Zoom Marketplace/1.0a (simulated)");
        if is_local(&target) {
            builder = builder.no_proxy();
        }
        Ok(Self { client: builder.build()?, target, secret, retries })
    }

    /// Delivers an event, trying again as Zoom does.
    pub async fn deliver(&self, body: &[u8]) -> Delivery {
        self.deliver_forged(body, None).await
    }

    /// Delivers an event with something wrong about it.
    pub async fn deliver_forged(&self, body: &[u8], forgery: Option<Forgery>) -> Delivery {
        let (tries, outcome) = self.send(&self.sign(body, forgery)).await;
        Delivery { tries, answer: answer_of(&outcome) }
    }

    /// Does what Zoom does when a URL is registered, and checks the answer. Tries again like any delivery.
    ///
    /// # Errors
    /// When the receiver does not answer as Zoom wants it to.
    pub async fn validate_url(&self, plain_token: &str) -> Result<(), ValidationError> {
        let body = events::url_validation(plain_token, now());
        let (_, answer) = self.send(&self.sign(&body, None)).await;
        let known = answer_of(&answer);
        match answer {
            Ok((StatusCode::OK, text)) => self.check_validation(plain_token, &text),
            _ => Err(ValidationError::NotAccepted(known)),
        }
    }

    fn check_validation(&self, plain_token: &str, text: &str) -> Result<(), ValidationError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Reply {
            plain_token: String,
            encrypted_token: String,
        }
        let reply: Reply = serde_json::from_str(text).map_err(|_| ValidationError::Unreadable)?;
        if reply.plain_token != plain_token {
            return Err(ValidationError::Wrong("plainToken is not the one that was sent"));
        }
        if encrypt_plain_token(&self.secret, plain_token).as_ref() != Some(&reply.encrypted_token) {
            return Err(ValidationError::Wrong("encryptedToken was made with another secret"));
        }
        Ok(())
    }

    /// Signed once for all tries: the receiver must bear that the last of them is 85 minutes old.
    fn sign(&self, body: &[u8], forgery: Option<Forgery>) -> Signed {
        let mut signed_at = now();
        let mut secret = &self.secret;
        let mut sent = body.to_vec();
        let other_secret = SecretString::from("not the secret");
        match forgery {
            Some(Forgery::Stale(age)) => signed_at -= TimeDelta::from_std(age).unwrap_or_default(),
            Some(Forgery::WrongSecret) => secret = &other_secret,
            Some(Forgery::ChangedBody) => sent.push(b' '),
            Some(Forgery::Unsigned) | None => {}
        }
        let timestamp = signed_at.timestamp().to_string();
        let signature = sign(secret, &timestamp, body);
        let headers = (forgery != Some(Forgery::Unsigned)).then_some((timestamp, signature));
        Signed { body: sent.into(), headers }
    }

    /// Tries until it need not be tried again; returns how often, and what the last try brought.
    async fn send(&self, signed: &Signed) -> (u32, Result<(StatusCode, String), String>) {
        let mut tries = 1;
        let mut outcome = self.request(signed).await;
        for pause in &self.retries {
            if !answer_of(&outcome).is_repeated() {
                break;
            }
            tokio::time::sleep(*pause).await;
            tries += 1;
            outcome = self.request(signed).await;
        }
        (tries, outcome)
    }

    async fn request(&self, signed: &Signed) -> Result<(StatusCode, String), String> {
        let mut request = self
            .client
            .post(self.target.clone())
            .header(http::header::CONTENT_TYPE, "application/json; charset=utf-8");
        if let Some((timestamp, signature)) = &signed.headers {
            request = request.header(TIMESTAMP_HEADER, timestamp).header(SIGNATURE_HEADER, signature);
        }
        let mut response = request.body(signed.body.clone()).send().await.map_err(in_words)?;
        let mut text = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(in_words)? {
            text.extend_from_slice(&piece);
            if text.len() > MAX_ANSWER_BYTES {
                break;
            }
        }
        Ok((response.status(), String::from_utf8_lossy(&text).into_owned()))
    }
}

/// A request that is ready to be sent, as often as need be.
struct Signed {
    body: Bytes,
    /// Time and signature.
    headers: Option<(String, String)>,
}

fn answer_of(result: &Result<(StatusCode, String), String>) -> Answer {
    match result {
        Ok((status, _)) => Answer::Status(*status),
        Err(why) => Answer::None(why.clone()),
    }
}

fn in_words(error: reqwest::Error) -> String {
    let words = if error.is_timeout() {
        "not within 3 seconds"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    words.to_owned()
}

fn is_local(target: &Url) -> bool {
    match target.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
