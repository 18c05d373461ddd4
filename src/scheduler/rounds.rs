//! Has something done by period: Zoom asked for what no event brought, a share of the archive verified. The doing itself
//! is a job, like all work: of all processes that want it one gets it, and the database's clock says when it is time
//! again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::domain::job::Task;
use crate::store::SharedStore;

/// Longest rest between two looks at whether it is time.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Wakes the job by period until told to stop, and rings `wake` when it has.
pub async fn run(
    store: SharedStore,
    task: Task,
    period: Duration,
    wake: Arc<Notify>,
    stop: CancellationToken,
) {
    loop {
        match store.repeat(task, period).await {
            Ok(true) => {
                debug!(job.kind = task.kind(), "it is time for another round");
                wake.notify_one();
            }
            Ok(false) => {}
            Err(error) => warn!(job.kind = task.kind(), %error, "cannot begin another round"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period.min(LONGEST_REST)) => {}
        }
    }
}
