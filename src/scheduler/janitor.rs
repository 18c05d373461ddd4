//! Gives up unfinished uploads that are ours and that no transfer goes on with: they cost the price of storage and
//! appear in no list of objects. Ours are those under the keys of our files; whatever else lies below the prefix is
//! left alone.
//!
//! What is left behind comes from two ways: a transfer that is dead and that nobody wants again (its checkpoint
//! names the upload), and a process that died between beginning an upload and writing it down (the archive lists
//! it; where a store cannot, the bucket's own lifecycle rule is the way, see `docs/archive.md`).

use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::archive::{ArchiveError, SharedArchive, Upload};
use crate::jobs::transfer::upload_in;
use crate::store::{SharedStore, StoreError};

/// Rest between two rounds.
const PERIOD: Duration = Duration::from_secs(3600);

/// Why a round ended early. The next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum JanitorError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Tidies up by period until told to stop.
pub async fn run(store: SharedStore, archive: SharedArchive, older_than: Duration, stop: CancellationToken) {
    loop {
        let round = async {
            match tidy(&store, &archive, older_than).await {
                Ok(0) => {}
                Ok(found) => info!(found, "gave up uploads that no transfer goes on with"),
                Err(error) => warn!(%error, "cannot tidy up"),
            }
            tokio::time::sleep(PERIOD).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = round => {}
        }
    }
}

/// One round: gives up what is older than that, and says how many uploads it was.
///
/// # Errors
/// See [`JanitorError`].
pub async fn tidy(
    store: &SharedStore,
    archive: &SharedArchive,
    older_than: Duration,
) -> Result<u64, JanitorError> {
    let mut found = abandoned(store, archive, older_than).await?;
    found += unknown(store, archive, older_than).await?;
    Ok(found)
}

/// Gives up an upload, and counts it at once: whatever becomes of the round, it is gone.
async fn give_up(archive: &SharedArchive, upload: &Upload) -> Result<(), ArchiveError> {
    archive.abort(upload).await?;
    metrics::counter!("zoom_archiver_leftovers_total").increment(1);
    Ok(())
}

/// Uploads of transfers that have been dead for long. One at a time: what has been taken from its checkpoint and cannot be
/// given up is known to nobody but the archive.
async fn abandoned(
    store: &SharedStore,
    archive: &SharedArchive,
    older_than: Duration,
) -> Result<u64, JanitorError> {
    let mut found = 0;
    loop {
        let taken: Vec<Value> = store.abandon(older_than, 1).await?;
        for upload in taken.iter().filter_map(upload_in) {
            give_up(archive, &upload).await?;
            found += 1;
        }
        if taken.is_empty() {
            return Ok(found);
        }
    }
}

/// Uploads that the archive lists and no checkpoint names.
async fn unknown(
    store: &SharedStore,
    archive: &SharedArchive,
    older_than: Duration,
) -> Result<u64, JanitorError> {
    let listed: Vec<Upload> = match archive.unfinished(older_than).await {
        Ok(listed) => listed.into_iter().map(|unfinished| unfinished.upload).collect(),
        Err(ArchiveError::Refused(reason)) => {
            tracing::debug!(reason, "the store cannot list unfinished uploads");
            return Ok(0);
        }
        Err(error) => return Err(error.into()),
    };
    let named: Vec<_> = listed.iter().map(|upload| (upload.id.clone(), upload.key.clone())).collect();
    let leftovers = store.leftovers(&named).await?;
    for upload in listed.iter().filter(|upload| leftovers.contains(&upload.id)) {
        give_up(archive, upload).await?;
    }
    Ok(leftovers.len() as u64)
}
