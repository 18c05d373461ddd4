//! Forgets events that were read and jobs that are finished when they are old, and counts them: they prove nothing, and
//! grow with use. What proves anything, rows of recordings and files and the manifests, is never touched.
//!
//! It goes on in small batches with a rest after each, so that whoever records or claims meanwhile waits for no more than
//! one of them. Several processes may do it at once: none takes what another is taking.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::retention::RetentionConfig;
use crate::store::{Prunable, SharedStore, StoreError};

/// Rest between two rounds.
const PERIOD: Duration = Duration::from_secs(3600);
/// Rows forgotten at a time: SQLite writes nothing else for some ten milliseconds meanwhile.
const BATCH: u32 = 200;
/// Rest after each batch.
const BREATH: Duration = Duration::from_millis(100);

/// Forgets by period until told to stop.
pub async fn run(store: SharedStore, config: RetentionConfig, stop: CancellationToken) {
    let kept = [(Prunable::Events, config.events()), (Prunable::Jobs, config.jobs())];
    loop {
        let round = async {
            for (what, age) in kept.into_iter().filter_map(|(what, age)| Some((what, age?))) {
                let table = what.as_str();
                match forget(&store, what, age).await {
                    Ok(0) => {}
                    Ok(rows) => info!(table, rows, "forgot what was old"),
                    Err(error) => warn!(table, %error, "cannot forget what is old"),
                }
            }
            tokio::time::sleep(PERIOD).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = round => {}
        }
    }
}

/// One round: forgets what is that old, and says how many rows it was.
///
/// # Errors
/// See [`StoreError`]. What was forgotten before stays so; the next round goes on.
pub async fn forget(store: &SharedStore, what: Prunable, age: Duration) -> Result<u64, StoreError> {
    let (mut rows, mut after) = (0, None);
    loop {
        let pruned = store.prune(what, age, after, BATCH).await?;
        metrics::counter!("zoom_archiver_pruned_rows_total", "table" => what.as_str()).increment(pruned.rows);
        rows += pruned.rows;
        if pruned.rows < u64::from(BATCH) {
            return Ok(rows);
        }
        after = pruned.last;
        tokio::time::sleep(BREATH).await;
    }
}
