//! The end of a transfer: what is doubtful about a file, an object that is there already, and what is recorded.

use std::time::Duration;

use serde_json::{Map, Value};
use tracing::info;

use super::super::Jobs;
use super::Ended;
use super::checkpoint::{Measured, TransferCheckpoint};
use crate::archive::{StoredObject, read_back};
use crate::config::transfer::TransferConfig;
use crate::domain::file::{ArchivedFile, FileRow, Proof, Sha256Digest};
use crate::domain::job::{Completion, Outcome, Task, WaitsFor};
use crate::store::TransferWork;
use crate::worker::JobContext;

/// Where Zoom gives the SHA-256 of a file: `encryption_fingerprint` of archive files (Zoom API reference, "List
/// archived files").
const ANNOUNCED_SHA256: &str = "encryption_fingerprint";

/// Rest until a key is looked at again to which something else writes.
const CONFLICT_REST: Duration = Duration::from_secs(5);

/// Whether a doubtful file is asked for again.
pub(super) fn may_ask_again(config: &TransferConfig, checkpoint: &TransferCheckpoint) -> bool {
    checkpoint.asked_again < config.doubt_retries
}

/// Whether the file is asked for again because its size is not the announced one.
pub(super) fn is_odd(
    config: &TransferConfig,
    announced: Option<u64>,
    bytes: u64,
    checkpoint: &TransferCheckpoint,
) -> bool {
    announced.is_some_and(|announced| announced != bytes) && may_ask_again(config, checkpoint)
}

/// Has a file of an odd size asked for again; in the end the size is believed, and the file marked.
pub(super) async fn ask_for_odd_size(
    jobs: &Jobs,
    context: &JobContext,
    announced: Option<u64>,
    bytes: u64,
    checkpoint: &mut TransferCheckpoint,
) -> Ended {
    let announced = announced.unwrap_or_default();
    let reason = format!("Zoom announced {announced} bytes and delivers {bytes}");
    ask_once_more(jobs, context, &reason, checkpoint).await.into()
}

/// A later run asks for the file once more, after a rest that grows: what is wrong at Zoom may be so for minutes. It costs no
/// attempt: the last one must not make a file dead that can be archived and marked.
pub(super) async fn ask_once_more(
    jobs: &Jobs,
    context: &JobContext,
    reason: &str,
    checkpoint: &mut TransferCheckpoint,
) -> Outcome {
    let after = jobs.config.doubt_rest(checkpoint.asked_again);
    checkpoint.asked_again += 1;
    match context.note(&checkpoint.to_value()).await {
        Ok(()) => Outcome::Later { reason: format!("{reason}; asking for the file once more"), after },
        Err(error) => error.into(),
    }
}

/// The SHA-256 that Zoom names of a file, if it does; an empty text names none.
pub(in crate::jobs) fn announced_sha256(metadata: &Map<String, Value>) -> Option<Sha256Digest> {
    metadata.get(ANNOUNCED_SHA256)?.as_str()?.to_ascii_lowercase().parse().ok()
}

/// What speaks against the content of a file, if anything: it has not the shape of its type, or not the digest
/// that Zoom announced, or that was proven of it when it was archived before.
pub(super) fn doubt(file: &FileRow, measured: &Measured) -> Option<String> {
    if announced_sha256(&file.metadata).is_some_and(|announced| announced != measured.proof().sha256) {
        return Some("its SHA-256 is not the one that Zoom announced".to_owned());
    }
    if let Some((_, before)) = file.proven_before.filter(|(_, before)| *before != measured.proof().sha256) {
        return Some(format!("its SHA-256 was {before} when it was archived before"));
    }
    measured.suspicion()
}

/// There is an object under our key already: an earlier run may have completed it without living to say so. It is
/// ours when it holds the very same bytes; anything else is for a person to judge.
pub(super) async fn adopt(
    jobs: &Jobs,
    context: &JobContext,
    key: &str,
    proof: &Proof,
) -> Result<StoredObject, Outcome> {
    let foreign = |what: &str| Outcome::Park {
        waits_for: WaitsFor::Person,
        reason: format!(
            "another object lies under {key} ({what}); it is left untouched: move it away, then retry"
        ),
    };
    let Some(there) = jobs.archive.inspect(key).await? else {
        // Another conditional write is under way, perhaps that of a run which did not live to see its end: nothing that Zoom or
        // the file is to blame for.
        let reason = format!("another write to {key} is under way");
        return Err(Outcome::Later { reason, after: CONFLICT_REST });
    };
    if there.bytes != proof.bytes {
        return Err(foreign(&format!("{} bytes, not {}", there.bytes, proof.bytes)));
    }
    let (_, sha256) = read_back(jobs.archive.as_ref(), key, |_| context.alive()).await?;
    if sha256 != proof.sha256 {
        return Err(foreign("another SHA-256"));
    }
    info!(object.key = key, "the object was there already, with the very same bytes");
    Ok(there)
}

/// What is recorded of a file that is in the archive.
pub(super) fn archived(
    work: &TransferWork,
    object_key: String,
    content_type: String,
    proof: &Proof,
    stored: StoredObject,
    checkpoint: &TransferCheckpoint,
) -> ArchivedFile {
    let size = work
        .file
        .announced_bytes
        .filter(|announced| *announced != proof.bytes)
        .map(|announced| format!("Zoom announced {announced} bytes and delivered {}", proof.bytes));
    let suspect = checkpoint.doubt.as_ref().map(|doubt| format!("suspect: {doubt}"));
    let marks: Vec<String> = [size, suspect].into_iter().flatten().collect();
    if !marks.is_empty() {
        metrics::counter!("zoom_archiver_suspect_files_total").increment(1);
        tracing::warn!(file.id = %work.file.id, warning = marks.join("; "), "archived with a warning");
    }
    info!(
        file.id = %work.file.id, object.key = object_key, file.bytes = proof.bytes, file.sha256 = %proof.sha256,
        "archived"
    );
    ArchivedFile {
        object_key,
        bytes: proof.bytes,
        sha256: proof.sha256,
        content_type,
        store_checksum: stored.checksum,
        etag: stored.etag,
        version_id: stored.version_id,
        mark: (!marks.is_empty()).then(|| marks.join("; ")),
    }
}

/// The transfer is done; the recording's manifest follows, and, where that is asked for, its removal at Zoom.
pub(super) fn done(jobs: &Jobs, work: &TransferWork, archived: Option<ArchivedFile>) -> Outcome {
    let (recording, account_id) = (work.recording.id, &work.recording.identity.account_id);
    let account = jobs.names.label(account_id);
    if let Some(archived) = &archived {
        metrics::counter!("zoom_archiver_archived_bytes_total", "account" => account.to_owned())
            .increment(archived.bytes);
    }
    let mut next = vec![(Task::Manifest(recording), jobs.config.manifest_delay())];
    if jobs.after_archive.is_for(account, account_id) {
        next.push((Task::Remove(recording), jobs.after_archive.wait()));
    }
    Outcome::Done(Box::new(Completion {
        archived: archived.map(|archived| (work.file.id, archived)),
        next,
        news: None,
    }))
}
