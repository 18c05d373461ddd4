//! How much the pool may take on now: free slots, and how many transfers of one Zoom account run at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::config::worker::WorkerConfig;

/// The pace, shared by the pool that claims and the runs that end.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Mutex<Pace>,
    moved: Notify,
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
    pub(super) fn new(config: &WorkerConfig) -> Arc<Self> {
        Arc::new(Self { pace: Mutex::new(Pace::new(config)), moved: Notify::new() })
    }

    /// What may be claimed now; `None` when nothing may before something has [moved](Self::moved).
    pub(super) fn order(&self) -> Option<Order> {
        self.lock().order()
    }

    /// Seats a claimed job; it leaves when the seat is dropped.
    pub(super) fn seat(self: &Arc<Self>, account: Option<&str>) -> Seat {
        self.lock().seat(account);
        Seat { pacer: Arc::clone(self), account: account.map(ToOwned::to_owned) }
    }

    /// Resolves when a job has left its seat since this resolved last.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The seat of a running job.
#[derive(Debug)]
pub(super) struct Seat {
    pacer: Arc<Pacer>,
    account: Option<String>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pacer.lock().leave(self.account.as_deref());
        self.pacer.moved.notify_one();
    }
}

/// What runs, and the limits.
#[derive(Debug)]
struct Pace {
    concurrency: u32,
    per_account: u32,
    running: u32,
    /// Running transfers by account; no account has 0.
    accounts: BTreeMap<String, u32>,
}

impl Pace {
    fn new(config: &WorkerConfig) -> Self {
        Self {
            concurrency: config.concurrency,
            per_account: config.per_account(),
            running: 0,
            accounts: BTreeMap::new(),
        }
    }

    fn order(&self) -> Option<Order> {
        let (full, open): (Vec<_>, Vec<_>) =
            self.accounts.iter().partition(|(_, running)| **running >= self.per_account);
        // All that a claim brings may be of one account: the one that has least room left.
        let busiest = open.into_iter().map(|(_, running)| *running).max().unwrap_or(0);
        let free = self.concurrency.saturating_sub(self.running);
        let limit = free.min(self.per_account - busiest);
        let full = full.into_iter().map(|(account, _)| account.clone()).collect();
        (limit > 0).then_some(Order { limit, full })
    }

    fn seat(&mut self, account: Option<&str>) {
        self.running += 1;
        if let Some(account) = account {
            *self.accounts.entry(account.to_owned()).or_default() += 1;
        }
    }

    fn leave(&mut self, account: Option<&str>) {
        self.running -= 1;
        if let Some(account) = account
            && let Some(running) = self.accounts.get_mut(account)
        {
            *running -= 1;
            if *running == 0 {
                self.accounts.remove(account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn pace(concurrency: u32, per_account: u32) -> Pace {
        let mut config = load::load(None, &load::Environment::new()).unwrap().worker;
        (config.concurrency, config.concurrency_per_account) = (concurrency, per_account);
        Pace::new(&config)
    }

    fn order(limit: u32, full: &[&str]) -> Option<Order> {
        Some(Order { limit, full: full.iter().map(|account| (*account).to_owned()).collect() })
    }

    #[test]
    fn without_a_limit_of_their_own_accounts_may_take_all_slots() {
        for none in [0, 8, 100] {
            let mut pace = pace(8, none);
            assert_eq!(pace.order(), order(8, &[]));
            for _ in 0..7 {
                pace.seat(Some("a"));
            }
            assert_eq!(pace.order(), order(1, &[]));
            pace.seat(None);
            assert_eq!(pace.order(), None);
        }
    }

    #[test]
    fn whatever_a_claim_brings_no_account_gets_more_than_its_limit() {
        let mut pace = pace(8, 3);
        assert_eq!(pace.order(), order(3, &[]), "all three may be of one account");
        pace.seat(Some("a"));
        pace.seat(Some("a"));
        pace.seat(Some("b"));
        assert_eq!(pace.order(), order(1, &[]), "it may be of a");
        pace.seat(Some("a"));
        assert_eq!(pace.order(), order(2, &["a"]), "both may be of b");
        pace.leave(Some("a"));
        assert_eq!(pace.order(), order(1, &[]));
    }

    #[test]
    fn jobs_that_ask_nothing_of_zoom_are_bound_by_the_slots_alone() {
        let mut pace = pace(4, 1);
        for _ in 0..3 {
            pace.seat(None);
        }
        assert_eq!(pace.order(), order(1, &[]));
        pace.seat(Some("a"));
        assert_eq!(pace.order(), None);
        pace.leave(None);
        assert_eq!(pace.order(), order(1, &["a"]));
    }
}
