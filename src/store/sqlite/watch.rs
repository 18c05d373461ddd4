//! What is read again and again by those who watch: indexes and the header of the file, and of the table no more than what
//! runs or stands still.

use sqlx::SqlitePool;

use super::super::rows::BacklogRecord;
use super::super::{Backlog, Health, StoreError};
use super::NOW;

/// What waits, runs or stands still. Each part goes through one partial index, of which `done` jobs are no part. `run_at` of what
/// stands still is when it came to rest.
pub(super) async fn backlog(pool: &SqlitePool) -> Result<Vec<Backlog>, StoreError> {
    let now: i64 = sqlx::query_scalar(NOW).fetch_one(pool).await?;
    let backlog: Vec<BacklogRecord> = sqlx::query_as(
        "
SELECT kind, account, 'waiting' AS state, count(*) AS jobs,
    $1 - min(run_at) FILTER (WHERE run_at <= $1) AS oldest_ms
FROM jobs WHERE state = 'waiting' AND kind <> 'notify' GROUP BY account, +kind
UNION ALL
SELECT 'notify', NULL, 'waiting', count(*),
    $1 - min(run_at) FILTER (WHERE run_at <= $1)
FROM jobs WHERE state = 'waiting' AND notice IS NOT NULL HAVING count(*) > 0
UNION ALL
SELECT kind, account, 'running', count(*), NULL FROM jobs WHERE state = 'running' GROUP BY account, +kind
UNION ALL
SELECT kind, account, state, count(*), $1 - min(run_at)
FROM jobs WHERE state IN ('parked', 'dead') GROUP BY account, state, kind",
    )
    .bind(now)
    .fetch_all(pool)
    .await?;
    backlog.into_iter().map(BacklogRecord::read).collect()
}

/// How the database is: one file, which counts no rows, and whose transactions are short by construction.
pub(super) async fn health(pool: &SqlitePool) -> Result<Health, StoreError> {
    let bytes: i64 =
        sqlx::query_scalar("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
            .fetch_one(pool)
            .await?;
    Ok(Health { bytes: u64::try_from(bytes).unwrap_or(0), ..Health::default() })
}
