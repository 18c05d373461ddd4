//! Lists for people, page by page: which rows, and where a page begins. The statements are the same for both databases;
//! what runs them stands beside them.
//!
//! A page begins after an id, not at a number: ids are UUIDs of version 7, so their order is that of time, and what is
//! recorded meanwhile shifts nothing. Every list is walked along an index in that order; what a filter asks beyond the
//! index is looked at on the way.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::announcement::clean;
use super::moment::Moment;
use super::rows::{event_columns, file_columns, job_columns, millis, recording_columns};
use crate::domain::file::FileState;
use crate::domain::ids::{FileId, RecordingId};
use crate::domain::job::JobState;
use crate::domain::loss::IN_TRASH;
use crate::domain::recording::{RecordingKind, RecordingState};

/// Which way a list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// What came last comes first.
    #[default]
    Newest,
    /// What came first comes first.
    Oldest,
}

/// A piece of a list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// The last row of the page before; `None` for the first page.
    pub after: Option<Uuid>,
    /// Which way it goes.
    pub order: Order,
    /// Most rows in it.
    pub limit: u32,
}

/// Which recordings. What is not said is not asked.
#[derive(Debug, Clone, Default)]
pub struct RecordingFilter {
    /// Zoom's id of the account.
    pub account: Option<String>,
    /// The product.
    pub kind: Option<RecordingKind>,
    /// Zoom's id of the recording.
    pub instance: Option<String>,
    /// How it stands at Zoom.
    pub state: Option<RecordingState>,
    /// Began at this moment or later.
    pub from: Option<DateTime<Utc>>,
    /// Began before this moment.
    pub until: Option<DateTime<Utc>>,
}

/// Which files. What is not said is not asked.
#[derive(Debug, Clone, Default)]
pub struct FileFilter {
    /// In one of these states; all of them when empty.
    pub states: Vec<FileState>,
    /// Of this recording.
    pub recording: Option<RecordingId>,
    /// Of this account, by Zoom's id.
    pub account: Option<String>,
    /// Of this type, as announced.
    pub file_type: Option<String>,
    /// Only those that bear a mark: archived, although something about them is odd.
    pub marked: bool,
}

/// Which of the files that can be lost: those that are neither archived nor gone nor skipped, and of which it is known until
/// when they can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Losing {
    /// Those that are past that moment.
    Overdue,
    /// Those that are not.
    Ahead,
    /// Those that are past it, or will be after so long.
    Within(Duration),
}

/// Which jobs. What is not said is not asked.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// In one of these states; all of them when empty.
    pub states: Vec<JobState>,
    /// Of this kind.
    pub kind: Option<String>,
    /// That ask this account, by Zoom's id.
    pub account: Option<String>,
    /// About this row.
    pub subject: Option<Uuid>,
}

/// Which events. What is not said is not asked.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// With this name.
    pub name: Option<String>,
    /// About this recording.
    pub recording: Option<RecordingId>,
    /// Only those that could not be read.
    pub unreadable: bool,
}

/// A value of a statement.
#[derive(Debug, Clone)]
pub(super) enum Bound {
    Id(Uuid),
    Text(String),
    Time(Moment),
    Number(i64),
}

/// A statement with its values, for either database.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Vec<Bound>,
}

/// What rows must fulfil.
#[derive(Debug, Default)]
struct Conditions {
    /// All of these.
    all: Vec<String>,
    /// And one of these, of which no row fulfils two. They hold no values: the planner sees which index they are for.
    one: Vec<String>,
    values: Vec<Bound>,
}

impl Conditions {
    /// Names a value.
    fn bind(&mut self, value: Bound) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn text(&mut self, column: &str, text: Option<&str>) {
        if let Some(text) = text {
            let value = self.bind(Bound::Text(clean(text)));
            self.all.push(format!("{column} = {value}"));
        }
    }

    fn id(&mut self, column: &str, id: Option<Uuid>) {
        if let Some(id) = id {
            let value = self.bind(Bound::Id(id));
            self.all.push(format!("{column} = {value}"));
        }
    }

    fn time(&mut self, column: &str, than: &str, time: Option<DateTime<Utc>>) {
        if let Some(time) = time {
            let value = self.bind(Bound::Time(Moment(time)));
            self.all.push(format!("{column} {than} {value}"));
        }
    }

    /// `words` are ours, not a caller's.
    fn state(&mut self, words: impl IntoIterator<Item = &'static str>) {
        self.one.extend(words.into_iter().map(|word| format!("state = '{word}'")));
        self.one.sort_unstable();
        self.one.dedup();
    }

    /// A page of `columns` of `table`. Where one of several conditions holds, each of them walks along its own part of
    /// the index, and the parts are merged.
    fn page(mut self, columns: &str, table: &str, page: Page) -> Statement {
        let (than, order) = match page.order {
            Order::Newest => ("<", "DESC"),
            Order::Oldest => (">", "ASC"),
        };
        if let Some(after) = page.after {
            let after = self.bind(Bound::Id(after));
            self.all.push(format!("id {than} {after}"));
        }
        let limit = self.bind(Bound::Number(page.limit.into()));
        let end = format!("ORDER BY id {order} LIMIT {limit}");
        let walk = |one: Option<&String>| {
            let all = self.all.iter().chain(one).map(String::as_str).collect::<Vec<_>>().join(" AND ");
            let all = if all.is_empty() { all } else { format!(" WHERE {all}") };
            format!("SELECT {columns} FROM {table}{all} {end}")
        };
        let sql = match self.one.as_slice() {
            [] => walk(None),
            [one] => walk(Some(one)),
            several => {
                let parts = several
                    .iter()
                    .enumerate()
                    .map(|(number, one)| format!("SELECT * FROM ({}) part_{number}", walk(Some(one))));
                format!("{} {end}", parts.collect::<Vec<_>>().join(" UNION ALL "))
            }
        };
        Statement { sql, values: self.values }
    }

    fn count(mut self, table: &str) -> Statement {
        if !self.one.is_empty() {
            self.all.push(format!("({})", self.one.join(" OR ")));
        }
        let all = if self.all.is_empty() { "true".to_owned() } else { self.all.join(" AND ") };
        Statement { sql: format!("SELECT count(*) FROM {table} WHERE {all}"), values: self.values }
    }
}

/// A page of recordings.
pub(super) fn recordings(filter: &RecordingFilter, page: Page) -> Statement {
    let mut conditions = Conditions::default();
    conditions.text("account_id", filter.account.as_deref());
    conditions.text("kind", filter.kind.map(RecordingKind::as_str));
    conditions.text("instance_id", filter.instance.as_deref());
    conditions.text("state", filter.state.map(RecordingState::as_str));
    conditions.time("start_time", ">=", filter.from);
    conditions.time("start_time", "<", filter.until);
    conditions.page(recording_columns!(), "recordings", page)
}

fn of_files(filter: &FileFilter) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.id("recording_id", filter.recording.map(|recording| recording.0));
    conditions.text("file_type", filter.file_type.as_deref());
    conditions.state(filter.states.iter().map(|state| state.as_str()));
    if let Some(account) = &filter.account {
        let account = conditions.bind(Bound::Text(clean(account)));
        conditions
            .all
            .push(format!("recording_id IN (SELECT id FROM recordings WHERE account_id = {account})"));
    }
    if filter.marked {
        conditions.all.push("mark IS NOT NULL".to_owned());
    }
    conditions
}

/// A page of files.
pub(super) fn files(filter: &FileFilter, page: Page) -> Statement {
    of_files(filter).page(file_columns!(), "files", page)
}

/// Files that can be lost, the nearest loss first: a walk along the index of just these. `table` is `files`, as the database
/// is told to go by that index, and `now` the database's.
pub(super) fn losing(
    table: &str,
    which: Losing,
    filter: &FileFilter,
    after: Option<(DateTime<Utc>, FileId)>,
    limit: u32,
    now: DateTime<Utc>,
) -> Statement {
    let mut conditions = of_files(filter);
    let states = std::mem::take(&mut conditions.one);
    conditions.all.push("state IN ('pending', 'parked', 'dead')".to_owned());
    if !states.is_empty() {
        conditions.all.push(format!("({})", states.join(" OR ")));
    }
    let (than, until) = match which {
        Losing::Overdue => ("<=", now),
        Losing::Ahead => (">", now),
        Losing::Within(time) => ("<=", now + TimeDelta::milliseconds(millis(time))),
    };
    conditions.time("loses_at", than, Some(until));
    if let Some((loses_at, id)) = after {
        let loses_at = conditions.bind(Bound::Time(Moment(loses_at)));
        let id = conditions.bind(Bound::Id(id.0));
        conditions.all.push(format!("(loses_at, id) > ({loses_at}, {id})"));
    }
    let limit = conditions.bind(Bound::Number(limit.into()));
    let all = conditions.all.join(" AND ");
    let sql =
        format!("SELECT {} FROM {table} WHERE {all} ORDER BY loses_at, id LIMIT {limit}", file_columns!());
    Statement { sql, values: conditions.values }
}

/// Events that could not be read are counted up to here.
const MOST_UNREADABLE: i64 = 10_000;

/// How many events could not be read, up to [`MOST_UNREADABLE`].
pub(super) fn unreadable_events() -> Statement {
    let sql = "SELECT count(*) FROM (SELECT 1 AS one FROM events WHERE unreadable IS NOT NULL LIMIT $1) kept";
    Statement { sql: sql.to_owned(), values: vec![Bound::Number(MOST_UNREADABLE)] }
}

/// Reasons that are told of each state, at most.
const MOST_REASONS: i64 = 3;

/// Why transfers do not move: of each state the reasons that most of them have, but what lies in Zoom's trash always.
pub(super) fn holdups() -> Statement {
    let values = vec![
        Bound::Text(IN_TRASH.to_owned()),
        Bound::Text(format!("{IN_TRASH}%")),
        Bound::Number(MOST_REASONS),
    ];
    Statement { sql: HOLDUPS.to_owned(), values }
}

/// `$1` is how the reason begins of what lies in Zoom's trash, `$2` its pattern, `$3` how many reasons are told. What waits
/// and what stands still is found in the indexes that hold nothing else.
const HOLDUPS: &str = "
WITH stuck AS MATERIALIZED (
    SELECT kind, state, reason FROM jobs
    WHERE state = 'waiting' AND kind <> 'notify' AND reason IS NOT NULL
    UNION ALL
    SELECT kind, state, CASE WHEN reason LIKE $2 THEN $1 ELSE reason END
    FROM jobs WHERE state IN ('parked', 'dead')
),
counted AS (SELECT state, reason, count(*) AS jobs FROM stuck WHERE kind = 'transfer' GROUP BY state, reason),
ranked AS (
    SELECT state, reason, jobs,
        row_number() OVER (PARTITION BY state ORDER BY reason = $1 DESC, jobs DESC, reason) AS place
    FROM counted
)
SELECT state, reason, jobs FROM ranked WHERE place <= $3 ORDER BY state, jobs DESC, reason";

/// How many files.
pub(super) fn count_files(filter: &FileFilter) -> Statement {
    of_files(filter).count("files")
}

/// A page of jobs.
pub(super) fn jobs(filter: &JobFilter, page: Page) -> Statement {
    let mut conditions = Conditions::default();
    conditions.text("kind", filter.kind.as_deref());
    conditions.text("account", filter.account.as_deref());
    conditions.id("subject", filter.subject);
    conditions.state(filter.states.iter().map(|state| state.as_str()));
    conditions.page(job_columns!(), "jobs", page)
}

/// A page of events, without their bodies.
pub(super) fn events(filter: &EventFilter, page: Page) -> Statement {
    let mut conditions = Conditions::default();
    conditions.text("name", filter.name.as_deref());
    conditions.id("recording_id", filter.recording.map(|recording| recording.0));
    if filter.unreadable {
        conditions.all.push("unreadable IS NOT NULL".to_owned());
    }
    conditions.page(event_columns!(), "events", page)
}

/// How many files of some recordings stand where.
pub(super) fn tally(recordings: &[RecordingId]) -> Statement {
    let mut conditions = Conditions::default();
    let ids: Vec<_> = recordings.iter().map(|recording| conditions.bind(Bound::Id(recording.0))).collect();
    let sql = format!(
        "SELECT recording_id, state, count(*) AS files FROM files WHERE recording_id IN ({})
         GROUP BY recording_id, state ORDER BY recording_id, state",
        ids.join(", ")
    );
    Statement { sql, values: conditions.values }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Page = Page { after: None, order: Order::Newest, limit: 5 };

    #[test]
    fn what_is_not_said_is_not_asked() {
        let statement = events(&EventFilter::default(), PAGE);
        assert!(statement.sql.ends_with("FROM events ORDER BY id DESC LIMIT $1"), "{}", statement.sql);
        assert_eq!(statement.values.len(), 1);
        assert_eq!(count_files(&FileFilter::default()).sql, "SELECT count(*) FROM files WHERE true");
    }

    #[test]
    fn no_word_of_a_caller_stands_in_a_statement() {
        let odd = || Some("' OR true --".to_owned());
        let files_filter = FileFilter { account: odd(), file_type: odd(), ..FileFilter::default() };
        let jobs_filter = JobFilter { kind: odd(), account: odd(), ..JobFilter::default() };
        let events_filter = EventFilter { name: odd(), ..EventFilter::default() };
        let recordings_filter =
            RecordingFilter { account: odd(), instance: odd(), ..RecordingFilter::default() };
        for statement in [
            files(&files_filter, PAGE),
            count_files(&files_filter),
            losing("files", Losing::Within(Duration::MAX), &files_filter, None, 5, DateTime::UNIX_EPOCH),
            jobs(&jobs_filter, PAGE),
            events(&events_filter, PAGE),
            recordings(&recordings_filter, PAGE),
        ] {
            assert!(!statement.sql.contains("true --"), "{}", statement.sql);
        }
    }

    #[test]
    fn each_of_several_states_is_walked_once() {
        let states = vec![JobState::Dead, JobState::Parked, JobState::Dead];
        let statement = jobs(&JobFilter { states, ..JobFilter::default() }, PAGE);
        assert_eq!(statement.sql.matches("state = 'dead'").count(), 1, "{}", statement.sql);
        assert_eq!(statement.sql.matches("UNION ALL").count(), 1, "{}", statement.sql);
    }
}
