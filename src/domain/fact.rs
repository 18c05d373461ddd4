//! Plain facts about a file, for stores that keep metadata with an object.
//!
//! The manifest holds all that is known; these are for whoever looks at the object alone.

use chrono::{DateTime, SecondsFormat, Utc};

use super::file::{FileRow, RecordingRow};

/// The facts that there are, by name. Most are named as in a key template, and here they are whole:
///
/// - `account`, `kind`, `instance`: whose recording, of which product, and Zoom's id of the session or meeting
/// - `topic`, `start`: of the session or meeting
/// - `collection`, `file`: what makes the file this one at Zoom (`file` is its id there)
/// - `type`: its `recording_type`
/// - `file_type`, `file_start`: such as `MP4`, and when this piece of the recording began
pub const NAMES: &[&str] = &[
    "account",
    "kind",
    "instance",
    "topic",
    "start",
    "collection",
    "file",
    "type",
    "file_type",
    "file_start",
];

/// Those of them that every file has.
pub const ALWAYS_KNOWN: &[&str] = &["account", "kind", "instance", "collection", "file"];

/// The facts about a file that are known. Times are in UTC.
#[must_use]
pub fn facts(recording: &RecordingRow, file: &FileRow) -> Vec<(String, String)> {
    let time = |time: Option<DateTime<Utc>>| {
        time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default()
    };
    let (identity, of_file) = (&recording.identity, &file.identity);
    let values = [
        identity.account_id.clone(),
        identity.kind.to_string(),
        identity.instance_id.clone(),
        recording.topic.clone().unwrap_or_default(),
        time(recording.start_time),
        of_file.collection.clone(),
        of_file.name.clone(),
        file.recording_type.clone(),
        file.file_type.clone(),
        time(file.recording_start),
    ];
    let named = NAMES.iter().map(|name| (*name).to_owned()).zip(values);
    named.filter(|(_, value)| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::domain::file::FileState;
    use crate::domain::ids::{EventId, FileId, RecordingId};
    use crate::domain::recording::{FileIdentity, RecordingIdentity, RecordingKind};

    #[test]
    fn facts_are_whole_and_what_is_not_known_is_left_out() {
        let at = DateTime::from_timestamp(1_763_892_900, 123_000_000).unwrap();
        let recording = RecordingRow {
            id: RecordingId::new(),
            identity: RecordingIdentity {
                account_id: "account".to_owned(),
                kind: RecordingKind::VideoSdk,
                instance_id: "a/b+c==".to_owned(),
            },
            topic: Some("Über uns".to_owned()),
            start_time: Some(at),
            metadata: Map::new(),
            state: None,
            state_at: None,
            transcript: None,
            summary: None,
            folder: None,
            announced_at: at,
        };
        let file = FileRow {
            id: FileId::new(),
            recording_id: recording.id,
            identity: FileIdentity { collection: "recording_files".to_owned(), name: "0A1B".to_owned() },
            recording_type: String::new(),
            file_type: "MP4".to_owned(),
            extension: "mp4".to_owned(),
            recording_start: None,
            announced_bytes: None,
            metadata: Map::new(),
            token_expires_at: None,
            loses_at: None,
            zoom_state: None,
            zoom_state_at: None,
            state: FileState::Pending,
            reason: None,
            object_key: None,
            archived: None,
            archived_at: None,
            verified_at: None,
            found: None,
            proven_before: None,
            earlier_objects: Vec::new(),
            first_event_id: EventId::new(),
            announced_at: at,
        };
        let expected = [
            ("account", "account"),
            ("kind", "video_sdk"),
            ("instance", "a/b+c=="),
            ("topic", "Über uns"),
            ("start", "2025-11-23T10:15:00Z"),
            ("collection", "recording_files"),
            ("file", "0A1B"),
            ("file_type", "MP4"),
        ];
        assert_eq!(
            facts(&recording, &file),
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
