//! A file that came with its event: it lies in the row, and goes into the archive with the same proof as all others.

use bytes::Bytes;
use tracing::{Instrument, info_span};

use super::super::Jobs;
use super::checkpoint::{Measured, TransferCheckpoint};
use super::finish;
use crate::archive::{ArchiveError, NewObject};
use crate::domain::checksum::crc64nvme;
use crate::domain::fact::facts;
use crate::domain::job::Outcome;
use crate::domain::media::content_type;
use crate::store::TransferWork;
use crate::worker::JobContext;

/// Puts the content under `key`. Whatever ends it early is an `Err`.
pub(super) async fn carry(
    jobs: &Jobs,
    context: &JobContext,
    work: &TransferWork,
    key: String,
    content: Bytes,
) -> Result<Outcome, Outcome> {
    let file = &work.file;
    let mut measured = Measured::new(&file.extension);
    measured.add(&content, crc64nvme(&content), true);
    let proof = measured.proof();
    let object = NewObject {
        key,
        content_type: content_type(&file.extension, &content).to_owned(),
        facts: facts(&work.recording, file),
    };
    context.confirm_lease().await?;
    let put = jobs.archive.put(&object, content, &proof).instrument(info_span!("complete"));
    let stored = match put.await {
        Err(ArchiveError::Exists(_)) => finish::adopt(jobs, context, &object.key, &proof).await?,
        stored => stored?,
    };
    let checkpoint = TransferCheckpoint::default();
    let archived = finish::archived(work, object.key, object.content_type, &proof, stored, &checkpoint);
    Ok(finish::done(jobs, work, Some(archived)))
}
