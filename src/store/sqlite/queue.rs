//! The queue: claim, hold, settle, sweep, within one transaction each.

use std::time::Duration;

use serde_json::Value;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteQueryResult;
use sqlx::types::Json;
use uuid::Uuid;

use super::super::announcement::{clean, clean_json};
use super::super::intake::PERSON;
use super::super::known::PLACEHOLDER;
use super::super::rows::{FileRecord, JobRecord, claimed, file_columns, millis};
use super::super::settled::{Headway, LOST_TOO_OFTEN, Settled};
use super::super::verification::{Again, FetchAgain};
use super::super::{StoreError, Swept};
use super::now;
use super::tell::{Telling, tell};
use crate::domain::file::ArchivedFile;
use crate::domain::ids::{FileId, JobId, RecordingId};
use crate::domain::job::{Job, JobState, Lease, Queue, Settlement, Task};
use crate::domain::notice::{News, NoticeKind, Subscriptions};
use crate::domain::verification::FileFinding;

/// Claims due jobs, one after the other: each changes whose turn is next.
pub(super) async fn claim(
    db: &mut SqliteConnection,
    queue: Queue,
    owner: &str,
    limit: u32,
    lease: Duration,
    full: &[String],
) -> Result<Vec<Job>, StoreError> {
    let now = now(db).await?;
    let mut jobs: Vec<JobRecord> = Vec::new();
    while jobs.len() < limit as usize {
        let claim = match queue {
            Queue::Work => CLAIM_ONE,
            Queue::Notices => CLAIM_ONE_NOTICE,
        };
        let claim = sqlx::query_as(claim).bind(owner).bind(now).bind(millis(lease)).bind(Json(full));
        match claim.fetch_optional(&mut *db).await? {
            Some(job) => jobs.push(job),
            None => break,
        }
    }
    claimed(jobs)
}

/// Never walks through what waits for an account that is not to have its turn, however much that is: jumps from
/// account to account in the index, looks at the first due job of each, and takes the one of the account of which least
/// runs; among equals the one that is lost first. Every look at what waits is within the index of one of the two queues,
/// which `$of_queue` names.
macro_rules! claim_one {
    ($of_queue:literal) => {
        concat!(
            "
UPDATE jobs SET state = 'running', lease_owner = $1, lease_token = lease_token + 1,
    lease_expires_at = $2 + $3, updated_at = $2
WHERE id = (
    WITH RECURSIVE open (account) AS (
        SELECT min(account) FROM jobs WHERE state = 'waiting' AND ",
            $of_queue,
            "
        UNION ALL
        SELECT (SELECT min(account) FROM jobs
                WHERE state = 'waiting' AND ",
            $of_queue,
            " AND account > open.account)
        FROM open WHERE open.account IS NOT NULL
    ),
    head (account, id) AS (
        SELECT account, (SELECT id FROM jobs
                WHERE state = 'waiting' AND ",
            $of_queue,
            " AND account = open.account AND run_at <= $2
                ORDER BY loses_at, run_at, id LIMIT 1)
        FROM open WHERE open.account NOT IN (SELECT value FROM json_each($4))
        UNION ALL
        SELECT NULL, id FROM (
            SELECT id FROM jobs WHERE state = 'waiting' AND ",
            $of_queue,
            " AND account IS NULL AND run_at <= $2
            ORDER BY loses_at, run_at, id LIMIT 1
        )
    )
    SELECT head.id FROM head JOIN jobs due ON due.id = head.id
    ORDER BY (SELECT count(*) FROM jobs WHERE state = 'running' AND ",
            $of_queue,
            " AND account IS head.account),
        due.loses_at, due.run_at, due.id
    LIMIT 1
)
RETURNING id, kind, subject, account, loses_at, run_at, attempts, snoozes, lease_token, checkpoint, trace,
    $2 - run_at AS waited_ms"
        )
    };
}

const CLAIM_ONE: &str = claim_one!("kind <> 'notify'");
const CLAIM_ONE_NOTICE: &str = claim_one!("notice IS NOT NULL");

/// Extends a lease.
pub(super) async fn extend(
    db: &mut SqliteConnection,
    lease: &Lease,
    length: Duration,
) -> Result<(), StoreError> {
    let now = now(db).await?;
    let result = sqlx::query(
        "UPDATE jobs SET lease_expires_at = $3 + $4, updated_at = $3
         WHERE id = $1 AND lease_token = $2 AND state = 'running'",
    )
    .bind(lease.job.0)
    .bind(lease.token)
    .bind(now)
    .bind(millis(length))
    .execute(db)
    .await?;
    held(lease, &result)
}

/// Writes a checkpoint.
pub(super) async fn checkpoint(
    db: &mut SqliteConnection,
    lease: &Lease,
    checkpoint: &Value,
    headway: Headway,
) -> Result<(), StoreError> {
    let now = now(db).await?;
    let result = sqlx::query(
        "UPDATE jobs SET checkpoint = $4, attempts = iif($5, 0, attempts), snoozes = iif($5, 0, snoozes),
            lost_leases = iif($5, 0, lost_leases), updated_at = $3
         WHERE id = $1 AND lease_token = $2 AND state = 'running'",
    )
    .bind(lease.job.0)
    .bind(lease.token)
    .bind(now)
    .bind(Json(clean_json(checkpoint)))
    .bind(headway == Headway::Made)
    .execute(db)
    .await?;
    held(lease, &result)
}

fn held(lease: &Lease, result: &SqliteQueryResult) -> Result<(), StoreError> {
    if result.rows_affected() == 1 { Ok(()) } else { Err(StoreError::LeaseLost(lease.job)) }
}

/// Ends a run: the job, its file and the jobs that follow.
pub(super) async fn settle(
    db: &mut SqliteConnection,
    lease: &Lease,
    settlement: Settlement,
    subscriptions: &Subscriptions,
) -> Result<(), StoreError> {
    let now = now(db).await?;
    let settled = Settled::new(settlement);
    let wanted_again: Option<bool> = sqlx::query_scalar(
        "SELECT wanted_again FROM jobs WHERE id = $1 AND lease_token = $2 AND state = 'running'",
    )
    .bind(lease.job.0)
    .bind(lease.token)
    .fetch_optional(&mut *db)
    .await?;
    let Some(wanted_again) = wanted_again else { return Err(StoreError::LeaseLost(lease.job)) };
    let again = wanted_again && settled.goes_again;
    let state = if again { JobState::Waiting } else { settled.state };

    let (kind, subject, account, trace) = settle_job(db, lease.job, &settled, again, state, now).await?;
    let task = Task::from_row(&kind, subject)?;
    if let Task::Transfer(file) = task {
        settle_file(db, file, state, settled.reason.as_deref(), now).await?;
        if let Some(reason) = settled.gone.as_deref().filter(|_| !again) {
            lose_file(db, file, reason, now).await?;
        }
    }
    if let Some((id, file)) = &settled.archived {
        archive_file(db, *id, file, now).await?;
    }
    if let Some(news) = settled.news.filter(|_| !again) {
        let ended = Ended { task, account, token: lease.token, trace: trace.as_deref() };
        announce(db, subscriptions, &ended, &news, now).await?;
    }
    for (next, rest_ms) in settled.next.into_iter().filter(|(next, _)| *next != task) {
        enqueue(db, next, rest_ms, trace.as_deref(), now).await?;
    }
    Ok(())
}

async fn settle_job(
    db: &mut SqliteConnection,
    job: JobId,
    settled: &Settled,
    again: bool,
    state: JobState,
    now: i64,
) -> Result<(String, Uuid, Option<String>, Option<String>), StoreError> {
    let parked = state == JobState::Parked;
    let job = sqlx::query_as(
        "UPDATE jobs SET
            state = $2,
            run_at = $3 + $4,
            attempts = iif($5 AND $6, 0, attempts + $7),
            snoozes = iif($6, 0, snoozes + $8),
            lost_leases = iif($6, 0, lost_leases),
            wanted_again = false,
            lease_owner = NULL,
            lease_expires_at = NULL,
            checkpoint = iif($6, NULL, checkpoint),
            waits_for = $9,
            reason = iif($6, NULL, COALESCE($10, reason)),
            finished_at = iif($2 IN ('done', 'dead'), $3, NULL),
            updated_at = $3
         WHERE id = $1
         RETURNING kind, subject, account, trace",
    )
    .bind(job.0)
    .bind(state.as_str())
    .bind(now)
    .bind(if again { 0 } else { settled.rest_ms })
    .bind(again)
    .bind(settled.finishes)
    .bind(settled.attempts)
    .bind(settled.snoozes)
    .bind(settled.waits_for.filter(|_| parked).map(|waits_for| waits_for.as_str()))
    .bind(&settled.reason)
    .fetch_one(db)
    .await?;
    Ok(job)
}

/// A run that has ended.
struct Ended<'a> {
    task: Task,
    account: Option<String>,
    /// Of its lease.
    token: i64,
    trace: Option<&'a str>,
}

/// Tells who wants to hear of it what a settlement says of a transfer's file, or of a manifest's recording.
async fn announce(
    db: &mut SqliteConnection,
    subscriptions: &Subscriptions,
    ended: &Ended<'_>,
    news: &News,
    now: i64,
) -> Result<(), StoreError> {
    let account = match (ended.task, news.kind.is_about_recording()) {
        (Task::Transfer(_), false) => ended.account.clone().unwrap_or_default(),
        (Task::Manifest(recording), true) => {
            sqlx::query_scalar("SELECT account_id FROM recordings WHERE id = $1")
                .bind(recording.0)
                .fetch_one(&mut *db)
                .await?
        }
        _ => return Ok(()),
    };
    let news = Telling {
        kind: news.kind,
        subject: ended.task.subject(),
        account: &account,
        occasion: news.occasion.unwrap_or(ended.token),
        detail: &news.detail,
        trace: ended.trace,
    };
    tell(db, subscriptions, &news, now).await?;
    Ok(())
}

/// Moves the file along with its transfer.
async fn settle_file(
    db: &mut SqliteConnection,
    file: FileId,
    transfer: JobState,
    reason: Option<&str>,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE files SET state = iif($2 = 'waiting', 'pending', $2), reason = COALESCE($3, reason),
            updated_at = $4
         WHERE id = $1 AND $2 IN ('waiting', 'parked', 'dead')
            AND state NOT IN ('archived', 'skipped', 'gone')",
    )
    .bind(file.0)
    .bind(transfer.as_str())
    .bind(reason)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Writes that a file is gone at Zoom.
async fn lose_file(
    db: &mut SqliteConnection,
    file: FileId,
    reason: &str,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE files SET state = 'gone', reason = $2, download_url = NULL, download_token = NULL,
            token_expires_at = NULL, loses_at = NULL, updated_at = $3
         WHERE id = $1 AND state NOT IN ('archived', 'skipped')",
    )
    .bind(file.0)
    .bind(reason)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

async fn archive_file(
    db: &mut SqliteConnection,
    id: FileId,
    file: &ArchivedFile,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE files SET state = 'archived', reason = NULL, object_key = $2, bytes = $3, sha256 = $4,
            content_type = $5, store_checksum = $6, etag = $7, version_id = $8, mark = $9,
            download_url = NULL, download_token = NULL, token_expires_at = NULL, loses_at = NULL, content = NULL,
            proven_bytes = NULL, proven_sha256 = NULL, updated_at = $10,
            archived_at = COALESCE((
                SELECT CAST(unixepoch(value ->> 'archived_at', 'subsec') * 1000 AS INTEGER)
                FROM json_each(earlier_objects) WHERE value ->> 'key' = $2
            ), $10)
         WHERE id = $1 AND state <> 'archived'",
    )
    .bind(id.0)
    .bind(&file.object_key)
    .bind(i64::try_from(file.bytes).unwrap_or(i64::MAX))
    .bind(file.sha256.0.as_slice())
    .bind(&file.content_type)
    .bind(file.store_checksum.as_ref().map(ToString::to_string))
    .bind(&file.etag)
    .bind(&file.version_id)
    .bind(&file.mark)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Lets a job follow: a new one waits; of a known one, what waits keeps its time, what runs is wanted again,
/// and all else waits again.
pub(super) async fn enqueue(
    db: &mut SqliteConnection,
    task: Task,
    rest_ms: i64,
    trace: Option<&str>,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO jobs AS known (id, kind, subject, state, run_at, created_at, updated_at, trace)
         VALUES ($1, $2, $3, 'waiting', $4 + $5, $4, $4, $6)
         ON CONFLICT (kind, subject) DO UPDATE SET
            trace = COALESCE(excluded.trace, known.trace),
            wanted_again = known.state = 'running',
            state = iif(known.state = 'running', 'running', 'waiting'),
            run_at = excluded.run_at,
            attempts = iif(known.state IN ('running', 'parked'), known.attempts, 0),
            snoozes = iif(known.state = 'running', known.snoozes, 0),
            lost_leases = iif(known.state = 'running', known.lost_leases, 0),
            waits_for = NULL,
            reason = iif(known.state = 'running', known.reason, NULL),
            finished_at = NULL,
            updated_at = excluded.updated_at
         WHERE known.state <> 'waiting'",
    )
    .bind(Uuid::now_v7())
    .bind(task.kind())
    .bind(task.subject())
    .bind(now)
    .bind(rest_ms)
    .bind(trace)
    .execute(db)
    .await?;
    Ok(())
}

/// A job whose lease has expired, after its return.
#[derive(sqlx::FromRow)]
struct Returned {
    kind: String,
    subject: Uuid,
    account: Option<String>,
    lease_token: i64,
    trace: Option<String>,
    parked: bool,
}

/// Returns jobs whose lease has expired.
pub(super) async fn sweep(
    db: &mut SqliteConnection,
    max_lost_leases: u32,
    subscriptions: &Subscriptions,
) -> Result<Swept, StoreError> {
    let now = now(db).await?;
    // The right side of every assignment sees the row as it was.
    let jobs: Vec<Returned> = sqlx::query_as(
        "UPDATE jobs SET
            state = iif(lost_leases + 1 >= $1, 'parked', 'waiting'),
            run_at = $2,
            lost_leases = lost_leases + 1,
            wanted_again = false,
            lease_owner = NULL,
            lease_expires_at = NULL,
            waits_for = iif(lost_leases + 1 >= $1, 'person', NULL),
            reason = iif(lost_leases + 1 >= $1, $3, reason),
            updated_at = $2
         WHERE state = 'running' AND lease_expires_at <= $2
         RETURNING kind, subject, account, lease_token, trace, state = 'parked' AS parked",
    )
    .bind(i64::from(max_lost_leases))
    .bind(now)
    .bind(LOST_TOO_OFTEN)
    .fetch_all(&mut *db)
    .await?;
    let mut swept = Swept::default();
    for job in jobs {
        if !job.parked {
            swept.returned += 1;
            continue;
        }
        swept.parked += 1;
        let task = Task::from_row(&job.kind, job.subject)?;
        if let Task::Transfer(file) = task {
            settle_file(db, file, JobState::Parked, Some(LOST_TOO_OFTEN), now).await?;
            let news = News::with_reason(NoticeKind::FileParked, LOST_TOO_OFTEN);
            let (token, trace) = (job.lease_token, job.trace.as_deref());
            let ended = Ended { task, account: job.account, token, trace };
            announce(db, subscriptions, &ended, &news, now).await?;
        }
    }
    Ok(swept)
}

/// Wakes a parked or dead transfer, one that rests, or that of a gone file, and the file; or mends what a verification has
/// found.
pub(super) async fn retry(db: &mut SqliteConnection, file: FileId) -> Result<bool, StoreError> {
    let now = now(db).await?;
    let woken = sqlx::query(
        "UPDATE jobs SET state = 'waiting', run_at = $2, attempts = 0, snoozes = 0, lost_leases = 0,
            waits_for = NULL, reason = NULL, finished_at = NULL, updated_at = $2
         WHERE kind = 'transfer' AND subject = $1 AND (
            state IN ('parked', 'dead')
            OR state = 'waiting' AND run_at > $2
            OR state = 'done' AND EXISTS (SELECT 1 FROM files WHERE id = $1 AND state = 'gone')
         )",
    )
    .bind(file.0)
    .bind(now)
    .execute(&mut *db)
    .await?;
    if woken.rows_affected() == 0 {
        return mend(db, file, now).await;
    }
    sqlx::query(
        "UPDATE files SET state = 'pending', reason = NULL, updated_at = $2
         WHERE id = $1 AND state IN ('pending', 'parked', 'dead', 'gone')",
    )
    .bind(file.0)
    .bind(now)
    .execute(&mut *db)
    .await?;
    Ok(true)
}

/// Does about an archived file what a retry can do: see [`Again`].
async fn mend(db: &mut SqliteConnection, file: FileId, now: i64) -> Result<bool, StoreError> {
    let row: Option<FileRecord> = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files WHERE id = $1 AND state = 'archived'"
    ))
    .bind(file.0)
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row.map(FileRecord::read).transpose()? else { return Ok(false) };
    match Again::about(&row) {
        None => Ok(false),
        Some(Again::Fetch(again)) => fetch_again(db, file, &again, now).await,
        Some(Again::WriteManifest) => {
            enqueue(db, Task::Manifest(row.recording_id), 0, None, now).await?;
            Ok(true)
        }
    }
}

/// Has an archived file fetched again. A job that waits or runs is about to find the file archived: it is left to. One that
/// was forgotten comes anew, and its leases are counted on from the last that was an occasion of news: else what is new would
/// be taken for what was told.
async fn fetch_again(
    db: &mut SqliteConnection,
    file: FileId,
    again: &FetchAgain,
    now: i64,
) -> Result<bool, StoreError> {
    let woken = sqlx::query(
        "INSERT INTO jobs AS known (id, kind, subject, account, state, run_at, created_at, updated_at, lease_token)
         SELECT $1, 'transfer', files.id, recordings.account_id, 'waiting', $3, $3, $3, COALESCE((
            SELECT max(occasion) FROM told WHERE told.subject = files.id AND told.kind <> 'file.loss_near'
         ), 0)
         FROM files JOIN recordings ON recordings.id = files.recording_id WHERE files.id = $2
         ON CONFLICT (kind, subject) DO UPDATE SET state = 'waiting', run_at = $3, attempts = 0, snoozes = 0,
            lost_leases = 0, waits_for = NULL, reason = NULL, finished_at = NULL, updated_at = $3
         WHERE known.state NOT IN ('waiting', 'running')",
    )
    .bind(Uuid::now_v7())
    .bind(file.0)
    .bind(now)
    .execute(&mut *db)
    .await?;
    if woken.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE files SET state = 'pending', reason = $2, object_key = $3, proven_bytes = iif($4 IS NULL, NULL, bytes),
            proven_sha256 = iif($4 IS NULL, NULL, sha256), bytes = NULL, sha256 = NULL, content_type = NULL,
            store_checksum = NULL, etag = NULL, version_id = NULL, mark = NULL, archived_at = NULL,
            verified_at = NULL, finding = NULL, finding_detail = NULL, earlier_objects = $5, updated_at = $6
         WHERE id = $1",
    )
    .bind(file.0)
    .bind(&again.reason)
    .bind(&again.new_key)
    .bind(again.finding.map(FileFinding::as_str))
    .bind(Json(&again.earlier_objects))
    .bind(now)
    .execute(&mut *db)
    .await?;
    if let Some(detail) = &again.left_behind {
        sqlx::query(
            "INSERT INTO foreign_objects (key, found_at, detail) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING",
        )
        .bind(&again.key)
        .bind(now)
        .bind(detail)
        .execute(&mut *db)
        .await?;
    }
    Ok(true)
}

/// Withdraws the transfer of a file that is not archived, also a running one, which loses its lease by that. No transfer will
/// tell the manifest of it, so it is written again where there is one.
/// `by` is who says so: a person, Zoom about a placeholder, or rules, which say nothing of what others have decided. A file
/// that has an object, and is only fetched again because of a warning, is none to leave out.
pub(super) async fn skip(
    db: &mut SqliteConnection,
    file: FileId,
    reason: &str,
    by: &str,
) -> Result<bool, StoreError> {
    let now = now(db).await?;
    let skipped = sqlx::query(
        "UPDATE files SET state = 'skipped', reason = $2, decided_by = $4, updated_at = $3
         WHERE id = $1 AND state IN ('pending', 'parked', 'dead') AND ($4 IN ($5, $6) OR decided_by IN ($4, 'twin'))
            AND (earlier_objects = '[]' OR proven_sha256 IS NOT NULL)",
    )
    .bind(file.0)
    .bind(clean(reason))
    .bind(now)
    .bind(by)
    .bind(PERSON)
    .bind(PLACEHOLDER)
    .execute(&mut *db)
    .await?;
    if skipped.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE jobs SET state = 'cancelled', wanted_again = false, lease_owner = NULL, lease_expires_at = NULL,
            waits_for = NULL, reason = $2, finished_at = $3, updated_at = $3
         WHERE kind = 'transfer' AND subject = $1",
    )
    .bind(file.0)
    .bind(clean(reason))
    .bind(now)
    .execute(&mut *db)
    .await?;
    let recording: Option<Uuid> = sqlx::query_scalar(
        "SELECT recordings.id FROM files JOIN recordings ON recordings.id = files.recording_id
         WHERE files.id = $1 AND recordings.folder IS NOT NULL",
    )
    .bind(file.0)
    .fetch_optional(&mut *db)
    .await?;
    if let Some(recording) = recording {
        enqueue(db, Task::Manifest(RecordingId(recording)), 0, None, now).await?;
    }
    Ok(true)
}

/// Wakes a job that is no transfer, or lets it rest no longer.
pub(super) async fn retry_job(db: &mut SqliteConnection, job: JobId) -> Result<bool, StoreError> {
    let now = now(db).await?;
    let result = sqlx::query(
        "UPDATE jobs SET state = 'waiting', run_at = $2, attempts = 0, snoozes = 0, lost_leases = 0,
            waits_for = NULL, reason = NULL, finished_at = NULL, updated_at = $2
         WHERE id = $1 AND kind <> 'transfer'
            AND (state IN ('parked', 'dead', 'cancelled') OR state = 'waiting' AND run_at > $2)",
    )
    .bind(job.0)
    .bind(now)
    .execute(db)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Withdraws a job that is no transfer, also a running one, which loses its lease by that.
pub(super) async fn cancel_job(
    db: &mut SqliteConnection,
    job: JobId,
    reason: &str,
) -> Result<bool, StoreError> {
    let now = now(db).await?;
    let result = sqlx::query(
        "UPDATE jobs SET state = 'cancelled', wanted_again = false, lease_owner = NULL, lease_expires_at = NULL,
            waits_for = NULL, reason = $2, finished_at = $3, updated_at = $3
         WHERE id = $1 AND kind <> 'transfer' AND state IN ('waiting', 'running', 'parked', 'dead')",
    )
    .bind(job.0)
    .bind(clean(reason))
    .bind(now)
    .execute(db)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Wakes the transfer of a skipped file, and the file. `by`: see [`skip`].
pub(super) async fn unskip(db: &mut SqliteConnection, file: FileId, by: &str) -> Result<bool, StoreError> {
    let now = now(db).await?;
    let woken = sqlx::query(
        "UPDATE jobs SET state = 'waiting', run_at = $2, attempts = 0, snoozes = 0, lost_leases = 0,
            reason = NULL, finished_at = NULL, updated_at = $2
         WHERE kind = 'transfer' AND subject = $1 AND state = 'cancelled'
            AND EXISTS (
                SELECT 1 FROM files
                WHERE id = $1 AND state = 'skipped' AND ($3 = $4 OR decided_by = $3)
            )",
    )
    .bind(file.0)
    .bind(now)
    .bind(by)
    .bind(PERSON)
    .execute(&mut *db)
    .await?;
    if woken.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE files SET state = 'pending', reason = NULL, decided_by = $3, updated_at = $2 WHERE id = $1",
    )
    .bind(file.0)
    .bind(now)
    .bind(by)
    .execute(&mut *db)
    .await?;
    Ok(true)
}

/// Takes the checkpoints of transfers that nobody has wanted again for long.
pub(super) async fn abandon(
    db: &mut SqliteConnection,
    older_than: Duration,
    limit: u32,
) -> Result<Vec<Value>, StoreError> {
    let now = now(db).await?;
    let old: Vec<(Uuid, Json<Value>)> = sqlx::query_as(
        "SELECT id, checkpoint FROM jobs
         WHERE state IN ('dead', 'cancelled') AND checkpoint IS NOT NULL AND finished_at <= $1 - $2
         ORDER BY id LIMIT $3",
    )
    .bind(now)
    .bind(millis(older_than))
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    for (id, _) in &old {
        sqlx::query("UPDATE jobs SET checkpoint = NULL, updated_at = $2 WHERE id = $1")
            .bind(id)
            .bind(now)
            .execute(&mut *db)
            .await?;
    }
    Ok(old.into_iter().map(|(_, checkpoint)| checkpoint.0).collect())
}
