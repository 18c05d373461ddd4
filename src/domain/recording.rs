//! What Zoom announces: a recording and its files, and what makes two announcements the same one.
//!
//! Identity never comes from the URL, the token or a hash of the body: Zoom sends real duplicates that
//! differ in just these. Everything but the identity is optional.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::file_identity::Description;
pub use super::file_identity::FileIdentity;

/// The product that a recording comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingKind {
    /// A Video SDK session, named by its `session_id`.
    VideoSdk,
    /// A meeting instance, named by its `uuid`.
    Meeting,
    /// A webinar instance, named by its `uuid`.
    Webinar,
    /// A recorded call of Zoom Phone, named by the id of its recording.
    Phone,
}

impl RecordingKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::VideoSdk, Self::Meeting, Self::Webinar, Self::Phone];

    /// The word used in SQL, logs, keys and manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VideoSdk => "video_sdk",
            Self::Meeting => "meeting",
            Self::Webinar => "webinar",
            Self::Phone => "phone",
        }
    }

    /// What a recording is of which both were said: a webinar, when one of them says so.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if other == Self::Webinar { other } else { self }
    }
}

impl fmt::Display for RecordingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RecordingKind {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownWord::new("recording kind", text))
    }
}

/// A word read back from the database or the configuration that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown {what} `{word}`")]
pub struct UnknownWord {
    what: &'static str,
    word: String,
}

impl UnknownWord {
    /// Names the word and what it was taken for.
    #[must_use]
    pub fn new(what: &'static str, word: &str) -> Self {
        Self { what, word: word.to_owned() }
    }
}

/// What makes a recording the same recording, however often it is announced. Meetings and webinars share their ids, and
/// some events leave open which of the two it was: they are one recording, and a webinar once anything says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordingIdentity {
    /// Zoom's account id.
    pub account_id: String,
    /// The product.
    pub kind: RecordingKind,
    /// `session_id` of a Video SDK session, `uuid` of a meeting or webinar instance.
    pub instance_id: String,
}

/// How a recording stands at Zoom, as far as its events have said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// It is being recorded.
    Started,
    /// It is being recorded, but not at the moment.
    Paused,
    /// It has ended, and Zoom works on it.
    Stopped,
    /// Its files are ready.
    Completed,
    /// It lies in Zoom's trash, for thirty days.
    Trashed,
    /// Zoom has it no more.
    Deleted,
    /// It was taken out of the trash again.
    Recovered,
}

impl RecordingState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Started,
        Self::Paused,
        Self::Stopped,
        Self::Completed,
        Self::Trashed,
        Self::Deleted,
        Self::Recovered,
    ];

    /// The word used in SQL, logs and manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Trashed => "trashed",
            Self::Deleted => "deleted",
            Self::Recovered => "recovered",
        }
    }

    /// Whether Zoom is about to have it no more, or has it no more already.
    #[must_use]
    pub fn is_leaving(self) -> bool {
        matches!(self, Self::Trashed | Self::Deleted)
    }
}

impl fmt::Display for RecordingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RecordingState {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownWord::new("recording state", text))
    }
}

/// What became of the transcript or the summary that Zoom makes of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextState {
    /// It is ready.
    Completed,
    /// Zoom could not make it.
    Failed,
}

impl TextState {
    /// The word used in SQL and manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for TextState {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "completed" => Ok(Self::Completed),
            "failed" => Ok(Self::Failed),
            _ => Err(UnknownWord::new("state of a text", text)),
        }
    }
}

/// What an event changes about a recording, beside the files that it announces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// How the recording stands now.
    pub state: Option<RecordingState>,
    /// What became of its transcript.
    pub transcript: Option<TextState>,
    /// What became of its summary.
    pub summary: Option<TextState>,
    /// Whether it has another topic now.
    pub renamed: bool,
}

impl Change {
    /// Whether a manifest that was written before should tell of it. What merely brings files is told by their
    /// transfers.
    #[must_use]
    pub fn is_for_the_manifest(self) -> bool {
        let leaves_or_returns =
            self.state.is_some_and(|state| state.is_leaving() || state == RecordingState::Recovered);
        self.renamed || leaves_or_returns || self.transcript == Some(TextState::Failed)
    }
}

/// A recording as an event or an API answer describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnouncedRecording {
    /// Which recording this is.
    pub identity: RecordingIdentity,
    /// `session_name` or `topic`.
    pub topic: Option<String>,
    /// Start of the session or meeting, not of the recording.
    pub start_time: Option<DateTime<Utc>>,
    /// All that Zoom said of the recording, without its files and without secrets.
    pub metadata: Map<String, Value>,
}

/// A file as an event or an API answer describes it.
#[derive(Debug, Clone)]
pub struct AnnouncedFile {
    /// Which file of the recording this is.
    pub identity: FileIdentity,
    /// `recording_type`, empty when unknown: Zoom names it in one place and not in another.
    pub recording_type: String,
    /// `file_type` in upper case (`MP4`, `M4A`, `TIMELINE`, …), empty when unknown.
    pub file_type: String,
    /// File name extension in lower case without a dot; empty when unknown.
    pub extension: String,
    /// When this piece of the recording began.
    pub recording_start: Option<DateTime<Utc>>,
    /// The size Zoom announced, in bytes. May be missing, and may be wrong.
    pub announced_bytes: Option<u64>,
    /// Where Zoom offers it. Signed: a secret.
    pub download_url: Option<SecretString>,
    /// Bearer token for that URL: a secret.
    pub download_token: Option<SecretString>,
    /// When that token ends, where it says so.
    pub token_expires_at: Option<DateTime<Utc>>,
    /// The file itself, where the event brings it along.
    pub content: Option<Vec<u8>>,
    /// Why it is deliberately not taken, if so.
    pub skip: Option<String>,
    /// All that Zoom said of the file, without secrets.
    pub metadata: Map<String, Value>,
}

impl AnnouncedFile {
    /// Whether Zoom still works on it.
    #[must_use]
    pub fn is_processing(&self) -> bool {
        self.metadata.get("status").and_then(Value::as_str) == Some("processing")
    }
}

/// Whether a list is one of those in which an archiving account's files stand. Zoom's calls about recordings know nothing of them.
#[must_use]
pub fn is_of_archive(collection: &str) -> bool {
    matches!(collection, "archive_files" | "physical_files")
}

/// The list that AI Companion's transcript of a meeting stands in, as if an event had one of that name. Where it is says a call of
/// its own.
pub const MEETING_TRANSCRIPT: &str = "meeting_transcript";

/// What of a recording a [`Change`] of its state at Zoom is about.
#[derive(Debug, Clone, Default)]
pub enum Scope {
    /// All of it.
    #[default]
    Recording,
    /// The files with these ids, in whichever list, and nothing else.
    Ids(Vec<String>),
    /// These files; all of it where its lists hold no others.
    Listed(Vec<Description>),
}

/// Everything one event says of one recording.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The recording.
    pub recording: AnnouncedRecording,
    /// When it happened at Zoom; events come out of order. `None` for what is true now, such as an API's answer.
    pub happened_at: Option<DateTime<Utc>>,
    /// What it changes.
    pub change: Change,
    /// Of what.
    pub scope: Scope,
    /// Those of its files that this event names.
    pub files: Vec<AnnouncedFile>,
    /// Entries of the file arrays that could not be read, in words; their siblings are unharmed.
    pub odd: Vec<String>,
}
