//! What `/metrics` tells of the whole installation, read from the database, and of the way there. However many ask, the
//! database is asked no more often than `http.metrics_max_age_ms` allows, and one at a time. While it does not answer, what
//! it would say is not a number, rather than what it said last.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::archive::SharedArchive;
use crate::domain::account::AccountNames;
use crate::domain::job::{JobState, TRANSFER};
use crate::domain::verification::FileFinding;
use crate::store::{Backlog, Connections, Health, Losses, SharedStore, StoreError, Verification};

/// Time for the database to answer; whoever asks for metrics waits for some ten seconds.
const PATIENCE: Duration = Duration::from_secs(4);

/// The gauges, with what was shown last.
pub(super) struct Gauges {
    store: SharedStore,
    archive: Option<SharedArchive>,
    names: AccountNames,
    max_age: Duration,
    shown: Mutex<Shown>,
}

/// A gauge: its name, and its labels.
type Series = (&'static str, Vec<(&'static str, String)>);

/// What has been shown. A gauge keeps its last value: what is not there any more must be set to nought.
#[derive(Default)]
struct Shown {
    read_at: Option<Instant>,
    of_database: BTreeMap<Series, f64>,
}

/// What the database tells.
struct Told {
    backlog: Vec<Backlog>,
    losses: Losses,
    health: Health,
    verification: Verification,
    unreadable_events: u64,
}

impl Gauges {
    /// `names` is what the accounts are called: of these words there are no more than accounts in the configuration.
    pub(super) fn new(
        store: SharedStore,
        archive: Option<SharedArchive>,
        names: AccountNames,
        max_age: Duration,
    ) -> Self {
        Self { store, archive, names, max_age, shown: Mutex::default() }
    }

    /// Only an archive on a disk has an end.
    async fn show_room(&self) {
        let Some(archive) = &self.archive else { return };
        if let Ok(Ok(Some(room))) = tokio::time::timeout(PATIENCE, archive.room()).await {
            metrics::gauge!("zoom_archiver_archive_room_bytes").set(float(room));
        }
    }

    /// Sets every gauge to what holds now, or held a moment ago.
    pub(super) async fn bring_up_to_date(&self) {
        let mut shown = self.shown.lock().await;
        self.show_connections();
        if shown.read_at.is_some_and(|read_at| read_at.elapsed() < self.max_age) {
            return;
        }
        self.show_room().await;
        let told = tokio::time::timeout(PATIENCE, self.ask()).await;
        shown.read_at = Some(Instant::now());
        match told {
            Ok(Ok(told)) => {
                show(&mut shown.of_database, of_database(&told, &self.names));
                metrics::gauge!("zoom_archiver_database_up").set(1.0);
            }
            Ok(Err(_)) | Err(_) => {
                for series in shown.of_database.keys() {
                    set(series, f64::NAN);
                }
                metrics::gauge!("zoom_archiver_database_up").set(0.0);
            }
        }
    }

    async fn ask(&self) -> Result<Told, StoreError> {
        let store = &self.store;
        let (backlog, losses, health, verification, unreadable_events) = tokio::try_join!(
            store.backlog(),
            store.losses(),
            store.health(),
            store.verification(),
            store.unreadable_events()
        )?;
        Ok(Told { backlog, losses, health, verification, unreadable_events })
    }

    fn show_connections(&self) {
        for Connections { purpose, open, idle, most } in self.store.connections() {
            for (state, connections) in [("idle", idle), ("busy", open - idle)] {
                metrics::gauge!("zoom_archiver_database_connections", "purpose" => purpose, "state" => state)
                    .set(connections);
            }
            metrics::gauge!("zoom_archiver_database_connections_limit", "purpose" => purpose).set(most);
        }
    }
}

fn of_database(told: &Told, names: &AccountNames) -> BTreeMap<Series, f64> {
    let mut series = BTreeMap::new();
    // Of files it is said also that none is due and none stands still.
    for (name, state) in [
        ("zoom_archiver_oldest_due_seconds", JobState::Waiting),
        ("zoom_archiver_oldest_stopped_seconds", JobState::Parked),
        ("zoom_archiver_oldest_stopped_seconds", JobState::Dead),
    ] {
        series.insert((name, vec![("kind", TRANSFER.to_owned()), ("state", state.to_string())]), 0.0);
    }
    for backlog in &told.backlog {
        let labels = vec![("kind", backlog.kind.clone()), ("state", backlog.state.to_string())];
        let mut of_account = labels.clone();
        // What asks nothing of Zoom is nobody's; notices are their receiver's.
        let account = match backlog.account.as_deref() {
            Some(target) if backlog.kind == "notify" => target,
            account_id => account_id.map_or("", |account_id| names.label(account_id)),
        };
        of_account.push(("account", account.to_owned()));
        // Accounts that have no name share a word.
        *series.entry(("zoom_archiver_jobs", of_account)).or_default() += float(backlog.jobs);
        let name = match backlog.state {
            JobState::Waiting => "zoom_archiver_oldest_due_seconds",
            JobState::Parked | JobState::Dead => "zoom_archiver_oldest_stopped_seconds",
            JobState::Running | JobState::Done | JobState::Cancelled => continue,
        };
        let oldest: &mut f64 = series.entry((name, labels)).or_default();
        *oldest = oldest.max(backlog.oldest.unwrap_or_default().as_secs_f64());
    }
    let nearest = told.losses.nearest.map_or(f64::INFINITY, |nearest| nearest.as_secs_f64());
    series.insert(("zoom_archiver_nearest_loss_seconds", Vec::new()), nearest);
    series.insert(("zoom_archiver_overdue_files", Vec::new()), float(told.losses.overdue));
    series.insert(("zoom_archiver_unreadable_events", Vec::new()), float(told.unreadable_events));
    series.extend(of_archive(&told.verification));
    series.insert(("zoom_archiver_database_bytes", Vec::new()), float(told.health.bytes));
    if let Some(oldest) = told.health.oldest_transaction {
        series
            .insert(("zoom_archiver_database_oldest_transaction_seconds", Vec::new()), oldest.as_secs_f64());
    }
    for table in &told.health.tables {
        for (rows, count) in [("live", table.live_rows), ("dead", table.dead_rows)] {
            let labels = vec![("table", table.table.clone()), ("rows", rows.to_owned())];
            series.insert(("zoom_archiver_table_rows", labels), float(count));
        }
    }
    series
}

/// For how long that object was not verified of which it is longest, and what is not as it was proven.
fn of_archive(verification: &Verification) -> BTreeMap<Series, f64> {
    let oldest = verification.oldest.unwrap_or_default().as_secs_f64();
    let found = FileFinding::ALL.map(|finding| {
        let found = verification.findings.iter().find(|(found, _)| *found == finding);
        let labels = vec![("finding", finding.as_str().to_owned())];
        (("zoom_archiver_findings", labels), found.map_or(0.0, |(_, files)| float(*files)))
    });
    let mut series = BTreeMap::from(found);
    series.insert(("zoom_archiver_oldest_unverified_seconds", Vec::new()), oldest);
    series.insert(("zoom_archiver_foreign_objects", Vec::new()), float(verification.foreign));
    series
}

/// Sets what is there, and to nought what was there before and is not any more.
fn show(shown: &mut BTreeMap<Series, f64>, now: BTreeMap<Series, f64>) {
    for value in shown.values_mut() {
        *value = 0.0;
    }
    shown.extend(now);
    for (series, value) in shown.iter() {
        set(series, *value);
    }
}

fn set((name, labels): &Series, value: f64) {
    metrics::gauge!(*name, labels).set(value);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(backlog: Vec<Backlog>) -> Told {
        Told {
            backlog,
            losses: Losses::default(),
            health: Health::default(),
            verification: Verification::default(),
            unreadable_events: 0,
        }
    }

    fn backlog(account: Option<&str>, state: JobState, jobs: u64, oldest_secs: u64) -> Backlog {
        Backlog {
            kind: "transfer".to_owned(),
            account: account.map(str::to_owned),
            state,
            jobs,
            oldest: Some(Duration::from_secs(oldest_secs)),
        }
    }

    #[test]
    fn jobs_are_told_by_account_with_no_more_words_than_there_are_accounts_and_ages_by_the_oldest() {
        let names = AccountNames::new([("emea".to_owned(), "a1".to_owned())], true);
        let waiting = |account, jobs, secs| backlog(account, JobState::Waiting, jobs, secs);
        let all = [
            waiting(Some("a1"), 5, 7),
            waiting(Some("a2"), 3, 90),
            waiting(Some("a3"), 4, 8),
            waiting(None, 1, 2),
        ];
        let series = of_database(&told(all.to_vec()), &names);
        let labels = [("kind", "transfer".to_owned()), ("state", "waiting".to_owned())];
        for (account, jobs) in [("emea", 5.0), ("other", 7.0), ("", 1.0)] {
            let of_account = [&labels[..], &[("account", account.to_owned())]].concat();
            assert_eq!(series[&("zoom_archiver_jobs", of_account)], jobs, "{account}");
        }
        assert_eq!(series[&("zoom_archiver_oldest_due_seconds", labels.to_vec())], 90.0);
    }
}
