//! What verifications ask and write.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{SqliteConnection, SqlitePool};

use super::super::announcement::clean;
use super::super::moment::Moment;
use super::super::rows::{
    FileRecord, ForeignRecord, ToVerifyRecord, UnverifiedRecord, file_columns, millis, verification as read,
    whole,
};
use super::super::{Selection, StoreError, ToVerify, Unverified, Verification};
use super::tell::{Telling, tell};
use super::{NOW, now};
use crate::domain::file::FileRow;
use crate::domain::ids::FileId;
use crate::domain::manifest::folder_of_manifest;
use crate::domain::notice::{News, Subscriptions};
use crate::domain::verification::{FileFinding, ForeignObject, Found, ListedObject};

/// Which archived files a selection means, from its three parameters.
macro_rules! selected {
    () => {
        "files.state = 'archived'
            AND (json_array_length($1) = 0 OR files.recording_id IN (
                SELECT recordings.id FROM recordings
                WHERE recordings.account_id IN (SELECT value FROM json_each($1))
            ))
            AND ($2 IS NULL OR files.archived_at >= $2)
            AND ($3 IS NULL OR files.id = $3)"
    };
}

/// Files with some findings, page by page.
pub(super) async fn found(
    pool: &SqlitePool,
    findings: &[FileFinding],
    after: Option<FileId>,
    limit: u32,
) -> Result<Vec<FileRow>, StoreError> {
    let files: Vec<FileRecord> = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files
         WHERE finding IN (SELECT value FROM json_each($1)) AND ($2 IS NULL OR id > $2)
         ORDER BY id LIMIT $3"
    ))
    .bind(Json(findings))
    .bind(after.map(|file| file.0))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    files.into_iter().map(FileRecord::read).collect()
}

/// How much there is to verify.
pub(super) async fn to_verify(
    pool: &SqlitePool,
    selection: &Selection,
    period: Duration,
) -> Result<ToVerify, StoreError> {
    let now: i64 = sqlx::query_scalar(NOW).fetch_one(pool).await?;
    let to_verify: ToVerifyRecord = sqlx::query_as(concat!(
        "SELECT $4 AS now, count(*) AS files, COALESCE(sum(bytes), 0) AS bytes,
            count(*) FILTER (WHERE COALESCE(verified_at, archived_at) <= $4 - $5) AS overdue
         FROM files WHERE ",
        selected!()
    ))
    .bind(Json(&selection.account_ids))
    .bind(selection.archived_since.map(Moment))
    .bind(selection.file.map(|file| file.0))
    .bind(now)
    .bind(millis(period))
    .fetch_one(pool)
    .await?;
    to_verify.read()
}

/// What was last looked at before some moment, page by page.
pub(super) async fn unverified(
    pool: &SqlitePool,
    selection: &Selection,
    until: DateTime<Utc>,
    after: Option<(DateTime<Utc>, FileId)>,
    limit: u32,
) -> Result<Vec<Unverified>, StoreError> {
    let (at, file) = after.unzip();
    let files: Vec<UnverifiedRecord> = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        ", COALESCE(verified_at, archived_at) AS looked_at,
            (SELECT recordings.folder FROM recordings WHERE recordings.id = files.recording_id) AS folder,
            EXISTS (
                SELECT 1 FROM jobs
                WHERE jobs.kind = 'manifest' AND jobs.subject = files.recording_id
                    AND jobs.state IN ('waiting', 'running')
            ) AS manifest_waits
         FROM files WHERE ",
        selected!(),
        " AND COALESCE(verified_at, archived_at) < $4
            AND ($5 IS NULL OR (COALESCE(verified_at, archived_at), id) > ($5, $6))
         ORDER BY COALESCE(verified_at, archived_at), id LIMIT $7"
    ))
    .bind(Json(&selection.account_ids))
    .bind(selection.archived_since.map(Moment))
    .bind(selection.file.map(|file| file.0))
    .bind(Moment(until))
    .bind(at.map(Moment))
    .bind(file.map(|file| file.0))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    files.into_iter().map(UnverifiedRecord::read).collect()
}

/// Writes what a verification found, and tells of it when that was not found before.
pub(super) async fn verified(
    db: &mut SqliteConnection,
    file: &FileRow,
    found: Option<&Found>,
    subscriptions: &Subscriptions,
) -> Result<bool, StoreError> {
    let now = now(db).await?;
    let found = found.map(|found| Found { detail: clean(&found.detail), ..found.clone() });
    let known: Option<(String, Option<String>)> = sqlx::query_as(
        "SELECT recordings.account_id, files.finding
         FROM files JOIN recordings ON recordings.id = files.recording_id WHERE files.id = $1",
    )
    .bind(file.id.0)
    .fetch_optional(&mut *db)
    .await?;
    let Some((account, before)) = known else { return Ok(false) };
    let result = sqlx::query(
        "UPDATE files SET verified_at = $6, finding = $4, finding_detail = $5
         WHERE id = $1 AND state = 'archived' AND object_key = $2 AND sha256 = $3",
    )
    .bind(file.id.0)
    .bind(&file.object_key)
    .bind(file.archived.as_ref().map(|archived| archived.sha256.0.as_slice()))
    .bind(found.as_ref().map(|found| found.finding.as_str()))
    .bind(found.as_ref().map(|found| &found.detail))
    .bind(now)
    .execute(&mut *db)
    .await?;
    if result.rows_affected() != 1 {
        return Ok(false);
    }
    if let Some(found) = found.filter(|found| before.as_deref() != Some(found.finding.as_str())) {
        let News { kind, detail, .. } = News::found(&found);
        let news = Telling {
            kind,
            subject: file.id.0,
            account: &account,
            occasion: now,
            detail: &detail,
            trace: None,
        };
        tell(db, subscriptions, &news, now).await?;
    }
    Ok(true)
}

/// Tells foreign objects from ours.
pub(super) async fn sift(
    db: &mut SqliteConnection,
    after: Option<&str>,
    until: Option<&str>,
    listed: &[ListedObject],
    room: u32,
) -> Result<Vec<ListedObject>, StoreError> {
    let now = now(db).await?;
    let rows: Vec<(&str, u64, Option<&str>)> = listed
        .iter()
        .map(|object| (object.key.as_str(), object.bytes, folder_of_manifest(&object.key)))
        .collect();
    let strange: Vec<(String, i64)> = sqlx::query_as(
        "WITH listed AS MATERIALIZED (
            SELECT json_extract(value, '$[0]') AS key, json_extract(value, '$[1]') AS bytes,
                json_extract(value, '$[2]') AS folder
            FROM json_each($1)
         )
         SELECT key, bytes FROM listed
         WHERE NOT EXISTS (SELECT 1 FROM files WHERE files.object_key = listed.key)
            AND NOT EXISTS (SELECT 1 FROM recordings WHERE recordings.folder = listed.folder)
            AND NOT EXISTS (
                SELECT 1 FROM files, json_each(files.earlier_objects) AS earlier
                WHERE files.earlier_objects <> '[]' AND earlier.value ->> 'key' = listed.key
            )
         ORDER BY key",
    )
    .bind(Json(rows))
    .fetch_all(&mut *db)
    .await?;
    let keys: Vec<&str> = strange.iter().map(|(key, _)| key.as_str()).collect();
    sqlx::query(
        "DELETE FROM foreign_objects
         WHERE ($1 IS NULL OR key > $1) AND ($2 IS NULL OR key <= $2)
            AND key NOT IN (SELECT value FROM json_each($3))",
    )
    .bind(after)
    .bind(until)
    .bind(Json(keys))
    .execute(&mut *db)
    .await?;
    for (key, bytes) in strange.iter().take(room as usize) {
        sqlx::query(
            "INSERT INTO foreign_objects (key, bytes, found_at) VALUES ($1, $2, $3)
             ON CONFLICT (key) DO UPDATE SET bytes = excluded.bytes",
        )
        .bind(key)
        .bind(bytes)
        .bind(now)
        .execute(&mut *db)
        .await?;
    }
    strange.into_iter().map(|(key, bytes)| Ok(ListedObject { key, bytes: whole(bytes)? })).collect()
}

/// The foreign objects that are kept, page by page.
pub(super) async fn foreign(
    pool: &SqlitePool,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<ForeignObject>, StoreError> {
    let objects: Vec<ForeignRecord> = sqlx::query_as(
        "SELECT key, bytes, found_at, detail FROM foreign_objects
         WHERE $1 IS NULL OR key > $1 ORDER BY key LIMIT $2",
    )
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    objects.into_iter().map(ForeignRecord::read).collect()
}

/// How all archived files stand.
pub(super) async fn verification(pool: &SqlitePool) -> Result<Verification, StoreError> {
    let now: i64 = sqlx::query_scalar(NOW).fetch_one(pool).await?;
    let (oldest_ms, foreign): (Option<i64>, i64) = sqlx::query_as(
        "SELECT
            (SELECT $1 - COALESCE(verified_at, archived_at) FROM files WHERE state = 'archived'
             ORDER BY COALESCE(verified_at, archived_at), id LIMIT 1),
            (SELECT count(*) FROM foreign_objects)",
    )
    .bind(now)
    .fetch_one(pool)
    .await?;
    let findings: Vec<(String, i64)> = sqlx::query_as(
        "SELECT finding, count(*) FROM files WHERE finding IS NOT NULL GROUP BY finding ORDER BY finding",
    )
    .fetch_all(pool)
    .await?;
    read(oldest_ms, findings, foreign)
}
