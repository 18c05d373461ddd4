//! The states of a file, and the proof that it is archived.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ids::{EventId, FileId, RecordingId};
use super::recording::{FileIdentity, RecordingIdentity, RecordingState, TextState, UnknownWord};
use super::verification::Found;

/// Where a file stands. Every file that Zoom ever announced is in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// Announced; its transfer waits or runs.
    Pending,
    /// Waits for something named, such as a fresh token.
    Parked,
    /// In the archive, proven.
    Archived,
    /// Deliberately not taken; the reason says why.
    Skipped,
    /// Zoom no longer has it; an announcement that brings a URL, or a person, wakes it.
    Gone,
    /// Given up after the last attempt; the reason says why, and it can be retried.
    Dead,
}

impl FileState {
    /// Every state, in the order in which a person wants to see them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Parked, Self::Archived, Self::Skipped, Self::Gone, Self::Dead];

    /// The word used in SQL, logs, API and manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Parked => "parked",
            Self::Archived => "archived",
            Self::Skipped => "skipped",
            Self::Gone => "gone",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FileState {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownWord::new("file state", text))
    }
}

/// A SHA-256 digest; displayed in lower-case hex, as `sha256sum` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256Digest(pub [u8; 32]);

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Digest({self})")
    }
}

impl Serialize for Sha256Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Sha256Digest {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        data_encoding::HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| UnknownWord::new("SHA-256", text))
    }
}

/// What was measured while the bytes of a file went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Bytes received.
    pub bytes: u64,
    /// SHA-256 over all of them.
    pub sha256: Sha256Digest,
    /// CRC-64/NVME over all of them: the full-object checksum that S3 stores can confirm.
    pub crc64nvme: u64,
}

/// The archive's own word on an object, such as `crc64nvme:AAECAwQFBgc=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreChecksum {
    /// Lower-case name of the algorithm as the store calls it.
    pub algorithm: String,
    /// The value, base64 as S3 gives it.
    pub value: String,
}

impl fmt::Display for StoreChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.value)
    }
}

impl FromStr for StoreChecksum {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (algorithm, value) =
            text.split_once(':').ok_or_else(|| UnknownWord::new("store checksum", text))?;
        Ok(Self { algorithm: algorithm.to_owned(), value: value.to_owned() })
    }
}

/// What is recorded of a file when it is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedFile {
    /// Key of the object within the archive, without the archive's own prefix.
    pub object_key: String,
    /// Bytes and digest as received.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: Sha256Digest,
    /// Media type the object was stored with.
    pub content_type: String,
    /// The store's checksum, where it gave one.
    pub store_checksum: Option<StoreChecksum>,
    /// The store's entity tag, where it gave one.
    pub etag: Option<String>,
    /// The store's version id, where the bucket keeps versions.
    pub version_id: Option<String>,
    /// Something a person should know, such as a size that differs from the announced one.
    pub mark: Option<String>,
}

/// An object with its proof, in the shape of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedObject {
    /// Key within the archive.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: Sha256Digest,
    /// Media type that it was stored with.
    pub content_type: String,
    /// The store's checksum, such as `crc64nvme:AAECAwQFBgc=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_checksum: Option<String>,
    /// The store's entity tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The store's version id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// Something a person should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// When it was archived.
    pub archived_at: Option<DateTime<Utc>>,
}

impl ArchivedObject {
    /// What is recorded of an object.
    #[must_use]
    pub fn new(archived: &ArchivedFile, archived_at: Option<DateTime<Utc>>) -> Self {
        Self {
            key: archived.object_key.clone(),
            bytes: archived.bytes,
            sha256: archived.sha256,
            content_type: archived.content_type.clone(),
            store_checksum: archived.store_checksum.as_ref().map(ToString::to_string),
            etag: archived.etag.clone(),
            version_id: archived.version_id.clone(),
            mark: archived.mark.clone(),
            archived_at,
        }
    }

    /// The same as what is recorded of a file, with another warning.
    #[must_use]
    pub fn with_mark(&self, mark: Option<String>) -> ArchivedFile {
        ArchivedFile {
            object_key: self.key.clone(),
            bytes: self.bytes,
            sha256: self.sha256,
            content_type: self.content_type.clone(),
            store_checksum: self.store_checksum.as_deref().and_then(|checksum| checksum.parse().ok()),
            etag: self.etag.clone(),
            version_id: self.version_id.clone(),
            mark,
        }
    }
}

/// A file as the store knows it, without its secrets.
#[derive(Debug, Clone)]
pub struct FileRow {
    /// Its id.
    pub id: FileId,
    /// The recording it belongs to.
    pub recording_id: RecordingId,
    /// Its identity within that recording.
    pub identity: FileIdentity,
    /// As announced: see [`AnnouncedFile`](super::recording::AnnouncedFile).
    pub recording_type: String,
    /// As announced.
    pub file_type: String,
    /// As announced.
    pub extension: String,
    /// As announced.
    pub recording_start: Option<DateTime<Utc>>,
    /// As announced.
    pub announced_bytes: Option<u64>,
    /// As announced.
    pub metadata: Map<String, Value>,
    /// When the token for its URL ends, where it says so; forgotten with the token.
    pub token_expires_at: Option<DateTime<Utc>>,
    /// After that it cannot be had any more, as far as is known; forgotten when it is archived or gone.
    pub loses_at: Option<DateTime<Utc>>,
    /// How it stands at Zoom by itself, where an event named this file alone.
    pub zoom_state: Option<RecordingState>,
    /// Since when.
    pub zoom_state_at: Option<DateTime<Utc>>,
    /// Where it stands.
    pub state: FileState,
    /// Why it stands there, when that is not self-evident: the last error, the reason for a skip.
    pub reason: Option<String>,
    /// Key of the object, once a place has been chosen.
    pub object_key: Option<String>,
    /// The proof, once archived.
    pub archived: Option<ArchivedFile>,
    /// When it was archived.
    pub archived_at: Option<DateTime<Utc>>,
    /// When its object was last compared with the proof; never yet when `None`.
    pub verified_at: Option<DateTime<Utc>>,
    /// What was wrong then.
    pub found: Option<Found>,
    /// Bytes and SHA-256 that had been proven of a file that is fetched again, because its object is missing or
    /// wrong; forgotten when it is archived again.
    pub proven_before: Option<(u64, Sha256Digest)>,
    /// Objects that it had before, the oldest first: archived with a warning, and kept when the file was fetched again. While
    /// it is fetched, the last one is the object that it had until then.
    pub earlier_objects: Vec<ArchivedObject>,
    /// The event that announced it first.
    pub first_event_id: EventId,
    /// When it was first announced.
    pub announced_at: DateTime<Utc>,
}

impl FileRow {
    /// The object that another one is to take the place of: the file is fetched again because of its warning.
    #[must_use]
    pub fn replaces(&self) -> Option<&ArchivedObject> {
        let is_replaced = self.state != FileState::Archived && self.proven_before.is_none();
        self.earlier_objects.last().filter(|_| is_replaced)
    }

    /// How the file stands at Zoom: as its recording does, unless it was trashed or recovered by itself since, or deleted.
    #[must_use]
    pub fn state_at_zoom(&self, recording: &RecordingRow) -> Option<RecordingState> {
        let is_overtaken = self.zoom_state != Some(RecordingState::Deleted)
            && recording.state.is_some_and(|it| it.is_leaving() || it == RecordingState::Recovered)
            && recording.state_at > self.zoom_state_at;
        self.zoom_state.filter(|_| !is_overtaken).or(recording.state)
    }
}

/// A recording as the store knows it, with all its files.
#[derive(Debug, Clone)]
pub struct RecordingRow {
    /// Its id.
    pub id: RecordingId,
    /// Its identity at Zoom.
    pub identity: RecordingIdentity,
    /// `session_name` or `topic`.
    pub topic: Option<String>,
    /// Start of the session or meeting.
    pub start_time: Option<DateTime<Utc>>,
    /// All that Zoom said of it, without secrets.
    pub metadata: Map<String, Value>,
    /// How it stands at Zoom, as far as its events have said.
    pub state: Option<RecordingState>,
    /// Since when.
    pub state_at: Option<DateTime<Utc>>,
    /// What became of its transcript.
    pub transcript: Option<TextState>,
    /// What became of its summary.
    pub summary: Option<TextState>,
    /// The folder its objects lie in, once the first of them has been placed.
    pub folder: Option<String>,
    /// When it was first announced.
    pub announced_at: DateTime<Utc>,
}
