//! `meeting.summary_completed` and `meeting.summary_updated`: the text of the summary is in the event itself. It becomes a file
//! of the meeting like any other, but for its content, which need not be fetched.
//!
//! Shape: Zoom's event reference for Meetings, `meeting.summary_completed`: `meeting_uuid`, `meeting_topic` and other
//! keys of the meeting with `meeting_` before them; `summary_title`, `summary_overview`, `summary_details`,
//! `next_steps`; nothing that says whether it was a webinar.

use chrono::SecondsFormat;
use serde_json::{Map, Value};

use super::events::Shape;
use super::payload::{Told, check_length, short_text, text, time};
use super::redact;
use crate::domain::recording::{
    AnnouncedFile, AnnouncedRecording, Announcement, FileIdentity, RecordingIdentity, RecordingKind, Scope,
};

/// Where the file stands, as if the event had a list of that name.
const COLLECTION: &str = "meeting_summary";

/// Keys whose values are the text: they are in the file, and not told a second time beside it.
const TEXT_KEYS: &[&str] = &[
    "summary_overview",
    "summary_details",
    "summary_content",
    "summary_doc_url",
    "next_steps",
    "edited_summary",
];

/// Reads the meeting and its summary.
///
/// # Errors
/// In words, when it is about no meeting.
pub(super) fn read(told: &Told, shape: Shape, object: &Map<String, Value>) -> Result<Announcement, String> {
    let meeting = of_the_meeting(object);
    let instance_id = text(meeting.get("uuid")).ok_or("no meeting_uuid")?;
    check_length("meeting_uuid", &instance_id)?;
    let identity =
        RecordingIdentity { account_id: told.account_id.clone(), kind: RecordingKind::Meeting, instance_id };
    let mut odd = Vec::new();
    let file = match shape {
        Shape::BareSummary => None,
        Shape::UpdatedSummary => {
            let at = text(object.get("summary_last_modified_time"));
            let at =
                at.or_else(|| told.happened_at.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true)));
            file(object, at.as_deref()).map_err(|reason| odd.push(reason)).ok()
        }
        _ => file(object, None).map_err(|reason| odd.push(reason)).ok(),
    };
    Ok(Announcement {
        recording: AnnouncedRecording {
            identity,
            topic: short_text(meeting.get("topic")),
            start_time: time(meeting.get("start_time")),
            metadata: redact::map(meeting),
        },
        happened_at: told.happened_at,
        change: told.change,
        scope: Scope::Recording,
        files: file.into_iter().collect(),
        odd,
    })
}

/// What is said of the meeting, under the names that it has elsewhere.
pub(super) fn of_the_meeting(object: &Map<String, Value>) -> Map<String, Value> {
    let of_meeting = object.iter().filter(|(key, _)| !key.starts_with("summary_") && !is_text(key));
    of_meeting
        .map(|(key, value)| (key.strip_prefix("meeting_").unwrap_or(key).to_owned(), value.clone()))
        .collect()
}

fn is_text(key: &str) -> bool {
    TEXT_KEYS.contains(&key)
}

/// The summary as a file: JSON, all that Zoom said. A meeting has several when the summary was begun several times, and another
/// one for each time at which it was changed.
fn file(object: &Map<String, Value>, changed_at: Option<&str>) -> Result<AnnouncedFile, String> {
    if !object.keys().any(|key| is_text(key)) {
        return Err("there is no text in the summary".to_owned());
    }
    let began = ["summary_start_time", "summary_created_time"].map(|key| text(object.get(key)));
    let name = match began.into_iter().flatten().next() {
        Some(began) => format!("SUMMARY@{began}"),
        None => "SUMMARY".to_owned(),
    };
    let name = changed_at.map_or_else(|| name.clone(), |at| format!("{name} changed {at}"));
    check_length("summary_start_time", &name)?;
    let whole = Value::Object(redact::map(object.clone()));
    let mut content = serde_json::to_vec_pretty(&whole).map_err(|error| error.to_string())?;
    content.push(b'\n');
    let about = object.iter().filter(|(key, _)| key.starts_with("summary_") && !is_text(key));
    Ok(AnnouncedFile {
        identity: FileIdentity { collection: COLLECTION.to_owned(), name },
        recording_type: COLLECTION.to_owned(),
        file_type: "SUMMARY".to_owned(),
        extension: "json".to_owned(),
        recording_start: time(object.get("summary_start_time")),
        announced_bytes: Some(content.len() as u64),
        download_url: None,
        download_token: None,
        token_expires_at: None,
        content: Some(content),
        skip: None,
        metadata: redact::map(about.map(|(key, value)| (key.clone(), value.clone())).collect()),
    })
}
