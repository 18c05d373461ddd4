//! What is forgotten by age. Each batch is one statement, which waits for no row that somebody holds, walks past none that
//! an earlier batch of the pass has left, and counts what it takes away.

use std::time::Duration;

use super::super::StoreError;
use super::super::moment::Moment;
use super::super::pruning::{self, Bygone, Gone, Prunable, Pruned, PrunedCount};
use super::super::rows::millis;
use super::pool::Pool;

/// Forgets a batch. The statements have to be planned for the values that they are sent with: a LIMIT that is not known
/// is taken for a tenth of the table, and the whole of it read and sorted.
pub(super) async fn prune(
    pool: &Pool,
    what: Prunable,
    age: Duration,
    after: Option<Bygone>,
    limit: u32,
) -> Result<Pruned, StoreError> {
    let after = after.unwrap_or(Bygone::BEFORE_ALL);
    let statement = match what {
        Prunable::Events => EVENTS,
        Prunable::Jobs => JOBS,
    };
    let statement = sqlx::query_as(statement).bind(millis(age)).bind(i64::from(limit)).bind(after.id);
    let statement = match what {
        Prunable::Events => statement,
        Prunable::Jobs => statement.bind(Moment(after.at)),
    };
    let gone: Vec<Gone> = statement.fetch_all(&mut *pool.acquire().await?).await?;
    Ok(pruning::batch(what, &gone))
}

/// What follows `gone` (id, kind, at) in a statement: the rows of `$table` that it has taken away are counted, and told.
macro_rules! counted {
    ($table:literal) => {
        concat!(
            ",
counted AS (
    INSERT INTO pruned AS known (table_name, kind, rows, until)
    SELECT '",
            $table,
            "', kind, count(*), max(at) FROM gone GROUP BY kind ORDER BY kind
    ON CONFLICT (table_name, kind) DO UPDATE SET
        rows = known.rows + EXCLUDED.rows, until = GREATEST(known.until, EXCLUDED.until)
)
SELECT id, kind, at FROM gone"
        )
    };
}

/// Ids are UUIDs of version 7, so of time: their order leads to what is old, and to its end, without an index that every
/// event would have to be written to.
const EVENTS: &str = concat!(
    "
WITH old AS MATERIALIZED (
    SELECT id FROM events
    WHERE id > $3 AND unreadable IS NULL AND received_at <= now() - $1 * interval '1 millisecond'
        AND id < (lpad(to_hex(GREATEST(
            EXTRACT(EPOCH FROM now() - $1 * interval '1 millisecond') * 1000, 0
        )::bigint), 12, '0') || repeat('0', 20))::uuid
    ORDER BY id LIMIT $2
    FOR UPDATE SKIP LOCKED
),
gone AS (
    DELETE FROM events USING old WHERE events.id = old.id
    RETURNING events.id, events.name AS kind, events.received_at AS at
)",
    counted!("events")
);

/// Which files are archived is looked up one by one: a join would be free to read all of them.
const JOBS: &str = concat!(
    "
WITH old AS MATERIALIZED (
    SELECT job.id FROM jobs job
    WHERE job.state = 'done' AND job.finished_at IS NOT NULL
        AND job.finished_at <= now() - $1 * interval '1 millisecond' AND (job.finished_at, job.id) > ($4, $3)
        AND CASE job.kind
            WHEN 'transfer' THEN (SELECT state FROM files WHERE files.id = job.subject) = 'archived'
            ELSE job.kind IN ('manifest', 'remove', 'notify')
        END
    ORDER BY job.finished_at, job.id LIMIT $2
    FOR UPDATE OF job SKIP LOCKED
),
gone AS (
    DELETE FROM jobs USING old WHERE jobs.id = old.id
    RETURNING jobs.id, jobs.kind, jobs.finished_at AS at
)",
    counted!("jobs")
);

/// What has been forgotten so far.
pub(super) async fn pruned(pool: &Pool) -> Result<Vec<PrunedCount>, StoreError> {
    let counts: Vec<(String, String, i64, Moment)> =
        sqlx::query_as("SELECT table_name, kind, rows, until FROM pruned ORDER BY table_name, kind")
            .fetch_all(&mut *pool.acquire().await?)
            .await?;
    counts.into_iter().map(pruning::count).collect()
}
