//! `phone.voicemail_*`: voicemails of Zoom Phone, each with its sound and, where there is one, its transcript.
//!
//! Shape: Zoom's event reference for Phone: `payload.object` is the voicemail, with `id`, `date_time`, `download_url` and, once it
//! is transcribed, `transcription.content`. Of deleted ones a list `voice_mails` is seen, too. That the sound is MP3 is observed, not
//! promised. An access token of the API opens it; where a token comes along, it is used.

use serde_json::{Map, Value};

use super::events::Shape;
use super::payload::{Part, Told, check_length, complete, list, secret, size, text, time};
use super::{phone, redact, token};
use crate::domain::recording::{
    AnnouncedFile, AnnouncedRecording, Announcement, FileIdentity, RecordingIdentity, RecordingKind, Scope,
};

/// Where the sound stands, as if the event had a list of that name.
const COLLECTION: &str = "voicemails";
/// Where the transcript stands: it has the id of its voicemail.
const TRANSCRIPTS: &str = "voicemail_transcripts";
/// The list of an event about several.
const LIST: &str = "voice_mails";

/// Reads the voicemail, or every one of several.
///
/// # Errors
/// In words, when there is none.
pub(super) fn read(told: &Told, shape: Shape, event: Value) -> Result<Vec<Part>, String> {
    let listed = list(&event, LIST);
    if listed.is_empty() {
        let announcement =
            announcement(told, shape, event.pointer("/payload/object").unwrap_or(&Value::Null))?;
        return Ok(vec![Part { announcement, body: redact::value(event).to_string().into() }]);
    }
    let (mut parts, mut odd) = (Vec::new(), Vec::new());
    for (index, voicemail) in listed.iter().enumerate() {
        match announcement(told, shape, voicemail) {
            Ok(announcement) => parts.push(Part::of(&event, announcement, LIST, voicemail)),
            Err(reason) => odd.push(format!("{LIST}[{index}]: {reason}")),
        }
    }
    complete(parts, odd, event).ok_or_else(|| "it names no voicemail".to_owned())
}

fn announcement(told: &Told, shape: Shape, voicemail: &Value) -> Result<Announcement, String> {
    let voicemail = voicemail.as_object().ok_or("payload.object is missing or no object")?;
    let id = text(voicemail.get("id")).ok_or("no id")?;
    check_length("id", &id)?;
    let identity = RecordingIdentity {
        account_id: told.account_id.clone(),
        kind: RecordingKind::Phone,
        instance_id: id.clone(),
    };
    let files = match shape {
        Shape::BareVoicemail => Vec::new(),
        _ => [sound(told, voicemail, &id), transcript(voicemail, &id)].into_iter().flatten().collect(),
    };
    Ok(Announcement {
        recording: AnnouncedRecording {
            identity,
            topic: phone::topic(voicemail).map(|who| format!("Voicemail: {who}")),
            start_time: time(voicemail.get("date_time")),
            metadata: redact::map(about(voicemail)),
        },
        happened_at: told.happened_at,
        change: told.change,
        scope: Scope::Recording,
        files,
        odd: Vec::new(),
    })
}

/// All but what was said in it, which is a file.
fn about(voicemail: &Map<String, Value>) -> Map<String, Value> {
    let mut about = voicemail.clone();
    about.remove("transcription");
    about
}

/// What can be heard; an event about the transcript alone may say nothing of it.
fn sound(told: &Told, voicemail: &Map<String, Value>, id: &str) -> Option<AnnouncedFile> {
    let url = text(voicemail.get("download_url"))?;
    let token = secret(text(voicemail.get("download_token")).or_else(|| told.token.clone()));
    Some(AnnouncedFile {
        announced_bytes: size(voicemail.get("file_size")),
        download_url: secret(Some(url)),
        token_expires_at: token.as_ref().and_then(token::expires_at),
        download_token: token,
        ..file(voicemail, COLLECTION, id, ("voicemail", "MP3", "mp3"))
    })
}

/// What was said, as text: the event brings it along.
fn transcript(voicemail: &Map<String, Value>, id: &str) -> Option<AnnouncedFile> {
    let transcription = voicemail.get("transcription")?.as_object()?;
    text(transcription.get("content"))?;
    let mut content = serde_json::to_vec_pretty(&redact::map(transcription.clone())).ok()?;
    content.push(b'\n');
    Some(AnnouncedFile {
        announced_bytes: Some(content.len() as u64),
        content: Some(content),
        ..file(voicemail, TRANSCRIPTS, id, ("voicemail_transcript", "TRANSCRIPT", "json"))
    })
}

/// A file without its content. `words`: its recording type, type and extension.
fn file(
    voicemail: &Map<String, Value>,
    collection: &str,
    id: &str,
    (recording_type, file_type, extension): (&str, &str, &str),
) -> AnnouncedFile {
    AnnouncedFile {
        identity: FileIdentity { collection: collection.to_owned(), name: id.to_owned() },
        recording_type: recording_type.to_owned(),
        file_type: file_type.to_owned(),
        extension: extension.to_owned(),
        recording_start: time(voicemail.get("date_time")),
        announced_bytes: None,
        download_url: None,
        download_token: None,
        token_expires_at: None,
        content: None,
        skip: None,
        metadata: redact::map(about(voicemail)),
    }
}
