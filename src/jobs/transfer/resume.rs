//! Taking up what an earlier run has left: the upload that its checkpoint names, compared with what the archive
//! really holds.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::super::Jobs;
use super::checkpoint::{Begun, Tags, TransferCheckpoint};
use super::{Ended, alive_while};
use crate::archive::{ArchiveError, Part};
use crate::domain::job::{Job, Outcome};
use crate::worker::JobContext;

/// What is there to go on with.
pub(super) enum Left {
    /// Nothing: the file starts over.
    Nothing,
    /// An upload, and the parts that the archive holds of it.
    Upload(Begun, BTreeMap<u32, Part>),
    /// The upload has gone, and it was whole: it may have been completed by a run that did not live to say so.
    Whole(Begun),
}

/// Looks at what is left under `key`.
pub(super) async fn look(
    jobs: &Jobs,
    job: &Job,
    context: &JobContext,
    key: &str,
    checkpoint: &mut TransferCheckpoint,
) -> Result<Left, Ended> {
    let Some(begun) = checkpoint.upload.clone() else {
        // A run that died between beginning an upload and writing it down has left one.
        let is_first_run = job.lease.token <= 1;
        if !is_first_run {
            context.confirm_lease().await?;
            clear_unknown(jobs, key).await?;
        }
        return Ok(Left::Nothing);
    };
    // A directory reads back what it holds, which may take its time.
    let parts = alive_while(context, jobs.archive.parts(&begun.upload, begun.plan)).await;
    let parts = match parts {
        Ok(parts) => parts,
        Err(ArchiveError::NoSuchUpload(_)) => {
            checkpoint.upload = None;
            if begun.measured.whole {
                return Ok(Left::Whole(begun));
            }
            count_resent(&begun);
            return Ok(Left::Nothing);
        }
        Err(ArchiveError::Refused(reason)) => {
            warn!(reason, "the store cannot list the parts of an upload; the file starts over");
            context.confirm_lease().await?;
            jobs.archive.abort(&begun.upload).await?;
            checkpoint.upload = None;
            count_resent(&begun);
            return Ok(Left::Nothing);
        }
        Err(error) => return Err(error.into()),
    };
    let parts: BTreeMap<u32, Part> = parts.into_iter().map(|part| (part.number, part)).collect();
    if !holds(&begun, &parts) {
        // Not to be built upon: MinIO, killed while it completes an upload, leaves one that still takes parts and
        // can never be completed.
        context.confirm_lease().await?;
        jobs.archive.abort(&begun.upload).await?;
        return Err(Ended::UploadLost(
            "the archive does not hold the parts that it has confirmed".to_owned(),
        ));
    }
    info!(
        object.key = key,
        parts = begun.measured.parts,
        bytes = begun.measured.bytes,
        "going on where an earlier run stopped"
    );
    Ok(Left::Upload(begun, parts))
}

/// Counts the parts of an upload that is lost: they are to be sent again.
pub(super) fn count_resent(begun: &Begun) {
    metrics::counter!("zoom_archiver_parts_resent_total").increment(begun.measured.parts.into());
}

/// Whether the archive holds, without a gap, the very parts that have been measured.
fn holds(begun: &Begun, parts: &BTreeMap<u32, Part>) -> bool {
    let first = parts.range(..=begun.measured.parts).map(|(_, part)| part);
    Tags::of(first) == begun.tags
}

/// Gives up whatever is unfinished under our key.
async fn clear_unknown(jobs: &Jobs, key: &str) -> Result<(), Outcome> {
    match jobs.archive.abort_all(key).await {
        Ok(0) => Ok(()),
        Ok(found) => {
            info!(found, "gave up uploads that an earlier run had left");
            Ok(())
        }
        // It costs space until the bucket's lifecycle rule removes it, and nothing else.
        Err(ArchiveError::Refused(reason)) => {
            warn!(reason, "the store cannot list unfinished uploads; one may be left");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
