//! The queue: claim, hold, settle, sweep, retry. Each is one statement.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgExecutor;
use sqlx::postgres::PgQueryResult;
use sqlx::types::Json;
use uuid::Uuid;

use super::super::announcement::{clean, clean_json};
use super::super::intake::PERSON;
use super::super::known::PLACEHOLDER;
use super::super::rows::{JobRecord, claimed, millis};
use super::super::settled::{Headway, LOST_TOO_OFTEN, Settled};
use super::super::verification::{Again, FetchAgain};
use super::super::{StoreError, Swept};
use super::list;
use super::pool::Pool;
use super::tell::tell;
use crate::domain::ids::{FileId, JobId};
use crate::domain::job::{Job, Lease, Queue, Settlement};
use crate::domain::notice::{News, NoticeKind, Subscriptions};
use crate::domain::verification::FileFinding;

/// Candidates that a claim looks at beyond what it wants: room for claimers at the same moment, whose rows it skips.
const ROOM: u32 = 8;

/// Claims due jobs.
pub(super) async fn claim(
    pool: &Pool,
    queue: Queue,
    owner: &str,
    limit: u32,
    lease: Duration,
    full: &[String],
) -> Result<Vec<Job>, StoreError> {
    let claim = match queue {
        Queue::Work => CLAIM,
        Queue::Notices => CLAIM_NOTICES,
    };
    let jobs: Vec<JobRecord> = sqlx::query_as(claim)
        .bind(i64::from(limit))
        .bind(owner)
        .bind(millis(lease))
        .bind(full)
        .bind(i64::from(limit + ROOM))
        .fetch_all(&mut *pool.acquire().await?)
        .await?;
    claimed(jobs)
}

/// Never walks through what waits for an account that is not to have its turn, however much that is. `party` are the
/// accounts with waiting jobs, found by jumping from one to the next in the index, one descent each; `head` is the first
/// due job of each. The best `$5` jobs belong to no more accounts than that, those whose heads are best; the first
/// `$5` of each are merged in turns: the n-th job of an account comes after all accounts of which fewer than n others
/// run or come before it. Ordering by the account too, which is one and the same, keeps the planner on the index; so does
/// locking the candidates one by one, in their order, until there are enough.
///
/// Claimers at the same moment do not see each other's jobs run, so shares are kept in the long run, not to the job.
///
/// Every look at what waits is within the index of one of the two queues, which `$of_queue` names.
macro_rules! claim {
    ($of_queue:literal) => {
        concat!(
            "
WITH RECURSIVE party AS (
    (SELECT account FROM jobs WHERE state = 'waiting' AND ",
            $of_queue,
            " AND account IS NOT NULL ORDER BY account LIMIT 1)
    UNION ALL
    SELECT next.account FROM party CROSS JOIN LATERAL (
        SELECT account FROM jobs WHERE state = 'waiting' AND ",
            $of_queue,
            " AND account > party.account ORDER BY account LIMIT 1
    ) next
),
busy AS MATERIALIZED (
    SELECT account, count(*) AS jobs FROM jobs WHERE state = 'running' AND ",
            $of_queue,
            " GROUP BY account
),
head AS (
    SELECT party.account, COALESCE(busy.jobs, 0) AS running, first.loses_at, first.run_at, first.id
    FROM party
        LEFT JOIN busy ON busy.account = party.account
        CROSS JOIN LATERAL (
            SELECT id, loses_at, run_at FROM jobs
            WHERE state = 'waiting' AND ",
            $of_queue,
            " AND account = party.account AND run_at <= now()
            ORDER BY account, loses_at, run_at, id LIMIT 1
        ) first
    WHERE party.account <> ALL($4)
),
open AS (
    SELECT account, running FROM head ORDER BY running, loses_at, run_at, id LIMIT $5
),
candidate AS MATERIALIZED (
    SELECT running + row_number() OVER (PARTITION BY open.account ORDER BY loses_at, run_at, id) AS turn,
        loses_at, run_at, id
    FROM open CROSS JOIN LATERAL (
        SELECT id, loses_at, run_at FROM jobs
        WHERE state = 'waiting' AND ",
            $of_queue,
            " AND account = open.account AND run_at <= now()
        ORDER BY account, loses_at, run_at, id LIMIT $5
    ) next
    UNION ALL
    SELECT COALESCE((SELECT jobs FROM busy WHERE account IS NULL), 0)
            + row_number() OVER (ORDER BY loses_at, run_at, id),
        loses_at, run_at, id
    FROM (
        SELECT id, loses_at, run_at FROM jobs
        WHERE state = 'waiting' AND ",
            $of_queue,
            " AND account IS NULL AND run_at <= now()
        ORDER BY account, loses_at, run_at, id LIMIT $5
    ) next
    ORDER BY turn, loses_at, run_at, id LIMIT $5
),
due AS MATERIALIZED (
    SELECT free.id FROM candidate CROSS JOIN LATERAL (
        SELECT id FROM jobs WHERE id = candidate.id AND state = 'waiting' AND run_at <= now()
        FOR UPDATE SKIP LOCKED
    ) free
    LIMIT $1
)
UPDATE jobs SET state = 'running', lease_owner = $2, lease_token = lease_token + 1,
    lease_expires_at = now() + $3 * interval '1 millisecond', updated_at = now()
FROM due WHERE jobs.id = due.id
RETURNING jobs.id, kind, subject, account, loses_at, run_at, attempts, snoozes, lease_token, checkpoint, trace,
    (EXTRACT(EPOCH FROM now() - run_at) * 1000)::bigint AS waited_ms"
        )
    };
}

const CLAIM: &str = claim!("kind <> 'notify'");
const CLAIM_NOTICES: &str = claim!("notice IS NOT NULL");

/// Extends a lease. Writes no column that is in an index.
pub(super) async fn extend(pool: &Pool, lease: &Lease, length: Duration) -> Result<(), StoreError> {
    let result = sqlx::query(
        "UPDATE jobs SET lease_expires_at = now() + $3 * interval '1 millisecond', updated_at = now()
         WHERE id = $1 AND lease_token = $2 AND state = 'running'",
    )
    .bind(lease.job.0)
    .bind(lease.token)
    .bind(millis(length))
    .execute(&mut *pool.acquire().await?)
    .await?;
    held(lease, &result)
}

/// Writes a checkpoint. Writes no column that is in an index.
pub(super) async fn checkpoint(
    pool: &Pool,
    lease: &Lease,
    checkpoint: &Value,
    headway: Headway,
) -> Result<(), StoreError> {
    let result = sqlx::query(
        "UPDATE jobs SET checkpoint = $3, attempts = CASE WHEN $4 THEN 0 ELSE attempts END,
            snoozes = CASE WHEN $4 THEN 0 ELSE snoozes END,
            lost_leases = CASE WHEN $4 THEN 0 ELSE lost_leases END, updated_at = now()
         WHERE id = $1 AND lease_token = $2 AND state = 'running'",
    )
    .bind(lease.job.0)
    .bind(lease.token)
    .bind(Json(clean_json(checkpoint)))
    .bind(headway == Headway::Made)
    .execute(&mut *pool.acquire().await?)
    .await?;
    held(lease, &result)
}

fn held(lease: &Lease, result: &PgQueryResult) -> Result<(), StoreError> {
    if result.rows_affected() == 1 { Ok(()) } else { Err(StoreError::LeaseLost(lease.job)) }
}

/// Ends a run.
pub(super) async fn settle(
    pool: &Pool,
    lease: &Lease,
    settlement: Settlement,
    subscriptions: &Subscriptions,
) -> Result<(), StoreError> {
    let settled = Settled::new(settlement);
    let (archived_id, archived) = settled.archived.unzip();
    let checksum = archived.as_ref().and_then(|file| file.store_checksum.as_ref()).map(ToString::to_string);
    let news = settled.news.map(|news| (subscriptions.to(news.kind), news));
    let news = news.filter(|(targets, _)| !targets.is_empty());
    let settle = sqlx::query_scalar(if news.is_some() { SETTLE_AND_TELL } else { SETTLE })
        .bind(lease.job.0)
        .bind(lease.token)
        .bind(settled.goes_again)
        .bind(settled.state.as_str())
        .bind(settled.finishes)
        .bind(settled.rest_ms)
        .bind(settled.attempts)
        .bind(settled.snoozes)
        .bind(settled.waits_for.map(|waits_for| waits_for.as_str()))
        .bind(&settled.reason)
        .bind(archived_id.map(|id| id.0))
        .bind(archived.as_ref().map(|file| file.object_key.as_str()))
        .bind(archived.as_ref().map(|file| i64::try_from(file.bytes).unwrap_or(i64::MAX)))
        .bind(archived.as_ref().map(|file| file.sha256.0.as_slice()))
        .bind(archived.as_ref().map(|file| file.content_type.as_str()))
        .bind(checksum)
        .bind(archived.as_ref().and_then(|file| file.etag.as_deref()))
        .bind(archived.as_ref().and_then(|file| file.version_id.as_deref()))
        .bind(archived.as_ref().and_then(|file| file.mark.as_deref()))
        .bind(settled.next.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
        .bind(settled.next.iter().map(|(task, _)| task.kind()).collect::<Vec<_>>())
        .bind(settled.next.iter().map(|(task, _)| task.subject()).collect::<Vec<_>>())
        .bind(settled.next.iter().map(|(_, rest_ms)| *rest_ms).collect::<Vec<_>>())
        .bind(&settled.gone);
    let settle = match news {
        None => settle,
        Some((targets, news)) => settle
            .bind(news.kind.as_str())
            .bind(if news.kind.is_about_recording() { "manifest" } else { "transfer" })
            .bind(news.occasion)
            .bind(Json(news.detail))
            .bind(Json(targets)),
    };
    let jobs: i64 = settle.fetch_one(&mut *pool.acquire().await?).await?;
    if jobs == 1 { Ok(()) } else { Err(StoreError::LeaseLost(lease.job)) }
}

/// What becomes of a job that follows and is known already: what waits keeps its time, what runs is wanted again,
/// and all else waits again.
macro_rules! or_want_again {
    () => {
        "
    ON CONFLICT (kind, subject) DO UPDATE SET
        wanted_again = known.state = 'running',
        trace = COALESCE(EXCLUDED.trace, known.trace),
        state = CASE known.state WHEN 'running' THEN 'running' ELSE 'waiting' END,
        run_at = EXCLUDED.run_at,
        attempts = CASE WHEN known.state IN ('running', 'parked') THEN known.attempts ELSE 0 END,
        snoozes = CASE known.state WHEN 'running' THEN known.snoozes ELSE 0 END,
        lost_leases = CASE known.state WHEN 'running' THEN known.lost_leases ELSE 0 END,
        waits_for = NULL,
        reason = CASE known.state WHEN 'running' THEN known.reason END,
        finished_at = NULL,
        updated_at = now()
    WHERE known.state <> 'waiting'"
    };
}

pub(super) use or_want_again;

/// The job, its file and the jobs that follow. All hang on `held`: without the lease nothing is written.
///
/// The commit is not waited for to reach the disk: what a crash of the server takes away of it, the last moments, is
/// done again when the lease expires, and finds its object. It also lets go at once of what siblings wait for.
macro_rules! settle {
    () => {
        concat!(
            "
WITH held AS MATERIALIZED (
    SELECT id, wanted_again AND $3 AS again, CASE WHEN wanted_again AND $3 THEN 'waiting' ELSE $4 END AS state,
        set_config('synchronous_commit', 'off', true)
    FROM jobs WHERE id = $1 AND lease_token = $2 AND state = 'running'
    FOR UPDATE
),
job AS (
    UPDATE jobs SET
        state = held.state,
        run_at = now() + CASE WHEN again THEN 0 ELSE $6 END * interval '1 millisecond',
        attempts = CASE WHEN again AND $5 THEN 0 ELSE attempts + $7 END,
        snoozes = CASE WHEN $5 THEN 0 ELSE snoozes + $8 END,
        lost_leases = CASE WHEN $5 THEN 0 ELSE lost_leases END,
        wanted_again = false,
        lease_owner = NULL,
        lease_expires_at = NULL,
        checkpoint = CASE WHEN $5 THEN NULL ELSE checkpoint END,
        waits_for = CASE WHEN held.state = 'parked' THEN $9 END,
        reason = CASE WHEN $5 THEN NULL ELSE COALESCE($10, reason) END,
        finished_at = CASE WHEN held.state IN ('done', 'dead') THEN now() END,
        updated_at = now()
    FROM held WHERE jobs.id = held.id
    RETURNING jobs.kind, jobs.subject, jobs.account, jobs.state, held.again, jobs.trace
),
file AS (
    UPDATE files SET
        state = CASE job.state WHEN 'waiting' THEN 'pending' ELSE job.state END,
        reason = COALESCE($10, reason),
        updated_at = now()
    FROM job
    WHERE job.kind = 'transfer' AND files.id = job.subject AND job.state IN ('waiting', 'parked', 'dead')
        AND files.state NOT IN ('archived', 'skipped', 'gone')
),
gone AS (
    UPDATE files SET state = 'gone', reason = $24, download_url = NULL, download_token = NULL,
        token_expires_at = NULL, loses_at = NULL, updated_at = now()
    FROM job
    WHERE $24 IS NOT NULL AND job.kind = 'transfer' AND files.id = job.subject AND job.state = 'done'
        AND files.state NOT IN ('archived', 'skipped')
),
archived AS (
    UPDATE files SET state = 'archived', reason = NULL, object_key = $12, bytes = $13, sha256 = $14,
        content_type = $15, store_checksum = $16, etag = $17, version_id = $18, mark = $19,
        download_url = NULL, download_token = NULL, token_expires_at = NULL, loses_at = NULL, content = NULL,
        proven_bytes = NULL, proven_sha256 = NULL, updated_at = now(),
        archived_at = COALESCE((
            SELECT (earlier ->> 'archived_at')::timestamptz FROM jsonb_array_elements(earlier_objects) AS earlier
            WHERE earlier ->> 'key' = $12
        ), now())
    FROM job WHERE files.id = $11 AND files.state <> 'archived'
),
next AS (
    INSERT INTO jobs AS known (id, kind, subject, state, run_at, trace)
    SELECT next.id, next.kind, next.subject, 'waiting', now() + next.rest_ms * interval '1 millisecond', job.trace
    FROM job CROSS JOIN unnest($20::uuid[], $21::text[], $22::uuid[], $23::bigint[])
        AS next (id, kind, subject, rest_ms)
    WHERE (next.kind, next.subject) <> (job.kind, job.subject)
    ORDER BY next.kind, next.subject",
            or_want_again!(),
            "
)"
        )
    };
}

const SETTLE: &str = concat!(settle!(), "SELECT count(*) FROM job");

/// The same, where there are receivers who want to hear of it. The occasion is the lease where there is no other.
const SETTLE_AND_TELL: &str = concat!(
    settle!(),
    ",
news AS (
    SELECT $25::text AS kind, job.subject, COALESCE($27::bigint, $2) AS occasion, $28::jsonb AS detail,
        $29::jsonb AS targets, job.trace,
        COALESCE(job.account, (SELECT account_id FROM recordings WHERE recordings.id = job.subject)) AS account
    FROM job WHERE job.kind = $26 AND NOT job.again
)",
    tell!(),
    "SELECT count(*) FROM job"
);

/// Returns jobs whose lease has expired.
pub(super) async fn sweep(
    pool: &Pool,
    max_lost_leases: u32,
    subscriptions: &Subscriptions,
) -> Result<Swept, StoreError> {
    let news = News::with_reason(NoticeKind::FileParked, LOST_TOO_OFTEN);
    let (returned, parked): (i64, i64) = sqlx::query_as(concat!(
        "
WITH expired AS MATERIALIZED (
    SELECT id, lost_leases + 1 >= $1 AS parks FROM jobs
    WHERE state = 'running' AND lease_expires_at <= now()
    ORDER BY id
    FOR UPDATE SKIP LOCKED
),
job AS (
    UPDATE jobs SET
        state = CASE WHEN parks THEN 'parked' ELSE 'waiting' END,
        run_at = now(),
        lost_leases = lost_leases + 1,
        wanted_again = false,
        lease_owner = NULL,
        lease_expires_at = NULL,
        waits_for = CASE WHEN parks THEN 'person' END,
        reason = CASE WHEN parks THEN $2 ELSE reason END,
        updated_at = now()
    FROM expired WHERE jobs.id = expired.id
    RETURNING jobs.kind, jobs.subject, jobs.account, jobs.lease_token, jobs.trace, expired.parks
),
file AS (
    UPDATE files SET state = 'parked', reason = $2, updated_at = now()
    FROM job WHERE job.parks AND job.kind = 'transfer' AND files.id = job.subject
        AND files.state NOT IN ('archived', 'skipped', 'gone')
),
news AS (
    SELECT $3::text AS kind, job.subject, job.account, job.lease_token AS occasion, $4::jsonb AS detail,
        $5::jsonb AS targets, job.trace
    FROM job WHERE job.parks AND job.kind = 'transfer' AND $5::jsonb <> '[]'
)",
        tell!(),
        "SELECT count(*) FILTER (WHERE NOT parks), count(*) FILTER (WHERE parks) FROM job"
    ))
    .bind(i64::from(max_lost_leases))
    .bind(LOST_TOO_OFTEN)
    .bind(news.kind.as_str())
    .bind(Json(news.detail))
    .bind(Json(subscriptions.to(news.kind)))
    .fetch_one(&mut *pool.acquire().await?)
    .await?;
    Ok(Swept { returned: u64::try_from(returned).unwrap_or(0), parked: u64::try_from(parked).unwrap_or(0) })
}

/// Wakes a parked or dead transfer, one that rests, or that of a gone file, and the file; or mends what a verification has
/// found.
pub(super) async fn retry(pool: &Pool, file: FileId) -> Result<bool, StoreError> {
    let result = sqlx::query(
        "
WITH held AS MATERIALIZED (
    SELECT job.id FROM jobs job JOIN files file ON file.id = job.subject
    WHERE job.kind = 'transfer' AND job.subject = $1
        AND (job.state IN ('parked', 'dead') OR job.state = 'waiting' AND job.run_at > now()
            OR job.state = 'done' AND file.state = 'gone')
    FOR UPDATE OF job, file
),
job AS (
    UPDATE jobs SET state = 'waiting', run_at = now(), attempts = 0, snoozes = 0, lost_leases = 0,
        waits_for = NULL, reason = NULL, finished_at = NULL, updated_at = now()
    FROM held WHERE jobs.id = held.id
    RETURNING subject
)
UPDATE files SET state = 'pending', reason = NULL, updated_at = now()
FROM job WHERE files.id = job.subject AND files.state IN ('pending', 'parked', 'dead', 'gone')",
    )
    .bind(file.0)
    .execute(&mut *pool.acquire().await?)
    .await?;
    if result.rows_affected() == 1 { Ok(true) } else { mend(pool, file).await }
}

/// Does about an archived file what a retry can do: see [`Again`].
async fn mend(pool: &Pool, file: FileId) -> Result<bool, StoreError> {
    let Some(row) = list::file(pool, file).await? else { return Ok(false) };
    match Again::about(&row) {
        None => Ok(false),
        Some(Again::Fetch(again)) => fetch_again(pool, file, &again).await,
        Some(Again::WriteManifest) => {
            sqlx::query(concat!(
                "INSERT INTO jobs AS known (id, kind, subject, state, run_at)
                 VALUES ($1, 'manifest', $2, 'waiting', now())",
                or_want_again!()
            ))
            .bind(Uuid::now_v7())
            .bind(row.recording_id.0)
            .execute(&mut *pool.acquire().await?)
            .await?;
            Ok(true)
        }
    }
}

/// Has an archived file fetched again, unless it has changed since it was read.
async fn fetch_again(pool: &Pool, file: FileId, again: &FetchAgain) -> Result<bool, StoreError> {
    let result = sqlx::query(FETCH_AGAIN)
        .bind(file.0)
        .bind(again.finding.map(FileFinding::as_str))
        .bind(&again.key)
        .bind(&again.new_key)
        .bind(Uuid::now_v7())
        .bind(&again.reason)
        .bind(&again.left_behind)
        .bind(Json(&again.earlier_objects))
        .execute(&mut *pool.acquire().await?)
        .await?;
    Ok(result.rows_affected() == 1)
}

/// The job first, then the file, as everywhere. A job that waits or runs is about to find the file archived: it is left
/// to. One that was forgotten comes anew, and its leases are counted on from the last that was an occasion of news: else
/// what is new would be taken for what was told.
const FETCH_AGAIN: &str = "
WITH transfer AS MATERIALIZED (
    SELECT id, state FROM jobs WHERE kind = 'transfer' AND subject = $1 FOR UPDATE
),
held AS MATERIALIZED (
    SELECT file.id, recording.account_id
    FROM files file JOIN recordings recording ON recording.id = file.recording_id
    WHERE file.id = $1 AND file.state = 'archived' AND file.finding IS NOT DISTINCT FROM $2::text AND file.object_key = $3
        AND NOT EXISTS (SELECT 1 FROM transfer WHERE state IN ('waiting', 'running'))
    FOR UPDATE OF file
),
job AS (
    INSERT INTO jobs (id, kind, subject, account, state, run_at, lease_token)
    SELECT $5, 'transfer', held.id, held.account_id, 'waiting', now(), COALESCE((
        SELECT max(occasion) FROM told WHERE told.subject = held.id AND told.kind <> 'file.loss_near'
    ), 0) FROM held
    ON CONFLICT (kind, subject) DO UPDATE SET state = 'waiting', run_at = now(), attempts = 0, snoozes = 0,
        lost_leases = 0, waits_for = NULL, reason = NULL, finished_at = NULL, updated_at = now()
),
left_behind AS (
    INSERT INTO foreign_objects (key, found_at, detail)
    SELECT $3, now(), $7 FROM held WHERE $7::text IS NOT NULL
    ON CONFLICT (key) DO NOTHING
)
UPDATE files SET state = 'pending', reason = $6, object_key = $4,
    proven_bytes = CASE WHEN $2::text IS NOT NULL THEN bytes END, proven_sha256 = CASE WHEN $2::text IS NOT NULL THEN sha256 END,
    bytes = NULL, sha256 = NULL, content_type = NULL, store_checksum = NULL, etag = NULL, version_id = NULL,
    mark = NULL, archived_at = NULL, verified_at = NULL, finding = NULL, finding_detail = NULL,
    earlier_objects = $8, updated_at = now()
FROM held WHERE files.id = held.id AND files.state = 'archived'";

/// Withdraws the transfer of a file that is not archived, also a running one, which loses its lease by that. No transfer will
/// tell the manifest of it, so it is written again where there is one.
/// `by` is who says so: a person, Zoom about a placeholder, or rules, which say nothing of what others have decided. A file
/// that has an object, and is only fetched again because of a warning, is none to leave out.
pub(super) async fn skip(
    executor: impl PgExecutor<'_>,
    file: FileId,
    reason: &str,
    by: &str,
) -> Result<bool, StoreError> {
    let result = sqlx::query(concat!(
        "
WITH held AS MATERIALIZED (
    SELECT job.id FROM jobs job JOIN files file ON file.id = job.subject
    WHERE job.kind = 'transfer' AND job.subject = $1 AND file.state IN ('pending', 'parked', 'dead')
        AND ($3::text IN ($4, $6) OR file.decided_by IN ($3, 'twin'))
        AND (file.earlier_objects = '[]' OR file.proven_sha256 IS NOT NULL)
    FOR UPDATE OF job, file
),
job AS (
    UPDATE jobs SET state = 'cancelled', wanted_again = false, lease_owner = NULL, lease_expires_at = NULL,
        waits_for = NULL, reason = $2, finished_at = now(), updated_at = now()
    FROM held WHERE jobs.id = held.id
    RETURNING subject
),
manifest AS (
    INSERT INTO jobs AS known (id, kind, subject, state, run_at)
    SELECT $5, 'manifest', recordings.id, 'waiting', now()
    FROM job
        JOIN files ON files.id = job.subject
        JOIN recordings ON recordings.id = files.recording_id
    WHERE recordings.folder IS NOT NULL",
        or_want_again!(),
        "
)
UPDATE files SET state = 'skipped', reason = $2, decided_by = $3, updated_at = now()
FROM job WHERE files.id = job.subject AND files.state IN ('pending', 'parked', 'dead')"
    ))
    .bind(file.0)
    .bind(clean(reason))
    .bind(by)
    .bind(PERSON)
    .bind(Uuid::now_v7())
    .bind(PLACEHOLDER)
    .execute(executor)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Wakes the transfer of a skipped file, and the file. `by`: see [`skip`].
pub(super) async fn unskip(
    executor: impl PgExecutor<'_>,
    file: FileId,
    by: &str,
) -> Result<bool, StoreError> {
    let result = sqlx::query(
        "
WITH held AS MATERIALIZED (
    SELECT job.id FROM jobs job JOIN files file ON file.id = job.subject
    WHERE job.kind = 'transfer' AND job.subject = $1 AND job.state = 'cancelled' AND file.state = 'skipped'
        AND ($2::text = $3 OR file.decided_by = $2)
    FOR UPDATE OF job, file
),
job AS (
    UPDATE jobs SET state = 'waiting', run_at = now(), attempts = 0, snoozes = 0, lost_leases = 0,
        reason = NULL, finished_at = NULL, updated_at = now()
    FROM held WHERE jobs.id = held.id
    RETURNING subject
)
UPDATE files SET state = 'pending', reason = NULL, decided_by = $2, updated_at = now()
FROM job WHERE files.id = job.subject AND files.state = 'skipped'",
    )
    .bind(file.0)
    .bind(by)
    .bind(PERSON)
    .execute(executor)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Wakes a job that is no transfer, or lets it rest no longer.
pub(super) async fn retry_job(pool: &Pool, job: JobId) -> Result<bool, StoreError> {
    let result = sqlx::query(
        "UPDATE jobs SET state = 'waiting', run_at = now(), attempts = 0, snoozes = 0, lost_leases = 0,
            waits_for = NULL, reason = NULL, finished_at = NULL, updated_at = now()
         WHERE id = $1 AND kind <> 'transfer'
            AND (state IN ('parked', 'dead', 'cancelled') OR state = 'waiting' AND run_at > now())",
    )
    .bind(job.0)
    .execute(&mut *pool.acquire().await?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Withdraws a job that is no transfer, also a running one, which loses its lease by that.
pub(super) async fn cancel_job(pool: &Pool, job: JobId, reason: &str) -> Result<bool, StoreError> {
    let result = sqlx::query(
        "UPDATE jobs SET state = 'cancelled', wanted_again = false, lease_owner = NULL, lease_expires_at = NULL,
            waits_for = NULL, reason = $2, finished_at = now(), updated_at = now()
         WHERE id = $1 AND kind <> 'transfer' AND state IN ('waiting', 'running', 'parked', 'dead')",
    )
    .bind(job.0)
    .bind(clean(reason))
    .execute(&mut *pool.acquire().await?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Uploads of ours that no transfer goes on with. Where a checkpoint names its upload: `jobs/transfer/checkpoint.rs`.
pub(super) async fn leftovers(pool: &Pool, uploads: &[(String, String)]) -> Result<Vec<String>, StoreError> {
    let (ids, keys): (Vec<&str>, Vec<&str>) = uploads.iter().map(|(id, key)| (&**id, &**key)).unzip();
    Ok(sqlx::query_scalar(
        "
SELECT upload.id FROM unnest($1::text[], $2::text[]) AS upload (id, key)
WHERE (upload.key = '' OR EXISTS (SELECT 1 FROM files WHERE files.object_key = upload.key))
    AND NOT EXISTS (
        SELECT 1 FROM jobs
        WHERE jobs.state IN ('waiting', 'running', 'parked')
            AND jobs.checkpoint #>> '{upload,upload,id}' = upload.id
    )
    AND NOT EXISTS (
        SELECT 1 FROM files JOIN jobs ON jobs.kind = 'transfer' AND jobs.subject = files.id
        WHERE files.object_key = upload.key AND jobs.state = 'running'
    )",
    )
    .bind(ids)
    .bind(keys)
    .fetch_all(&mut *pool.acquire().await?)
    .await?)
}

/// Takes the checkpoints of transfers that nobody has wanted again for long.
pub(super) async fn abandon(pool: &Pool, older_than: Duration, limit: u32) -> Result<Vec<Value>, StoreError> {
    let taken: Vec<Json<Value>> = sqlx::query_scalar(
        "
WITH old AS MATERIALIZED (
    SELECT id, checkpoint FROM jobs
    WHERE state IN ('dead', 'cancelled') AND checkpoint IS NOT NULL
        AND finished_at <= now() - $1 * interval '1 millisecond'
    ORDER BY id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET checkpoint = NULL, updated_at = now()
FROM old WHERE jobs.id = old.id
RETURNING old.checkpoint",
    )
    .bind(millis(older_than))
    .bind(i64::from(limit))
    .fetch_all(&mut *pool.acquire().await?)
    .await?;
    Ok(taken.into_iter().map(|checkpoint| checkpoint.0).collect())
}
