//! Events, read from bodies in Zoom's shape by the program's own reader.

use serde_json::json;
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::event::{Event, EventContent};
use zoom_archiver::domain::ids::EventId;
use zoom_archiver::zoom::payload::{self, Message};

/// The event that a signed body becomes.
pub(crate) fn event(body: &str) -> Event {
    let (name, content, body) = match payload::read(body.as_bytes()) {
        Message::Announcement { name, announcement, body } => {
            (name, EventContent::Announcement(*announcement), body)
        }
        Message::Unreadable { name, reason } => {
            (name, EventContent::Unreadable { reason }, body.as_bytes().to_vec())
        }
        other => panic!("nothing to record: {other:?}"),
    };
    Event { id: EventId::new(), received_at: Clock::System.now(), name, body, content, trace: None }
}

/// A session with `files` files that nobody serves.
pub(crate) fn session(id: &str, files: usize) -> Event {
    session_of("acc", id, files)
}

/// A session of some account with `files` files that nobody serves.
pub(crate) fn session_of(account: &str, id: &str, files: usize) -> Event {
    let file = |number: usize| {
        json!({
            "id": format!("file-{number}"), "file_type": "MP4", "file_extension": "MP4", "file_size": 3,
            "recording_type": "shared_screen", "recording_start": "2026-01-02T03:04:05Z",
            "download_url": "https://zoom.us/rec/webhook_download/x",
        })
    };
    event(
        &json!({
            "event": "session.recording_completed",
            "download_token": "token",
            "payload": {"account_id": account, "object": {
                "session_id": id, "session_name": "Weekly",
                "recording_files": (0..files).map(file).collect::<Vec<_>>(),
            }},
        })
        .to_string(),
    )
}
