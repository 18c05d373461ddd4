//! Why Zoom's API gave no answer, and what follows from that.

use std::time::Duration;

use crate::domain::recording::RecordingKind;

/// Why there is no answer. The variant is the decision; no text holds a token, a secret or a recording's URL.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// This installation has no credentials for the product: only Zoom's next event can help.
    #[error(
        "there are no credentials for Zoom's API: set {}",
        match .0 {
            RecordingKind::VideoSdk => "ZOOM_VIDEO_SDK_API_KEY and ZOOM_VIDEO_SDK_API_SECRET",
            // Calls are opened by an access token of the same server.
            RecordingKind::Meeting | RecordingKind::Webinar | RecordingKind::Phone =>
                "ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET",
        }
    )]
    NoCredentials(RecordingKind),
    /// Zoom says that there is no such thing: the recording is deleted, or in the trash; the session has ended.
    #[error("Zoom has no such recording or session ({0})")]
    NotFound(String),
    /// Zoom cannot do it now: a session that is recorded already cannot be recorded again.
    #[error("Zoom does not do this to the session in its present state ({0})")]
    NotNow(String),
    /// Credentials or scopes are wrong. A person must change something; the words say what.
    #[error("{0}")]
    NotAllowed(String),
    /// Zoom is busy or in trouble, or answered with something that makes no sense: later, perhaps.
    #[error("{reason}")]
    Refused {
        /// In words.
        reason: String,
        /// When Zoom said to come again.
        retry_after: Option<Duration>,
    },
    /// Zoom refuses every access token that it has just given out: somebody else fetches tokens for the same app, and puts ours
    /// out of force. The next one may be good.
    #[error("{0}")]
    Superseded(String),
    /// Zoom says that a value of the question is not valid (400, code 300), such as the token of a page that has expired: asked
    /// again in the same words it will say the same.
    #[error("Zoom's API answered {0}")]
    Invalid(String),
    /// No connection, or no answer in time.
    #[error("Zoom's API cannot be reached: {0}")]
    Unreachable(String),
}

impl ApiError {
    /// What kind it is, as a word for metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::NoCredentials(_) => "no_credentials",
            Self::NotFound(_) => "not_found",
            Self::NotNow(_) => "not_now",
            Self::NotAllowed(_) => "not_allowed",
            Self::Superseded(_) => "superseded",
            Self::Refused { retry_after: Some(_), .. } => "too_many",
            Self::Refused { .. } | Self::Invalid(_) => "refused",
            Self::Unreachable(_) => "unreachable",
        }
    }

    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), retry_after: None }
    }
}
