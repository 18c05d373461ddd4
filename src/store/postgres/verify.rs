//! What verifications ask and write.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::super::announcement::clean;
use super::super::moment::Moment;
use super::super::rows::{
    FileRecord, ForeignRecord, ToVerifyRecord, UnverifiedRecord, file_columns, millis, verification as read,
    whole,
};
use super::super::{Selection, StoreError, ToVerify, Unverified, Verification};
use super::pool::Pool;
use super::tell::tell;
use crate::domain::file::FileRow;
use crate::domain::ids::FileId;
use crate::domain::manifest::folder_of_manifest;
use crate::domain::notice::{News, Subscriptions};
use crate::domain::verification::{FileFinding, ForeignObject, Found, ListedObject};

/// Which archived files a selection means, from its three parameters.
macro_rules! selected {
    () => {
        "files.state = 'archived'
            AND (cardinality($1::text[]) = 0 OR files.recording_id IN (
                SELECT recordings.id FROM recordings WHERE recordings.account_id = ANY($1)
            ))
            AND ($2::timestamptz IS NULL OR files.archived_at >= $2)
            AND ($3::uuid IS NULL OR files.id = $3)"
    };
}

/// Files with some findings, page by page.
pub(super) async fn found(
    pool: &Pool,
    findings: &[FileFinding],
    after: Option<FileId>,
    limit: u32,
) -> Result<Vec<FileRow>, StoreError> {
    let files: Vec<FileRecord> = sqlx::query_as(concat!(
        "SELECT ",
        file_columns!(),
        " FROM files WHERE finding = ANY($1) AND ($2 IS NULL OR id > $2) ORDER BY id LIMIT $3"
    ))
    .bind(findings.iter().map(|finding| finding.as_str()).collect::<Vec<_>>())
    .bind(after.map(|file| file.0))
    .bind(i64::from(limit))
    .fetch_all(&mut *pool.acquire().await?)
    .await?;
    files.into_iter().map(FileRecord::read).collect()
}

/// How much there is to verify.
pub(super) async fn to_verify(
    pool: &Pool,
    selection: &Selection,
    period: Duration,
) -> Result<ToVerify, StoreError> {
    let to_verify: ToVerifyRecord = sqlx::query_as(concat!(
        "SELECT now() AS now, count(*) AS files, COALESCE(sum(bytes), 0)::bigint AS bytes,
            count(*) FILTER (
                WHERE COALESCE(verified_at, archived_at) <= now() - $4 * interval '1 millisecond'
            ) AS overdue
         FROM files WHERE ",
        selected!()
    ))
    .bind(&selection.account_ids)
    .bind(selection.archived_since.map(Moment))
    .bind(selection.file.map(|file| file.0))
    .bind(millis(period))
    .fetch_one(&mut *pool.acquire().await?)
    .await?;
    to_verify.read()
}

/// What was last looked at before some moment, page by page.
pub(super) async fn unverified(
    pool: &Pool,
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
            AND ($5::timestamptz IS NULL OR (COALESCE(verified_at, archived_at), id) > ($5, $6))
         ORDER BY COALESCE(verified_at, archived_at), id LIMIT $7"
    ))
    .bind(&selection.account_ids)
    .bind(selection.archived_since.map(Moment))
    .bind(selection.file.map(|file| file.0))
    .bind(Moment(until))
    .bind(at.map(Moment))
    .bind(file.map(|file| file.0))
    .bind(i64::from(limit))
    .fetch_all(&mut *pool.acquire().await?)
    .await?;
    files.into_iter().map(UnverifiedRecord::read).collect()
}

/// Writes what a verification found.
const VERIFIED: &str = "
UPDATE files SET verified_at = now(), finding = $4, finding_detail = $5
WHERE id = $1 AND state = 'archived' AND object_key = $2 AND sha256 = $3";

/// The same, where there are receivers who want to hear of it: they are told when that was not found before.
const VERIFIED_AND_TOLD: &str = concat!(
    "
WITH before AS MATERIALIZED (
    SELECT id, recording_id, finding FROM files
    WHERE id = $1 AND state = 'archived' AND object_key = $2 AND sha256 = $3
    FOR UPDATE
),
file AS (
    UPDATE files SET verified_at = now(), finding = $4, finding_detail = $5
    FROM before WHERE files.id = before.id
),
news AS (
    SELECT $6::text AS kind, before.id AS subject, recordings.account_id AS account,
        (EXTRACT(EPOCH FROM now()) * 1000)::bigint AS occasion, $7::jsonb AS detail, $8::jsonb AS targets,
        NULL::text AS trace
    FROM before JOIN recordings ON recordings.id = before.recording_id
    WHERE before.finding IS DISTINCT FROM $4
)",
    tell!(),
    "SELECT count(*) FROM before"
);

/// Writes what a verification found, and tells of it when that was not found before.
pub(super) async fn verified(
    pool: &Pool,
    file: &FileRow,
    found: Option<&Found>,
    subscriptions: &Subscriptions,
) -> Result<bool, StoreError> {
    let found = found.map(|found| Found { detail: clean(&found.detail), ..found.clone() });
    let sha256 = file.archived.as_ref().map(|archived| archived.sha256.0.as_slice());
    let news = found.as_ref().map(News::found);
    let told =
        news.map(|news| (subscriptions.to(news.kind), news)).filter(|(targets, _)| !targets.is_empty());
    let Some((targets, news)) = told else {
        let result = sqlx::query(VERIFIED)
            .bind(file.id.0)
            .bind(&file.object_key)
            .bind(sha256)
            .bind(found.as_ref().map(|found| found.finding.as_str()))
            .bind(found.as_ref().map(|found| &found.detail))
            .execute(&mut *pool.acquire().await?)
            .await?;
        return Ok(result.rows_affected() == 1);
    };
    let verified: i64 = sqlx::query_scalar(VERIFIED_AND_TOLD)
        .bind(file.id.0)
        .bind(&file.object_key)
        .bind(sha256)
        .bind(found.as_ref().map(|found| found.finding.as_str()))
        .bind(found.as_ref().map(|found| &found.detail))
        .bind(news.kind.as_str())
        .bind(Json(news.detail))
        .bind(Json(targets))
        .fetch_one(&mut *pool.acquire().await?)
        .await?;
    Ok(verified == 1)
}

/// Tells foreign objects from ours.
pub(super) async fn sift(
    pool: &Pool,
    after: Option<&str>,
    until: Option<&str>,
    listed: &[ListedObject],
    room: u32,
) -> Result<Vec<ListedObject>, StoreError> {
    let strange: Vec<(String, i64)> = sqlx::query_as(SIFT)
        .bind(after)
        .bind(until)
        .bind(listed.iter().map(|object| object.key.as_str()).collect::<Vec<_>>())
        .bind(listed.iter().map(|object| i64::try_from(object.bytes).unwrap_or(i64::MAX)).collect::<Vec<_>>())
        .bind(listed.iter().map(|object| folder_of_manifest(&object.key)).collect::<Vec<_>>())
        .bind(i64::from(room))
        .fetch_all(&mut *pool.acquire().await?)
        .await?;
    strange.into_iter().map(|(key, bytes)| Ok(ListedObject { key, bytes: whole(bytes)? })).collect()
}

const SIFT: &str = r#"
WITH strange AS MATERIALIZED (
    SELECT listed.key COLLATE "C" AS key, listed.bytes
    FROM unnest($3::text[], $4::bigint[], $5::text[]) AS listed (key, bytes, folder)
    WHERE NOT EXISTS (SELECT 1 FROM files WHERE files.object_key = listed.key)
        AND NOT EXISTS (SELECT 1 FROM recordings WHERE recordings.folder = listed.folder)
        AND NOT EXISTS (
            SELECT 1 FROM files, jsonb_array_elements(files.earlier_objects) AS earlier
            WHERE files.earlier_objects <> '[]' AND earlier ->> 'key' = listed.key
        )
),
forgotten AS (
    DELETE FROM foreign_objects known
    WHERE ($1::text IS NULL OR known.key > $1) AND ($2::text IS NULL OR known.key <= $2)
        AND NOT EXISTS (SELECT 1 FROM strange WHERE strange.key = known.key)
),
kept AS (
    INSERT INTO foreign_objects (key, bytes, found_at)
    SELECT key, bytes, now() FROM strange ORDER BY key LIMIT $6
    ON CONFLICT (key) DO UPDATE SET bytes = EXCLUDED.bytes
)
SELECT key, bytes FROM strange ORDER BY key"#;

/// The foreign objects that are kept, page by page.
pub(super) async fn foreign(
    pool: &Pool,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<ForeignObject>, StoreError> {
    let objects: Vec<ForeignRecord> = sqlx::query_as(
        "SELECT key, bytes, found_at, detail FROM foreign_objects
         WHERE $1::text IS NULL OR key > $1 ORDER BY key LIMIT $2",
    )
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(&mut *pool.acquire().await?)
    .await?;
    objects.into_iter().map(ForeignRecord::read).collect()
}

/// How all archived files stand.
pub(super) async fn verification(pool: &Pool) -> Result<Verification, StoreError> {
    let (oldest_ms, foreign): (Option<i64>, i64) = sqlx::query_as(
        "SELECT
            (SELECT (EXTRACT(EPOCH FROM now() - COALESCE(verified_at, archived_at)) * 1000)::bigint
             FROM files WHERE state = 'archived' ORDER BY COALESCE(verified_at, archived_at), id LIMIT 1),
            (SELECT count(*) FROM foreign_objects)",
    )
    .fetch_one(&mut *pool.acquire().await?)
    .await?;
    let findings: Vec<(String, i64)> = sqlx::query_as(
        "SELECT finding, count(*) FROM files WHERE finding IS NOT NULL GROUP BY finding ORDER BY finding",
    )
    .fetch_all(&mut *pool.acquire().await?)
    .await?;
    read(oldest_ms, findings, foreign)
}
