//! One job under its lease: a heartbeat extends the lease, a watch cuts a job that makes no headway, and the
//! outcome is written down in one settlement. A job that has lost its lease is stopped at once and writes
//! nothing more.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::{self, Empty};
use tracing::{Instrument, Span, info, info_span, warn};

use super::backoff::Backoff;
use super::board::{Entry, Progress};
use super::pace::Witness;
use super::{Pool, Runner};
use crate::domain::job::{Cost, Job, Lease, Outcome, Settlement, Task};
use crate::store::{SharedStore, StoreError};
use crate::telemetry;

/// A heartbeat comes this many times in the life of a lease, so that one or two may be lost.
const HEARTBEATS_PER_LEASE: u32 = 3;
/// Stall limits that a job may go without a sign of life.
const STALLS_BEFORE_CUT: u32 = 4;

/// What a job may do to its own row while it runs, and how it is told to stop.
#[derive(Debug, Clone)]
pub struct JobContext {
    lease: Lease,
    store: Handle,
    hold: Arc<Hold>,
    progress: Arc<Progress>,
    headway: Headway,
    stop: CancellationToken,
}

/// Whether a run has made headway; the first time, the pace is told that archive and database are there.
#[derive(Debug, Clone)]
struct Headway {
    made: Arc<AtomicBool>,
    witness: Witness,
}

impl Headway {
    fn make(&self) {
        if !self.made.swap(true, Ordering::Relaxed) {
            self.witness.saw_success();
        }
    }

    fn is_made(&self) -> bool {
        self.made.load(Ordering::Relaxed)
    }
}

/// How long a lease is, and when the database last said that it is ours.
#[derive(Debug)]
struct Hold {
    length: Duration,
    confirmed: Mutex<Instant>,
}

impl Hold {
    fn confirmed(&self) -> Instant {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ours until its length after `asked`, the moment before the question was put.
    fn confirm(&self, asked: Instant) {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    fn ends(&self) -> Instant {
        self.confirmed() + self.length
    }
}

/// A store that can stand in a `Debug` type.
#[derive(Clone)]
struct Handle(SharedStore);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.describe())
    }
}

impl JobContext {
    /// Notes that `bytes` more have been carried. A job that notes nothing for long is cut.
    pub fn advance(&self, bytes: u64) {
        self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.alive();
    }

    /// Notes that the job stands in line for something of ours, and is not hanging.
    pub fn alive(&self) {
        self.progress.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how many bytes are to be carried.
    pub fn expect(&self, total: u64) {
        self.progress.total.store(total, Ordering::Relaxed);
    }

    /// Resolves when the job must stop: shutdown, a lost lease, or no headway.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Writes what the next holder of this job would need, now that the job has made headway: attempts are
    /// counted from here. A job that only wants to remember something [notes](Self::note) it.
    ///
    /// # Errors
    /// See [`Store::checkpoint`](crate::store::Store::checkpoint).
    pub async fn checkpoint(&self, checkpoint: &Value) -> Result<(), StoreError> {
        self.store.0.checkpoint(&self.lease, checkpoint).await?;
        self.headway.make();
        Ok(())
    }

    /// Writes what the next holder of this job would need, without having made headway.
    ///
    /// # Errors
    /// See [`Store::note`](crate::store::Store::note).
    pub async fn note(&self, checkpoint: &Value) -> Result<(), StoreError> {
        self.store.0.note(&self.lease, checkpoint).await
    }

    /// Makes sure that the lease is still ours, before a step that cannot be undone: asks the database, and
    /// extends it, unless the database said so within the last third of its length.
    ///
    /// # Errors
    /// See [`Store::extend`](crate::store::Store::extend).
    pub async fn confirm_lease(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        if asked < self.hold.confirmed() + self.hold.length / HEARTBEATS_PER_LEASE {
            return Ok(());
        }
        self.store.0.extend(&self.lease, self.hold.length).await?;
        self.hold.confirm(asked);
        Ok(())
    }
}

/// Why a watch ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Shutdown,
    LeaseLost,
    Stalled,
}

/// Runs one job, claimed just after `claimed`, to its settlement.
pub(super) async fn run(pool: Arc<Pool>, job: Job, claimed: Instant, witness: Witness) {
    let span = info_span!("job", job.id = %job.lease.job, job.kind = job.task.kind(),
        job.subject = %job.task.subject(), job.lease = job.lease.token, zoom.account = account(&pool, &job),
        file.id = Empty, recording.id = Empty);
    name_subject(&span, job.task);
    telemetry::follow(&span, job.trace.as_deref());
    run_in_span(pool, job, claimed, witness).instrument(span).await;
}

/// Names what the job is about, by the name that it has everywhere.
fn name_subject(span: &Span, task: Task) {
    match task {
        Task::Transfer(file) => span.record("file.id", field::display(file)),
        Task::Manifest(recording) | Task::Remove(recording) => {
            span.record("recording.id", field::display(recording))
        }
        Task::Notify(_) | Task::Reconcile | Task::Verify => span,
    };
}

/// What the account of a job is called, if it is about one.
fn account<'a>(pool: &'a Pool, job: &Job) -> Option<&'a str> {
    job.account.as_deref().map(|account_id| pool.names.label(account_id))
}

async fn run_in_span(pool: Arc<Pool>, mut job: Job, claimed: Instant, witness: Witness) {
    let entry = pool.board.enter(job.lease.job, job.task);
    let stop = CancellationToken::new();
    let headway = Headway { made: Arc::default(), witness };
    let hold = Arc::new(Hold { length: pool.config.lease(), confirmed: Mutex::new(claimed) });
    let context = JobContext {
        lease: job.lease.clone(),
        store: Handle(Arc::clone(&pool.store)),
        hold: Arc::clone(&hold),
        progress: Arc::clone(&entry.progress),
        headway: headway.clone(),
        stop: stop.clone(),
    };
    let work = guarded(&pool.runner, job.clone(), context);
    tokio::pin!(work);
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        ending = watch(&pool, &job.lease, &hold, &entry) => {
            stop.cancel();
            // The job gets time to tidy up behind itself, and may even finish.
            let last = tokio::time::timeout(pool.config.shutdown_grace() / 2, work).await;
            match (ending, last) {
                (Ending::LeaseLost, _) => return lease_lost(),
                (_, Ok(finished @ (Outcome::Done(_) | Outcome::Gone { .. }))) => finished,
                (Ending::Shutdown, _) => Outcome::Stopped,
                (Ending::Stalled, _) => {
                    let silent = (pool.stall * STALLS_BEFORE_CUT).as_secs();
                    Outcome::Snooze { reason: format!("no headway for over {silent} s; cut") }
                }
            }
        }
    };
    if headway.is_made() {
        // As the checkpoint has written it into the row.
        (job.attempts, job.snoozes) = (0, 0);
    }
    match &outcome {
        Outcome::Done(_) => headway.make(),
        Outcome::Snooze { .. } => headway.witness.saw_outage(),
        Outcome::Retry { after, whole_account: true, .. } => {
            if let Some(account) = &job.account {
                let rest = Backoff::new(&pool.config).rest(1, *after);
                info!(
                    account,
                    rest_ms = millis(rest),
                    "no more is begun of this account, or for this receiver, for a while"
                );
                headway.witness.saw_account_turned_away(account, rest);
            }
        }
        _ => {}
    }
    if matches!(outcome, Outcome::Withdrawn) {
        info!("the job is not wanted any more");
        return;
    }
    let label = outcome_label(&outcome);
    metrics::histogram!("zoom_archiver_run_seconds", "kind" => job.task.kind(), "outcome" => label)
        .record(claimed.elapsed());
    let settlement = settlement(label, outcome, &job, &pool);
    settle(&pool, &job.lease, &settlement).instrument(info_span!("settle", job.outcome = label)).await;
}

fn lease_lost() {
    metrics::counter!("zoom_archiver_leases_lost_total").increment(1);
    warn!("the lease is lost; the job goes on elsewhere, and what was done here counts for nothing");
}

/// Runs the work; a panic in it is a failed attempt, not the end of the worker.
async fn guarded(runner: &Runner, job: Job, context: JobContext) -> Outcome {
    match AssertUnwindSafe(runner(job, context)).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Retry {
            reason: "the job panicked; see the log".to_owned(),
            after: None,
            whole_account: false,
        },
    }
}

/// Returns when the run must end: shutdown, the lease lost, or no headway for the stall limit.
async fn watch(pool: &Pool, lease: &Lease, hold: &Hold, entry: &Entry) -> Ending {
    tokio::select! {
        () = pool.stop.cancelled() => Ending::Shutdown,
        () = heartbeat(&pool.store, lease, hold) => Ending::LeaseLost,
        () = no_headway(&entry.progress, pool.stall) => Ending::Stalled,
    }
}

/// Extends the lease again and again; returns when it is lost. While the database is away the lease counts as
/// ours until the time that was last written has passed.
async fn heartbeat(store: &SharedStore, lease: &Lease, hold: &Hold) {
    loop {
        tokio::time::sleep(hold.length / HEARTBEATS_PER_LEASE).await;
        let asked = Instant::now();
        match tokio::time::timeout_at(hold.ends(), store.extend(lease, hold.length)).await {
            Ok(Ok(())) => hold.confirm(asked),
            Ok(Err(StoreError::LeaseLost(_))) | Err(_) => return,
            Ok(Err(error)) => {
                warn!(error = %error, "cannot extend the lease");
                if Instant::now() >= hold.ends() {
                    return;
                }
            }
        }
    }
}

/// Returns when a job has given no sign of life for a few stall limits. A download gives up by itself after
/// one, and calls to the archive and the database have limits of their own; this catches what hangs in spite
/// of them.
async fn no_headway(progress: &Progress, stall: Duration) {
    let mut seen = progress.beats.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(stall * STALLS_BEFORE_CUT).await;
        let now = progress.beats.load(Ordering::Relaxed);
        if now == seen {
            return;
        }
        seen = now;
    }
}

fn outcome_label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done(_) => "done",
        Outcome::Gone { .. } => "gone",
        Outcome::Retry { .. } => "retry",
        Outcome::Snooze { .. } => "snooze",
        Outcome::Later { .. } => "later",
        Outcome::Park { .. } => "park",
        Outcome::Dead { .. } => "dead",
        Outcome::Stopped => "stopped",
        Outcome::Withdrawn => "withdrawn",
    }
}

/// What an outcome means for the row.
pub(super) fn settlement(label: &'static str, outcome: Outcome, job: &Job, pool: &Pool) -> Settlement {
    let account = account(pool, job).unwrap_or_default().to_owned();
    let labels =
        [("kind", job.task.kind().to_owned()), ("outcome", label.to_owned()), ("account", account.clone())];
    metrics::counter!("zoom_archiver_jobs_total", &labels).increment(1);
    let backoff = Backoff::new(&pool.config);
    match outcome {
        Outcome::Done(completion) => Settlement::Done(completion),
        Outcome::Gone { reason, next } => {
            metrics::counter!("zoom_archiver_files_gone_total", "account" => account).increment(1);
            warn!(file.id = %job.task.subject(), reason, "Zoom has the file no more; it cannot be archived");
            Settlement::Gone { reason, next }
        }
        Outcome::Retry { reason, after, whole_account: _ } => {
            let attempts = job.attempts + 1;
            if attempts >= pool.config.max_attempts {
                let reason = format!("{reason} (attempt {attempts} of {attempts})");
                warn!(reason, "job dead");
                return Settlement::Dead { reason };
            }
            let after = backoff.rest(attempts, after);
            info!(reason, attempts, after_ms = millis(after), "job will be tried again");
            Settlement::Wait { after, reason: Some(reason), cost: Cost::Attempt }
        }
        Outcome::Snooze { reason } => {
            let after = backoff.rest(job.snoozes + 1, None);
            info!(reason, after_ms = millis(after), "job put back; not its fault");
            Settlement::Wait { after, reason: Some(reason), cost: Cost::Snooze }
        }
        Outcome::Later { reason, after } => {
            info!(reason, after_ms = millis(after), "job put back; not yet");
            Settlement::Wait { after, reason: Some(reason), cost: Cost::Nothing }
        }
        Outcome::Park { waits_for, reason } => {
            warn!(reason, waits_for = waits_for.as_str(), "job parked");
            Settlement::Park { waits_for, reason }
        }
        Outcome::Dead { reason } => {
            warn!(reason, "job dead");
            Settlement::Dead { reason }
        }
        Outcome::Stopped | Outcome::Withdrawn => {
            Settlement::Wait { after: Duration::ZERO, reason: None, cost: Cost::Nothing }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Writes the settlement, again and again while the database is away, for as long as the lease may be ours.
/// When that fails the sweeper returns the job, and it finds its own traces in the archive.
async fn settle(pool: &Pool, lease: &Lease, settlement: &Settlement) {
    let give_up = Instant::now() + pool.config.lease();
    loop {
        match pool.store.settle(lease, settlement.clone()).await {
            Ok(()) => return,
            Err(StoreError::Unavailable(error)) if Instant::now() < give_up => {
                warn!(%error, "cannot settle the job yet");
                tokio::time::sleep(pool.config.poll_interval()).await;
            }
            Err(StoreError::LeaseLost(_)) => return lease_lost(),
            Err(error) => {
                tracing::error!(%error, "cannot settle the job; it returns when its lease expires");
                return;
            }
        }
    }
}
