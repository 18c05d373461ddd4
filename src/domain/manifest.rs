//! The manifest: the JSON beside the objects of a recording that says what they are and proves it. Its shape, both ways;
//! it is written by `jobs/manifest.rs`, compared with by verifications, and read by `rebuild`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::file::{ArchivedObject, FileRow, FileState, RecordingRow};
use super::key::MANIFEST_NAME;
use super::recording::{FileIdentity, RecordingIdentity, RecordingState, TextState};

/// Version of the manifest's shape; grows when a reader must be changed.
const FORMAT: &str = "zoom-archiver/recording/1";

/// The manifest as it lies in the archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    format: String,
    /// The recording.
    pub recording: ManifestRecording,
    /// All its files, whatever became of them.
    pub files: Vec<ManifestFile>,
}

/// The recording, in its manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ManifestRecording {
    /// What makes it the same recording.
    #[serde(flatten)]
    pub identity: RecordingIdentity,
    /// `session_name` or `topic`.
    pub topic: Option<String>,
    /// Start of the session or meeting.
    pub start_time: Option<DateTime<Utc>>,
    /// When it was first announced.
    pub announced_at: DateTime<Utc>,
    /// How it stands at Zoom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RecordingState>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_at: Option<DateTime<Utc>>,
    /// What became of its transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<TextState>,
    /// What became of its summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<TextState>,
    /// All that Zoom said of it, without secrets.
    pub zoom: Map<String, Value>,
}

/// A file, in the manifest of its recording.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Where it stands.
    pub state: FileState,
    /// Why it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What makes it the same file.
    #[serde(flatten)]
    pub identity: FileIdentity,
    /// `recording_type`, empty when Zoom gave none.
    #[serde(default)]
    pub recording_type: String,
    /// Such as `MP4`.
    pub file_type: String,
    /// Extension that was announced, without a dot; empty when none was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extension: String,
    /// When this piece of the recording began.
    pub recording_start: Option<DateTime<Utc>>,
    /// The size that Zoom announced.
    pub announced_bytes: Option<u64>,
    /// When it was first announced.
    pub announced_at: DateTime<Utc>,
    /// By which event.
    pub announced_by_event: String,
    /// Its object, once it is archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ArchivedObject>,
    /// Objects that it had before, the oldest first: each was archived with a warning, and stays where it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_objects: Vec<ArchivedObject>,
    /// All that Zoom said of it, without secrets.
    pub zoom: Map<String, Value>,
}

/// Why what lies under a manifest's key is none.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no JSON, or not of this shape.
    #[error("it is no manifest: {0}")]
    Shape(#[from] serde_json::Error),
    /// It is of a later version, or of something else.
    #[error("its format is `{0}`, this program reads `{FORMAT}`")]
    Format(String),
}

/// Where the manifest of a recording lies whose objects lie in `folder`.
#[must_use]
pub fn manifest_key(folder: &str) -> String {
    format!("{folder}/{MANIFEST_NAME}")
}

/// The folder whose manifest would lie under `key`; `None` for the key of anything else.
#[must_use]
pub fn folder_of_manifest(key: &str) -> Option<&str> {
    key.strip_suffix(MANIFEST_NAME)?.strip_suffix('/')
}

impl Manifest {
    /// The manifest of a recording and its files.
    #[must_use]
    pub fn new(recording: &RecordingRow, files: &[FileRow]) -> Self {
        Self {
            format: FORMAT.to_owned(),
            recording: ManifestRecording {
                identity: recording.identity.clone(),
                topic: recording.topic.clone(),
                start_time: recording.start_time,
                announced_at: recording.announced_at,
                state: recording.state,
                state_at: recording.state_at,
                transcript: recording.transcript,
                summary: recording.summary,
                zoom: recording.metadata.clone(),
            },
            files: files.iter().map(ManifestFile::new).collect(),
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn read(body: &[u8]) -> Result<Self, ManifestError> {
        /// What tells a manifest of another version from something else.
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        let head: Head = serde_json::from_slice(body)?;
        if head.format != FORMAT {
            return Err(ManifestError::Format(head.format.chars().take(80).collect()));
        }
        Ok(serde_json::from_slice(body)?)
    }

    /// As it lies in the archive.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which does not happen.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut body = serde_json::to_vec_pretty(self)?;
        body.push(b'\n');
        Ok(body)
    }

    /// What it says of a file.
    #[must_use]
    pub fn file(&self, identity: &FileIdentity) -> Option<&ManifestFile> {
        self.files.iter().find(|file| file.identity == *identity)
    }
}

impl ManifestFile {
    fn new(file: &FileRow) -> Self {
        let object = file.archived.as_ref().map(|archived| ArchivedObject::new(archived, file.archived_at));
        let is_earlier =
            |earlier: &&ArchivedObject| object.as_ref().is_none_or(|object| object.key != earlier.key);
        Self {
            state: file.state,
            reason: file.reason.clone(),
            identity: file.identity.clone(),
            recording_type: file.recording_type.clone(),
            file_type: file.file_type.clone(),
            extension: file.extension.clone(),
            recording_start: file.recording_start,
            announced_bytes: file.announced_bytes,
            announced_at: file.announced_at,
            announced_by_event: file.first_event_id.to_string(),
            earlier_objects: file.earlier_objects.iter().filter(is_earlier).cloned().collect(),
            object,
            zoom: file.metadata.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{
        "format": "zoom-archiver/recording/1",
        "recording": { "account_id": "a", "kind": "video_sdk", "instance_id": "s==", "topic": null,
            "start_time": null, "announced_at": "2026-03-01T12:00:00Z", "zoom": {} },
        "files": [{ "state": "archived", "collection": "recording_files", "name": "f", "recording_type": "",
            "file_type": "MP4", "recording_start": null, "announced_bytes": 3,
            "announced_at": "2026-03-01T12:00:00Z", "announced_by_event": "0198",
            "object": { "key": "a/f.mp4", "bytes": 3, "content_type": "video/mp4", "archived_at": null,
                "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
            "zoom": { "id": "f" } }]
    }"#;

    #[test]
    fn what_was_written_before_reads_back_and_is_written_the_same() {
        let manifest = Manifest::read(OLD.as_bytes()).unwrap();
        let again = serde_json::from_slice::<Value>(&manifest.to_json().unwrap()).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(OLD).unwrap());
    }

    #[test]
    fn what_is_no_manifest_of_this_version_is_refused_with_a_reason() {
        let refused = |body: &str| Manifest::read(body.as_bytes()).unwrap_err().to_string();
        assert!(refused("PK").contains("no manifest"));
        assert!(refused("{}").contains("format"));
        assert!(refused(r#"{"format":"zoom-archiver/recording/2"}"#).contains("recording/2"));
        let spoilt = refused(&OLD.replace("ba78", "BAD!"));
        assert!(spoilt.contains("SHA-256"), "{spoilt}");
    }

    #[test]
    fn a_manifest_is_known_by_its_key() {
        assert_eq!(folder_of_manifest("a/b/recording.json"), Some("a/b"));
        for other in ["recording.json", "a/other-recording.json", "a/recording.json.bak", "/recording.jsonx"]
        {
            assert_eq!(folder_of_manifest(other), None, "{other}");
        }
        assert_eq!(manifest_key("a/b"), "a/b/recording.json");
    }
}
