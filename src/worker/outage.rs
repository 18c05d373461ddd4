//! An hour without the archive, with a moved clock. The pace, the rests, what the end of a run costs, and the record are
//! those that serve. What moves is time: the pace is told what time it is, and the record is moved into the past by as
//! much.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Pool;
use super::pace::{Pace, Step};
use super::run::settlement;
use crate::clock::Clock;
use crate::config::load;
use crate::config::worker::WorkerConfig;
use crate::domain::account::AccountNames;
use crate::domain::event::{Event, EventContent};
use crate::domain::ids::EventId;
use crate::domain::job::{Job, JobState, Outcome, Queue};
use crate::store::{self, SharedStore};
use crate::zoom::payload::{self, Message};

const FILES: usize = 200;
const OUTAGE: Duration = Duration::from_secs(3600);
/// Time that a run takes to find that the archive is away.
const FAILS_AFTER: Duration = Duration::from_secs(3);
/// Time that a run takes to archive a file.
const ARCHIVES_AFTER: Duration = Duration::from_secs(5);

/// A session with so many files that nobody serves.
fn session(files: usize) -> Event {
    let file = |number: usize| json!({"id": format!("f{number}"), "file_type": "MP4", "download_url": "https://zoom.us/rec/x"});
    let body = json!({
        "event": "session.recording_completed",
        "download_token": "token",
        "payload": {"account_id": "a", "object": {
            "session_id": "s", "recording_files": (0..files).map(file).collect::<Vec<_>>(),
        }},
    });
    let Message::Announcement { name, announcement, body } = payload::read(body.to_string().as_bytes())
    else {
        panic!("it announces files")
    };
    let content = EventContent::Announcement(*announcement);
    Event { id: EventId::new(), received_at: Clock::System.now(), name, body, content, trace: None }
}

fn pool(store: &SharedStore, config: &WorkerConfig) -> Pool {
    Pool {
        store: Arc::clone(store),
        queue: Queue::Work,
        runner: Arc::new(|_, _| async { Outcome::Stopped }.boxed()),
        config: config.clone(),
        stall: Duration::from_secs(60),
        board: Arc::default(),
        wake: Arc::new(Notify::new()),
        stop: CancellationToken::new(),
        names: AccountNames::default(),
        owner: "worker".to_owned(),
    }
}

/// A worker whose time moves when it has nothing to do.
struct Worker {
    url: SecretString,
    pool: Pool,
    pace: Pace,
    began: Instant,
    now: Instant,
    /// By how much the record has been moved into the past.
    moved: Duration,
    /// Runs by when they end, each with the wave that it is seated in.
    running: BTreeMap<(Instant, usize), (Job, u64)>,
    /// Runs begun so far.
    runs: usize,
    done: usize,
}

impl Worker {
    fn is_away(&self) -> bool {
        self.now < self.began + OUTAGE
    }

    /// Claims what it may; returns when there is something else to do.
    async fn claim(&mut self) -> Instant {
        let never = self.now + OUTAGE;
        let next_end = self.running.keys().next().map_or(never, |(end, _)| *end);
        match self.pace.step(self.now) {
            Step::Wait => next_end,
            Step::RestUntil(time) => time.min(next_end),
            Step::Claim(order) => {
                let lease = self.pool.config.lease();
                let jobs = self.pool.store.claim("worker", order.limit, lease, &order.full).await.unwrap();
                if jobs.is_empty() {
                    return next_end.min(self.now + self.pool.config.poll_interval());
                }
                for job in jobs {
                    assert_eq!(job.attempts, 0, "an attempt was spent");
                    let wave = self.pace.seat(job.account.as_deref());
                    let takes = if self.is_away() { FAILS_AFTER } else { ARCHIVES_AFTER };
                    self.running.insert((self.now + takes, self.runs), (job, wave));
                    self.runs += 1;
                }
                self.now
            }
        }
    }

    /// Moves time, and ends the runs whose time has come.
    async fn go_on(&mut self, until: Instant) {
        self.now = until;
        let by = Duration::from_millis((self.now - self.began - self.moved).as_millis() as u64);
        store::move_into_the_past(&self.url, by).await;
        self.moved += by;
        while let Some(entry) = self.running.first_entry()
            && entry.key().0 <= self.now
        {
            let (job, wave) = entry.remove();
            let outcome = if self.is_away() {
                self.pace.outage(wave, self.now);
                Outcome::Snooze { reason: "archive is not available".to_owned() }
            } else {
                self.pace.success(wave);
                self.done += 1;
                Outcome::Done(Box::default())
            };
            let settlement = settlement("", outcome, &job, &self.pool);
            self.pool.store.settle(&job.lease, settlement).await.unwrap();
            self.pace.leave(job.account.as_deref(), wave);
        }
    }
}

#[tokio::test]
async fn an_hour_without_the_archive_spends_no_attempt_and_ends_without_a_herd() {
    let data = tempfile::tempdir().unwrap();
    let config = load::load(None, &load::Environment::new()).unwrap();
    let url: SecretString = format!("sqlite:{}", data.path().join("test.db").display()).into();
    store::migrate(&url, &config.store).await.unwrap();
    let store = store::open(&url, &config.store).await.unwrap();
    store.record(&session(FILES)).await.unwrap();
    let slots = config.worker.concurrency as usize;
    let (began, pace) = (Instant::now(), Pace::new(&config.worker));
    let mut worker = Worker {
        url,
        pool: pool(&store, &config.worker),
        pace,
        began,
        now: began,
        moved: Duration::ZERO,
        running: BTreeMap::new(),
        runs: 0,
        done: 0,
    };

    // The first ones are under way when it begins; from then on there is one at a time.
    while worker.is_away() {
        let until = worker.claim().await;
        assert!(worker.runs <= slots || worker.running.len() <= 1, "a herd while it is away");
        if until > worker.now {
            worker.go_on(until).await;
        }
    }
    let tries = worker.runs;
    // Not many, so that Zoom is spared; and not few, so that its return is seen within two minutes.
    assert!((slots + 20..slots + 200).contains(&tries), "{tries} tries in an hour");
    let stood = store.backlog().await.unwrap();
    assert!(stood.iter().all(|it| !matches!(it.state, JobState::Dead | JobState::Parked)), "{stood:?}");

    let mut first_success = None;
    while worker.done < FILES {
        let until = worker.claim().await;
        let allowed = slots.min(1 << worker.done.min(10));
        assert!(
            worker.running.len() <= allowed,
            "{} at once after {} done",
            worker.running.len(),
            worker.done
        );
        if until > worker.now {
            worker.go_on(until).await;
        }
        if worker.done > 0 {
            first_success.get_or_insert(worker.now);
        }
    }
    let after = |time: Instant| time - (began + OUTAGE);
    assert!(after(first_success.unwrap()) < Duration::from_secs(180), "{:?}", after(first_success.unwrap()));
    // Those that were tried last rest for a quarter of an hour, at most; all others go at once.
    assert!(after(worker.now) < Duration::from_secs(1200), "{:?}", after(worker.now));
    store.close().await;
}
