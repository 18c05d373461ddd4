//! Writes the manifest of one recording: the JSON beside its objects that says what they are and proves it.
//! Rewritten whenever a file joins the archive or is left out, and when the recording is renamed or leaves Zoom; from all
//! manifests the database can be built again. Its shape is in `domain/manifest.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::Jobs;
use crate::archive::NewObject;
use crate::domain::file::{FileRow, FileState};
use crate::domain::ids::RecordingId;
use crate::domain::job::{Completion, Outcome, Task};
use crate::domain::manifest::{Manifest, manifest_key};
use crate::domain::notice::{News, NoticeKind};
use crate::store::StoreError;
use crate::worker::JobContext;

/// Runs the job.
pub async fn run(jobs: &Jobs, recording: RecordingId, context: &JobContext) -> Outcome {
    let is_sent = AtomicBool::new(false);
    let outcome = tokio::select! {
        biased;
        // Whoever holds the job now may have written a newer one.
        () = context.stopped() => Outcome::Stopped,
        written = write(jobs, recording, context, &is_sent) => match written {
            Ok(news) => Outcome::Done(Box::new(Completion { news, ..Completion::default() })),
            Err(outcome) => outcome,
        },
    };
    if is_sent.into_inner() {
        mend_if_late(jobs, recording, context).await;
    }
    outcome
}

/// Nothing keeps an object that is replaced from being replaced by an older one: a worker that was stopped amid its write, for
/// longer than its lease, has it written once more when it goes on.
async fn mend_if_late(jobs: &Jobs, recording: RecordingId, context: &JobContext) {
    if !matches!(context.confirm_lease().await, Err(StoreError::LeaseLost(_))) {
        return;
    }
    tracing::warn!("the manifest came late, and is written once more");
    if let Err(error) = jobs.store.repeat(Task::Manifest(recording), Duration::ZERO).await {
        tracing::warn!(%error, "the manifest cannot be written once more; `verify` compares it");
    }
}

/// Writes it; returns what there is to tell then. Says so before it is sent.
async fn write(
    jobs: &Jobs,
    id: RecordingId,
    context: &JobContext,
    is_sent: &AtomicBool,
) -> Result<Option<News>, Outcome> {
    let Some((recording, files)) = jobs.store.recording(id).await? else {
        return Err(Outcome::Dead { reason: "the recording is not known any more".to_owned() });
    };
    // Without a folder nothing of it is in the archive yet.
    let Some(folder) = &recording.folder else { return Ok(None) };
    let object = NewObject {
        key: manifest_key(folder),
        content_type: "application/json".to_owned(),
        facts: Vec::new(),
    };
    let body = Manifest::new(&recording, &files)
        .to_json()
        .map_err(|error| Outcome::Dead { reason: format!("cannot write the manifest: {error}") })?;
    context.confirm_lease().await?;
    is_sent.store(true, Ordering::Relaxed);
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
