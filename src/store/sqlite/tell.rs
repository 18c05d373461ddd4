//! Notices: written where news becomes true, told once, and read by whoever sends them.

use std::time::Duration;

use serde_json::{Map, Value, json};
use sqlx::SqliteConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::super::rows::{FileRecord, NoticeRecord, file_columns, millis};
use super::super::{LOSSES_AT_ONCE, NoticeWork, StoreError};
use super::now;
use super::read::recording_row;
use crate::domain::ids::{NoticeId, RecordingId};
use crate::domain::notice::{NoticeKind, Subscriptions, notice_id};

/// News, as it is about to be told.
pub(super) struct Telling<'a> {
    pub(super) kind: NoticeKind,
    pub(super) subject: Uuid,
    /// Whose recording it is about.
    pub(super) account: &'a str,
    pub(super) occasion: i64,
    pub(super) detail: &'a Map<String, Value>,
    /// The trace that it belongs to.
    pub(super) trace: Option<&'a str>,
}

/// Writes a notice for each receiver that wants to hear of it, unless it was told of this occasion before; whether it
/// was not.
pub(super) async fn tell(
    db: &mut SqliteConnection,
    subscriptions: &Subscriptions,
    news: &Telling<'_>,
    now: i64,
) -> Result<bool, StoreError> {
    let targets = subscriptions.to(news.kind);
    if targets.is_empty() {
        return Ok(false);
    }
    let fresh = sqlx::query(
        "INSERT INTO told AS known (kind, subject, occasion) VALUES ($1, $2, $3)
         ON CONFLICT (subject, kind) DO UPDATE SET occasion = excluded.occasion
         WHERE known.occasion <> excluded.occasion",
    )
    .bind(news.kind.as_str())
    .bind(news.subject)
    .bind(news.occasion)
    .execute(&mut *db)
    .await?;
    if fresh.rows_affected() == 0 {
        return Ok(false);
    }
    let notice =
        Json(json!({ "kind": news.kind, "subject": news.subject, "at": now, "detail": news.detail }));
    for target in targets.into_iter().filter(|target| target.accounts.takes(news.account)) {
        sqlx::query(
            "INSERT INTO jobs (id, kind, subject, account, state, run_at, notice, trace, created_at, updated_at)
             VALUES ($1, 'notify', $1, $2, 'waiting', $3, $4, $5, $3, $3)
             ON CONFLICT (kind, subject) DO NOTHING",
        )
        .bind(notice_id(news.kind, news.subject, news.occasion, &target.name).0)
        .bind(&target.name)
        .bind(now)
        .bind(&notice)
        .bind(news.trace)
        .execute(&mut *db)
        .await?;
    }
    Ok(true)
}

/// Tells of files that will soon not be had any more.
pub(super) async fn tell_losses(
    db: &mut SqliteConnection,
    subscriptions: &Subscriptions,
    lead: Duration,
) -> Result<u64, StoreError> {
    let kind = NoticeKind::FileLossNear;
    let now = now(db).await?;
    let near: Vec<(Uuid, String, i64)> = sqlx::query_as(
        "SELECT files.id, recordings.account_id, files.loses_at
         FROM files JOIN recordings ON recordings.id = files.recording_id
            LEFT JOIN told ON told.subject = files.id AND told.kind = $1
         WHERE files.state IN ('pending', 'parked', 'dead') AND files.loses_at <= $2 + $3
            AND told.occasion IS NOT files.loses_at
         ORDER BY files.loses_at LIMIT $4",
    )
    .bind(kind.as_str())
    .bind(now)
    .bind(millis(lead))
    .bind(LOSSES_AT_ONCE)
    .fetch_all(&mut *db)
    .await?;
    let mut found = 0;
    for (file, account, loses_at) in near {
        let detail = Map::from_iter([("loses_at".to_owned(), loses_at.into())]);
        let news = Telling {
            kind,
            subject: file,
            account: &account,
            occasion: loses_at,
            detail: &detail,
            trace: None,
        };
        found += u64::from(tell(db, subscriptions, &news, now).await?);
    }
    Ok(found)
}

/// Everything that a notice tells.
pub(super) async fn notice_work(
    db: &mut SqliteConnection,
    id: NoticeId,
) -> Result<Option<NoticeWork>, StoreError> {
    let notice: Option<NoticeRecord> =
        sqlx::query_as("SELECT account, notice FROM jobs WHERE kind = 'notify' AND subject = $1")
            .bind(id.0)
            .fetch_optional(&mut *db)
            .await?;
    let Some((target, notice)) = notice.map(|notice| notice.read(id)).transpose()? else { return Ok(None) };
    let file = if notice.kind.is_about_recording() {
        None
    } else {
        let file: Option<FileRecord> =
            sqlx::query_as(concat!("SELECT ", file_columns!(), " FROM files WHERE id = $1"))
                .bind(notice.subject)
                .fetch_optional(&mut *db)
                .await?;
        file.map(FileRecord::read).transpose()?
    };
    let recording = file.as_ref().map_or(RecordingId(notice.subject), |file| file.recording_id);
    let recording = recording_row(db, recording).await?;
    Ok(recording.map(|recording| NoticeWork { notice, target, recording, file }))
}
