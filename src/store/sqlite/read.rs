//! Reading the record.

use sqlx::types::Json;
use sqlx::{SqliteConnection, SqlitePool};

use super::super::intake::TWINS;
use super::super::rows::{
    DepthRecord, FileRecord, LossesRecord, RecordingRecord, TransferRecord, file_columns, recording_columns,
};
use super::super::{Depth, Losses, StoreError, TransferWork, migrations};
use super::NOW;
use crate::domain::file::{FileRow, RecordingRow};
use crate::domain::ids::{FileId, RecordingId};

const RECORDING: &str = concat!("SELECT ", recording_columns!(), " FROM recordings WHERE id = $1");

/// Everything a transfer needs.
pub(super) async fn transfer_work(
    pool: &SqlitePool,
    file: FileId,
) -> Result<Option<TransferWork>, StoreError> {
    let work: Option<TransferRecord> = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        ", download_url, download_token, content,
            (SELECT min(recording_start) FROM files sibling WHERE sibling.recording_id = files.recording_id)
                AS recording_began
         FROM files WHERE id = $1"
    ))
    .bind(file.0)
    .fetch_optional(pool)
    .await?;
    let Some(work) = work else { return Ok(None) };
    let recording = sqlx::query_as(RECORDING).bind(work.recording_id()).fetch_one(pool).await?;
    work.read(recording).map(Some)
}

/// A recording.
pub(super) async fn recording_row(
    db: &mut SqliteConnection,
    id: RecordingId,
) -> Result<Option<RecordingRow>, StoreError> {
    let recording: Option<RecordingRecord> = sqlx::query_as(RECORDING).bind(id.0).fetch_optional(db).await?;
    recording.map(RecordingRecord::read).transpose()
}

/// A recording with all its files.
pub(super) async fn recording(
    db: &mut SqliteConnection,
    id: RecordingId,
) -> Result<Option<(RecordingRow, Vec<FileRow>)>, StoreError> {
    let Some(recording) = recording_row(db, id).await? else { return Ok(None) };
    let files: Vec<FileRecord> = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files WHERE recording_id = $1 ORDER BY id"
    ))
    .bind(id.0)
    .fetch_all(db)
    .await?;
    let files = files.into_iter().map(FileRecord::read).collect::<Result<_, _>>()?;
    Ok(Some((recording, files)))
}

/// Uploads of ours that no transfer goes on with. Where a checkpoint names its upload: `jobs/transfer/checkpoint.rs`.
pub(super) async fn leftovers(
    pool: &SqlitePool,
    uploads: &[(String, String)],
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "WITH upload AS MATERIALIZED (
            SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS key FROM json_each($1)
         )
         SELECT upload.id FROM upload
         WHERE (upload.key = '' OR EXISTS (SELECT 1 FROM files WHERE files.object_key = upload.key))
            AND NOT EXISTS (
                SELECT 1 FROM jobs
                WHERE jobs.state IN ('waiting', 'running', 'parked')
                    AND json_extract(jobs.checkpoint, '$.upload.upload.id') = upload.id
            )
            AND NOT EXISTS (
                SELECT 1 FROM files JOIN jobs ON jobs.kind = 'transfer' AND jobs.subject = files.id
                WHERE files.object_key = upload.key AND jobs.state = 'running'
            )",
    )
    .bind(Json(uploads))
    .fetch_all(pool)
    .await?)
}

/// How many files are known under another account, too.
pub(super) async fn twins(pool: &SqlitePool) -> Result<u64, StoreError> {
    let twins: i64 = sqlx::query_scalar(TWINS).fetch_one(pool).await?;
    Ok(u64::try_from(twins).unwrap_or(0))
}

/// Told which index to go by: left to itself it would walk through all that is pending.
pub(super) const LOSSES: &str = "
SELECT
    (SELECT min(loses_at) - $1 FROM files INDEXED BY files_by_loss
     WHERE state IN ('pending', 'parked', 'dead') AND loses_at > $1) AS nearest_ms,
    (SELECT count(*) FROM files INDEXED BY files_by_loss
     WHERE state IN ('pending', 'parked', 'dead') AND loses_at <= $1) AS overdue";

/// What is nearest to being lost.
pub(super) async fn losses(pool: &SqlitePool) -> Result<Losses, StoreError> {
    let now: i64 = sqlx::query_scalar(NOW).fetch_one(pool).await?;
    let losses: LossesRecord = sqlx::query_as(LOSSES).bind(now).fetch_one(pool).await?;
    losses.read()
}

/// How many jobs stand where. What is not finished is counted in the partial indexes that hold it; what is finished is all
/// the rest, which the index of identities alone tells: no job is read for it.
pub(super) async fn depth(pool: &SqlitePool) -> Result<Vec<Depth>, StoreError> {
    let now: i64 = sqlx::query_scalar(NOW).fetch_one(pool).await?;
    let depth: Vec<DepthRecord> = sqlx::query_as(
        "
WITH unfinished AS MATERIALIZED (
    SELECT kind, 'waiting' AS state, count(*) AS jobs, $1 - min(run_at) FILTER (WHERE run_at <= $1) AS oldest_due_ms
    FROM jobs WHERE state = 'waiting' AND kind <> 'notify' GROUP BY +kind
    UNION ALL
    SELECT 'notify', 'waiting', count(*), $1 - min(run_at) FILTER (WHERE run_at <= $1)
    FROM jobs WHERE state = 'waiting' AND notice IS NOT NULL HAVING count(*) > 0
    UNION ALL
    SELECT kind, 'running', count(*), NULL FROM jobs WHERE state = 'running' GROUP BY +kind
    UNION ALL
    SELECT kind, state, count(*), NULL FROM jobs WHERE state IN ('parked', 'dead', 'cancelled') GROUP BY +kind, state
),
finished AS (
    SELECT kind, known.jobs - COALESCE((
        SELECT sum(jobs) FROM unfinished WHERE unfinished.kind = known.kind
    ), 0) AS jobs
    FROM (SELECT kind, count(*) AS jobs FROM jobs GROUP BY kind) known
)
SELECT kind, state, jobs, oldest_due_ms FROM unfinished
UNION ALL
SELECT kind, 'done', jobs, NULL FROM finished WHERE jobs > 0
ORDER BY kind, state",
    )
    .bind(now)
    .fetch_all(pool)
    .await?;
    depth.into_iter().map(DepthRecord::read).collect()
}

/// Compares the schema's version with this program's.
pub(super) async fn ping(pool: &SqlitePool) -> Result<(), StoreError> {
    let version =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success").fetch_one(pool).await;
    match version {
        // An error without a code of its own: nothing was ever migrated.
        Err(sqlx::Error::Database(error)) if error.message().starts_with("no such table") => {
            migrations::check_version(None)
        }
        version => migrations::check_version(version?),
    }
}
