//! A file that is fetched again because it was archived with a warning. The object that it had stays, and remains the file's
//! own unless Zoom delivers something else.

use tracing::info;

use super::super::Jobs;
use super::finish;
use crate::domain::file::{ArchivedFile, ArchivedObject, Proof};
use crate::domain::job::{Job, Outcome};
use crate::store::TransferWork;

/// What precedes the outcome of the last fetch in a warning.
const FETCHED_AGAIN: &str = "; when it was fetched again: ";

/// Whether what has been fetched is what the present object holds already.
pub(super) fn is_unchanged(work: &TransferWork, proof: &Proof) -> bool {
    work.file.replaces().is_some_and(|present| (present.bytes, present.sha256) == (proof.bytes, proof.sha256))
}

/// The outcome of a run: one that would leave the file without the object that it has keeps that object instead, and says in
/// its warning why there is no other.
pub(super) fn or_keep(jobs: &Jobs, job: &Job, work: &TransferWork, outcome: Outcome) -> Outcome {
    let Some(present) = work.file.replaces() else { return outcome };
    let is_last = job.attempts.saturating_add(1) >= jobs.max_attempts;
    match &outcome {
        Outcome::Gone { reason, .. } | Outcome::Dead { reason } | Outcome::Park { reason, .. } => {
            keep(jobs, work, present, reason)
        }
        Outcome::Retry { reason, .. } if is_last => keep(jobs, work, present, reason),
        _ => outcome,
    }
}

/// The outcome of a fetch that brought the bytes of the present object again.
pub(super) fn keep_unchanged(jobs: &Jobs, work: &TransferWork) -> Option<Outcome> {
    Some(keep(jobs, work, work.file.replaces()?, "Zoom delivers the same bytes"))
}

fn keep(jobs: &Jobs, work: &TransferWork, present: &ArchivedObject, why: &str) -> Outcome {
    info!(file.id = %work.file.id, object.key = present.key, reason = why, "the present object stays");
    finish::done(jobs, work, Some(kept(present, why)))
}

fn kept(present: &ArchivedObject, why: &str) -> ArchivedFile {
    let warning = present.mark.as_deref().unwrap_or_default();
    let warning = warning.split(FETCHED_AGAIN).next().unwrap_or_default();
    present.with_mark(Some(format!("{warning}{FETCHED_AGAIN}{why}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::file::Sha256Digest;

    #[test]
    fn a_warning_names_the_last_outcome_alone() {
        let present = ArchivedObject {
            key: "a/b.mp4".to_owned(),
            bytes: 3,
            sha256: Sha256Digest([7; 32]),
            content_type: "video/mp4".to_owned(),
            store_checksum: Some("crc64nvme:AAECAwQFBgc=".to_owned()),
            etag: None,
            version_id: None,
            mark: Some("suspect: no moov".to_owned()),
            archived_at: None,
        };
        let once = ArchivedObject::new(&kept(&present, "no route"), None);
        let twice = kept(&once, "Zoom has it no more");
        assert_eq!(twice.mark, Some(format!("suspect: no moov{FETCHED_AGAIN}Zoom has it no more")));
        assert_eq!(twice.store_checksum.map(|it| it.to_string()), present.store_checksum);
    }
}
