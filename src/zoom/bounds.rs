//! Bounds on what one event may say. Zoom's bodies stay far below them; a body that does not is kept raw, so that reading it
//! takes neither the memory nor the time of others.

use serde::Deserialize;
use serde_json::Value;

/// Longest text of a column such as the topic, in bytes. Zoom allows 200 characters in a topic (Zoom API reference, "Create a
/// meeting"). The whole text stays in the metadata, and so in the manifest.
pub const MAX_TEXT_BYTES: usize = 1024;
/// Notes about unreadable entries that are kept of one event.
const MAX_NOTES: usize = 50;
/// JSON values from which on a body is read away from the threads that answer, one at a time.
pub const LARGE_VALUES: usize = 20_000;

/// Lists of an event's object whose entries each become a row.
const LISTS: &[&str] = &["meetings", "meeting_uuids", "recordings", "voice_mails"];

/// How much is read of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Files, recordings, calls and ids of files.
    pub entries: usize,
    /// JSON values in the body.
    pub values: usize,
}

impl Bounds {
    /// Of an event that Zoom delivers. A file takes some 400 bytes and 15 values, so 2 MiB hold no more genuine ones.
    pub const DELIVERED: Self = Self { entries: 5_000, values: 200_000 };
    /// Of an event that a person has recorded again.
    pub const REPLAYED: Self = Self { entries: 100_000, values: 2_000_000 };

    /// Refuses a body of too many values, by its bytes alone: parsed, each may take several hundred bytes.
    ///
    /// # Errors
    /// In words, when it has more.
    pub(super) fn check_values(self, body: &[u8]) -> Result<(), String> {
        let values = values_in(body);
        if values <= self.values {
            return Ok(());
        }
        Err(format!("it has about {values} JSON values, more than {}", self.values))
    }

    /// Refuses an event of too many entries.
    ///
    /// # Errors
    /// In words, when it has more.
    pub(super) fn check_entries(self, event: &Value) -> Result<(), String> {
        let entries = entries_in(event);
        if entries <= self.entries {
            return Ok(());
        }
        Err(format!("it lists {entries} files or recordings, more than {}", self.entries))
    }
}

/// Estimates the number of JSON values in a body from its structure, without parsing it: one for each comma, array and object.
#[must_use]
pub fn values_in(body: &[u8]) -> usize {
    let (mut values, mut in_string, mut is_escaped) = (1, false, false);
    for byte in body {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'{' | b'[' if !in_string => values += 1,
            _ => {}
        }
    }
    values
}

fn entries_in(event: &Value) -> usize {
    let Some(object) = event.pointer("/payload/object").and_then(Value::as_object) else { return 0 };
    let lists = object.iter().filter(|(key, _)| key.ends_with("_files") || LISTS.contains(&key.as_str()));
    let entries = lists.filter_map(|(_, list)| list.as_array()).flatten();
    entries
        .map(|entry| 1 + entry.get("recording_file_ids").and_then(Value::as_array).map_or(0, Vec::len))
        .sum()
}

/// Reads the name of an event, and builds nothing of the rest; `None` when there is none, or it stands twice.
pub(super) fn name_of(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Head {
        event: String,
    }
    serde_json::from_slice::<Head>(body).ok().map(|head| head.event)
}

/// Cuts a text to the length of a column.
pub(super) fn short(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES - '…'.len_utf8()));
        text.push('…');
    }
    text
}

/// Keeps the first notes, and the number of the others.
pub(super) fn few_notes(mut notes: Vec<String>) -> Vec<String> {
    let others = notes.len().saturating_sub(MAX_NOTES);
    if others > 0 {
        notes.truncate(MAX_NOTES);
        notes.push(format!("and {others} more of the kind"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_counted_by_structure_and_not_by_what_stands_in_texts() {
        for (body, at_least, at_most) in [
            (r#"{"a":"1,2,[{\",{"}"#, 2, 2),
            (r#"[{"a":1},{"a":2},{"a":3}]"#, 6, 7),
            ("[1,2,3,4]", 4, 5),
            ("", 1, 1),
        ] {
            let values = values_in(body.as_bytes());
            assert!((at_least..=at_most).contains(&values), "{body}: {values}");
        }
    }

    #[test]
    fn every_list_that_makes_rows_counts() {
        let event = json!({"payload": {"object": {
            "recording_files": [1, 2], "participant_audio_files": [3], "meeting_uuids": ["a"], "recordings": [{}], "voice_mails": [{}],
            "meetings": [{"meeting_uuid": "b", "recording_file_ids": ["x", "y"]}], "settings": [1, 2, 3], "count": 9,
        }}});
        assert_eq!(entries_in(&event), 9);
        assert!(Bounds { entries: 9, values: 1 }.check_entries(&event).is_ok());
        assert!(Bounds { entries: 8, values: 1 }.check_entries(&event).is_err());
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_a_short_one_stays() {
        let long = short("ü".repeat(MAX_TEXT_BYTES));
        assert!(long.len() <= MAX_TEXT_BYTES && long.ends_with("ü…"), "{long}");
        assert_eq!(short("topic".to_owned()), "topic");
    }
}
