//! What the record has against what Zoom has, and jobs that come again by period.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::moment::Moment;
use super::super::rows::{EndingTokenRecord, RecordingRecord, millis, recording_columns};
use super::super::{EndingToken, StoreError};
use super::pool::Pool;
use super::read;
use crate::domain::file::{FileRow, RecordingRow};
use crate::domain::ids::{FileId, RecordingId};
use crate::domain::job::Task;
use crate::domain::recording::RecordingIdentity;

/// A recording by its identity.
pub(super) async fn find(
    connection: &mut PgConnection,
    identity: &RecordingIdentity,
) -> Result<Option<(RecordingRow, Vec<FileRow>)>, StoreError> {
    let id: Option<Uuid> = sqlx::query_scalar(
        "SELECT id FROM recordings
         WHERE instance_id = $1 AND account_id = $2
            AND replace(kind, 'webinar', 'meeting') = replace($3, 'webinar', 'meeting')",
    )
    .bind(&identity.instance_id)
    .bind(&identity.account_id)
    .bind(identity.kind.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    match id {
        Some(id) => read::recording(connection, RecordingId(id)).await,
        None => Ok(None),
    }
}

/// Recordings by when they began, page by page.
pub(super) async fn began_between(
    pool: &Pool,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    after: Option<RecordingId>,
    limit: u32,
) -> Result<Vec<RecordingRow>, StoreError> {
    let recordings: Vec<RecordingRecord> = sqlx::query_as(concat!(
        "SELECT ",
        recording_columns!(),
        " FROM recordings
         WHERE start_time >= $1 AND start_time < $2 AND ($3 IS NULL OR id > $3)
         ORDER BY id LIMIT $4"
    ))
    .bind(Moment(from))
    .bind(Moment(until))
    .bind(after.map(|recording| recording.0))
    .bind(i64::from(limit))
    .fetch_all(&mut *pool.acquire().await?)
    .await?;
    recordings.into_iter().map(RecordingRecord::read).collect()
}

/// Tokens of files that wait and that end soon, page by page.
pub(super) async fn ending_tokens(
    pool: &Pool,
    before: DateTime<Utc>,
    after: Option<FileId>,
    limit: u32,
) -> Result<Vec<EndingToken>, StoreError> {
    let ending: Vec<EndingTokenRecord> = sqlx::query_as(
        "SELECT files.id, account_id, kind, instance_id
         FROM files JOIN recordings ON recordings.id = files.recording_id
         WHERE files.state IN ('pending', 'parked') AND token_expires_at < $1 AND ($2 IS NULL OR files.id > $2)
         ORDER BY files.id LIMIT $3",
    )
    .bind(Moment(before))
    .bind(after.map(|file| file.0))
    .bind(i64::from(limit))
    .fetch_all(&mut *pool.acquire().await?)
    .await?;
    ending.into_iter().map(EndingTokenRecord::read).collect()
}

/// Has a job wait that comes again by period.
pub(super) async fn repeat(pool: &Pool, task: Task, period: Duration) -> Result<bool, StoreError> {
    let result = sqlx::query(
        "INSERT INTO jobs AS known (id, kind, subject, state, run_at) VALUES ($1, $2, $3, 'waiting', now())
         ON CONFLICT (kind, subject) DO UPDATE SET
            state = 'waiting', run_at = now(), attempts = 0, snoozes = 0, lost_leases = 0, waits_for = NULL,
            reason = NULL, finished_at = NULL, updated_at = now()
         WHERE known.state NOT IN ('waiting', 'running')
            AND known.updated_at <= now() - $4 * interval '1 millisecond'",
    )
    .bind(Uuid::now_v7())
    .bind(task.kind())
    .bind(task.subject())
    .bind(millis(period))
    .execute(&mut *pool.acquire().await?)
    .await?;
    Ok(result.rows_affected() == 1)
}
