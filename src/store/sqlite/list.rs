//! Lists for people, and the single rows that they name.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow, Sqlite, SqlitePool};

use super::super::list::{
    self, Bound, EventFilter, FileFilter, JobFilter, Losing, Page, RecordingFilter, Statement,
};
use super::super::moment::Moment;
use super::super::rows::{
    EventRecord, FileRecord, FlowRecord, HoldupRecord, JobRowRecord, KeptRecord, RecordingRecord,
    RestingRecord, TallyRecord, event_columns, file_columns, job_columns, millis,
};
use super::super::{Flow, Holdup, Resting, StoreError, Tally};
use super::NOW;
use crate::domain::event::EventRow;
use crate::domain::file::{FileRow, RecordingRow};
use crate::domain::ids::{EventId, FileId, JobId, RecordingId};
use crate::domain::job::JobRow;

async fn fetch<T>(pool: &SqlitePool, statement: Statement) -> Result<Vec<T>, StoreError>
where
    T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let mut query = sqlx::query_as::<Sqlite, T>(AssertSqlSafe(statement.sql));
    for value in statement.values {
        query = match value {
            Bound::Id(id) => query.bind(id),
            Bound::Text(text) => query.bind(text),
            Bound::Time(time) => query.bind(time),
            Bound::Number(number) => query.bind(number),
        };
    }
    Ok(query.fetch_all(pool).await?)
}

/// A page of recordings.
pub(super) async fn recordings(
    pool: &SqlitePool,
    filter: &RecordingFilter,
    page: Page,
) -> Result<Vec<RecordingRow>, StoreError> {
    let rows: Vec<RecordingRecord> = fetch(pool, list::recordings(filter, page)).await?;
    rows.into_iter().map(RecordingRecord::read).collect()
}

/// How many files of some recordings stand where.
pub(super) async fn tally(pool: &SqlitePool, recordings: &[RecordingId]) -> Result<Vec<Tally>, StoreError> {
    if recordings.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<TallyRecord> = fetch(pool, list::tally(recordings)).await?;
    rows.into_iter().map(TallyRecord::read).collect()
}

/// A page of files.
pub(super) async fn files(
    pool: &SqlitePool,
    filter: &FileFilter,
    page: Page,
) -> Result<Vec<FileRow>, StoreError> {
    let rows: Vec<FileRecord> = fetch(pool, list::files(filter, page)).await?;
    rows.into_iter().map(FileRecord::read).collect()
}

/// Left to itself it would take all that is pending for less.
const BY_LOSS: &str = "files INDEXED BY files_by_loss";

/// Files that can be lost, the nearest loss first.
pub(super) async fn losing(
    pool: &SqlitePool,
    which: Losing,
    filter: &FileFilter,
    after: Option<(DateTime<Utc>, FileId)>,
    limit: u32,
) -> Result<Vec<FileRow>, StoreError> {
    let now: Moment = sqlx::query_scalar(NOW).fetch_one(pool).await?;
    let rows: Vec<FileRecord> =
        fetch(pool, list::losing(BY_LOSS, which, filter, after, limit, now.0)).await?;
    rows.into_iter().map(FileRecord::read).collect()
}

/// How many events are kept that could not be read.
pub(super) async fn unreadable_events(pool: &SqlitePool) -> Result<u64, StoreError> {
    count(pool, list::unreadable_events()).await
}

/// Why transfers do not move.
pub(super) async fn holdups(pool: &SqlitePool) -> Result<Vec<Holdup>, StoreError> {
    let holdups: Vec<HoldupRecord> = fetch(pool, list::holdups()).await?;
    holdups.into_iter().map(HoldupRecord::read).collect()
}

/// With the kind hidden from the planner, which would look for all transfers of all times.
const RESTING: &str = "
SELECT count(*) AS jobs, count(*) FILTER (WHERE snoozes > 0) AS put_back, min(run_at) - $1 AS next_ms
FROM jobs WHERE state = 'waiting' AND kind <> 'notify' AND +kind = 'transfer' AND run_at > $1";

/// Which transfers are not due yet.
pub(super) async fn resting(pool: &SqlitePool) -> Result<Resting, StoreError> {
    let now: i64 = sqlx::query_scalar(NOW).fetch_one(pool).await?;
    let resting: RestingRecord = sqlx::query_as(RESTING).bind(now).fetch_one(pool).await?;
    resting.read()
}

/// How many files.
pub(super) async fn count_files(pool: &SqlitePool, filter: &FileFilter) -> Result<u64, StoreError> {
    count(pool, list::count_files(filter)).await
}

async fn count(pool: &SqlitePool, statement: Statement) -> Result<u64, StoreError> {
    let counts: Vec<(i64,)> = fetch(pool, statement).await?;
    Ok(counts.first().and_then(|(count,)| u64::try_from(*count).ok()).unwrap_or_default())
}

/// A file.
pub(super) async fn file(pool: &SqlitePool, id: FileId) -> Result<Option<FileRow>, StoreError> {
    let row: Option<FileRecord> =
        sqlx::query_as(concat!("SELECT ", file_columns!(), " FROM files WHERE id = $1"))
            .bind(id.0)
            .fetch_optional(pool)
            .await?;
    row.map(FileRecord::read).transpose()
}

/// A page of jobs.
pub(super) async fn jobs(
    pool: &SqlitePool,
    filter: &JobFilter,
    page: Page,
) -> Result<Vec<JobRow>, StoreError> {
    let rows: Vec<JobRowRecord> = fetch(pool, list::jobs(filter, page)).await?;
    rows.into_iter().map(JobRowRecord::read).collect()
}

/// A job.
pub(super) async fn job(pool: &SqlitePool, id: JobId) -> Result<Option<JobRow>, StoreError> {
    let row: Option<JobRowRecord> =
        sqlx::query_as(concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = $1"))
            .bind(id.0)
            .fetch_optional(pool)
            .await?;
    row.map(JobRowRecord::read).transpose()
}

/// A page of events.
pub(super) async fn events(
    pool: &SqlitePool,
    filter: &EventFilter,
    page: Page,
) -> Result<Vec<EventRow>, StoreError> {
    let rows: Vec<EventRecord> = fetch(pool, list::events(filter, page)).await?;
    rows.into_iter().map(EventRecord::read).collect()
}

/// An event with its body.
pub(super) async fn event(pool: &SqlitePool, id: EventId) -> Result<Option<(EventRow, Vec<u8>)>, StoreError> {
    let row: Option<KeptRecord> =
        sqlx::query_as(concat!("SELECT ", event_columns!(), ", body FROM events WHERE id = $1"))
            .bind(id.0)
            .fetch_optional(pool)
            .await?;
    row.map(KeptRecord::read).transpose()
}

/// What was archived of late, what runs, and what is left. Where a checkpoint says how far it has come:
/// `jobs/transfer/checkpoint.rs`.
pub(super) async fn flow(pool: &SqlitePool, window: Duration) -> Result<Flow, StoreError> {
    let now: i64 = sqlx::query_scalar(NOW).fetch_one(pool).await?;
    let flow: FlowRecord = sqlx::query_as(
        "WITH late AS (SELECT bytes FROM files WHERE state = 'archived' AND archived_at > $1),
         left_over AS (SELECT announced_bytes AS bytes FROM files WHERE state = 'pending'),
         running AS (
            SELECT announced_bytes AS bytes, checkpoint ->> '$.upload.measured.bytes' AS carried,
                (checkpoint ->> '$.pace.bytes') * 1000.0 / (checkpoint ->> '$.pace.millis') AS per_sec
            FROM jobs JOIN files ON files.id = jobs.subject
            WHERE jobs.state = 'running' AND jobs.kind = 'transfer'
         )
         SELECT (SELECT count(*) FROM late) AS files,
            (SELECT COALESCE(sum(bytes), 0) FROM late) AS bytes,
            (SELECT count(*) FROM left_over) AS files_left,
            (SELECT COALESCE(sum(bytes), 0) FROM left_over) AS bytes_left,
            (SELECT count(*) FROM left_over WHERE bytes IS NULL) AS files_of_unknown_size,
            (SELECT COALESCE(sum(bytes), 0) FROM running) AS bytes_running,
            (SELECT COALESCE(sum(min(carried, bytes)), 0) FROM running) AS bytes_carried,
            (SELECT CAST(COALESCE(sum(per_sec), 0) AS INTEGER) FROM running) AS carried_per_sec",
    )
    .bind(now.saturating_sub(millis(window)))
    .fetch_one(pool)
    .await?;
    flow.read()
}

#[cfg(test)]
mod tests {
    use super::super::{plans, read};
    use super::*;

    #[tokio::test]
    async fn what_is_stuck_or_near_its_loss_is_found_without_a_look_at_all_else() {
        let after = Some((DateTime::UNIX_EPOCH, FileId::new()));
        let losing =
            list::losing(BY_LOSS, Losing::Ahead, &FileFilter::default(), after, 5, DateTime::UNIX_EPOCH);
        let (unreadable, holdups) = (list::unreadable_events(), list::holdups());
        for (statement, indexes) in [
            (losing.sql.as_str(), &["files_by_loss"][..]),
            (read::LOSSES, &["files_by_loss"]),
            (unreadable.sql.as_str(), &["events_unreadable"]),
            (holdups.sql.as_str(), &["jobs_waiting", "jobs_stopped"]),
            (RESTING, &["jobs_waiting"]),
        ] {
            let plan = plans::of(statement).await;
            assert!(indexes.iter().all(|index| plan.contains(&format!("INDEX {index}"))), "{plan}");
            let others = ["jobs_identity", "files_by_state", "SCAN files"];
            assert!(others.iter().all(|other| !plan.contains(other)), "{plan}");
        }
    }
}
