//! Reading the record.

use sqlx::{PgConnection, PgExecutor};

use super::super::intake::TWINS;
use super::super::rows::{
    DepthRecord, FileRecord, LossesRecord, RecordingRecord, TransferRecord, file_columns, recording_columns,
};
use super::super::{Depth, Losses, StoreError, TransferWork, migrations};
use super::pool::Pool;
use crate::domain::file::{FileRow, RecordingRow};
use crate::domain::ids::{FileId, RecordingId};

const RECORDING: &str = concat!("SELECT ", recording_columns!(), " FROM recordings WHERE id = $1");

/// Everything a transfer needs.
pub(super) async fn transfer_work(pool: &Pool, file: FileId) -> Result<Option<TransferWork>, StoreError> {
    let work: Option<TransferRecord> = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        ", download_url, download_token, content,
            (SELECT min(recording_start) FROM files sibling WHERE sibling.recording_id = files.recording_id)
                AS recording_began
         FROM files WHERE id = $1"
    ))
    .bind(file.0)
    .fetch_optional(&mut *pool.acquire().await?)
    .await?;
    let Some(work) = work else { return Ok(None) };
    let recording =
        sqlx::query_as(RECORDING).bind(work.recording_id()).fetch_one(&mut *pool.acquire().await?).await?;
    work.read(recording).map(Some)
}

/// A recording.
pub(super) async fn recording_row(
    executor: impl PgExecutor<'_>,
    id: RecordingId,
) -> Result<Option<RecordingRow>, StoreError> {
    let recording: Option<RecordingRecord> =
        sqlx::query_as(RECORDING).bind(id.0).fetch_optional(executor).await?;
    recording.map(RecordingRecord::read).transpose()
}

/// A recording with all its files.
pub(super) async fn recording(
    connection: &mut PgConnection,
    id: RecordingId,
) -> Result<Option<(RecordingRow, Vec<FileRow>)>, StoreError> {
    let Some(recording) = recording_row(&mut *connection, id).await? else { return Ok(None) };
    let files: Vec<FileRecord> = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files WHERE recording_id = $1 ORDER BY id"
    ))
    .bind(id.0)
    .fetch_all(connection)
    .await?;
    let files = files.into_iter().map(FileRecord::read).collect::<Result<_, _>>()?;
    Ok(Some((recording, files)))
}

/// How many files are known under another account, too.
pub(super) async fn twins(pool: &Pool) -> Result<u64, StoreError> {
    let twins: i64 = sqlx::query_scalar(TWINS).fetch_one(&mut *pool.acquire().await?).await?;
    Ok(u64::try_from(twins).unwrap_or(0))
}

/// What is nearest to being lost.
pub(super) async fn losses(pool: &Pool) -> Result<Losses, StoreError> {
    let losses: LossesRecord = sqlx::query_as(
        "SELECT
            (SELECT (EXTRACT(EPOCH FROM loses_at - now()) * 1000)::bigint FROM files
             WHERE state IN ('pending', 'parked', 'dead') AND loses_at > now()
             ORDER BY loses_at LIMIT 1) AS nearest_ms,
            (SELECT count(*) FROM files
             WHERE state IN ('pending', 'parked', 'dead') AND loses_at <= now()) AS overdue",
    )
    .fetch_one(&mut *pool.acquire().await?)
    .await?;
    losses.read()
}

/// How many jobs stand where. What is not finished is counted in the partial indexes that hold it; what is finished is all
/// the rest, which the index of identities alone tells. So no job is read for it where the server thinks of its disk as one
/// without heads (`random_page_cost`); else it takes the table for cheaper than the shorter index.
pub(super) async fn depth(pool: &Pool) -> Result<Vec<Depth>, StoreError> {
    let depth: Vec<DepthRecord> = sqlx::query_as(
        "
WITH unfinished AS MATERIALIZED (
    SELECT kind, 'waiting' AS state, count(*) AS jobs, min(run_at) FILTER (WHERE run_at <= now()) AS due
    FROM jobs WHERE state = 'waiting' AND kind <> 'notify' GROUP BY kind
    UNION ALL
    SELECT 'notify', 'waiting', count(*), min(run_at) FILTER (WHERE run_at <= now())
    FROM jobs WHERE state = 'waiting' AND notice IS NOT NULL HAVING count(*) > 0
    UNION ALL
    SELECT kind, 'running', count(*), NULL FROM jobs WHERE state = 'running' GROUP BY kind
    UNION ALL
    SELECT kind, state, count(*), NULL FROM jobs WHERE state IN ('parked', 'dead', 'cancelled') GROUP BY kind, state
),
finished AS (
    SELECT kind, known.jobs - COALESCE((
        SELECT sum(jobs) FROM unfinished WHERE unfinished.kind = known.kind
    ), 0)::bigint AS jobs
    FROM (SELECT kind, count(*) AS jobs FROM jobs GROUP BY kind) known
)
SELECT kind, state, jobs, (EXTRACT(EPOCH FROM now() - due) * 1000)::bigint AS oldest_due_ms FROM unfinished
UNION ALL
SELECT kind, 'done', jobs, NULL FROM finished WHERE jobs > 0
ORDER BY kind, state",
    )
    .fetch_all(&mut *pool.acquire().await?)
    .await?;
    depth.into_iter().map(DepthRecord::read).collect()
}

/// Compares the schema's version with this program's.
pub(super) async fn ping(pool: &Pool) -> Result<(), StoreError> {
    // SQLSTATE 42P01, undefined table: nothing was ever migrated.
    const UNDEFINED_TABLE: &str = "42P01";
    let version = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(&mut *pool.acquire().await?)
        .await;
    match version {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNDEFINED_TABLE) => {
            migrations::check_version(None)
        }
        version => migrations::check_version(version?),
    }
}
