//! What `/metrics` tells of the whole installation, read from the database, and of the way there. However many ask, the
//! database is asked no more often than `http.metrics_max_age_ms` allows, and one at a time. While it does not answer, what
//! it would say is not a number, rather than what it said last.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::job::JobState;
use crate::store::{Backlog, Connections, Health, Losses, SharedStore, StoreError};

/// Time for the database to answer; whoever asks for metrics waits for some ten seconds.
const PATIENCE: Duration = Duration::from_secs(4);

/// The kind of job that stands for a file.
const TRANSFER: &str = "transfer";

/// The gauges, with what was shown last.
pub(super) struct Gauges {
    store: SharedStore,
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
}

impl Gauges {
    pub(super) fn new(store: SharedStore, max_age: Duration) -> Self {
        Self { store, max_age, shown: Mutex::default() }
    }

    /// Sets every gauge to what holds now, or held a moment ago.
    pub(super) async fn bring_up_to_date(&self) {
        let mut shown = self.shown.lock().await;
        self.show_connections();
        if shown.read_at.is_some_and(|read_at| read_at.elapsed() < self.max_age) {
            return;
        }
        let told = tokio::time::timeout(PATIENCE, self.ask()).await;
        shown.read_at = Some(Instant::now());
        match told {
            Ok(Ok(told)) => {
                show(&mut shown.of_database, of_database(&told));
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
        let (backlog, losses, health) =
            tokio::try_join!(self.store.backlog(), self.store.losses(), self.store.health())?;
        Ok(Told { backlog, losses, health })
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

fn of_database(told: &Told) -> BTreeMap<Series, f64> {
    let mut series = BTreeMap::new();
    // Of files it is said also that there are none.
    for state in [JobState::Waiting, JobState::Running, JobState::Parked, JobState::Dead] {
        add_backlog(&mut series, &Backlog { kind: TRANSFER.to_owned(), state, jobs: 0, oldest: None });
    }
    for backlog in &told.backlog {
        add_backlog(&mut series, backlog);
    }
    let nearest = told.losses.nearest.map_or(f64::INFINITY, |nearest| nearest.as_secs_f64());
    series.insert(("zoom_archiver_nearest_loss_seconds", Vec::new()), nearest);
    series.insert(("zoom_archiver_overdue_files", Vec::new()), float(told.losses.overdue));
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

fn add_backlog(series: &mut BTreeMap<Series, f64>, backlog: &Backlog) {
    let labels = vec![("kind", backlog.kind.clone()), ("state", backlog.state.to_string())];
    let oldest = backlog.oldest.unwrap_or_default().as_secs_f64();
    series.insert(("zoom_archiver_jobs", labels.clone()), float(backlog.jobs));
    match backlog.state {
        JobState::Waiting => {
            series.insert(("zoom_archiver_oldest_due_seconds", labels), oldest);
        }
        JobState::Parked | JobState::Dead => {
            series.insert(("zoom_archiver_oldest_stopped_seconds", labels), oldest);
        }
        JobState::Running | JobState::Done | JobState::Cancelled => {}
    }
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
