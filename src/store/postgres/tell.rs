//! Notices: written where news becomes true, told once, and read by whoever sends them.

use std::time::Duration;

use sqlx::types::Json;

use super::super::rows::{FileRecord, NoticeRecord, file_columns, millis};
use super::super::{LOSSES_AT_ONCE, NoticeWork, StoreError};
use super::pool::Pool;
use super::read::recording_row;
use crate::domain::ids::{NoticeId, RecordingId};
use crate::domain::notice::{NoticeKind, Subscriptions};

/// Tells what stands in `news` (kind, subject, account, occasion, detail, targets, trace): a notice for each receiver that wants
/// to hear of it, unless it was told of this occasion before. `fresh` are the subjects of which it was not. The name of
/// a notice is spelt as in `domain/notice.rs`.
macro_rules! tell {
    () => {
        ",
fresh AS (
    INSERT INTO told AS known (kind, subject, occasion)
    SELECT kind, subject, occasion FROM news ORDER BY subject
    ON CONFLICT (subject, kind) DO UPDATE SET occasion = EXCLUDED.occasion
    WHERE known.occasion <> EXCLUDED.occasion
    RETURNING subject
),
notice AS (
    INSERT INTO jobs (id, kind, subject, account, state, run_at, notice, trace)
    SELECT named.id, 'notify', named.id, target.name, 'waiting', now(), jsonb_build_object(
        'kind', news.kind, 'subject', news.subject, 'at', (EXTRACT(EPOCH FROM now()) * 1000)::bigint,
        'detail', news.detail
    ), news.trace
    FROM fresh JOIN news ON news.subject = fresh.subject
        CROSS JOIN jsonb_to_recordset(news.targets) AS target (name text, listed jsonb, takes_listed boolean)
        CROSS JOIN LATERAL (
            SELECT encode(substr(sha256(convert_to(
                concat_ws('|', news.kind, news.subject, news.occasion, target.name), 'UTF8'
            )), 1, 16), 'hex')::uuid AS id
        ) named
    WHERE (target.listed ? news.account) = target.takes_listed
    ON CONFLICT (kind, subject) DO NOTHING
)
"
    };
}

pub(super) use tell;

/// Tells of files that will soon not be had any more.
pub(super) async fn tell_losses(
    pool: &Pool,
    subscriptions: &Subscriptions,
    lead: Duration,
) -> Result<u64, StoreError> {
    let kind = NoticeKind::FileLossNear;
    let targets = subscriptions.to(kind);
    if targets.is_empty() {
        return Ok(0);
    }
    let told: i64 = sqlx::query_scalar(concat!(
        "
WITH near AS (
    SELECT files.id AS subject, recordings.account_id AS account,
        floor(EXTRACT(EPOCH FROM files.loses_at) * 1000)::bigint AS occasion
    FROM files JOIN recordings ON recordings.id = files.recording_id
        LEFT JOIN told ON told.subject = files.id AND told.kind = $1
    WHERE files.state IN ('pending', 'parked', 'dead')
        AND files.loses_at <= now() + $2 * interval '1 millisecond'
        AND told.occasion IS DISTINCT FROM floor(EXTRACT(EPOCH FROM files.loses_at) * 1000)::bigint
    ORDER BY files.loses_at LIMIT $3
),
news AS (
    SELECT $1::text AS kind, subject, account, occasion, jsonb_build_object('loses_at', occasion) AS detail,
        $4::jsonb AS targets, NULL::text AS trace
    FROM near
)",
        tell!(),
        "SELECT count(*) FROM fresh"
    ))
    .bind(kind.as_str())
    .bind(millis(lead))
    .bind(LOSSES_AT_ONCE)
    .bind(Json(targets))
    .fetch_one(&mut *pool.acquire().await?)
    .await?;
    Ok(u64::try_from(told).unwrap_or(0))
}

/// Everything that a notice tells.
pub(super) async fn notice_work(pool: &Pool, id: NoticeId) -> Result<Option<NoticeWork>, StoreError> {
    let notice: Option<NoticeRecord> =
        sqlx::query_as("SELECT account, notice FROM jobs WHERE kind = 'notify' AND subject = $1")
            .bind(id.0)
            .fetch_optional(&mut *pool.acquire().await?)
            .await?;
    let Some((target, notice)) = notice.map(|notice| notice.read(id)).transpose()? else { return Ok(None) };
    let file = if notice.kind.is_about_recording() {
        None
    } else {
        let file: Option<FileRecord> =
            sqlx::query_as(concat!("SELECT ", file_columns!(), " FROM files WHERE id = $1"))
                .bind(notice.subject)
                .fetch_optional(&mut *pool.acquire().await?)
                .await?;
        file.map(FileRecord::read).transpose()?
    };
    let recording = file.as_ref().map_or(RecordingId(notice.subject), |file| file.recording_id);
    let recording = recording_row(&mut *pool.acquire().await?, recording).await?;
    Ok(recording.map(|recording| NoticeWork { notice, target, recording, file }))
}
