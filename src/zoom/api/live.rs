//! What is done to a session that goes on: its cloud recording starts, stops, pauses, resumes. Zoom does so from outside
//! for Video SDK sessions alone (Video SDK API reference, "Use in-session events controls"): 202, and an event when it is
//! so.

use std::fmt;
use std::str::FromStr;

use http::Method;
use serde_json::json;

use super::call::Question;
use super::{Api, ApiError, path, purpose};
use crate::domain::recording::UnknownWord;

/// What is done to the recording of a live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Control {
    /// Begins it.
    Start,
    /// Ends it.
    Stop,
    /// Interrupts it.
    Pause,
    /// Goes on after an interruption.
    Resume,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Start, Self::Stop, Self::Pause, Self::Resume];

    /// The word, as on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Control {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|control| control.as_str() == text);
        found.ok_or_else(|| UnknownWord::new("control", text))
    }
}

impl Api {
    /// Asks Zoom to do this to the cloud recording of a live session. Zoom takes the wish; that it came true is told by
    /// its event (`session.recording_started` and kin).
    ///
    /// # Errors
    /// See [`ApiError`]; [`ApiError::NotFound`] when there is no such session, or it does not go on;
    /// [`ApiError::NotNow`] when this cannot be done to it in its present state.
    pub async fn control(&self, session_id: &str, control: Control) -> Result<(), ApiError> {
        let url =
            path::under(&self.base, &format!("videosdk/sessions/{}/events", path::encoded(session_id)))?;
        let body = Some(json!({ "method": format!("recording.{control}") }));
        let question = Question { method: Method::PATCH, url, body };
        self.ask(&purpose::CONTROL_SESSION, &question).await.map(drop)
    }
}
