//! Claims jobs of one queue and runs several of them at once. A signal inside the process wakes it; polling is the truth.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::pace::{Order, Pacer, Step};
use super::{Board, Runner, run};
use crate::config::worker::WorkerConfig;
use crate::domain::account::AccountNames;
use crate::domain::job::{Job, Queue};
use crate::store::{SharedStore, StoreError};

/// Longest rest between looks into the queue while the database is away.
const MAX_OUTAGE_REST: Duration = Duration::from_secs(15);

/// The workers of one process.
pub struct Pool {
    /// Where jobs come from and outcomes go.
    pub store: SharedStore,
    /// Which jobs they take.
    pub queue: Queue,
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
    /// What the accounts of jobs are called in metrics and logs.
    pub names: AccountNames,
    /// Who holds the leases: host name and process, for people.
    pub owner: String,
}

impl Pool {
    /// Works until told to stop, then waits for the running jobs to be put back.
    pub async fn work(self) {
        let pool = Arc::new(self);
        let pacer = Pacer::new(&pool.config, pool.queue == Queue::Work);
        let tracker = TaskTracker::new();
        let mut outage = 0_u32;
        info!(
            worker.owner = pool.owner,
            worker.queue = ?pool.queue,
            worker.concurrency = pool.config.concurrency,
            "worker started"
        );
        while !pool.stop.is_cancelled() {
            let order = match pacer.step() {
                Step::Claim(order) => order,
                Step::Wait => {
                    pool.until_stop(pacer.moved()).await;
                    continue;
                }
                Step::RestUntil(time) => {
                    pool.until_stop(tokio::time::sleep_until(time)).await;
                    continue;
                }
            };
            let claimed = Instant::now();
            let rest = match pool.claim(&order).await {
                Ok(jobs) => {
                    outage = 0;
                    let found = jobs.len();
                    for job in jobs {
                        metrics::histogram!("zoom_archiver_job_wait_seconds", "kind" => job.task.kind())
                            .record(job.waited);
                        let (pool, seat) = (Arc::clone(&pool), pacer.seat(job.account.as_deref()));
                        tracker.spawn(async move {
                            run::run(pool, job, claimed, seat.witness()).await;
                            drop(seat);
                        });
                    }
                    if found > 0 { continue } else { jittered(pool.config.poll_interval()) }
                }
                Err(error) => {
                    outage = outage.saturating_add(1);
                    warn!(%error, "cannot claim jobs");
                    let rest = pool.config.poll_interval().saturating_mul(1 << outage.min(5));
                    jittered(rest.min(MAX_OUTAGE_REST))
                }
            };
            // A full account may have work, and get room.
            let room = async { if order.full.is_empty() { pending().await } else { pacer.moved().await } };
            pool.until_stop(async {
                tokio::select! {
                    () = pool.wake.notified() => {}
                    () = room => {}
                    () = tokio::time::sleep(rest) => {}
                }
            })
            .await;
        }
        tracker.close();
        tracker.wait().await;
        info!("worker stopped");
    }

    async fn claim(&self, order: &Order) -> Result<Vec<Job>, StoreError> {
        let (store, lease, begun) = (&self.store, self.config.lease(), Instant::now());
        let claimed = match self.queue {
            Queue::Work => store.claim(&self.owner, order.limit, lease, &order.full).await,
            Queue::Notices => store.claim_notices(&self.owner, order.limit, lease, &order.full).await,
        };
        metrics::histogram!("zoom_archiver_claim_seconds").record(begun.elapsed());
        claimed
    }

    async fn until_stop(&self, event: impl Future<Output = ()>) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = event => {}
        }
    }
}

/// Between half and one and a half of a time, so that many workers do not ask in step.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.5 + rand::random::<f64>())
}
