//! What is read again and again by those who watch: indexes and the server's own counts, no table.

use super::super::rows::{BacklogRecord, elapsed};
use super::super::{Backlog, Health, StoreError, TableHealth};
use super::pool::Pool;

/// Tables that are told of: more than this program has.
const MOST_TABLES: i64 = 32;

/// What waits, runs or stands still. Each line is one partial index, of which `done` jobs are no part. `run_at` of what
/// stands still is when it came to rest. The account of a notice is its receiver, and no account.
pub(super) async fn backlog(pool: &Pool) -> Result<Vec<Backlog>, StoreError> {
    let backlog: Vec<BacklogRecord> = sqlx::query_as(
        "
SELECT kind, account, 'waiting' AS state, count(*) AS jobs,
    (EXTRACT(EPOCH FROM now() - min(run_at) FILTER (WHERE run_at <= now())) * 1000)::bigint AS oldest_ms
FROM jobs WHERE state = 'waiting' AND kind <> 'notify' GROUP BY account, kind
UNION ALL
SELECT 'notify', NULL, 'waiting', count(*),
    (EXTRACT(EPOCH FROM now() - min(run_at) FILTER (WHERE run_at <= now())) * 1000)::bigint
FROM jobs WHERE state = 'waiting' AND notice IS NOT NULL HAVING count(*) > 0
UNION ALL
SELECT kind, CASE WHEN notice IS NULL THEN account END, 'running', count(*), NULL
FROM jobs WHERE state = 'running' GROUP BY 1, 2
UNION ALL
SELECT kind, CASE WHEN notice IS NULL THEN account END, state, count(*),
    (EXTRACT(EPOCH FROM now() - min(run_at)) * 1000)::bigint
FROM jobs WHERE state IN ('parked', 'dead') GROUP BY 1, 2, 3",
    )
    .fetch_all(&mut *pool.acquire().await?)
    .await?;
    backlog.into_iter().map(BacklogRecord::read).collect()
}

/// How the database is. Of transactions of other users only those are seen that the server shows to ours.
pub(super) async fn health(pool: &Pool) -> Result<Health, StoreError> {
    let (bytes, oldest_ms): (i64, Option<i64>) = sqlx::query_as(
        "SELECT pg_database_size(current_database()),
            (SELECT (EXTRACT(EPOCH FROM clock_timestamp() - min(xact_start)) * 1000)::bigint
             FROM pg_stat_activity
             WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid())",
    )
    .fetch_one(&mut *pool.acquire().await?)
    .await?;
    let tables: Vec<(String, i64, i64)> = sqlx::query_as(
        r"SELECT relname::text, n_live_tup, n_dead_tup FROM pg_stat_user_tables
          WHERE schemaname = current_schema() AND relname NOT LIKE '\_sqlx%' ORDER BY relname LIMIT $1",
    )
    .bind(MOST_TABLES)
    .fetch_all(&mut *pool.acquire().await?)
    .await?;
    let counted = |(table, live, dead): (String, i64, i64)| TableHealth {
        table,
        live_rows: u64::try_from(live).unwrap_or(0),
        dead_rows: u64::try_from(dead).unwrap_or(0),
    };
    Ok(Health {
        bytes: u64::try_from(bytes).unwrap_or(0),
        oldest_transaction: Some(elapsed(oldest_ms.unwrap_or(0))),
        tables: tables.into_iter().map(counted).collect(),
    })
}
