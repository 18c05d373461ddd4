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

/// The product that a recording comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingKind {
    /// A Video SDK session, named by its `session_id`.
    VideoSdk,
    /// A meeting instance, named by its `uuid`.
    Meeting,
    /// A webinar instance, named by its `uuid`.
    Webinar,
}

impl RecordingKind {
    /// The word used in SQL, logs, keys and manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VideoSdk => "video_sdk",
            Self::Meeting => "meeting",
            Self::Webinar => "webinar",
        }
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
        match text {
            "video_sdk" => Ok(Self::VideoSdk),
            "meeting" => Ok(Self::Meeting),
            "webinar" => Ok(Self::Webinar),
            _ => Err(UnknownWord::new("recording kind", text)),
        }
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

/// What makes a recording the same recording, however often it is announced.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordingIdentity {
    /// Zoom's account id.
    pub account_id: String,
    /// The product.
    pub kind: RecordingKind,
    /// `session_id` of a Video SDK session, `uuid` of a meeting or webinar instance.
    pub instance_id: String,
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

/// What makes a file the same file within its recording.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The array it stood in, such as `recording_files` or `participant_audio_files`: the same id may
    /// stand in two of them.
    pub collection: String,
    /// Zoom's `id`; where there is none (TIMELINE, CC), file type and `recording_start` stand in.
    pub name: String,
    /// `recording_type`, empty when Zoom gave none.
    pub recording_type: String,
}

/// A file as an event or an API answer describes it.
#[derive(Debug, Clone)]
pub struct AnnouncedFile {
    /// Which file of the recording this is.
    pub identity: FileIdentity,
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
    /// All that Zoom said of the file, without secrets.
    pub metadata: Map<String, Value>,
}

/// Everything one event says of one recording.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The recording.
    pub recording: AnnouncedRecording,
    /// Those of its files that this event names.
    pub files: Vec<AnnouncedFile>,
    /// Entries of the file arrays that could not be read, in words; their siblings are unharmed.
    pub odd: Vec<String>,
}
