//! One verified delivery and what was read in it.

use chrono::{DateTime, Utc};

use super::ids::EventId;
use super::recording::Announcement;

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
