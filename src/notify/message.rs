//! What is sent. Its shape is described in `docs/notifications.md`, and receivers build upon it: fields may join, none may
//! change or go. It holds no token and no address of Zoom's.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::config::notify::Template;
use crate::domain::file::{FileRow, RecordingRow};
use crate::domain::ids::NoticeId;
use crate::domain::notice::{Notice, NoticeKind};

/// One request's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The same each time that it is sent.
    pub id: String,
    /// JSON.
    pub body: String,
}

/// All that a notice is about.
#[derive(Debug, Clone, Copy)]
pub struct Story<'a> {
    /// The notice.
    pub notice: &'a Notice,
    /// The recording that it is about.
    pub recording: &'a RecordingRow,
    /// And the file, where it is about one.
    pub file: Option<&'a FileRow>,
    /// What the recording's account is called.
    pub account: &'a str,
}

impl Story<'_> {
    /// The message in a receiver's shape.
    #[must_use]
    pub fn message(&self, template: Template) -> Message {
        let body = match template {
            Template::Standard => envelope(self.notice.kind.as_str(), self.notice.happened_at, self.data()),
            Template::Slack => json!({ "text": escaped(&self.words()) }),
        };
        Message { id: message_id(self.notice.id), body: body.to_string() }
    }

    fn data(&self) -> Value {
        let recording = self.recording;
        let mut data = Map::from_iter([(
            "recording".to_owned(),
            json!({
                "id": recording.id,
                "account": self.account,
                "account_id": recording.identity.account_id,
                "kind": recording.identity.kind,
                "instance_id": recording.identity.instance_id,
                "topic": recording.topic,
                "start_time": recording.start_time.map(rfc3339),
            }),
        )]);
        if let Some(file) = self.file {
            let of_file = json!({
                "id": file.id,
                "name": file.identity.name,
                "collection": file.identity.collection,
                "recording_type": file.recording_type,
                "file_type": file.file_type,
                "recording_start": file.recording_start.map(rfc3339),
                "announced_bytes": file.announced_bytes,
                "object_key": file.object_key,
            });
            data.insert("file".to_owned(), of_file);
        }
        for (name, value) in &self.notice.detail {
            match (name.as_str(), self.loses_at()) {
                ("loses_at", Some(at)) => data.insert("lost_after".to_owned(), rfc3339(at).into()),
                _ => data.insert(name.clone(), value.clone()),
            };
        }
        Value::Object(data)
    }

    fn loses_at(&self) -> Option<DateTime<Utc>> {
        self.notice.detail.get("loses_at")?.as_i64().and_then(DateTime::from_timestamp_millis)
    }

    /// One or two sentences for people.
    fn words(&self) -> String {
        let topic = self.recording.topic.as_deref().unwrap_or(&self.recording.identity.instance_id);
        let began = self.recording.start_time.map(|at| format!(" of {}", at.format("%Y-%m-%d %H:%M UTC")));
        let recording = format!("“{topic}”{} ({})", began.unwrap_or_default(), self.account);
        let file = match self.file {
            Some(file) => format!("{} {} of {recording}", file.file_type, file.recording_type),
            None => recording.clone(),
        };
        let reason = self.notice.detail.get("reason").and_then(Value::as_str).unwrap_or_default();
        let id = self.file.map(|file| file.id.to_string()).unwrap_or_default();
        match self.notice.kind {
            NoticeKind::RecordingArchived => format!("Archived: {recording}, {}.", self.counted()),
            NoticeKind::FileDead => {
                format!("Given up: {file}: {reason}. Try it again: zoom-archiver files retry {id}")
            }
            NoticeKind::FileGone => format!("Gone at Zoom: {file}: {reason}."),
            NoticeKind::FileParked => {
                format!("Waits for a person: {file}: {reason}. Then: zoom-archiver files retry {id}")
            }
            NoticeKind::FileLossNear => {
                let at = self.loses_at().map(rfc3339).unwrap_or_default();
                format!("Not archived, and lost after {at}: {file}. File {id}")
            }
            NoticeKind::FileFinding => {
                format!(
                    "Archived, and not as it was proven: {file}: {reason}. See: zoom-archiver files show {id}"
                )
            }
        }
    }

    /// How many files are archived, and what became of the others.
    fn counted(&self) -> String {
        let count = |word: &str| self.notice.detail.get("files")?.get(word)?.as_u64().filter(|n| *n > 0);
        let words = ["archived", "skipped", "gone"].map(|word| Some(format!("{} {word}", count(word)?)));
        format!("files: {}", words.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// A sample, which tells of nothing.
#[must_use]
pub fn sample(template: Template, at: DateTime<Utc>) -> Message {
    let text = "A test of zoom-archiver: this receiver can be reached.";
    let body = match template {
        Template::Standard => envelope("test", at, json!({ "text": text })),
        Template::Slack => json!({ "text": text }),
    };
    Message { id: message_id(NoticeId::new()), body: body.to_string() }
}

fn envelope(kind: &str, at: DateTime<Utc>, data: Value) -> Value {
    json!({ "type": kind, "timestamp": rfc3339(at), "data": data })
}

fn message_id(id: NoticeId) -> String {
    format!("msg_{}", id.0.simple())
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// What Slack would take for markup, as text (its documentation, "Escaping text"): a topic is anybody's words, and must
/// not call everybody.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::RecordingId;
    use crate::domain::recording::{RecordingIdentity, RecordingKind};

    fn recording(topic: &str) -> RecordingRow {
        let at = DateTime::from_timestamp(1_763_892_900, 0).unwrap();
        RecordingRow {
            id: RecordingId(Uuid::from_u128(1)),
            identity: RecordingIdentity {
                account_id: "a1".to_owned(),
                kind: RecordingKind::VideoSdk,
                instance_id: "s1".to_owned(),
            },
            topic: Some(topic.to_owned()),
            start_time: Some(at),
            metadata: Map::new(),
            state: None,
            state_at: None,
            transcript: None,
            summary: None,
            folder: None,
            announced_at: at,
        }
    }

    fn archived() -> Notice {
        let detail =
            json!({ "manifest": "m", "files": { "archived": 2, "skipped": 1, "gone": 0 }, "bytes": 9 });
        Notice {
            id: NoticeId(Uuid::from_u128(2)),
            kind: NoticeKind::RecordingArchived,
            subject: Uuid::from_u128(1),
            happened_at: DateTime::from_timestamp(1_763_900_000, 0).unwrap(),
            detail: detail.as_object().cloned().unwrap(),
        }
    }

    fn message(topic: &str, template: Template) -> Message {
        let (notice, recording) = (archived(), recording(topic));
        Story { notice: &notice, recording: &recording, file: None, account: "emea" }.message(template)
    }

    #[test]
    fn a_program_is_told_type_time_and_data() {
        let message = message("weekly", Template::Standard);
        assert_eq!(message.id, "msg_00000000000000000000000000000002");
        let expected = json!({
            "type": "recording.archived",
            "timestamp": "2025-11-23T12:13:20.000Z",
            "data": {
                "recording": {
                    "id": "00000000-0000-0000-0000-000000000001",
                    "account": "emea",
                    "account_id": "a1",
                    "kind": "video_sdk",
                    "instance_id": "s1",
                    "topic": "weekly",
                    "start_time": "2025-11-23T10:15:00.000Z",
                },
                "manifest": "m",
                "files": { "archived": 2, "skipped": 1, "gone": 0 },
                "bytes": 9,
            },
        });
        assert_eq!(serde_json::from_str::<Value>(&message.body).unwrap(), expected);
    }

    #[test]
    fn a_chat_is_told_a_sentence_and_a_topic_cannot_call_everybody() {
        let message = message("<!channel> & co", Template::Slack);
        let body: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(
            body["text"],
            "Archived: “&lt;!channel&gt; &amp; co” of 2025-11-23 10:15 UTC (emea), files: 2 archived, 1 skipped."
        );
    }
}
