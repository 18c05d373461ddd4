//! One verified delivery and what was read in it.

use chrono::{DateTime, Utc};

use serde_json::{Map, json};

use super::ids::{EventId, RecordingId};
use super::recording::{AnnouncedRecording, Announcement, Change, RecordingIdentity, RecordingState, Scope};

/// One delivery of Zoom's that is to be made durable.
#[derive(Debug, Clone)]
pub struct Event {
    /// Our name for it.
    pub id: EventId,
    /// When it reached us.
    pub received_at: DateTime<Utc>,
    /// Zoom's name for its kind, such as `session.recording_completed`; empty when it could not be read.
    pub name: String,
    /// The body: JSON without secrets when it could be read, the raw bytes when it could not.
    pub body: Vec<u8>,
    /// What it says.
    pub content: EventContent,
    /// The trace that it began (`traceparent`, W3C Trace Context), if any.
    pub trace: Option<String>,
}

impl Event {
    /// An event of our own, about something that we do to a recording at Zoom.
    #[must_use]
    pub fn of_ours(at: DateTime<Utc>, recording: &RecordingIdentity, what: &str, change: Change) -> Self {
        let recording = AnnouncedRecording {
            identity: recording.clone(),
            topic: None,
            start_time: None,
            metadata: Map::new(),
        };
        Self {
            id: EventId::new(),
            received_at: at,
            name: format!("archiver.recording_{what}"),
            body: json!({ "recording": what }).to_string().into(),
            content: EventContent::Announcement(Announcement {
                recording,
                happened_at: None,
                change,
                scope: Scope::Recording,
                files: Vec::new(),
                odd: Vec::new(),
            }),
            trace: None,
        }
    }

    /// The same, about how the recording stands at Zoom since then: where Zoom's own event is not ticked, the record
    /// would not know.
    #[must_use]
    pub fn of_state(at: DateTime<Utc>, recording: &RecordingIdentity, state: RecordingState) -> Self {
        let change = Change { state: Some(state), ..Change::default() };
        Self::of_ours(at, recording, state.as_str(), change)
    }
}

/// What an event says.
#[derive(Debug, Clone)]
pub enum EventContent {
    /// A recording and files of it.
    Announcement(Announcement),
    /// Signed by Zoom, but of a shape that this version cannot read: kept raw.
    Unreadable {
        /// Why, in words, without any of the body.
        reason: String,
    },
}

/// An event as the store keeps it, without its body.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// Its id.
    pub id: EventId,
    /// When it reached us.
    pub received_at: DateTime<Utc>,
    /// As in [`Event::name`].
    pub name: String,
    /// The recording that it is about, when it could be read.
    pub recording_id: Option<RecordingId>,
    /// Why it could not be read, if so.
    pub unreadable: Option<String>,
    /// What in it could not be read, in words, although the whole could.
    pub odd: Vec<String>,
    /// Length of its body, in bytes.
    pub bytes: u64,
}
