//! Writes the manifest of one recording: the JSON beside its objects that says what they are and proves it.
//! Rewritten whenever a file joins the archive or is left out, and when the recording is renamed or leaves Zoom; from all manifests the database can be built again.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Jobs;
use crate::archive::NewObject;
use crate::domain::file::{FileRow, FileState, RecordingRow};
use crate::domain::ids::RecordingId;
use crate::domain::job::{Completion, Outcome};
use crate::domain::key::MANIFEST_NAME;
use crate::domain::notice::{News, NoticeKind};
use crate::domain::recording::{RecordingIdentity, RecordingState, TextState};
use crate::worker::JobContext;

/// Version of the manifest's shape; grows when a reader must be changed.
const FORMAT: &str = "zoom-archiver/recording/1";

/// Runs the job.
pub async fn run(jobs: &Jobs, recording: RecordingId, context: &JobContext) -> Outcome {
    tokio::select! {
        biased;
        // Whoever holds the job now may have written a newer one.
        () = context.stopped() => Outcome::Stopped,
        written = write(jobs, recording, context) => match written {
            Ok(news) => Outcome::Done(Box::new(Completion { news, ..Completion::default() })),
            Err(outcome) => outcome,
        },
    }
}

/// Writes it; returns what there is to tell then.
async fn write(jobs: &Jobs, id: RecordingId, context: &JobContext) -> Result<Option<News>, Outcome> {
    let Some((recording, files)) = jobs.store.recording(id).await? else {
        return Err(Outcome::Dead { reason: "the recording is not known any more".to_owned() });
    };
    // Without a folder nothing of it is in the archive yet.
    let Some(folder) = &recording.folder else { return Ok(None) };
    let object = NewObject {
        key: format!("{folder}/{MANIFEST_NAME}"),
        content_type: "application/json".to_owned(),
        facts: Vec::new(),
    };
    let body = render(&recording, &files)
        .map_err(|error| Outcome::Dead { reason: format!("cannot write the manifest: {error}") })?;
    context.confirm_lease().await?;
    jobs.archive.replace(&object, Bytes::from(body)).await?;
    tracing::debug!(object.key = object.key, "manifest written");
    Ok(completeness(&object.key, &files))
}

/// That the recording is archived, once nothing more is to come of what was announced. It is news again when more files
/// of it are archived than before; what is done to the manifest otherwise is none.
fn completeness(manifest: &str, files: &[FileRow]) -> Option<News> {
    let count = |state| files.iter().filter(|file| file.state == state).count();
    let [archived, skipped, gone] = [FileState::Archived, FileState::Skipped, FileState::Gone].map(count);
    if archived == 0 || archived + skipped + gone < files.len() {
        return None;
    }
    let bytes: u64 = files.iter().filter_map(|file| file.archived.as_ref()).map(|file| file.bytes).sum();
    let detail = json!({
        "manifest": manifest,
        "files": { "archived": archived, "skipped": skipped, "gone": gone },
        "bytes": bytes,
    });
    Some(News {
        kind: NoticeKind::RecordingArchived,
        occasion: i64::try_from(archived).ok(),
        detail: detail.as_object().cloned().unwrap_or_default(),
    })
}

/// The manifest as it lies in the archive.
#[derive(Serialize)]
struct Manifest<'a> {
    format: &'static str,
    recording: ManifestRecording<'a>,
    files: Vec<ManifestFile<'a>>,
}

#[derive(Serialize)]
struct ManifestRecording<'a> {
    #[serde(flatten)]
    identity: &'a RecordingIdentity,
    topic: Option<&'a str>,
    start_time: Option<DateTime<Utc>>,
    announced_at: DateTime<Utc>,
    /// How it stands at Zoom, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<RecordingState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript: Option<TextState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<TextState>,
    /// All that Zoom said of it, without secrets.
    zoom: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct ManifestFile<'a> {
    state: FileState,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    collection: &'a str,
    name: &'a str,
    recording_type: &'a str,
    file_type: &'a str,
    recording_start: Option<DateTime<Utc>>,
    announced_bytes: Option<u64>,
    announced_at: DateTime<Utc>,
    announced_by_event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ManifestObject<'a>>,
    /// All that Zoom said of it, without secrets.
    zoom: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct ManifestObject<'a> {
    key: &'a str,
    bytes: u64,
    sha256: String,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_checksum: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<&'a str>,
    archived_at: Option<DateTime<Utc>>,
}

fn render(recording: &RecordingRow, files: &[FileRow]) -> serde_json::Result<Vec<u8>> {
    let manifest = Manifest {
        format: FORMAT,
        recording: ManifestRecording {
            identity: &recording.identity,
            topic: recording.topic.as_deref(),
            start_time: recording.start_time,
            announced_at: recording.announced_at,
            state: recording.state,
            state_at: recording.state_at,
            transcript: recording.transcript,
            summary: recording.summary,
            zoom: &recording.metadata,
        },
        files: files.iter().map(manifest_file).collect(),
    };
    let mut body = serde_json::to_vec_pretty(&manifest)?;
    body.push(b'\n');
    Ok(body)
}

fn manifest_file(file: &FileRow) -> ManifestFile<'_> {
    let object = file.archived.as_ref().map(|archived| ManifestObject {
        key: &archived.object_key,
        bytes: archived.bytes,
        sha256: archived.sha256.to_string(),
        content_type: &archived.content_type,
        store_checksum: archived.store_checksum.as_ref().map(ToString::to_string),
        etag: archived.etag.as_deref(),
        version_id: archived.version_id.as_deref(),
        mark: archived.mark.as_deref(),
        archived_at: file.archived_at,
    });
    ManifestFile {
        state: file.state,
        reason: file.reason.as_deref(),
        collection: &file.identity.collection,
        name: &file.identity.name,
        recording_type: &file.identity.recording_type,
        file_type: &file.file_type,
        recording_start: file.recording_start,
        announced_bytes: file.announced_bytes,
        announced_at: file.announced_at,
        announced_by_event: file.first_event_id.to_string(),
        object,
        zoom: &file.metadata,
    }
}
