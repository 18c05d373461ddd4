//! Returns jobs whose worker is gone to the queue. Any number of sweepers may run: each returns what it finds.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::worker::WorkerConfig;
use crate::store::SharedStore;

/// Sweeps by period until told to stop, and rings `wake` when it has returned something.
pub async fn sweep(store: SharedStore, config: WorkerConfig, wake: Arc<Notify>, stop: CancellationToken) {
    loop {
        match store.sweep(config.max_lost_leases).await {
            Ok(swept) if swept.returned + swept.parked > 0 => {
                info!(swept.returned, swept.parked, "jobs whose lease had expired");
                for (then, jobs) in [("waiting", swept.returned), ("parked", swept.parked)] {
                    metrics::counter!("zoom_archiver_leases_expired_total", "then" => then).increment(jobs);
                }
                wake.notify_one();
            }
            Ok(_) => {}
            Err(error) => warn!(%error, "cannot sweep"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(config.sweep_interval()) => {}
        }
    }
}
