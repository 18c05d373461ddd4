//! How much the pool may take on now: free slots, how many transfers of one Zoom account run at once, accounts
//! that Zoom asks to wait, and care while the archive or the database is away.
//!
//! Care: when a run reports an outage, the pool goes on with one job at a time, each after a longer rest, so that
//! an outage of an hour does not make every waiting job fetch from Zoom in turn. The first success opens it up
//! again, by doubling: 1, 2, 4 … all slots. Runs that were under way before say nothing new and are left alone:
//! what they report of the outage is the same one, and a long one of them does not hold up the next try.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use super::backoff::Backoff;
use crate::config::worker::WorkerConfig;

/// Longest rest between two tries while something is away. A try costs Zoom one request; whoever has brought the
/// archive back should not wait for longer.
const LONGEST_REST: Duration = Duration::from_secs(120);
/// For how long it is known that something is away: longer than the longest rest and the run that finds it still away. A
/// process to which no job comes, because others have done them all, finds out nothing more, and says nothing more.
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// The pace, shared by the pool that claims and the runs that end.
#[derive(Debug)]
pub(super) struct Pacer {
    shows_care: bool,
    pace: Mutex<Pace>,
    moved: Notify,
}

/// What the pool may do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Claim.
    Claim(Order),
    /// Claim nothing before something has [moved](Pacer::moved).
    Wait,
    /// Claim nothing before this time.
    RestUntil(Instant),
}

/// What a claim may ask for. However the jobs it gets are spread over the accounts, all of them may run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Jobs at most; at least one.
    pub(super) limit: u32,
    /// Accounts whose transfers must stay where they are.
    pub(super) full: Vec<String>,
}

impl Pacer {
    /// `shows_care`: whether the metrics tell of its care; one pace of a process does that.
    pub(super) fn new(config: &WorkerConfig, shows_care: bool) -> Arc<Self> {
        let pacer = Self { shows_care, pace: Mutex::new(Pace::new(config)), moved: Notify::new() };
        pacer.show(&pacer.lock(), Instant::now());
        Arc::new(pacer)
    }

    /// What may be done now.
    pub(super) fn step(&self) -> Step {
        let now = Instant::now();
        let mut pace = self.lock();
        self.show(&pace, now);
        pace.step(now)
    }

    /// Seats a claimed job; it leaves when the seat is dropped.
    pub(super) fn seat(self: &Arc<Self>, account: Option<&str>) -> Seat {
        let wave = self.lock().seat(account);
        Seat { witness: Witness { pacer: Arc::clone(self), wave }, account: account.map(ToOwned::to_owned) }
    }

    /// Resolves when a job has left its seat, or told of a success, since this resolved last.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, pace: &Pace, now: Instant) {
        if self.shows_care {
            let is_known = u8::from(pace.is_known_to_be_careful(now));
            metrics::gauge!("zoom_archiver_worker_careful").set(f64::from(is_known));
        }
    }
}

/// The seat of a running job.
#[derive(Debug)]
pub(super) struct Seat {
    witness: Witness,
    account: Option<String>,
}

impl Seat {
    /// Through whom the run tells what it meets with.
    pub(super) fn witness(&self) -> Witness {
        self.witness.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Witness { pacer, wave } = &self.witness;
        pacer.lock().leave(self.account.as_deref(), *wave);
        pacer.moved.notify_one();
    }
}

/// What a run tells the pace.
#[derive(Debug, Clone)]
pub(super) struct Witness {
    pacer: Arc<Pacer>,
    wave: u64,
}

impl Witness {
    /// The archive or the database is away.
    pub(super) fn saw_outage(&self) {
        let mut pace = self.pacer.lock();
        let was_careful = pace.care.is_some();
        let now = Instant::now();
        pace.outage(self.wave, now);
        if !was_careful {
            warn!("something is away: one job at a time, until it is back");
        }
        self.pacer.show(&pace, now);
    }

    /// Zoom asks everybody of this account to wait so long.
    pub(super) fn saw_account_turned_away(&self, account: &str, rest: Duration) {
        self.pacer.lock().turn_away(account, Instant::now() + rest);
    }

    /// Archive and database took what they were given.
    pub(super) fn saw_success(&self) {
        let mut pace = self.pacer.lock();
        let was_careful = pace.care.is_some();
        pace.success(self.wave);
        if was_careful && pace.care.is_none() {
            info!("it is back: all slots are open again");
        }
        self.pacer.show(&pace, Instant::now());
        drop(pace);
        self.pacer.moved.notify_one();
    }
}

/// What runs, and the limits.
#[derive(Debug)]
pub(super) struct Pace {
    concurrency: u32,
    per_account: u32,
    backoff: Backoff,
    running: u32,
    /// Running transfers by account; no account has 0.
    accounts: BTreeMap<String, u32>,
    /// Accounts that Zoom asked to wait, and until when.
    turned_away: BTreeMap<String, Instant>,
    /// Grows with each outage: jobs claimed between two of them are one wave.
    wave: u64,
    /// Running jobs of the newest wave.
    fresh: u32,
    care: Option<Care>,
}

/// While something is away, and a while after.
#[derive(Debug)]
struct Care {
    /// Outages in a row.
    outages: u32,
    /// When the next try may be made.
    rests_until: Instant,
    /// Jobs of the newest wave that may run at once.
    allowed: u32,
    /// When it was last found away.
    found_at: Instant,
}

impl Pace {
    pub(super) fn new(config: &WorkerConfig) -> Self {
        Self {
            concurrency: config.concurrency,
            per_account: config.per_account(),
            backoff: Backoff::new(config).at_most(LONGEST_REST),
            running: 0,
            accounts: BTreeMap::new(),
            turned_away: BTreeMap::new(),
            wave: 0,
            fresh: 0,
            care: None,
        }
    }

    pub(super) fn step(&mut self, now: Instant) -> Step {
        if let Some(care) = &self.care
            && now < care.rests_until
        {
            return Step::RestUntil(care.rests_until);
        }
        self.turned_away.retain(|_, until| now < *until);
        let is_full = |account: &str, running: u32| {
            running >= self.per_account || self.turned_away.contains_key(account)
        };
        let open = self.accounts.iter().filter(|(account, running)| !is_full(account, **running));
        // All that a claim brings may be of one account: the one that has least room left.
        let busiest = open.map(|(_, running)| *running).max().unwrap_or(0);
        let free = self.concurrency.saturating_sub(self.running);
        let allowed = self.care.as_ref().map_or(free, |care| care.allowed.saturating_sub(self.fresh));
        match free.min(allowed).min(self.per_account - busiest) {
            0 => Step::Wait,
            limit => {
                let full = self.accounts.iter().filter(|(account, running)| is_full(account, **running));
                let full: BTreeSet<_> =
                    full.map(|(account, _)| account).chain(self.turned_away.keys()).collect();
                Step::Claim(Order { limit, full: full.into_iter().cloned().collect() })
            }
        }
    }

    fn is_known_to_be_careful(&self, now: Instant) -> bool {
        self.care.as_ref().is_some_and(|care| now < care.found_at + KNOWN_FOR)
    }

    /// Seats a job; returns its wave.
    pub(super) fn seat(&mut self, account: Option<&str>) -> u64 {
        self.running += 1;
        self.fresh += 1;
        if let Some(account) = account {
            *self.accounts.entry(account.to_owned()).or_default() += 1;
        }
        self.wave
    }

    pub(super) fn leave(&mut self, account: Option<&str>, wave: u64) {
        self.running -= 1;
        if wave == self.wave {
            self.fresh -= 1;
        }
        if let Some(account) = account
            && let Some(running) = self.accounts.get_mut(account)
        {
            *running -= 1;
            if *running == 0 {
                self.accounts.remove(account);
            }
        }
    }

    fn turn_away(&mut self, account: &str, until: Instant) {
        let known = self.turned_away.entry(account.to_owned()).or_insert(until);
        *known = until.max(*known);
    }

    pub(super) fn outage(&mut self, wave: u64, now: Instant) {
        if self.care.is_some() && wave < self.wave {
            return;
        }
        let outages = self.care.as_ref().map_or(0, |care| care.outages) + 1;
        let rests_until = now + self.backoff.rest(outages, None);
        self.care = Some(Care { outages, rests_until, allowed: 1, found_at: now });
        self.wave += 1;
        self.fresh = 0;
    }

    pub(super) fn success(&mut self, wave: u64) {
        if let Some(care) = &mut self.care
            && wave == self.wave
        {
            care.outages = 0;
            care.allowed = care.allowed.saturating_mul(2);
            if care.allowed >= self.concurrency {
                self.care = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    const BASE: Duration = Duration::from_secs(2);

    fn pace(concurrency: u32, per_account: u32) -> Pace {
        let mut config = load::load(None, &load::Environment::new()).unwrap().worker;
        (config.concurrency, config.concurrency_per_account) = (concurrency, per_account);
        assert_eq!(Duration::from_millis(config.retry_base_ms), BASE);
        Pace::new(&config)
    }

    fn claim(limit: u32, full: &[&str]) -> Step {
        Step::Claim(Order { limit, full: full.iter().map(|account| (*account).to_owned()).collect() })
    }

    /// A pace whose jobs run as long as a test wants, and its clock.
    struct Bench {
        pace: Pace,
        now: Instant,
    }

    impl Bench {
        fn new(concurrency: u32) -> Self {
            Self { pace: pace(concurrency, 0), now: Instant::now() }
        }

        /// Lets as many jobs begin as may; returns their waves.
        fn fill(&mut self) -> Vec<u64> {
            let mut waves = Vec::new();
            while let Step::Claim(order) = self.pace.step(self.now) {
                waves.extend((0..order.limit).map(|_| self.pace.seat(None)));
            }
            waves
        }

        fn fail(&mut self, wave: u64) {
            self.pace.outage(wave, self.now);
            self.pace.leave(None, wave);
        }

        fn succeed(&mut self, wave: u64) {
            self.pace.success(wave);
            self.pace.leave(None, wave);
        }

        /// Sleeps until the next try; returns for how long.
        fn rest(&mut self) -> Duration {
            let Step::RestUntil(time) = self.pace.step(self.now) else {
                panic!("no rest: {:?}", self.pace.step(self.now))
            };
            let rest = time - self.now;
            self.now = time;
            rest
        }
    }

    #[test]
    fn after_an_outage_one_job_at_a_time_is_tried_with_growing_rests() {
        let mut bench = Bench::new(8);
        for wave in bench.fill() {
            bench.fail(wave);
        }
        let mut rests = Vec::new();
        for outages in 1..=400_u32 {
            let rest = bench.rest();
            let ceiling = BASE.saturating_mul(1 << outages.min(20)).min(LONGEST_REST);
            assert!(rest >= BASE / 2 && rest <= ceiling, "{rest:?} after {outages} outages");
            rests.push(rest);
            let waves = bench.fill();
            assert_eq!(waves.len(), 1, "one job");
            assert_eq!(bench.pace.step(bench.now), Step::Wait, "and no other beside it");
            bench.fail(waves[0]);
        }
        // Rests are drawn by lot: so many of them, that their sum is far from by chance.
        let an_hour = Duration::from_secs(3600);
        assert!(rests.iter().sum::<Duration>() > 10 * an_hour / 2, "forty tries last long: {rests:?}");
    }

    #[test]
    fn a_process_to_which_no_job_comes_any_more_stops_saying_that_something_is_away() {
        let mut bench = Bench::new(8);
        for wave in bench.fill() {
            bench.fail(wave);
        }
        for _ in 0..50 {
            bench.rest();
            assert!(
                bench.pace.is_known_to_be_careful(bench.now),
                "it is tried more often than it is forgotten"
            );
            let wave = bench.fill()[0];
            bench.fail(wave);
        }
        bench.now += KNOWN_FOR;
        assert!(!bench.pace.is_known_to_be_careful(bench.now));
        assert_eq!(bench.fill().len(), 1, "the next job is tried alone all the same");
    }

    #[test]
    fn jobs_that_were_claimed_together_meet_one_outage() {
        let mut bench = Bench::new(8);
        let waves = bench.fill();
        bench.fail(waves[0]);
        let Step::RestUntil(first) = bench.pace.step(bench.now) else { panic!("no rest") };
        bench.now += BASE / 4;
        for wave in &waves[1..] {
            bench.fail(*wave);
        }
        assert_eq!(bench.pace.step(bench.now), Step::RestUntil(first));
        assert_eq!(bench.pace.care.as_ref().unwrap().outages, 1);
    }

    #[test]
    fn successes_open_the_slots_again_by_doubling() {
        let mut bench = Bench::new(7);
        let waves = bench.fill();
        for wave in waves {
            bench.fail(wave);
        }
        bench.rest();
        let mut running = bench.fill();
        let mut at_once = vec![running.len()];
        while bench.pace.care.is_some() {
            bench.succeed(running.remove(0));
            running.extend(bench.fill());
            at_once.push(running.len());
        }
        assert_eq!(at_once, [1, 2, 4, 7]);
    }

    #[test]
    fn an_outage_while_it_opens_closes_it_again_and_the_rests_begin_anew() {
        let mut bench = Bench::new(8);
        for wave in bench.fill() {
            bench.fail(wave);
        }
        for _ in 0..5 {
            bench.rest();
            let wave = bench.fill()[0];
            bench.fail(wave);
        }
        bench.rest();
        let wave = bench.fill()[0];
        bench.succeed(wave);
        let pair = bench.fill();
        assert_eq!(pair.len(), 2);
        bench.fail(pair[0]);
        assert!(bench.rest() <= BASE * 2);
        // The other of the two still runs, and does not stand in the way.
        assert_eq!(bench.fill().len(), 1);
        bench.succeed(pair[1]);
        assert_eq!(bench.pace.care.as_ref().unwrap().allowed, 1, "it was under way before");
    }

    #[test]
    fn a_long_job_from_before_the_outage_keeps_its_slot_and_holds_up_no_try() {
        let mut bench = Bench::new(2);
        let waves = bench.fill();
        bench.fail(waves[0]);
        bench.rest();
        let again = bench.fill();
        assert_eq!(again.len(), 1);
        bench.succeed(again[0]);
        assert!(bench.pace.care.is_none());
        bench.fail(waves[1]);
        assert!(bench.pace.care.is_some(), "with all slots open, whoever meets an outage is believed");
    }

    #[test]
    fn what_is_neither_outage_nor_success_changes_nothing() {
        let mut bench = Bench::new(8);
        for wave in bench.fill() {
            bench.fail(wave);
        }
        bench.rest();
        for _ in 0..3 {
            let waves = bench.fill();
            assert_eq!(waves.len(), 1);
            bench.pace.leave(None, waves[0]);
        }
    }

    #[test]
    fn without_a_limit_of_their_own_accounts_may_take_all_slots() {
        for none in [0, 8, 100] {
            let mut pace = pace(8, none);
            assert_eq!(pace.step(Instant::now()), claim(8, &[]));
            for _ in 0..7 {
                pace.seat(Some("a"));
            }
            assert_eq!(pace.step(Instant::now()), claim(1, &[]));
            pace.seat(None);
            assert_eq!(pace.step(Instant::now()), Step::Wait);
        }
    }

    #[test]
    fn whatever_a_claim_brings_no_account_gets_more_than_its_limit() {
        let mut pace = pace(8, 3);
        assert_eq!(pace.step(Instant::now()), claim(3, &[]), "all three may be of one account");
        pace.seat(Some("a"));
        pace.seat(Some("a"));
        pace.seat(Some("b"));
        assert_eq!(pace.step(Instant::now()), claim(1, &[]), "it may be of a");
        pace.seat(Some("a"));
        assert_eq!(pace.step(Instant::now()), claim(2, &["a"]), "both may be of b");
        pace.leave(Some("a"), 0);
        assert_eq!(pace.step(Instant::now()), claim(1, &[]));
    }

    #[test]
    fn an_account_that_is_asked_to_wait_is_full_until_then() {
        let mut pace = pace(8, 3);
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        pace.seat(Some("a"));
        pace.seat(Some("a"));
        pace.turn_away("a", now + 10 * second);
        pace.turn_away("b", now + 20 * second);
        pace.turn_away("a", now + 5 * second);
        assert_eq!(pace.step(now), claim(3, &["a", "b"]), "what runs of a binds nobody else");
        assert_eq!(pace.step(now + 9 * second), claim(3, &["a", "b"]));
        assert_eq!(pace.step(now + 10 * second), claim(1, &["b"]));
        assert_eq!(pace.step(now + 20 * second), claim(1, &[]));
    }

    #[test]
    fn jobs_that_ask_nothing_of_zoom_are_bound_by_the_slots_alone() {
        let mut pace = pace(4, 1);
        for _ in 0..3 {
            pace.seat(None);
        }
        assert_eq!(pace.step(Instant::now()), claim(1, &[]));
        pace.seat(Some("a"));
        assert_eq!(pace.step(Instant::now()), Step::Wait);
        pace.leave(None, 0);
        assert_eq!(pace.step(Instant::now()), claim(1, &["a"]));
    }
}
