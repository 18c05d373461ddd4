//! Event bodies and answers of the API in Zoom's shapes (Zoom, "Video SDK webhooks" and "Meeting webhooks", events
//! `session.recording_*` and `recording.*`), and the odd forms in which they really come.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use url::Url;

use super::recording::{Collection, FakeFile, FakeRecording};
use crate::domain::recording::RecordingKind;

/// The host of every session and meeting.
pub(super) const HOST_ID: &str = "Hk9fakeHostIdQ0wNr1";
/// The host's address.
pub(super) const HOST_EMAIL: &str = "host@example.com";

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The recording is ready: everything but transcript and summary.
    Recording,
    /// The transcript is ready.
    Transcript,
    /// The summary is ready; Video SDK only.
    Summary,
}

impl EventKind {
    /// All of them, in the order in which Zoom sends them.
    pub const ALL: [Self; 3] = [Self::Recording, Self::Transcript, Self::Summary];

    /// The value of `event`.
    #[must_use]
    pub fn name(self, kind: RecordingKind) -> &'static str {
        match (kind, self) {
            (RecordingKind::VideoSdk, Self::Recording) => "session.recording_completed",
            (RecordingKind::VideoSdk, Self::Transcript) => "session.recording_transcript_completed",
            (RecordingKind::VideoSdk, Self::Summary) => "session.recording_summary_completed",
            (_, Self::Recording) => "recording.completed",
            (_, Self::Transcript) => "recording.transcript_completed",
            (_, Self::Summary) => "recording.summary_completed",
        }
    }

    /// Whether this event announces that file.
    #[must_use]
    pub fn announces(self, file: &FakeFile) -> bool {
        let kind = match file.file_type.as_str() {
            "TRANSCRIPT" => Self::Transcript,
            "SUMMARY" => Self::Summary,
            _ => Self::Recording,
        };
        self == kind
    }

    /// The events that a recording needs until every file of it is announced.
    pub fn of(recording: &FakeRecording) -> impl Iterator<Item = Self> + '_ {
        Self::ALL.into_iter().filter(|kind| recording.files.iter().any(|file| kind.announces(file)))
    }
}

/// What happens to a recording, beside its files' becoming ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening<'a> {
    /// Recording begins.
    Started,
    /// Recording pauses.
    Paused,
    /// Recording goes on.
    Resumed,
    /// Recording ends.
    Stopped,
    /// There will be no transcript; Video SDK only.
    TranscriptFailed,
    /// It is moved to the trash.
    Trashed,
    /// It is deleted for good.
    Deleted,
    /// It is taken out of the trash.
    Recovered,
    /// Moved to the trash together with others; meetings and webinars only, as the next two.
    BatchTrashed,
    /// Deleted together with others.
    BatchDeleted,
    /// Taken out of the trash together with others.
    BatchRecovered,
    /// It has this topic now; meetings and webinars only, as the next two.
    Renamed(&'a str),
    /// An archiving account's files of it are ready.
    ArchiveFilesCompleted,
    /// A summary of the meeting is ready: this is its overview.
    SummaryCompleted(&'a str),
    /// The summary was changed: this is its overview now.
    SummaryUpdated(&'a str),
    /// The summary is moved to the trash.
    SummaryTrashed,
    /// The summary is deleted for good.
    SummaryDeleted,
    /// The summary is taken out of the trash.
    SummaryRecovered,
    /// The sound of a recorded call is ready; Phone only, as the next ones.
    CallRecorded,
    /// The same, told to those who may listen to it.
    CallRecordedForAccessMember,
    /// A recorded call is moved to the trash.
    CallDeleted,
    /// A recorded call is deleted for good.
    CallPermanentlyDeleted,
    /// The transcript of a recorded call is ready.
    CallTranscribed,
    /// A voicemail has come.
    VoicemailReceived,
    /// The same, told to those who may listen to it.
    VoicemailReceivedForAccessMember,
    /// The transcript of a voicemail is ready.
    VoicemailTranscribed,
    /// A voicemail is moved to the trash.
    VoicemailDeleted,
    /// A voicemail is deleted for good.
    VoicemailPermanentlyDeleted,
    /// AI Companion's transcript of a meeting is ready; meetings and webinars only.
    AicTranscriptCompleted,
}

impl Happening<'_> {
    /// One of each.
    pub const ALL: [Self; 29] = [
        Self::Started,
        Self::Paused,
        Self::Resumed,
        Self::Stopped,
        Self::TranscriptFailed,
        Self::Trashed,
        Self::Deleted,
        Self::Recovered,
        Self::BatchTrashed,
        Self::BatchDeleted,
        Self::BatchRecovered,
        Self::Renamed("Another topic"),
        Self::ArchiveFilesCompleted,
        Self::SummaryCompleted("All is well."),
        Self::SummaryUpdated("All is better."),
        Self::SummaryTrashed,
        Self::SummaryDeleted,
        Self::SummaryRecovered,
        Self::CallRecorded,
        Self::CallRecordedForAccessMember,
        Self::CallDeleted,
        Self::CallPermanentlyDeleted,
        Self::CallTranscribed,
        Self::VoicemailReceived,
        Self::VoicemailReceivedForAccessMember,
        Self::VoicemailTranscribed,
        Self::VoicemailDeleted,
        Self::VoicemailPermanentlyDeleted,
        Self::AicTranscriptCompleted,
    ];

    /// The value of `event`; `None` where there is no such event for this product.
    #[must_use]
    pub fn name(self, kind: RecordingKind) -> Option<&'static str> {
        let name = match (kind, self) {
            (RecordingKind::Phone, Self::CallRecorded) => "phone.recording_completed",
            (RecordingKind::Phone, Self::CallTranscribed) => "phone.recording_transcript_completed",
            (RecordingKind::Phone, Self::CallRecordedForAccessMember) => {
                "phone.recording_completed_for_access_member"
            }
            (RecordingKind::Phone, Self::CallDeleted) => "phone.recording_deleted",
            (RecordingKind::Phone, Self::CallPermanentlyDeleted) => "phone.recording_permanently_deleted",
            (RecordingKind::Phone, Self::VoicemailReceived) => "phone.voicemail_received",
            (RecordingKind::Phone, Self::VoicemailReceivedForAccessMember) => {
                "phone.voicemail_received_for_access_member"
            }
            (RecordingKind::Phone, Self::VoicemailTranscribed) => "phone.voicemail_transcript_completed",
            (RecordingKind::Phone, Self::VoicemailDeleted) => "phone.voicemail_deleted",
            (RecordingKind::Phone, Self::VoicemailPermanentlyDeleted) => {
                "phone.voicemail_permanently_deleted"
            }
            (RecordingKind::Phone, _) => return None,
            (_, call) if call.is_of_phone() => return None,
            (RecordingKind::VideoSdk, Self::Started) => "session.recording_started",
            (RecordingKind::VideoSdk, Self::Paused) => "session.recording_paused",
            (RecordingKind::VideoSdk, Self::Resumed) => "session.recording_resumed",
            (RecordingKind::VideoSdk, Self::Stopped) => "session.recording_stopped",
            (RecordingKind::VideoSdk, Self::TranscriptFailed) => "session.recording_transcript_failed",
            (RecordingKind::VideoSdk, Self::Trashed) => "session.recording_trashed",
            (RecordingKind::VideoSdk, Self::Deleted) => "session.recording_deleted",
            (RecordingKind::VideoSdk, Self::Recovered) => "session.recording_recovered",
            (RecordingKind::VideoSdk, _) | (_, Self::TranscriptFailed) => return None,
            (_, Self::Started) => "recording.started",
            (_, Self::Paused) => "recording.paused",
            (_, Self::Resumed) => "recording.resumed",
            (_, Self::Stopped) => "recording.stopped",
            (_, Self::Trashed) => "recording.trashed",
            (_, Self::Deleted) => "recording.deleted",
            (_, Self::Recovered) => "recording.recovered",
            (_, Self::BatchTrashed) => "recording.batch_trashed",
            (_, Self::BatchDeleted) => "recording.batch_deleted",
            (_, Self::BatchRecovered) => "recording.batch_recovered",
            (_, Self::Renamed(_)) => "recording.renamed",
            (_, Self::ArchiveFilesCompleted) => "recording.archive_files_completed",
            (_, Self::SummaryCompleted(_)) => "meeting.summary_completed",
            (_, Self::SummaryUpdated(_)) => "meeting.summary_updated",
            (_, Self::SummaryTrashed) => "meeting.summary_trashed",
            (_, Self::SummaryDeleted) => "meeting.summary_deleted",
            (_, Self::SummaryRecovered) => "meeting.summary_recovered",
            (_, Self::AicTranscriptCompleted) => "meeting.aic_transcript_completed",
            // Calls and voicemails: dealt with above.
            (_, _) => return None,
        };
        Some(name)
    }

    fn is_of_phone(self) -> bool {
        self.is_about_voicemail()
            || matches!(
                self,
                Self::CallRecorded
                    | Self::CallTranscribed
                    | Self::CallRecordedForAccessMember
                    | Self::CallDeleted
                    | Self::CallPermanentlyDeleted
            )
    }

    fn is_about_voicemail(self) -> bool {
        matches!(
            self,
            Self::VoicemailReceived
                | Self::VoicemailReceivedForAccessMember
                | Self::VoicemailTranscribed
                | Self::VoicemailDeleted
                | Self::VoicemailPermanentlyDeleted
        )
    }
}

/// Forms that are odd but have been seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Numbers come as strings: `"file_size": "1024"`, `"id": "81234567890"`.
    pub numbers_as_strings: bool,
    /// Ids of digits come as numbers; see [`FakeRecording::with_numeric_ids`].
    pub strings_as_numbers: bool,
    /// No `file_size` anywhere.
    pub missing_sizes: bool,
    /// Keys stand twice in one object, with the same value.
    pub doubled_keys: bool,
    /// Enumerations have values, and objects have keys, that nobody has heard of.
    pub unknown_words: bool,
    /// Among the files stand a `null` and a string.
    pub stray_entries: bool,
}

/// What differs between two announcements of the same thing.
#[derive(Debug, Clone)]
pub struct Links<'a> {
    /// Where the files are served.
    pub base: &'a Url,
    /// Makes the URLs of this announcement unlike those of another.
    pub variant: &'a str,
    /// The download token.
    pub token: &'a str,
}

impl Links<'_> {
    /// Where a file can be fetched, by these links.
    #[must_use]
    pub fn download_url(&self, file: &FakeFile) -> String {
        let base = self.base.as_str().trim_end_matches('/');
        format!("{base}/rec/webhook_download/{}/{}", file.key, self.variant)
    }
}

/// The body of an event, as bytes to be signed.
#[must_use]
pub fn body(
    recording: &FakeRecording,
    kind: EventKind,
    links: &Links<'_>,
    quirks: Quirks,
    event_time: DateTime<Utc>,
) -> Vec<u8> {
    let files: Vec<_> = recording.files.iter().filter(|file| kind.announces(file)).collect();
    let object = object_with(recording, &files, links);
    let mut event = json!({
        "event": kind.name(recording.kind),
        "event_ts": event_time.timestamp_millis(),
        "download_token": links.token,
        "payload": { "account_id": recording.account_id, "object": object },
    });
    quirks.apply(&mut event);
    let text = event.to_string();
    if quirks.doubled_keys { double_keys(&text) } else { text }.into_bytes()
}

/// The body of an event about what happens to a recording; `None` where there is no such event for its product.
#[must_use]
pub fn happening(
    recording: &FakeRecording,
    what: Happening<'_>,
    links: &Links<'_>,
    quirks: Quirks,
    event_time: DateTime<Utc>,
) -> Option<Vec<u8>> {
    let mut event = json!({
        "event": what.name(recording.kind)?,
        "event_ts": event_time.timestamp_millis(),
        "payload": { "account_id": recording.account_id, "object": happened_object(recording, what, links) },
    });
    match what {
        Happening::ArchiveFilesCompleted => event["download_token"] = json!(links.token),
        Happening::Renamed(_) => {
            event["payload"]["old_object"] = Value::Object(recording_object(recording, links));
            event["payload"]["time_stamp"] = json!(event_time.timestamp_millis());
        }
        _ => {}
    }
    if !matches!(what, Happening::SummaryCompleted(_) | Happening::CallRecorded | Happening::CallTranscribed)
    {
        event["payload"]["operator"] = json!("admin@example.com");
        event["payload"]["operator_id"] = json!("Op9fakeOperatorIdQ0w");
    }
    quirks.apply(&mut event);
    let text = event.to_string();
    Some(if quirks.doubled_keys { double_keys(&text) } else { text }.into_bytes())
}

fn happened_object(recording: &FakeRecording, what: Happening<'_>, links: &Links<'_>) -> Value {
    let mut object = recording_object(recording, links);
    let all: Vec<_> = recording.files.iter().collect();
    match what {
        Happening::Started | Happening::Paused | Happening::Resumed | Happening::Stopped => {
            let started = json!({ "recording_start": time(recording.start_time), "recording_end": "" });
            object.insert("recording_file".to_owned(), started);
        }
        // Meetings list the files even when they are gone.
        Happening::Trashed | Happening::Deleted | Happening::Recovered
            if recording.kind != RecordingKind::VideoSdk =>
        {
            object = object_with(recording, &all, links);
        }
        Happening::BatchTrashed => return json!({ "meeting_uuids": [recording.instance_id] }),
        Happening::BatchDeleted | Happening::BatchRecovered => {
            let meeting = json!({ "meeting_uuid": recording.instance_id, "recording_file_ids": [] });
            return json!({ "meetings": [meeting] });
        }
        Happening::Renamed(topic) => drop(object.insert("topic".to_owned(), json!(topic))),
        Happening::ArchiveFilesCompleted => {
            let archived = |file: &&FakeFile| {
                let mut entry = file_object(recording, file, links);
                entry["individual"] = json!(false);
                entry["encryption_fingerprint"] = json!(file.content.sha256().to_string());
                entry
            };
            let files: Vec<_> = all.iter().map(archived).collect();
            object.insert("archive_files".to_owned(), Value::Array(files));
        }
        Happening::SummaryCompleted(overview) => return summary_object(recording, overview, 0),
        Happening::SummaryUpdated(overview) => return summary_object(recording, overview, 60),
        Happening::SummaryTrashed | Happening::SummaryDeleted | Happening::SummaryRecovered => {
            return summary_object(recording, "", 0);
        }
        Happening::CallRecorded
        | Happening::CallTranscribed
        | Happening::CallRecordedForAccessMember
        | Happening::CallDeleted
        | Happening::CallPermanentlyDeleted => {
            return json!({ "recordings": [call_object(recording, what, links)] });
        }
        Happening::AicTranscriptCompleted => return transcribed_meeting(recording),
        Happening::VoicemailDeleted | Happening::VoicemailPermanentlyDeleted => {
            return json!({ "voice_mails": [voicemail_object(recording, what, links)] });
        }
        voicemail if voicemail.is_about_voicemail() => return voicemail_object(recording, what, links),
        _ => {}
    }
    Value::Object(object)
}

/// `changed_after`: seconds from its end to the last change.
fn summary_object(recording: &FakeRecording, overview: &str, changed_after: i64) -> Value {
    let end = recording.start_time + TimeDelta::minutes(i64::from(recording.minutes));
    json!({
        "meeting_uuid": recording.instance_id,
        "meeting_id": recording.number,
        "meeting_host_id": "Hk9fakeHostIdQ0wNr1",
        "meeting_host_email": "host@example.com",
        "meeting_topic": recording.topic,
        "meeting_start_time": time(recording.start_time),
        "meeting_end_time": time(end),
        "summary_start_time": time(recording.start_time),
        "summary_end_time": time(end),
        "summary_created_time": time(end),
        "summary_last_modified_time": time(end + TimeDelta::seconds(changed_after)),
        "summary_title": format!("Summary of {}", recording.topic),
        "summary_overview": overview,
        "summary_details": [{ "label": "Archive", "summary": "Everything is kept." }],
        "next_steps": ["Ada reads the manifest."],
    })
}

/// A call: its first file is the sound, its `TRANSCRIPT` the transcript.
fn call_object(recording: &FakeRecording, what: Happening<'_>, links: &Links<'_>) -> Value {
    let end = recording.start_time + TimeDelta::minutes(i64::from(recording.minutes));
    let mut call = json!({
        "id": recording.instance_id,
        "caller_number": "+12025550111",
        "caller_number_type": 2,
        "caller_name": "Ada Example",
        "callee_number": "1002",
        "callee_number_type": 1,
        "callee_name": "Grace Example",
        "direction": "inbound",
        "duration": recording.minutes * 60,
        "date_time": time(recording.start_time),
        "end_time": time(end),
        "recording_type": "Automatic",
        "call_id": recording.number.to_string(),
        "owner": { "type": "user", "id": "Ow9fakeOwnerIdQ0wNr1", "name": "Grace Example" },
    });
    let (key, file) = match what {
        Happening::CallTranscribed => ("transcript_download_url", recording.file("TRANSCRIPT")),
        _ => ("download_url", recording.files.first()),
    };
    if let Some(file) = file {
        call[key] = json!(links.download_url(file));
    }
    call
}

/// A voicemail: the sound is the first file of its recording.
fn voicemail_object(recording: &FakeRecording, what: Happening<'_>, links: &Links<'_>) -> Value {
    let mut voicemail = call_object(recording, Happening::VoicemailDeleted, links);
    if matches!(what, Happening::VoicemailDeleted | Happening::VoicemailPermanentlyDeleted)
        && let Some(voicemail) = voicemail.as_object_mut()
    {
        voicemail.remove("download_url");
    }
    if what == Happening::VoicemailTranscribed {
        voicemail["transcription"] = json!({ "status": 4, "content": VOICEMAIL_TEXT });
    }
    voicemail
}

/// What is said in every voicemail.
pub const VOICEMAIL_TEXT: &str = "This is Ada. Please call me back.";

fn transcribed_meeting(recording: &FakeRecording) -> Value {
    json!({
        "meeting_uuid": recording.instance_id,
        "meeting_id": recording.number,
        "meeting_host_id": "Hk9fakeHostIdQ0wNr1",
        "meeting_topic": recording.topic,
        "meeting_start_time": time(recording.start_time),
    })
}

/// An entry of the API's list of recorded calls.
#[must_use]
pub fn listed_call(recording: &FakeRecording, links: &Links<'_>) -> Value {
    let mut call = call_object(recording, Happening::CallRecorded, links);
    if let Some(text) = recording.file("TRANSCRIPT") {
        call["transcript_download_url"] = json!(links.download_url(text));
    }
    call
}

/// How far Zoom is with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStatus {
    /// Ready.
    Completed,
    /// Still being worked on: no size and no URL yet.
    Processing,
    /// Not there any more.
    Deleted,
}

/// The API's answer about a recording, in the shape of "List session's recordings" (Video SDK) or "Get meeting
/// recordings": all its files, as far as they are there. `with_token`: whether the token was asked for.
#[must_use]
pub fn answer(
    recording: &FakeRecording,
    links: &Links<'_>,
    with_token: bool,
    status: impl Fn(&FakeFile) -> FileStatus,
) -> Value {
    let files: Vec<_> = recording.files.iter().filter(|file| status(file) != FileStatus::Deleted).collect();
    let mut object = object_with(recording, &files, links);
    for collection in Collection::ALL {
        let entries = object.get_mut(collection.as_str()).and_then(Value::as_array_mut);
        let there = files.iter().filter(|file| file.collection == collection);
        for (entry, file) in entries.into_iter().flatten().zip(there) {
            if let (FileStatus::Processing, Some(entry)) = (status(file), entry.as_object_mut()) {
                entry.insert("status".to_owned(), json!("processing"));
                entry.remove("file_size");
                entry.remove("download_url");
            }
        }
    }
    if with_token {
        object.insert("download_access_token".to_owned(), json!(links.token));
    }
    Value::Object(object)
}

/// The recording with some of its files, each in its list.
fn object_with(recording: &FakeRecording, files: &[&FakeFile], links: &Links<'_>) -> Map<String, Value> {
    let mut object = recording_object(recording, links);
    for collection in Collection::ALL {
        let entries: Vec<_> = files
            .iter()
            .filter(|file| file.collection == collection)
            .map(|file| file_object(recording, file, links))
            .collect();
        if !entries.is_empty() || collection == Collection::Recording {
            object.insert(collection.as_str().to_owned(), Value::Array(entries));
        }
    }
    let total: u64 = files.iter().map(|file| file.content.len()).sum();
    object.insert("total_size".to_owned(), json!(total));
    object.insert("recording_count".to_owned(), json!(files.len()));
    object
}

fn recording_object(recording: &FakeRecording, links: &Links<'_>) -> Map<String, Value> {
    let start = time(recording.start_time);
    let object = match recording.kind {
        RecordingKind::VideoSdk => json!({
            "session_id": recording.instance_id,
            "session_name": recording.topic,
            "session_key": format!("key-{}", recording.number),
            "host_id": HOST_ID,
            "start_time": start,
            "timezone": "UTC",
            "duration": recording.minutes,
        }),
        kind => json!({
            "uuid": recording.instance_id,
            "id": recording.number,
            "account_id": recording.account_id,
            "host_id": HOST_ID,
            "host_email": HOST_EMAIL,
            "topic": recording.topic,
            // 8: a meeting that recurs at fixed times; 5: a webinar (Zoom, "Meeting and webinar types").
            "type": if kind == RecordingKind::Webinar { 5 } else { 8 },
            "start_time": start,
            "timezone": "Europe/Berlin",
            "duration": recording.minutes,
            "share_url": links.base.join("rec/share/fake").map(String::from).unwrap_or_default(),
            "password": "fake-password",
            "recording_play_passcode": "fake-passcode",
        }),
    };
    match object {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn file_object(recording: &FakeRecording, file: &FakeFile, links: &Links<'_>) -> Value {
    let start = recording.start_time + TimeDelta::seconds(i64::from(file.starts_after_secs));
    let end = start + TimeDelta::minutes(i64::from(recording.minutes));
    let mut object = json!({
        "recording_start": time(start),
        "recording_end": time(end),
        "file_type": file.file_type,
        "file_extension": file.extension,
        "download_url": links.download_url(file),
        "status": "completed",
    });
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object[key] = value;
        }
    };
    set("id", file.id.as_ref().map(|id| json!(id)));
    set("file_size", file.announced_bytes().map(|bytes| json!(bytes)));
    set("recording_type", file.recording_type.as_ref().map(|word| json!(word)));
    if recording.kind != RecordingKind::VideoSdk {
        set("meeting_id", Some(json!(recording.instance_id)));
        set("play_url", links.base.join("rec/play/fake").ok().map(|url| json!(url.as_str())));
    }
    if let Some(name) = &file.participant {
        set("file_name", Some(json!(format!("Audio only - {name}"))));
        if recording.kind == RecordingKind::VideoSdk {
            set("user_id", Some(json!("16778240")));
            set("user_key", Some(json!(name.split(' ').next().unwrap_or_default().to_lowercase())));
        }
    }
    object
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Quirks {
    fn apply(self, event: &mut Value) {
        if self.unknown_words {
            event["payload"]["object"]["hologram_level"] = json!({ "depth": [3, null] });
        }
        self.apply_to_fields(&mut event["payload"]["object"]);
        if self.numbers_as_strings {
            event["event_ts"] = json!(event["event_ts"].to_string());
        }
        for collection in Collection::ALL {
            if let Some(Value::Array(entries)) = event["payload"]["object"].get_mut(collection.as_str()) {
                entries.iter_mut().for_each(|entry| self.apply_to_file(entry));
                if self.stray_entries {
                    entries.insert(0, Value::Null);
                    entries.push(json!("processing"));
                }
            }
        }
    }

    fn apply_to_file(self, file: &mut Value) {
        if self.unknown_words {
            file["status"] = json!("teleported");
            file["hologram"] = json!(true);
        }
        if self.missing_sizes
            && let Some(file) = file.as_object_mut()
        {
            file.remove("file_size");
        }
        self.apply_to_fields(file);
    }

    fn apply_to_fields(self, object: &mut Value) {
        for value in object.as_object_mut().into_iter().flat_map(Map::values_mut) {
            match value {
                Value::Number(number) if self.numbers_as_strings => *value = json!(number.to_string()),
                Value::String(text) if self.strings_as_numbers => {
                    if let Ok(number) = text.parse::<u64>() {
                        *value = json!(number);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Says twice what can be found in the text without reading it: within a JSON string the quotes would be
/// escaped, so these patterns are keys for certain.
fn double_keys(text: &str) -> String {
    let mut text = text.to_owned();
    for pair in [r#""status":"completed""#, r#""timezone":"UTC""#, r#""timezone":"Europe/Berlin""#] {
        text = text.replace(pair, &format!("{pair},{pair}"));
    }
    text
}

/// The body of the event that a session has begun.
#[must_use]
pub fn session_started(recording: &FakeRecording, event_time: DateTime<Utc>) -> Vec<u8> {
    json!({
        "event": "session.started",
        "event_ts": event_time.timestamp_millis(),
        "payload": {
            "account_id": recording.account_id,
            "object": {
                "id": recording.instance_id,
                "session_id": recording.instance_id,
                "session_name": recording.topic,
                "session_key": format!("key-{}", recording.number),
                "start_time": time(event_time),
            },
        },
    })
    .to_string()
    .into_bytes()
}

/// The body of Zoom's request to validate a URL.
#[must_use]
pub fn url_validation(plain_token: &str, event_time: DateTime<Utc>) -> Vec<u8> {
    json!({
        "event": "endpoint.url_validation",
        "event_ts": event_time.timestamp_millis(),
        "payload": { "plainToken": plain_token },
    })
    .to_string()
    .into_bytes()
}
