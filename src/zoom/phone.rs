//! `phone.recording_*`: recorded calls of Zoom Phone. One event may tell of several; each is a recording with two files at most,
//! its sound and its transcript.
//!
//! Shape: Zoom's event reference for Phone: `payload.object.recordings[]` with `id`, `download_url` and, of a
//! transcript, `transcript_download_url`. That the sound is MP3 and the transcript JSON is observed, not promised. The
//! event brings no token as far as the reference says, and an access token of the API opens the files; where a token
//! comes along, it is used.

use serde_json::{Map, Value};

use super::events::Shape;
use super::payload::{Part, Told, check_length, complete, list, secret, short_text, size, text, time};
use super::{redact, token};
use crate::domain::recording::{
    AnnouncedFile, AnnouncedRecording, Announcement, Change, FileIdentity, RecordingIdentity, RecordingKind,
    Scope,
};

/// Where the files stand.
const COLLECTION: &str = "recordings";
/// Where transcripts stand, as if the event had a list of that name: a transcript has the id of its recording.
const TRANSCRIPTS: &str = "call_transcripts";

/// Reads every call; what is odd is told with the first that is not.
///
/// # Errors
/// In words, when there is no call at all.
pub(super) fn read(told: &Told, shape: Shape, event: Value) -> Result<Vec<Part>, String> {
    let calls = list(&event, COLLECTION);
    let (mut parts, mut odd) = (Vec::new(), Vec::new());
    for (index, call) in calls.iter().enumerate() {
        match announcement(told, shape, call) {
            Ok(announcement) => parts.push(Part::of(&event, announcement, COLLECTION, call)),
            Err(reason) => odd.push(format!("{COLLECTION}[{index}]: {reason}")),
        }
    }
    complete(parts, odd, event).ok_or_else(|| "it names no call".to_owned())
}

/// Reads an entry of the API's list of recorded calls ("Get call recordings"), which is that of an event, with the transcript's URL
/// beside that of the sound. Returns what it announces, and the entry without secrets.
///
/// # Errors
/// In words, when it is no call.
pub(super) fn read_listed(account_id: &str, entry: Value) -> Result<(Announcement, Vec<u8>), String> {
    let told =
        Told { account_id: account_id.to_owned(), token: None, happened_at: None, change: Change::default() };
    let mut listed = announcement(&told, Shape::Calls, &entry)?;
    if text(entry.get("transcript_download_url")).is_some() {
        listed.files.extend(announcement(&told, Shape::CallTranscripts, &entry)?.files);
    }
    Ok((listed, redact::value(entry).to_string().into()))
}

fn announcement(told: &Told, shape: Shape, call: &Value) -> Result<Announcement, String> {
    let call = call.as_object().ok_or("no object")?;
    let id = text(call.get("id")).ok_or("no id")?;
    check_length("id", &id)?;
    let identity = RecordingIdentity {
        account_id: told.account_id.clone(),
        kind: RecordingKind::Phone,
        instance_id: id.clone(),
    };
    Ok(Announcement {
        recording: AnnouncedRecording {
            identity,
            topic: topic(call),
            start_time: time(call.get("date_time")),
            metadata: redact::map(call.clone()),
        },
        happened_at: told.happened_at,
        change: told.change,
        scope: Scope::Recording,
        files: if shape == Shape::BareCalls { Vec::new() } else { vec![file(told, shape, call, id)] },
        odd: Vec::new(),
    })
}

/// Who called whom, as far as names or numbers are known.
pub(super) fn topic(call: &Map<String, Value>) -> Option<String> {
    let who = |side: &str| {
        ["name", "number"].iter().find_map(|key| short_text(call.get(format!("{side}_{key}").as_str())))
    };
    match (who("caller"), who("callee")) {
        (Some(caller), Some(callee)) => Some(format!("{caller} to {callee}")),
        (one, other) => one.or(other),
    }
}

fn file(told: &Told, shape: Shape, call: &Map<String, Value>, id: String) -> AnnouncedFile {
    let (collection, url, recording_type, file_type, extension) = match shape {
        Shape::CallTranscripts => {
            (TRANSCRIPTS, "transcript_download_url", "call_transcript", "TRANSCRIPT", "json")
        }
        _ => (COLLECTION, "download_url", "call_recording", "MP3", "mp3"),
    };
    let token = secret(text(call.get("download_token")).or_else(|| told.token.clone()));
    AnnouncedFile {
        identity: FileIdentity { collection: collection.to_owned(), name: id },
        recording_type: recording_type.to_owned(),
        file_type: file_type.to_owned(),
        extension: extension.to_owned(),
        recording_start: time(call.get("date_time")),
        announced_bytes: size(call.get("file_size")),
        download_url: secret(text(call.get(url))),
        token_expires_at: token.as_ref().and_then(token::expires_at),
        download_token: token,
        content: None,
        skip: None,
        metadata: redact::map(call.clone()),
    }
}
