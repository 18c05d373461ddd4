//! `meeting.aic_transcript_completed`: the transcript of a meeting by Zoom's AI Companion, which needs no cloud recording. The event
//! says that there is one; where it is says `GET /meetings/{uuid}/transcript`.
//!
//! Shape: Zoom's references for Meetings, `meeting.aic_transcript_completed` and "Get a meeting transcript": `meeting_uuid` and
//! other keys of the meeting with `meeting_` before them; in the answer `download_url`, or `download_restriction_reason`.

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::payload::{Told, check_length, secret, short_text, text, time};
use super::{redact, summary, token};
use crate::domain::recording::{
    AnnouncedFile, AnnouncedRecording, Announcement, FileIdentity, MEETING_TRANSCRIPT, RecordingIdentity,
    RecordingKind, Scope,
};

/// Reads the meeting, and that it has a transcript.
///
/// # Errors
/// In words, when it is about no meeting.
pub(super) fn read(told: &Told, object: &Map<String, Value>) -> Result<Announcement, String> {
    let meeting = summary::of_the_meeting(object);
    let instance_id = text(meeting.get("uuid")).ok_or("no meeting_uuid")?;
    check_length("meeting_uuid", &instance_id)?;
    let identity =
        RecordingIdentity { account_id: told.account_id.clone(), kind: RecordingKind::Meeting, instance_id };
    let token = secret(told.token.clone());
    let file = AnnouncedFile {
        identity: FileIdentity { collection: MEETING_TRANSCRIPT.to_owned(), name: "TRANSCRIPT".to_owned() },
        recording_type: "aic_transcript".to_owned(),
        file_type: "TRANSCRIPT".to_owned(),
        extension: "vtt".to_owned(),
        recording_start: time(meeting.get("start_time")),
        announced_bytes: None,
        download_url: secret(text(object.get("download_url"))),
        token_expires_at: token.as_ref().and_then(token::expires_at),
        download_token: token,
        content: None,
        skip: None,
        metadata: redact::map(object.clone()),
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
        files: vec![file],
        odd: Vec::new(),
    })
}

/// Where a meeting's transcript is, by the API's answer.
#[derive(Debug)]
pub enum Transcript {
    /// There; the API's own bearer token opens it.
    At(SecretString),
    /// Zoom still works on it.
    NotReady,
    /// Zoom has none, or has it no more.
    Gone(String),
    /// Zoom does not let it be downloaded.
    Withheld(String),
}

impl Transcript {
    /// Reads the answer. A URL beside a restriction opens nothing.
    pub(super) fn read(answer: &Value) -> Self {
        let is_withheld = answer.get("can_download").and_then(Value::as_bool) == Some(false);
        let reason = text(answer.get("download_restriction_reason")).filter(|reason| !reason.is_empty());
        match (reason, text(answer.get("download_url"))) {
            (None, Some(url)) if !is_withheld => Self::At(url.into()),
            (Some(reason), _) if reason == "NOT_READY" => Self::NotReady,
            (Some(reason), _) if ["DELETED_OR_TRASHED", "NO_TRANSCRIPT_DATA"].contains(&reason.as_str()) => {
                Self::Gone(reason)
            }
            (reason, _) => Self::Withheld(reason.unwrap_or_else(|| "no download_url".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_without_a_url_that_opens_anything_says_why() {
        let url = "https://zoom.us/rec/download/x";
        assert!(matches!(
            Transcript::read(&json!({ "can_download": true, "download_url": url })),
            Transcript::At(_)
        ));
        assert!(matches!(Transcript::read(&json!({ "download_url": url })), Transcript::At(_)));
        let of = |reason: &str| {
            Transcript::read(&json!({ "download_url": url, "download_restriction_reason": reason }))
        };
        assert!(matches!(of("NOT_READY"), Transcript::NotReady));
        assert!(matches!(of("DELETED_OR_TRASHED"), Transcript::Gone(_)));
        assert!(matches!(of("UNSUPPORTED"), Transcript::Withheld(_)));
        assert!(matches!(of(""), Transcript::At(_)));
        assert!(matches!(Transcript::read(&json!({ "can_download": false })), Transcript::Withheld(_)));
    }
}
