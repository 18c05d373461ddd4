//! What an event says, and what the API answers about a recording. Everything Zoom sends is optional until proven
//! otherwise: ids come as numbers or strings, keys twice, sizes not at all, and one odd file never spoils its
//! siblings.
//!
//! Which events there are, and what each of them means, is said in [`events`]. Shapes: Zoom's event references for
//! Video SDK and Meetings; summaries and calls have shapes of their own and are read next door.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::bounds::{self, Bounds};
use super::events::{self, EventKind, Shape};
use super::{meeting_transcript, phone, redact, summary, token, voicemail};
use crate::domain::file_identity::{Description, stand_in};
use crate::domain::json;
use crate::domain::media::{content_type, extension_of, type_of};
use crate::domain::recording::{
    AnnouncedFile, AnnouncedRecording, Announcement, Change, FileIdentity, RecordingIdentity, RecordingKind,
    Scope,
};

/// Longest event name that is kept, in bytes; names label metrics.
const MAX_NAME_BYTES: usize = 80;

/// Longest id that is taken for one, in bytes: ids stand in unique indexes. Zoom's have some forty.
const MAX_ID_BYTES: usize = 512;

/// What the reason of an event begins with that was signed with the secret of another account than it names. Such an event is
/// not replayed: the row does not tell who signed it.
pub const FOREIGN_ACCOUNT: &str = "it names an account that is not its signer's";

/// Account of a recording whose event names none.
pub const UNKNOWN_ACCOUNT: &str = "unknown";

/// `type` of a webinar's recording (Zoom's meeting API reference: 5 webinar, 6 and 9 recurring webinars).
const WEBINAR_TYPES: &[&str] = &["5", "6", "9"];

/// Most seconds since 1970 that a time may have: what is greater counts milliseconds, as `event_ts` does.
const MOST_SECONDS: i64 = 100_000_000_000;

/// A body that Zoom signed, read.
#[derive(Debug)]
pub enum Message {
    /// Zoom asks whether this URL belongs to the holder of the secret.
    UrlValidation {
        /// To be encrypted and sent back.
        plain_token: String,
    },
    /// Something about one recording.
    Announcement {
        /// Event name.
        name: String,
        /// What it announces.
        announcement: Box<Announcement>,
        /// The body without secrets.
        body: Vec<u8>,
    },
    /// Something about several recordings.
    Announcements {
        /// Event name.
        name: String,
        /// One for each recording.
        parts: Vec<Part>,
    },
    /// An event that this version has no use for.
    Other {
        /// Event name.
        name: String,
    },
    /// A shape that this version cannot read.
    Unreadable {
        /// Event name, empty when even that could not be read.
        name: String,
        /// Why, without any of the body.
        reason: String,
    },
}

/// What an event says of one recording among several.
#[derive(Debug)]
pub struct Part {
    /// What it announces.
    pub announcement: Announcement,
    /// What is kept of the body, without secrets: of the first part the whole, of the others their own entry.
    pub body: Vec<u8>,
}

/// Reads a body whose signature has been verified, within the bounds of what Zoom delivers.
#[must_use]
pub fn read(body: &[u8]) -> Message {
    read_within(Bounds::DELIVERED, body)
}

/// Reads a body whose signature has been verified. What exceeds `bounds` is unreadable, so that it is kept raw.
#[must_use]
pub fn read_within(bounds: Bounds, body: &[u8]) -> Message {
    let unreadable =
        |name: &str, reason: &str| Message::Unreadable { name: name.to_owned(), reason: reason.to_owned() };
    if let Err(reason) = bounds.check_values(body) {
        let name = bounds::name_of(body).as_deref().map(bounded_name).unwrap_or_default();
        let is_of_use = name.is_empty() || events::find(&name).is_some();
        return if is_of_use { unreadable(&name, &reason) } else { Message::Other { name } };
    }
    // A `Value` first: it takes keys that stand twice (the last one counts), a struct would not.
    let Ok(value) = json::parse(body) else {
        return unreadable("", "not JSON");
    };
    let Some(name) = value.get("event").and_then(Value::as_str).map(bounded_name) else {
        return unreadable("", "no event name");
    };
    if name == "endpoint.url_validation" {
        return match text(value.pointer("/payload/plainToken")) {
            Some(plain_token) => Message::UrlValidation { plain_token },
            None => unreadable(&name, "no plainToken"),
        };
    }
    let Some(kind) = events::find(&name) else { return Message::Other { name } };
    let entries = bounds.check_entries(&value);
    entries
        .and_then(|()| read_event(kind, value))
        .unwrap_or_else(|reason| Message::Unreadable { name, reason })
}

fn read_event(kind: &EventKind, value: Value) -> Result<Message, String> {
    let name = kind.name.to_owned();
    let told = Told::read(kind, &value)?;
    let announcement = match kind.shape {
        Shape::Files | Shape::Bare => of_recording(kind, &told, object_of(&value)?)?,
        Shape::Summary | Shape::UpdatedSummary | Shape::BareSummary => {
            summary::read(&told, kind.shape, object_of(&value)?)?
        }
        Shape::MeetingTranscript => meeting_transcript::read(&told, object_of(&value)?)?,
        Shape::Batch => return Ok(Message::Announcements { name, parts: batch(&told, value)? }),
        Shape::Calls | Shape::CallTranscripts | Shape::BareCalls => {
            return Ok(Message::Announcements { name, parts: phone::read(&told, kind.shape, value)? });
        }
        Shape::Voicemail | Shape::BareVoicemail => {
            return Ok(Message::Announcements { name, parts: voicemail::read(&told, kind.shape, value)? });
        }
    };
    Ok(Message::Announcement {
        name,
        announcement: Box::new(announcement),
        body: redact::value(value).to_string().into(),
    })
}

/// What an event says beside its object.
pub(super) struct Told {
    pub(super) account_id: String,
    pub(super) token: Option<String>,
    pub(super) happened_at: Option<DateTime<Utc>>,
    pub(super) change: Change,
}

impl Told {
    fn read(kind: &EventKind, value: &Value) -> Result<Self, String> {
        let find = |pointers: &[&str]| pointers.iter().find_map(|pointer| text(value.pointer(pointer)));
        let account_id = find(&["/payload/account_id", "/payload/object/account_id"])
            .unwrap_or_else(|| UNKNOWN_ACCOUNT.to_owned());
        check_length("account_id", &account_id)?;
        Ok(Self {
            account_id,
            token: find(&[
                "/download_token",
                "/payload/download_token",
                "/payload/object/download_access_token",
            ]),
            happened_at: find(&["/event_ts", "/payload/time_stamp"]).as_deref().and_then(moment),
            change: kind.change,
        })
    }
}

fn object_of(value: &Value) -> Result<&Map<String, Value>, String> {
    let object = value.pointer("/payload/object").and_then(Value::as_object);
    object.ok_or_else(|| "payload.object is missing or no object".to_owned())
}

/// One recording, whole in `payload.object`.
fn of_recording(kind: &EventKind, told: &Told, object: &Map<String, Value>) -> Result<Announcement, String> {
    let recording_kind = recording_kind(kind.name, object);
    let instance_key = if recording_kind == RecordingKind::VideoSdk { "session_id" } else { "uuid" };
    let instance_id = text(object.get(instance_key)).ok_or_else(|| format!("no {instance_key}"))?;
    check_length(instance_key, &instance_id)?;
    let identity =
        RecordingIdentity { account_id: told.account_id.clone(), kind: recording_kind, instance_id };
    let mut announcement = described(identity, object, told.token.as_deref());
    announcement.happened_at = told.happened_at;
    announcement.change = told.change;
    announcement.scope = listed(&announcement);
    if kind.shape == Shape::Bare {
        announcement.files.clear();
        announcement.odd.clear();
    }
    Ok(announcement)
}

/// What a change of state is about in an event that lists files. A list that cannot be read whole names too few of them.
fn listed(announcement: &Announcement) -> Scope {
    if announcement.files.is_empty() || !announcement.odd.is_empty() {
        return Scope::Recording;
    }
    Scope::Listed(announcement.files.iter().map(Description::from).collect())
}

/// Recordings of which an event gives nothing but their ids, and those of single files.
fn batch(told: &Told, event: Value) -> Result<Vec<Part>, String> {
    let (meetings, uuids) = (list(&event, "meetings"), list(&event, "meeting_uuids"));
    let meetings = meetings.iter().map(|entry| ("meetings", entry, entry.get("meeting_uuid")));
    let uuids = uuids.iter().map(|entry| ("meeting_uuids", entry, Some(entry)));
    let (mut parts, mut odd) = (Vec::new(), Vec::new());
    for (key, entry, uuid) in meetings.chain(uuids) {
        match bare(told, uuid, entry.get("recording_file_ids")) {
            Ok(announcement) => parts.push(Part::of(&event, announcement, key, entry)),
            Err(reason) => odd.push(format!("an entry of {key}: {reason}")),
        }
    }
    complete(parts, odd, event).ok_or_else(|| "it names no recording".to_owned())
}

/// The parts, the first of which keeps the whole event and tells what was odd beside them; `None` when there are none.
pub(super) fn complete(mut parts: Vec<Part>, odd: Vec<String>, event: Value) -> Option<Vec<Part>> {
    let first = parts.first_mut()?;
    first.announcement.odd.extend(bounds::few_notes(odd));
    first.body = redact::value(event).to_string().into();
    Some(parts)
}

/// Which files `recording_file_ids` names: absent or null means all (Zoom's event reference, `recording.batch_deleted`). An
/// empty list is taken for the same, since something of the recording has moved; that is unconfirmed. Ids that cannot be read
/// are no reason to take files for deleted that were not named.
fn file_ids(ids: Option<&Value>) -> (Scope, Vec<String>) {
    let single = |id: &Value| text(Some(id)).filter(|id| check_length("id", id).is_ok());
    let ids = match ids {
        None | Some(Value::Null) => return (Scope::Recording, Vec::new()),
        Some(Value::Array(ids)) if ids.is_empty() => return (Scope::Recording, Vec::new()),
        Some(Value::Array(ids)) => ids.as_slice(),
        Some(id) => std::slice::from_ref(id),
    };
    let named: Vec<_> = ids.iter().filter_map(single).collect();
    let unread = ids.len() - named.len();
    let odd = (unread > 0).then(|| format!("{unread} of recording_file_ids are no ids"));
    (Scope::Ids(named), odd.into_iter().collect())
}

/// A meeting or webinar of which nothing but the id is known, and those of files.
fn bare(told: &Told, uuid: Option<&Value>, files: Option<&Value>) -> Result<Announcement, String> {
    let instance_id = text(uuid).ok_or("no uuid")?;
    check_length("uuid", &instance_id)?;
    let account_id = told.account_id.clone();
    let identity = RecordingIdentity { account_id, kind: RecordingKind::Meeting, instance_id };
    let (scope, odd) = file_ids(files);
    Ok(Announcement {
        recording: AnnouncedRecording { identity, topic: None, start_time: None, metadata: Map::new() },
        happened_at: told.happened_at,
        change: told.change,
        scope,
        files: Vec::new(),
        odd,
    })
}

impl Part {
    /// The part of an event that is about one entry of its list `key`. Its body repeats of the event what says whose it is and
    /// when it happened: a copy of everything for each entry would grow with the square of the event.
    pub(super) fn of(event: &Value, announcement: Announcement, key: &str, entry: &Value) -> Self {
        let short = |pointer: &str| {
            event.pointer(pointer).filter(|value| match value {
                Value::String(text) => text.len() <= MAX_ID_BYTES,
                other => other.is_number(),
            })
        };
        let own = json!({
            "event": short("/event"),
            "event_ts": short("/event_ts"),
            "payload": {
                "account_id": short("/payload/account_id"),
                "time_stamp": short("/payload/time_stamp"),
                "object": { "account_id": short("/payload/object/account_id"), key: [entry] },
            },
        });
        Self { announcement, body: redact::value(without_nulls(own)).to_string().into() }
    }
}

/// The same JSON without what is null in its outer objects.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let given = object.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(given.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        other => other,
    }
}

/// A list of an event's object; empty when there is none.
pub(super) fn list<'e>(event: &'e Value, key: &str) -> &'e [Value] {
    let list = event.pointer("/payload/object").and_then(|object| object.get(key)).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// Reads the API's answer about one recording, whose identity is the one that was asked about, whatever the answer
/// says or leaves out. Returns what it announces, and the answer without secrets.
///
/// Shapes: Zoom's API references, "List session's recordings" (Video SDK) and "Get meeting recordings": what
/// `payload.object` is in an event, with the token as `download_access_token`.
///
/// # Errors
/// In words, without any of the answer, when it is about no recording.
pub fn read_answer(asked: &RecordingIdentity, answer: Value) -> Result<(Announcement, Vec<u8>), String> {
    let object = answer.as_object().ok_or("no JSON object")?;
    let is_recording =
        |key: &String| key.ends_with("_files") || ["session_id", "uuid"].contains(&key.as_str());
    if !object.keys().any(is_recording) {
        return Err("neither a recording nor files of one".to_owned());
    }
    let token = text(object.get("download_access_token"));
    let announcement = described(asked.clone(), object, token.as_deref());
    Ok((announcement, redact::value(answer).to_string().into()))
}

/// The token of an event or an answer, read once for all of its files.
struct Token {
    secret: Option<SecretString>,
    expires_at: Option<DateTime<Utc>>,
}

impl Token {
    fn new(token: Option<&str>) -> Self {
        let secret = token.map(SecretString::from);
        Self { expires_at: secret.as_ref().and_then(token::expires_at), secret }
    }
}

/// What is said of a recording and of its files, which are every entry of every list whose name ends in `_files`.
fn described(identity: RecordingIdentity, object: &Map<String, Value>, token: Option<&str>) -> Announcement {
    let token = Token::new(token);
    let mut files = Vec::new();
    let mut odd = Vec::new();
    for (collection, entries) in object.iter().filter(|(key, _)| key.ends_with("_files")) {
        let entries = match entries {
            Value::Array(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => {
                odd.push(format!("{collection} is no list"));
                continue;
            }
        };
        for (index, entry) in entries.iter().enumerate() {
            match announced_file(collection, entry, &token) {
                Ok(file) => files.push(file),
                Err(reason) => odd.push(format!("{collection}[{index}]: {reason}")),
            }
        }
    }
    Announcement {
        recording: AnnouncedRecording {
            identity,
            topic: short_text(object.get("session_name")).or_else(|| short_text(object.get("topic"))),
            start_time: time(object.get("start_time")),
            metadata: recording_metadata(object),
        },
        happened_at: None,
        change: Change::default(),
        scope: Scope::Recording,
        files,
        odd: bounds::few_notes(odd),
    }
}

fn recording_kind(name: &str, object: &Map<String, Value>) -> RecordingKind {
    if name.starts_with("session.") {
        return RecordingKind::VideoSdk;
    }
    meeting_kind(object)
}

/// A meeting, or the webinar that it says to be.
pub fn meeting_kind(object: &Map<String, Value>) -> RecordingKind {
    match text(object.get("type")) {
        Some(kind) if WEBINAR_TYPES.contains(&kind.as_str()) => RecordingKind::Webinar,
        _ => RecordingKind::Meeting,
    }
}

fn announced_file(collection: &str, entry: &Value, token: &Token) -> Result<AnnouncedFile, String> {
    let entry = entry.as_object().ok_or("no object")?;
    let named = short_text(entry.get("file_extension")).or_else(|| extension_in(entry.get("file_name")));
    let file_type = match short_text(entry.get("file_type")) {
        Some(file_type) => file_type.to_uppercase(),
        // Such as `physical_files[]` of archived meetings: a name and no type (Zoom API reference, "List archived files").
        None if entry.contains_key("file_id") => named.as_deref().map_or("", type_of).to_owned(),
        None => String::new(),
    };
    let recording_start = time(entry.get("recording_start"));
    let start_text = text(entry.get("recording_start"));
    let id = ["id", "file_id"].iter().find_map(|key| text(entry.get(*key)));
    let name = match (id, recording_start, start_text) {
        (Some(id), ..) => id,
        (None, Some(start), _) if !file_type.is_empty() => stand_in(&file_type, start),
        (None, None, Some(start)) if !file_type.is_empty() => format!("{file_type}@{start}"),
        (None, ..) => return Err("neither an id nor a file type with its recording_start".to_owned()),
    };
    let recording_type = short_text(entry.get("recording_type")).unwrap_or_default();
    check_length("collection", collection)?;
    check_length("id", &name)?;
    let is_processing = file_type.is_empty() && text(entry.get("status")).as_deref() == Some("processing");
    // What Zoom names of a file that it is still processing is not settled yet.
    let extension = match is_processing {
        true => String::new(),
        false => extension_of(&file_type, &recording_type, named.as_deref()),
    };
    let download_url = text(entry.get("download_url"));
    Ok(AnnouncedFile {
        skip: elsewhere(entry, download_url.is_some()),
        identity: FileIdentity { collection: collection.to_owned(), name },
        recording_type,
        file_type,
        extension,
        recording_start,
        announced_bytes: size(entry.get("file_size")),
        download_url: secret(download_url),
        download_token: token.secret.clone(),
        token_expires_at: token.expires_at,
        content: None,
        metadata: redact::map(entry.clone()),
    })
}

/// The extension of a file name.
fn extension_in(file_name: Option<&Value>) -> Option<String> {
    let name = text(file_name)?;
    let extension = name.rsplit_once('.')?.1.to_lowercase();
    // A name such as `v1.2` ends in no extension.
    (content_type(&extension, b"") != content_type("", b"")).then_some(extension)
}

/// Why a file is not Zoom's to give: it lies in storage that is the account's own. Where Zoom names a download URL beside that
/// storage, it still serves the file.
fn elsewhere(entry: &Map<String, Value>, has_url: bool) -> Option<String> {
    let lies = |key: &str| !has_url && text(entry.get(key)).is_some();
    if lies("external_storage_url") {
        Some("Zoom has stored it in your own storage, not in its cloud (external_storage_url)".to_owned())
    } else if lies("file_path") {
        Some("Zoom has stored it on your own premises, not in its cloud (file_path)".to_owned())
    } else {
        None
    }
}

pub(super) fn check_length(key: &str, id: &str) -> Result<(), String> {
    if id.len() <= MAX_ID_BYTES {
        return Ok(());
    }
    let key = &key[..key.floor_char_boundary(40)];
    Err(format!("{key} has {} bytes, more than {MAX_ID_BYTES}", id.len()))
}

/// What the event says of the recording itself: all but the lists of its files.
fn recording_metadata(object: &Map<String, Value>) -> Map<String, Value> {
    let own = object.iter().filter(|(key, _)| !key.ends_with("_files"));
    redact::map(own.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// A body for people to see: without secrets, also where it is kept as it came; `None` when it is no JSON.
#[must_use]
pub fn to_show(body: &[u8]) -> Option<Value> {
    json::parse(body).ok().map(redact::value)
}

/// A string or a number as text; nothing when missing, null, empty or of another kind.
pub(super) fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().replace('\0', "")),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The same, no longer than a column of text.
pub(super) fn short_text(value: Option<&Value>) -> Option<String> {
    text(value).map(bounds::short)
}

pub(super) fn time(value: Option<&Value>) -> Option<DateTime<Utc>> {
    text(value)?.parse::<DateTime<Utc>>().ok()
}

/// A point in time as a number: milliseconds since 1970, or seconds.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let number = text.parse::<i64>().ok()?;
    if number.abs() > MOST_SECONDS {
        DateTime::from_timestamp_millis(number)
    } else {
        DateTime::from_timestamp(number, 0)
    }
}

/// Text that is to be kept from every eye.
pub(super) fn secret(text: Option<String>) -> Option<SecretString> {
    text.map(SecretString::from)
}

pub(super) fn size(value: Option<&Value>) -> Option<u64> {
    text(value)?.parse().ok()
}

fn bounded_name(name: &str) -> String {
    name[..name.floor_char_boundary(MAX_NAME_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(body: &str) -> Announcement {
        match read(body.as_bytes()) {
            Message::Announcement { announcement, .. } => *announcement,
            other => panic!("not an announcement: {other:?}"),
        }
    }

    fn session(files: &str) -> String {
        format!(
            r#"{{"event":"session.recording_completed","event_ts":1,"download_token":"t0p-secret","payload":
            {{"account_id":"acc","object":{{"session_id":"/Q0z/9+aa==","session_name":"Weekly",
            "start_time":"2026-01-02T03:04:05Z","password":"pa55","recording_files":{files}}}}}}}"#
        )
    }

    const MP4: &str = r#"{"id":"a","file_type":"MP4","file_extension":"MP4","file_size":3,
        "recording_type":"shared_screen","recording_start":"2026-01-02T03:05:05Z",
        "download_url":"https://zoom.us/rec/webhook_download/signed?x=1"}"#;

    #[test]
    fn a_session_is_read_with_its_files() {
        let read = announced(&session(&format!("[{MP4}]")));
        assert_eq!(read.recording.identity.instance_id, "/Q0z/9+aa==");
        assert_eq!(read.recording.identity.kind, RecordingKind::VideoSdk);
        let file = &read.files[0];
        assert_eq!((file.extension.as_str(), file.announced_bytes), ("mp4", Some(3)));
        assert!(file.download_url.is_some() && file.download_token.is_some());
    }

    #[test]
    fn nothing_that_is_kept_holds_a_secret() {
        let body = session(&format!("[{MP4}]"));
        let Message::Announcement { announcement, body, .. } = read(body.as_bytes()) else { panic!() };
        let kept = format!("{announcement:?} {}", String::from_utf8(body).unwrap());
        for secret in ["t0p-secret", "webhook_download", "pa55"] {
            assert!(!kept.contains(secret), "{secret} in {kept}");
        }
    }

    #[test]
    fn an_odd_file_does_not_spoil_its_siblings() {
        let read = announced(&session(&format!(r#"[null,"x",{{"status":"?"}},{MP4}]"#)));
        assert_eq!((read.files.len(), read.odd.len()), (1, 3));
    }

    #[test]
    fn an_overlong_id_is_odd_and_not_cut_to_that_of_another_file() {
        let long = "x".repeat(MAX_ID_BYTES + 1);
        let read = announced(&session(&format!(r#"[{{"id":"{long}"}},{MP4}]"#)));
        assert_eq!((read.files.len(), read.odd.len()), (1, 1));
        let body = session("[]").replace("/Q0z/9+aa==", &long);
        assert!(matches!(super::read(body.as_bytes()),
            Message::Unreadable { reason, .. } if reason.starts_with("session_id has")));
    }

    #[test]
    fn a_list_that_is_none_does_not_spoil_the_others() {
        let body = session(&format!("[{MP4}]")).replace(
            r#""recording_files""#,
            r#""participant_audio_files":7,"participant_video_files":null,"recording_files""#,
        );
        let read = announced(&body);
        assert_eq!((read.files.len(), read.odd.len()), (1, 1));
    }

    #[test]
    fn files_without_an_id_are_told_apart_by_type_and_start() {
        let read = announced(&session(
            r#"[{"file_type":"TIMELINE","recording_start":"2026-01-02T03:05:05Z"},
                {"file_type":"TIMELINE","recording_start":"2026-01-02T04:05:05Z"},
                {"file_type":"CC","recording_start":"2026-01-02T03:05:05Z"}]"#,
        ));
        let names: Vec<_> = read.files.iter().map(|file| file.identity.name.as_str()).collect();
        assert_eq!(
            names,
            ["TIMELINE@2026-01-02T03:05:05Z", "TIMELINE@2026-01-02T04:05:05Z", "CC@2026-01-02T03:05:05Z"]
        );
    }

    #[test]
    fn ids_may_be_numbers_and_sizes_strings() {
        let read = announced(&session(r#"[{"id":7,"file_size":"12"},{"id":"8","file_size":-1}]"#));
        assert_eq!(read.files[0].identity.name, "7");
        assert_eq!(read.files[0].announced_bytes, Some(12));
        assert_eq!(read.files[1].announced_bytes, None);
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_one_counts() {
        let read = announced(&session(r#"[{"id":"old","id":"new","file_type":"MP4"}]"#));
        assert_eq!(read.files[0].identity.name, "new");
    }

    #[test]
    fn meetings_and_webinars_are_told_apart_by_their_type() {
        let body = |kind: &str| {
            format!(
                r#"{{"event":"recording.completed","payload":{{"object":
                {{"uuid":"u==","id":86413209876,"type":{kind},"recording_files":[]}}}}}}"#
            )
        };
        assert_eq!(announced(&body("8")).recording.identity.kind, RecordingKind::Meeting);
        assert_eq!(announced(&body("5")).recording.identity.kind, RecordingKind::Webinar);
        assert_eq!(announced(&body("\"9\"")).recording.identity.kind, RecordingKind::Webinar);
        assert_eq!(announced(&body("8")).recording.identity.account_id, UNKNOWN_ACCOUNT);
    }

    const ANSWER: &str = r#"{"session_id":"another","account_id":"another","session_name":"Weekly","type":5,
        "download_access_token":"t0p-secret","recording_files":[{"id":"a","status":"processing",
        "file_type":"MP4","recording_type":"shared_screen","recording_start":"2026-01-02T03:05:05Z",
        "download_url":"https://zoom.us/rec/webhook_download/signed?x=1"},null],
        "participant_audio_files":[{"id":"b","file_type":"M4A"}]}"#;

    fn answered(answer: &str) -> Result<(Announcement, Vec<u8>), String> {
        let asked = announced(&session("[]")).recording.identity;
        read_answer(&asked, serde_json::from_str(answer).unwrap())
    }

    #[test]
    fn an_answer_is_about_the_recording_that_was_asked_about_whatever_it_says_or_leaves_out() {
        let asked = announced(&session("[]")).recording.identity;
        assert_eq!(answered(ANSWER).unwrap().0.recording.identity, asked);
        assert_eq!(answered(r#"{"recording_files":[]}"#).unwrap().0.recording.identity, asked);
        for odd in ["{}", "[]", "7", r#"{"code":1,"message":"x"}"#] {
            assert!(answered(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_file_of_an_answer_is_the_file_of_the_event_with_a_fresh_token_and_a_status() {
        let (answer, _) = answered(ANSWER).unwrap();
        let event = announced(&session(&format!("[{MP4}]")));
        let file = |name: &str| answer.files.iter().find(|file| file.identity.name == name).unwrap();
        assert_eq!(file("a").identity, event.files[0].identity);
        assert_eq!(file("a").metadata["status"], "processing");
        assert_eq!(file("b").identity.collection, "participant_audio_files");
        assert!(answer.files.iter().all(|file| file.download_token.is_some()));
        assert_eq!((answer.files.len(), answer.odd.len()), (2, 1));
    }

    #[test]
    fn nothing_that_is_kept_of_an_answer_holds_a_secret() {
        let (answer, body) = answered(ANSWER).unwrap();
        let kept = format!("{answer:?} {}", String::from_utf8(body).unwrap());
        for secret in ["t0p-secret", "webhook_download"] {
            assert!(!kept.contains(secret), "{secret} in {kept}");
        }
    }

    #[test]
    fn other_events_are_named_and_unreadable_ones_say_why() {
        assert!(matches!(read(br#"{"event":"session.started"}"#),
            Message::Other { name } if name == "session.started"));
        assert!(matches!(read(b"\xff"), Message::Unreadable { .. }));
        assert!(matches!(read("[".repeat(100_000).as_bytes()), Message::Unreadable { .. }));
        assert!(matches!(read(br#"{"event":"recording.completed","payload":{"object":{}}}"#),
            Message::Unreadable { reason, .. } if reason == "no uuid"));
    }
}
