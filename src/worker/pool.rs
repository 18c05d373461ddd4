//! Claims jobs and runs several of them at once. A signal inside the process wakes it; polling is the truth.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::{Board, Runner, run};
use crate::config::worker::WorkerConfig;
use crate::domain::job::Job;
use crate::store::SharedStore;

/// Longest rest between looks into the queue while the database is away.
const MAX_OUTAGE_REST: Duration = Duration::from_secs(15);

/// The workers of one process.
pub struct Pool {
    /// Where jobs come from and outcomes go.
    pub store: SharedStore,
    /// What does the work.
    pub runner: Runner,
    /// Bounds and times.
    pub config: WorkerConfig,
    /// How long a job may make no headway.
    pub stall: Duration,
    /// What runs now.
    pub board: Arc<Board>,
    /// Rung when there may be new work.
    pub wake: Arc<Notify>,
    /// Stops claiming, and then the running jobs.
    pub stop: CancellationToken,
    /// Who holds the leases: host name and process, for people.
    pub owner: String,
}

impl Pool {
    /// Works until told to stop, then waits for the running jobs to be put back.
    pub async fn work(self) {
        let pool = Arc::new(self);
        let slots = Arc::new(Semaphore::new(pool.config.concurrency as usize));
        let tracker = TaskTracker::new();
        let mut outage = 0_u32;
        info!(worker.owner = pool.owner, worker.concurrency = pool.config.concurrency, "worker started");
        while !pool.stop.is_cancelled() {
            let Some(permits) = free_slots(&slots, &pool.stop).await else { break };
            let claimed = Instant::now();
            let rest = match pool.claim(permits.len()).await {
                Ok(jobs) => {
                    outage = 0;
                    let found = jobs.len();
                    for (job, permit) in jobs.into_iter().zip(permits) {
                        let pool = Arc::clone(&pool);
                        tracker.spawn(async move {
                            run::run(pool, job, claimed).await;
                            drop(permit);
                        });
                    }
                    if found > 0 { Duration::ZERO } else { jittered(pool.config.poll_interval()) }
                }
                Err(error) => {
                    outage = outage.saturating_add(1);
                    warn!(%error, "cannot claim jobs");
                    let rest = pool.config.poll_interval().saturating_mul(1 << outage.min(5));
                    jittered(rest.min(MAX_OUTAGE_REST))
                }
            };
            pool.rest(rest).await;
        }
        tracker.close();
        tracker.wait().await;
        info!("worker stopped");
    }

    async fn claim(&self, free: usize) -> Result<Vec<Job>, crate::store::StoreError> {
        let limit = u32::try_from(free).unwrap_or(u32::MAX);
        self.store.claim(&self.owner, limit, self.config.lease()).await
    }

    async fn rest(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.wake.notified() => {}
            () = tokio::time::sleep(time) => {}
        }
    }
}

/// All slots that are free, at least one; `None` when it is time to stop.
async fn free_slots(slots: &Arc<Semaphore>, stop: &CancellationToken) -> Option<Vec<OwnedSemaphorePermit>> {
    let first = tokio::select! {
        () = stop.cancelled() => return None,
        permit = Arc::clone(slots).acquire_owned() => permit.ok()?,
    };
    let mut permits = vec![first];
    while let Ok(permit) = Arc::clone(slots).try_acquire_owned() {
        permits.push(permit);
    }
    Some(permits)
}

/// Between half and one and a half of a time, so that many workers do not ask in step.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.5 + rand::random::<f64>())
}
