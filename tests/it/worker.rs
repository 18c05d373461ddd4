//! The workers, with a scripted job on a real store.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zoom_archiver::config::worker::WorkerConfig;
use zoom_archiver::config::{Config, load};
use zoom_archiver::domain::account::AccountNames;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::job::{Job, JobState, Outcome, Queue, Task, WaitsFor};
use zoom_archiver::store::{self, SharedStore};
use zoom_archiver::worker::{Board, JobContext, Pool, Runner};

use crate::support::announce::{session, session_of};
use crate::support::service::eventually;

struct Bench {
    store: SharedStore,
    config: WorkerConfig,
    _data: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config: Config = load::load(None, &load::Environment::new()).unwrap();
        config.worker.poll_interval_ms = 10;
        config.worker.retry_base_ms = 1;
        config.worker.retry_max_ms = 5;
        let url = format!("sqlite:{}", data.path().join("test.db").display()).into();
        store::migrate(&url, &config.store).await.unwrap();
        let store = store::open(&url, &config.store).await.unwrap();
        Self { store, config: config.worker, _data: data }
    }

    fn work<F, O>(&self, job: F) -> (JoinHandle<()>, CancellationToken)
    where
        F: Fn(Job, JobContext) -> O + Send + Sync + 'static,
        O: Future<Output = Outcome> + Send + 'static,
    {
        let runner: Runner = Arc::new(move |the_job, context| job(the_job, context).boxed());
        let stop = CancellationToken::new();
        let pool = Pool {
            names: AccountNames::default(),
            queue: Queue::Work,
            store: Arc::clone(&self.store),
            runner,
            config: self.config.clone(),
            stall: Duration::from_secs(60),
            board: Arc::new(Board::default()),
            wake: Arc::new(Notify::new()),
            stop: stop.clone(),
            owner: "test".to_owned(),
        };
        (tokio::spawn(pool.work()), stop)
    }

    async fn file(&self) -> FileRow {
        self.store.files(&[], None, 1).await.unwrap().remove(0)
    }

    async fn jobs_in(&self, state: JobState) -> u64 {
        let depths = self.store.depth().await.unwrap();
        depths.iter().filter(|depth| depth.state == state).map(|depth| depth.jobs).sum()
    }

    async fn until(&self, state: JobState, jobs: u64) {
        eventually("the jobs reach the state", || async {
            (self.jobs_in(state).await == jobs).then_some(())
        })
        .await;
    }

    async fn claim_one(&self) -> Job {
        eventually("a job is due", || async {
            self.store.claim("next", 1, Duration::from_secs(60), &[]).await.unwrap().pop()
        })
        .await
    }
}

#[tokio::test]
async fn a_stopped_worker_puts_its_jobs_back_with_their_checkpoint_and_no_attempt_counted() {
    let bench = Bench::new().await;
    bench.store.record(&session("s", 1)).await.unwrap();
    let (started, mut has_started) = mpsc::unbounded_channel();
    let (worker, stop) = bench.work(move |_, context| {
        let started = started.clone();
        async move {
            context.checkpoint(&json!({"offset": 7})).await.unwrap();
            started.send(()).unwrap();
            context.stopped().await;
            Outcome::Stopped
        }
    });
    has_started.recv().await.unwrap();
    stop.cancel();
    worker.await.unwrap();
    let job = bench.claim_one().await;
    assert_eq!((job.attempts, job.snoozes, job.checkpoint), (0, 0, Some(json!({"offset": 7}))));
    assert!(job.lease.token > 1);
}

#[tokio::test]
async fn a_job_is_tried_again_until_its_attempts_are_spent_and_then_it_is_dead_with_the_last_error() {
    let mut bench = Bench::new().await;
    bench.config.max_attempts = 4;
    bench.store.record(&session("s", 1)).await.unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let (worker, stop) = bench.work(move |_, _| {
        let run = counted.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Outcome::Retry { reason: format!("failure {run}"), after: None, whole_account: false } }
    });
    bench.until(JobState::Dead, 1).await;
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 4);
    let file = bench.file().await;
    assert_eq!(file.state, FileState::Dead);
    assert!(file.reason.unwrap().contains("failure 4"));
}

#[tokio::test]
async fn a_job_that_fails_again_and_again_but_moves_on_each_time_does_not_die() {
    let mut bench = Bench::new().await;
    bench.config.max_attempts = 2;
    bench.store.record(&session("s", 1)).await.unwrap();
    let (worker, stop) = bench.work(move |job, context| async move {
        let parts = job.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint["parts"].as_u64().unwrap());
        if parts == 80 {
            let reason = format!("{} attempts", job.attempts);
            return Outcome::Park { waits_for: WaitsFor::Person, reason };
        }
        context.checkpoint(&json!({"parts": parts + 1})).await.unwrap();
        Outcome::Retry { reason: "cut".to_owned(), after: None, whole_account: false }
    });
    bench.until(JobState::Parked, 1).await;
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(bench.file().await.reason.unwrap(), "1 attempts");
}

#[tokio::test]
async fn a_job_that_only_remembers_things_dies_of_its_failures() {
    let mut bench = Bench::new().await;
    bench.config.max_attempts = 3;
    bench.store.record(&session("s", 1)).await.unwrap();
    let (worker, stop) = bench.work(move |job, context| async move {
        context.note(&json!({"seen": job.attempts})).await.unwrap();
        Outcome::Retry { reason: format!("failure {}", job.attempts), after: None, whole_account: false }
    });
    bench.until(JobState::Dead, 1).await;
    stop.cancel();
    worker.await.unwrap();
    assert!(bench.file().await.reason.unwrap().contains("failure 2"));
}

#[tokio::test]
async fn a_file_that_zoom_has_no_more_is_gone_and_what_follows_is_done_too() {
    let bench = Bench::new().await;
    bench.store.record(&session("s", 1)).await.unwrap();
    let recording = bench.file().await.recording_id;
    let (worker, stop) = bench.work(move |job, _| async move {
        match job.task {
            Task::Transfer(_) => Outcome::Gone {
                reason: "404, and the API agrees".to_owned(),
                next: vec![(Task::Manifest(recording), Duration::ZERO)],
            },
            Task::Manifest(_) | Task::Remove(_) | Task::Reconcile | Task::Verify | Task::Notify(_) => {
                Outcome::Done(Box::default())
            }
        }
    });
    bench.until(JobState::Done, 2).await;
    stop.cancel();
    worker.await.unwrap();
    let file = bench.file().await;
    assert_eq!((file.state, file.reason.as_deref()), (FileState::Gone, Some("404, and the API agrees")));
}

#[tokio::test]
async fn a_panic_in_a_job_is_a_failed_attempt_and_not_the_end_of_the_worker() {
    let bench = Bench::new().await;
    bench.store.record(&session("s", 1)).await.unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let (worker, stop) = bench.work(move |job, _| {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(run > 0, "the first run panics");
            Outcome::Park { waits_for: WaitsFor::Person, reason: format!("after {}", job.attempts) }
        }
    });
    bench.until(JobState::Parked, 1).await;
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(bench.file().await.reason.unwrap(), "after 1");
}

#[tokio::test]
async fn what_is_not_the_jobs_fault_costs_it_no_attempt() {
    let bench = Bench::new().await;
    bench.store.record(&session("s", 1)).await.unwrap();
    let (worker, stop) = bench.work(move |job, _| async move {
        if job.snoozes < 5 {
            return Outcome::Snooze { reason: "the bucket is away".to_owned() };
        }
        Outcome::Park { waits_for: WaitsFor::Person, reason: format!("{} attempts", job.attempts) }
    });
    bench.until(JobState::Parked, 1).await;
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(bench.file().await.reason.unwrap(), "0 attempts");
}

#[tokio::test]
async fn a_job_that_must_wait_for_zoom_comes_back_later_and_pays_nothing() {
    let bench = Bench::new().await;
    bench.store.record(&session("s", 1)).await.unwrap();
    const REST: Duration = Duration::from_millis(300);
    let runs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&runs);
    let (worker, stop) = bench.work(move |job, _| {
        runs.lock().unwrap().push(Instant::now());
        async move {
            if job.lease.token < 3 {
                return Outcome::Later { reason: "Zoom still processes it".to_owned(), after: REST };
            }
            let reason = format!("{} attempts, {} snoozes", job.attempts, job.snoozes);
            Outcome::Park { waits_for: WaitsFor::Person, reason }
        }
    });
    bench.until(JobState::Parked, 1).await;
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(bench.file().await.reason.unwrap(), "0 attempts, 0 snoozes");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.windows(2).all(|runs| runs[1] - runs[0] >= REST), "{seen:?}");
}

#[tokio::test]
async fn while_the_archive_is_away_jobs_are_tried_one_at_a_time_and_all_are_done_when_it_is_back() {
    const JOBS: u64 = 40;
    const AT_ONCE: u32 = 4;
    let mut bench = Bench::new().await;
    bench.config.concurrency = AT_ONCE;
    bench.store.record(&session("s", usize::try_from(JOBS).unwrap())).await.unwrap();
    let (runs, mut count) = watch::channel(0_u32);
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    // Those that began when the outage was known: how many now, how many at most.
    let trying = Arc::new(Mutex::new((0_u32, 0_u32)));
    let seen = Arc::clone(&trying);
    let (worker, stop) = bench.work(move |_, _| {
        let (away, trying) = (Arc::clone(&is_away), Arc::clone(&trying));
        runs.send_modify(|runs| *runs += 1);
        let is_try = *runs.borrow() > AT_ONCE;
        async move {
            if !away.load(Ordering::SeqCst) {
                return Outcome::Done(Box::default());
            }
            if is_try {
                let mut now = trying.lock().unwrap();
                now.0 += 1;
                now.1 = now.1.max(now.0);
            }
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            if is_try {
                trying.lock().unwrap().0 -= 1;
            }
            Outcome::Snooze { reason: "the bucket is away".to_owned() }
        }
    });
    count.wait_for(|runs| *runs > AT_ONCE + 20).await.unwrap();
    assert_eq!(seen.lock().unwrap().1, 1);
    away.store(false, Ordering::SeqCst);
    bench.until(JobState::Done, JOBS).await;
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn an_account_that_zoom_turned_away_is_left_alone_until_the_time_it_named() {
    const REST: Duration = Duration::from_secs(1);
    let mut bench = Bench::new().await;
    (bench.config.concurrency, bench.config.concurrency_per_account) = (4, 1);
    bench.store.record(&session_of("busy", "s", 6)).await.unwrap();
    bench.store.record(&session_of("other", "s2", 6)).await.unwrap();
    let runs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&runs);
    let (worker, stop) = bench.work(move |job, _| {
        let account = job.account.unwrap();
        let is_first = {
            let mut runs = runs.lock().unwrap();
            let is_first = !runs.iter().any(|(known, _)| *known == account);
            runs.push((account.clone(), Instant::now()));
            is_first
        };
        async move {
            if account == "busy" && is_first {
                let reason = "Zoom answered 429".to_owned();
                return Outcome::Retry { reason, after: Some(REST), whole_account: true };
            }
            Outcome::Park { waits_for: WaitsFor::Person, reason: "seen".to_owned() }
        }
    });
    bench.until(JobState::Parked, 12).await;
    stop.cancel();
    worker.await.unwrap();
    let seen = seen.lock().unwrap();
    let of = |account| seen.iter().filter(move |(known, _)| known == account).map(|(_, began)| *began);
    let busy: Vec<_> = of("busy").collect();
    assert_eq!((busy.len(), of("other").count()), (7, 6));
    assert!(busy[1] - busy[0] >= REST, "{:?}", busy[1] - busy[0]);
    assert!(
        of("other").any(|began| busy[0] < began && began < busy[1]),
        "the other account goes on meanwhile"
    );
}

#[tokio::test]
async fn a_job_whose_lease_is_lost_is_stopped_at_once_and_settles_nothing() {
    let mut bench = Bench::new().await;
    bench.config.lease_secs = 0;
    bench.store.record(&session("s", 1)).await.unwrap();
    let (told, mut was_told) = mpsc::unbounded_channel();
    let (worker, stop) = bench.work(move |job, context| {
        let told = told.clone();
        async move {
            // With a lease of no length, the first heartbeat finds it expired and perhaps swept.
            context.stopped().await;
            told.send(job.lease.token).unwrap();
            Outcome::Dead { reason: "written without the right to".to_owned() }
        }
    });
    was_told.recv().await.unwrap();
    stop.cancel();
    worker.await.unwrap();
    assert_ne!(bench.file().await.state, FileState::Dead);
}

#[tokio::test]
async fn no_more_jobs_run_at_once_than_configured() {
    let mut bench = Bench::new().await;
    bench.config.concurrency = 3;
    bench.store.record(&session("s", 20)).await.unwrap();
    let running = Arc::new(Mutex::new((0_u32, 0_u32)));
    let seen = Arc::clone(&running);
    let (worker, stop) = bench.work(move |_, _| {
        let running = Arc::clone(&running);
        async move {
            {
                let mut now = running.lock().unwrap();
                now.0 += 1;
                now.1 = now.1.max(now.0);
            }
            tokio::task::yield_now().await;
            running.lock().unwrap().0 -= 1;
            Outcome::Park { waits_for: WaitsFor::Person, reason: "seen".to_owned() }
        }
    });
    bench.until(JobState::Parked, 20).await;
    stop.cancel();
    worker.await.unwrap();
    assert!(seen.lock().unwrap().1 <= 3);
}

#[tokio::test]
async fn an_account_with_much_to_do_leaves_room_for_the_others() {
    let mut bench = Bench::new().await;
    (bench.config.concurrency, bench.config.concurrency_per_account) = (4, 2);
    bench.store.record(&session_of("busy", "s", 12)).await.unwrap();
    bench.store.record(&session_of("other", "s2", 6)).await.unwrap();
    let (others, _) = watch::channel(0);
    let running = Arc::new(Mutex::new((0_u32, 0_u32)));
    let seen = Arc::clone(&running);
    let (worker, stop) = bench.work(move |job, _| {
        let (others, running) = (others.clone(), Arc::clone(&running));
        async move {
            assert_eq!(job.lease.token, 1, "no job is claimed and put back");
            if job.account.as_deref() == Some("other") {
                others.send_modify(|done| *done += 1);
            } else {
                {
                    let mut now = running.lock().unwrap();
                    now.0 += 1;
                    now.1 = now.1.max(now.0);
                }
                // Announced before them, and still at it when all the others are done.
                others.subscribe().wait_for(|done| *done == 6).await.unwrap();
                running.lock().unwrap().0 -= 1;
            }
            Outcome::Park { waits_for: WaitsFor::Person, reason: "seen".to_owned() }
        }
    });
    bench.until(JobState::Parked, 18).await;
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(seen.lock().unwrap().1, 2);
}
