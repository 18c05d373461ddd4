//! Lists for people, and the single rows that they name.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, Postgres};

use super::super::list::{
    self, Bound, EventFilter, FileFilter, JobFilter, Losing, Page, RecordingFilter, Statement,
};
use super::super::moment::Moment;
use super::super::rows::{
    EventRecord, FileRecord, FlowRecord, HoldupRecord, JobRowRecord, KeptRecord, RecordingRecord,
    RestingRecord, TallyRecord, event_columns, file_columns, job_columns, millis,
};
use super::super::{Flow, Holdup, Resting, StoreError, Tally};
use super::pool::Pool;
use crate::domain::event::EventRow;
use crate::domain::file::{FileRow, RecordingRow};
use crate::domain::ids::{EventId, FileId, JobId, RecordingId};
use crate::domain::job::JobRow;

async fn fetch<T>(pool: &Pool, statement: Statement) -> Result<Vec<T>, StoreError>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let mut query = sqlx::query_as::<Postgres, T>(AssertSqlSafe(statement.sql));
    for value in statement.values {
        query = match value {
            Bound::Id(id) => query.bind(id),
            Bound::Text(text) => query.bind(text),
            Bound::Time(time) => query.bind(time),
            Bound::Number(number) => query.bind(number),
        };
    }
    Ok(query.fetch_all(&mut *pool.acquire().await?).await?)
}

/// A page of recordings.
pub(super) async fn recordings(
    pool: &Pool,
    filter: &RecordingFilter,
    page: Page,
) -> Result<Vec<RecordingRow>, StoreError> {
    let rows: Vec<RecordingRecord> = fetch(pool, list::recordings(filter, page)).await?;
    rows.into_iter().map(RecordingRecord::read).collect()
}

/// How many files of some recordings stand where.
pub(super) async fn tally(pool: &Pool, recordings: &[RecordingId]) -> Result<Vec<Tally>, StoreError> {
    if recordings.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<TallyRecord> = fetch(pool, list::tally(recordings)).await?;
    rows.into_iter().map(TallyRecord::read).collect()
}

/// A page of files.
pub(super) async fn files(pool: &Pool, filter: &FileFilter, page: Page) -> Result<Vec<FileRow>, StoreError> {
    let rows: Vec<FileRecord> = fetch(pool, list::files(filter, page)).await?;
    rows.into_iter().map(FileRecord::read).collect()
}

/// Files that can be lost, the nearest loss first.
pub(super) async fn losing(
    pool: &Pool,
    which: Losing,
    filter: &FileFilter,
    after: Option<(DateTime<Utc>, FileId)>,
    limit: u32,
) -> Result<Vec<FileRow>, StoreError> {
    let now: Moment = sqlx::query_scalar("SELECT now()").fetch_one(&mut *pool.acquire().await?).await?;
    let rows: Vec<FileRecord> =
        fetch(pool, list::losing("files", which, filter, after, limit, now.0)).await?;
    rows.into_iter().map(FileRecord::read).collect()
}

/// How many events are kept that could not be read.
pub(super) async fn unreadable_events(pool: &Pool) -> Result<u64, StoreError> {
    count(pool, list::unreadable_events()).await
}

/// Why transfers do not move.
pub(super) async fn holdups(pool: &Pool) -> Result<Vec<Holdup>, StoreError> {
    let holdups: Vec<HoldupRecord> = fetch(pool, list::holdups()).await?;
    holdups.into_iter().map(HoldupRecord::read).collect()
}

/// Which transfers are not due yet.
pub(super) async fn resting(pool: &Pool) -> Result<Resting, StoreError> {
    let resting: RestingRecord = sqlx::query_as(
        "SELECT count(*) AS jobs, count(*) FILTER (WHERE snoozes > 0) AS put_back,
            (EXTRACT(EPOCH FROM min(run_at) - now()) * 1000)::bigint AS next_ms
         FROM jobs WHERE state = 'waiting' AND kind <> 'notify' AND kind = 'transfer' AND run_at > now()",
    )
    .fetch_one(&mut *pool.acquire().await?)
    .await?;
    resting.read()
}

/// How many files.
pub(super) async fn count_files(pool: &Pool, filter: &FileFilter) -> Result<u64, StoreError> {
    count(pool, list::count_files(filter)).await
}

async fn count(pool: &Pool, statement: Statement) -> Result<u64, StoreError> {
    let counts: Vec<(i64,)> = fetch(pool, statement).await?;
    Ok(counts.first().and_then(|(count,)| u64::try_from(*count).ok()).unwrap_or_default())
}

/// A file.
pub(super) async fn file(pool: &Pool, id: FileId) -> Result<Option<FileRow>, StoreError> {
    let row: Option<FileRecord> =
        sqlx::query_as(concat!("SELECT ", file_columns!(), " FROM files WHERE id = $1"))
            .bind(id.0)
            .fetch_optional(&mut *pool.acquire().await?)
            .await?;
    row.map(FileRecord::read).transpose()
}

/// A page of jobs.
pub(super) async fn jobs(pool: &Pool, filter: &JobFilter, page: Page) -> Result<Vec<JobRow>, StoreError> {
    let rows: Vec<JobRowRecord> = fetch(pool, list::jobs(filter, page)).await?;
    rows.into_iter().map(JobRowRecord::read).collect()
}

/// A job.
pub(super) async fn job(pool: &Pool, id: JobId) -> Result<Option<JobRow>, StoreError> {
    let row: Option<JobRowRecord> =
        sqlx::query_as(concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = $1"))
            .bind(id.0)
            .fetch_optional(&mut *pool.acquire().await?)
            .await?;
    row.map(JobRowRecord::read).transpose()
}

/// A page of events.
pub(super) async fn events(
    pool: &Pool,
    filter: &EventFilter,
    page: Page,
) -> Result<Vec<EventRow>, StoreError> {
    let rows: Vec<EventRecord> = fetch(pool, list::events(filter, page)).await?;
    rows.into_iter().map(EventRecord::read).collect()
}

/// An event with its body.
pub(super) async fn event(pool: &Pool, id: EventId) -> Result<Option<(EventRow, Vec<u8>)>, StoreError> {
    let row: Option<KeptRecord> =
        sqlx::query_as(concat!("SELECT ", event_columns!(), ", body FROM events WHERE id = $1"))
            .bind(id.0)
            .fetch_optional(&mut *pool.acquire().await?)
            .await?;
    row.map(KeptRecord::read).transpose()
}

/// What was archived of late, what runs, and what is left. Where a checkpoint says how far it has come:
/// `jobs/transfer/checkpoint.rs`.
pub(super) async fn flow(pool: &Pool, window: Duration) -> Result<Flow, StoreError> {
    let flow: FlowRecord = sqlx::query_as(
        "WITH late AS (
            SELECT bytes FROM files
            WHERE state = 'archived' AND archived_at > now() - $1 * interval '1 millisecond'
         ),
         left_over AS (SELECT announced_bytes AS bytes FROM files WHERE state = 'pending'),
         running AS (
            SELECT announced_bytes AS bytes, (checkpoint #>> '{upload,measured,bytes}')::bigint AS carried,
                (checkpoint #>> '{pace,bytes}')::float8 * 1000
                    / NULLIF((checkpoint #>> '{pace,millis}')::float8, 0) AS per_sec
            FROM jobs JOIN files ON files.id = jobs.subject
            WHERE jobs.state = 'running' AND jobs.kind = 'transfer'
         )
         SELECT (SELECT count(*) FROM late) AS files,
            (SELECT COALESCE(sum(bytes), 0)::bigint FROM late) AS bytes,
            (SELECT count(*) FROM left_over) AS files_left,
            (SELECT COALESCE(sum(bytes), 0)::bigint FROM left_over) AS bytes_left,
            (SELECT count(*) FROM left_over WHERE bytes IS NULL) AS files_of_unknown_size,
            (SELECT COALESCE(sum(bytes), 0)::bigint FROM running) AS bytes_running,
            (SELECT COALESCE(sum(LEAST(carried, bytes)), 0)::bigint FROM running
                WHERE carried IS NOT NULL AND bytes IS NOT NULL) AS bytes_carried,
            (SELECT COALESCE(sum(per_sec), 0)::bigint FROM running) AS carried_per_sec",
    )
    .bind(millis(window))
    .fetch_one(&mut *pool.acquire().await?)
    .await?;
    flow.read()
}
