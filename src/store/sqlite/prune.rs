//! What is forgotten by age. Each batch is one transaction, and short: nobody else writes meanwhile.

use std::time::Duration;

use sqlx::{SqliteConnection, SqlitePool};

use super::super::StoreError;
use super::super::moment::Moment;
use super::super::pruning::{self, Bygone, Gone, Prunable, Pruned, PrunedCount};
use super::super::rows::millis;
use super::now;

/// Forgets a batch, and counts it.
pub(super) async fn prune(
    db: &mut SqliteConnection,
    what: Prunable,
    age: Duration,
    after: Option<Bygone>,
    limit: u32,
) -> Result<Pruned, StoreError> {
    let before = now(db).await?.saturating_sub(millis(age));
    let after = after.unwrap_or(Bygone::BEFORE_ALL);
    let gone = match what {
        Prunable::Events => prune_events(db, before, after, limit).await?,
        Prunable::Jobs => prune_jobs(db, before, after, limit).await?,
    };
    for (kind, (rows, until)) in pruning::by_kind(&gone) {
        sqlx::query(
            "INSERT INTO pruned AS known (table_name, kind, rows, until) VALUES ($1, $2, $3, $4)
             ON CONFLICT (table_name, kind) DO UPDATE SET
                rows = known.rows + excluded.rows, until = max(known.until, excluded.until)",
        )
        .bind(what.as_str())
        .bind(kind)
        .bind(rows)
        .bind(until)
        .execute(&mut *db)
        .await?;
    }
    Ok(pruning::batch(what, &gone))
}

async fn prune_events(
    db: &mut SqliteConnection,
    before: i64,
    after: Bygone,
    limit: u32,
) -> Result<Vec<Gone>, StoreError> {
    let gone = sqlx::query_as(EVENTS)
        .bind(after.id)
        .bind(pruning::first_id_of(before))
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await?;
    Ok(gone)
}

/// Ids are UUIDs of version 7, so of time: their order leads to what is old, and to its end, without an index that every
/// event would have to be written to.
const EVENTS: &str = "
DELETE FROM events WHERE id IN (
    SELECT id FROM events
    WHERE id > $1 AND id < $2 AND received_at <= $3 AND unreadable IS NULL
    ORDER BY id LIMIT $4
)
RETURNING id, name, received_at";

async fn prune_jobs(
    db: &mut SqliteConnection,
    before: i64,
    after: Bygone,
    limit: u32,
) -> Result<Vec<Gone>, StoreError> {
    let gone = sqlx::query_as(JOBS)
        .bind(Moment(after.at))
        .bind(after.id)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await?;
    Ok(gone)
}

/// The kinds are asked for by a CASE, or SQLite would look for them in the index of identities, and sort what it finds.
const JOBS: &str = "
DELETE FROM jobs WHERE id IN (
    SELECT job.id FROM jobs job
    WHERE job.state = 'done' AND job.finished_at IS NOT NULL
        AND job.finished_at <= $3 AND (job.finished_at, job.id) > ($1, $2)
        AND CASE job.kind
            WHEN 'transfer' THEN (SELECT state FROM files WHERE files.id = job.subject) = 'archived'
            ELSE job.kind IN ('manifest', 'remove', 'notify')
        END
    ORDER BY job.finished_at, job.id LIMIT $4
)
RETURNING id, kind, finished_at";

/// What has been forgotten so far.
pub(super) async fn pruned(pool: &SqlitePool) -> Result<Vec<PrunedCount>, StoreError> {
    let counts: Vec<(String, String, i64, Moment)> =
        sqlx::query_as("SELECT table_name, kind, rows, until FROM pruned ORDER BY table_name, kind")
            .fetch_all(pool)
            .await?;
    counts.into_iter().map(pruning::count).collect()
}

#[cfg(test)]
mod tests {
    use super::super::plans;
    use super::*;

    #[tokio::test]
    async fn what_is_old_is_found_in_its_order_and_no_list_is_led_astray_by_that() {
        for (statement, index) in [
            (EVENTS, "sqlite_autoindex_events_1 (id>? AND id<?)"),
            (JOBS, "jobs_finished ((finished_at,id)>(?,?)"),
        ] {
            let plan = plans::of(statement).await;
            assert!(plan.contains(index) && !plan.contains("ORDER BY") && !plan.contains("SCAN"), "{plan}");
        }
        let list = plans::of("SELECT * FROM jobs WHERE state = 'done' ORDER BY id DESC LIMIT 10").await;
        assert!(!list.contains("jobs_finished"), "{list}");
    }
}
