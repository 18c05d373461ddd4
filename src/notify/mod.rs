//! Requests to receivers outside, signed, and what they answer. What there is to tell, and when it is tried again, is
//! decided elsewhere: in the record, and in `jobs/notify.rs`.
//!
//! - [`Notifier`]: sends them, and reads the answers
//! - [`message`]: what is sent, in the shape that the receiver takes
//! - [`signature`]: by which the receiver knows who has written it

pub mod message;
pub mod signature;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use reqwest::Response;

use crate::clock::Clock;
use crate::config::notify::{NotifyConfig, Target};
use crate::outgoing::{Clients, connection_words, retry_after};
use message::Message;

/// Most of an answer that is shown to people, in bytes.
const MAX_SHOWN_BYTES: usize = 200;

/// Why a notification was not taken. No text holds the receiver's address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SendError {
    /// It wants no more of this, ever (410).
    #[error("the receiver answered 410: it wants this no more")]
    Unwanted,
    /// It leads elsewhere, where nobody said that anything may be sent.
    #[error(
        "the receiver answered {0}: redirects are not followed; put the address that it leads to into notify.targets"
    )]
    Redirects(u16),
    /// It does not take this one now.
    #[error("the receiver answered {status}")]
    Refused {
        /// The status.
        status: u16,
        /// When it asks to be tried again.
        retry_after: Option<Duration>,
    },
    /// It takes nothing now (429, or a server that has no room or stands behind one that is away).
    #[error("the receiver answered {status}: it takes nothing now")]
    Busy {
        /// The status.
        status: u16,
        /// When it asks to be tried again.
        retry_after: Option<Duration>,
    },
    /// There is no answer.
    #[error("the receiver cannot be reached: {0}")]
    Unreachable(String),
    /// There was none in time.
    #[error("the receiver has not answered within {0} ms")]
    TimedOut(u64),
}

impl SendError {
    /// One word for metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unwanted => "unwanted",
            Self::Redirects(_) | Self::Refused { .. } => "refused",
            Self::Busy { .. } => "busy",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut(_) => "timeout",
        }
    }
}

/// What a receiver answered.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    response: Response,
}

/// Sends, and knows the receivers.
#[derive(Clone)]
pub struct Notifier {
    clients: Clients,
    targets: Arc<BTreeMap<String, Target>>,
    timeout: Duration,
    clock: Clock,
}

impl Notifier {
    /// One for these receivers.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: &NotifyConfig, targets: Vec<Target>, clock: Clock) -> reqwest::Result<Self> {
        let timeout = config.timeout();
        Ok(Self {
            clients: Clients::new(timeout, |builder| builder.timeout(timeout))?,
            targets: Arc::new(targets.into_iter().map(|target| (target.name.clone(), target)).collect()),
            timeout,
            clock,
        })
    }

    /// The receiver of that name.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Target> {
        self.targets.get(name)
    }

    /// Sends a message, once.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, target: &Target, message: &Message) -> Result<(), SendError> {
        self.ask(target, message).await?.check()
    }

    /// Sends a message, once, and gives back what the receiver answers, whatever that is.
    ///
    /// # Errors
    /// [`SendError::Unreachable`], [`SendError::TimedOut`].
    pub async fn ask(&self, target: &Target, message: &Message) -> Result<Answer, SendError> {
        let now = self.clock.now();
        let mut request = self
            .clients
            .for_url(&target.url)
            .post(target.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", now.timestamp());
        if !target.secrets.is_empty() {
            let signatures = signature::sign(&target.secrets, &message.id, now.timestamp(), &message.body);
            request = request.header("webhook-signature", signatures);
        }
        let response = request.body(message.body.clone()).send().await.map_err(|error| {
            if error.is_timeout() {
                SendError::TimedOut(u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX))
            } else {
                SendError::Unreachable(connection_words(&error))
            }
        })?;
        let retry_after = retry_after(response.headers(), self.clock.now());
        Ok(Answer { status: response.status(), retry_after, response })
    }
}

impl Answer {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Whether the message was taken.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn check(&self) -> Result<(), SendError> {
        let (status, retry_after) = (self.status.as_u16(), self.retry_after);
        match self.status {
            answered if answered.is_success() => Ok(()),
            StatusCode::GONE => Err(SendError::Unwanted),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(SendError::Busy { status, retry_after }),
            answered if answered.is_redirection() => Err(SendError::Redirects(status)),
            _ => Err(SendError::Refused { status, retry_after }),
        }
    }

    /// The beginning of what it says, for people; without what is not printable.
    pub async fn words(mut self) -> String {
        let mut said = Vec::new();
        while said.len() < MAX_SHOWN_BYTES {
            let Ok(Some(chunk)) = self.response.chunk().await else { break };
            said.extend_from_slice(&chunk[..chunk.len().min(MAX_SHOWN_BYTES)]);
        }
        said.truncate(MAX_SHOWN_BYTES);
        let said = String::from_utf8_lossy(&said);
        let words: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        words.trim().to_owned()
    }
}
