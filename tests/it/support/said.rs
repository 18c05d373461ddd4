//! What Zoom says in a webhook or an answer of its API, read as the program reads it.

use serde_json::{Value, json};
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::event::{Event, EventContent};
use zoom_archiver::domain::ids::EventId;
use zoom_archiver::domain::recording::{RecordingIdentity, RecordingKind};
use zoom_archiver::zoom::payload::{self, Message};

/// Zoom's id of the account that everything is about.
pub(crate) const ACCOUNT: &str = "account";

/// An event that has just come.
pub(crate) fn event(content: EventContent, name: &str) -> Event {
    let (id, received_at) = (EventId::new(), Clock::System.now());
    Event { id, received_at, name: name.to_owned(), body: b"{}".to_vec(), content, trace: None }
}

/// A webhook, read as the receiver reads it.
pub(crate) fn webhook(name: &str, object: &Value) -> Event {
    webhook_at(name, 0, object)
}

/// The same, so many seconds after the first.
pub(crate) fn webhook_at(name: &str, second: i64, object: &Value) -> Event {
    let body = json!({
        "event": name, "event_ts": 1_772_366_400_000 + second * 1000, "download_token": "a-token",
        "payload": { "account_id": ACCOUNT, "object": object },
    });
    match payload::read(body.to_string().as_bytes()) {
        Message::Announcement { announcement, .. } => event(EventContent::Announcement(*announcement), name),
        Message::Announcements { mut parts, .. } => {
            assert_eq!(parts.len(), 1, "one recording");
            event(EventContent::Announcement(parts.remove(0).announcement), name)
        }
        other => panic!("not an announcement: {other:?}"),
    }
}

/// The API's answer about a meeting.
pub(crate) fn answer(object: &Value) -> Event {
    let instance_id = object["uuid"].as_str().expect("a uuid").to_owned();
    let asked = RecordingIdentity { account_id: ACCOUNT.into(), kind: RecordingKind::Meeting, instance_id };
    let (announcement, _) = payload::read_answer(&asked, object.clone()).expect("an answer");
    event(EventContent::Announcement(announcement), "archiver.answer")
}
