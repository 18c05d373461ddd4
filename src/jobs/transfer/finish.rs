//! The end of a transfer: what is doubtful about a file, an object that is there already, and what is recorded.

use std::time::Duration;

use tracing::info;

use super::super::Jobs;
use super::Ended;
use super::checkpoint::{Measured, TransferCheckpoint};
use crate::archive::{StoredObject, read_back};
use crate::domain::file::{ArchivedFile, FileRow, Proof, Sha256Digest};
use crate::domain::job::{Completion, Outcome, Task, WaitsFor};
use crate::store::TransferWork;
use crate::worker::JobContext;

/// Where Zoom gives the SHA-256 of a file: `encryption_fingerprint` of archive files (Zoom API reference, "List
/// archived files").
const ANNOUNCED_SHA256: &str = "encryption_fingerprint";

/// Times that a file is asked for once more because it was not what was to be expected.
const MOST_ASKED_AGAIN: u32 = 3;

/// Whether the file is asked for once more, because its size is neither the announced one nor one that an earlier
/// run has seen too.
pub(super) fn is_odd(announced: Option<u64>, bytes: u64, checkpoint: &TransferCheckpoint) -> bool {
    let is_news = announced.is_some_and(|announced| announced != bytes) && checkpoint.odd_size != Some(bytes);
    is_news && checkpoint.asked_again < MOST_ASKED_AGAIN
}

/// Notes an odd size and has the file asked for once more; seen again, the size is believed, and the file will be
/// marked.
pub(super) async fn ask_for_odd_size(
    context: &JobContext,
    announced: Option<u64>,
    bytes: u64,
    checkpoint: &mut TransferCheckpoint,
) -> Ended {
    checkpoint.odd_size = Some(bytes);
    let announced = announced.unwrap_or_default();
    let reason = format!("Zoom announced {announced} bytes and delivers {bytes}");
    ask_once_more(context, &reason, checkpoint).await.into()
}

/// Notes a doubt, unless an earlier run had it too; returns whether the file is asked for once more.
pub(super) fn is_new(doubt: &str, checkpoint: &mut TransferCheckpoint) -> bool {
    let is_new = checkpoint.doubt.as_deref() != Some(doubt);
    checkpoint.doubt = Some(doubt.to_owned());
    is_new && checkpoint.asked_again < MOST_ASKED_AGAIN
}

/// The next run asks for the file once more. It costs no attempt: the last one must not make a file dead that can be
/// archived and marked.
pub(super) async fn ask_once_more(
    context: &JobContext,
    reason: &str,
    checkpoint: &mut TransferCheckpoint,
) -> Outcome {
    checkpoint.asked_again += 1;
    match context.note(&checkpoint.to_value()).await {
        Ok(()) => Outcome::Later {
            reason: format!("{reason}; asking for the file once more"),
            after: Duration::ZERO,
        },
        Err(error) => error.into(),
    }
}

/// What speaks against the content of a file, if anything: it has not the shape of its type, or not the digest
/// that Zoom announced, or that was proven of it when it was archived before.
pub(super) fn doubt(file: &FileRow, measured: &Measured) -> Option<String> {
    let announced = file.metadata.get(ANNOUNCED_SHA256).and_then(|value| value.as_str());
    let announced = announced.and_then(|text| text.to_ascii_lowercase().parse::<Sha256Digest>().ok());
    if announced.is_some_and(|announced| announced != measured.proof().sha256) {
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
        let reason = format!("the object under {key} has come and gone");
        return Err(Outcome::retry(reason));
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
    if let Some(suspect) = &suspect {
        metrics::counter!("zoom_archiver_suspect_files_total").increment(1);
        tracing::warn!(file.id = %work.file.id, suspect, "archived, but worth a look");
    }
    let marks: Vec<String> = [size, suspect].into_iter().flatten().collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_each_time_is_not_asked_for_for_ever() {
        let mut checkpoint = TransferCheckpoint::default();
        for asked in 0..MOST_ASKED_AGAIN {
            checkpoint.asked_again = asked;
            assert!(is_odd(Some(7), u64::from(asked), &checkpoint));
            assert!(is_new(&format!("doubt {asked}"), &mut checkpoint));
        }
        checkpoint.asked_again = MOST_ASKED_AGAIN;
        assert!(!is_odd(Some(7), 1000, &checkpoint));
        assert!(!is_new("another", &mut checkpoint));
        assert_eq!(checkpoint.doubt.as_deref(), Some("another"), "the file is marked with it");
    }
}
