//! Making an event durable, and choosing the place of a file, within one transaction each.

use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use sqlx::SqliteConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::super::announcement::{NO_URL, NewFile, NewRecording, Rows, clean, merged};
use super::super::moment::Moment;
use super::super::{Recorded, StoreError};
use super::now;
use crate::domain::event::{Event, EventContent};
use crate::domain::ids::FileId;

/// Makes an event durable.
pub(super) async fn record(db: &mut SqliteConnection, event: &Event) -> Result<Recorded, StoreError> {
    match &event.content {
        EventContent::Unreadable { reason } => {
            keep_event(db, event, None, Some(&clean(reason)), &[]).await?;
            Ok(Recorded::default())
        }
        EventContent::Announcement(announcement) => record_rows(db, event, Rows::new(announcement)).await,
    }
}

async fn record_rows(db: &mut SqliteConnection, event: &Event, rows: Rows) -> Result<Recorded, StoreError> {
    let now = now(db).await?;
    let account = rows.recording.identity.account_id.clone();
    let recording = keep_recording(db, event, rows.recording).await?;
    keep_event(db, event, Some(recording), None, &rows.odd).await?;
    let mut recorded = Recorded::default();
    for file in rows.files {
        match known_file(db, recording, &file).await? {
            Some(known) => {
                recorded.known_files += 1;
                recorded.woken += refresh(db, known, file, now).await?;
            }
            None => {
                recorded.new_files += 1;
                add_file(db, event, recording, &file, now).await?;
                add_transfer(db, &file, &account, now).await?;
            }
        }
    }
    Ok(recorded)
}

/// Writes the event; one that is recorded already stays as it is.
async fn keep_event(
    db: &mut SqliteConnection,
    event: &Event,
    recording: Option<Uuid>,
    unreadable: Option<&str>,
    odd: &[String],
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO events (id, received_at, name, body, recording_id, unreadable, odd)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(event.id.0)
    .bind(Moment(event.received_at))
    .bind(clean(&event.name))
    .bind(&event.body)
    .bind(recording)
    .bind(unreadable)
    .bind(Json(odd))
    .execute(db)
    .await?;
    Ok(())
}

/// Writes the recording, or refreshes the known one; returns its id.
async fn keep_recording(
    db: &mut SqliteConnection,
    event: &Event,
    recording: NewRecording,
) -> Result<Uuid, StoreError> {
    let identity = &recording.identity;
    let known: Option<Json<Map<String, Value>>> = sqlx::query_scalar(
        "SELECT metadata FROM recordings WHERE account_id = $1 AND kind = $2 AND instance_id = $3",
    )
    .bind(&identity.account_id)
    .bind(identity.kind.as_str())
    .bind(&identity.instance_id)
    .fetch_optional(&mut *db)
    .await?;
    let known = known.map(|known| known.0).unwrap_or_default();
    let id = sqlx::query_scalar(
        "INSERT INTO recordings AS known
            (id, account_id, kind, instance_id, topic, start_time, metadata, announced_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (account_id, kind, instance_id) DO UPDATE SET
            topic = COALESCE(excluded.topic, known.topic),
            start_time = COALESCE(excluded.start_time, known.start_time),
            metadata = excluded.metadata
         RETURNING id",
    )
    .bind(recording.id.0)
    .bind(&identity.account_id)
    .bind(identity.kind.as_str())
    .bind(&identity.instance_id)
    .bind(&recording.topic)
    .bind(recording.start_time)
    .bind(Json(merged(known, recording.metadata)))
    .bind(Moment(event.received_at))
    .fetch_one(db)
    .await?;
    Ok(id)
}

/// A file that was announced before.
#[derive(sqlx::FromRow)]
struct KnownFile {
    id: Uuid,
    metadata: Json<Map<String, Value>>,
    /// Whether it is archived or skipped.
    needs_nothing: bool,
    gone: bool,
}

async fn known_file(
    db: &mut SqliteConnection,
    recording: Uuid,
    file: &NewFile,
) -> Result<Option<KnownFile>, StoreError> {
    let known = sqlx::query_as(
        "SELECT id, metadata, state IN ('archived', 'skipped') AS needs_nothing, state = 'gone' AS gone
         FROM files
         WHERE recording_id = $1 AND collection = $2 AND name = $3 AND recording_type = $4",
    )
    .bind(recording)
    .bind(&file.identity.collection)
    .bind(&file.identity.name)
    .bind(&file.identity.recording_type)
    .fetch_optional(db)
    .await?;
    Ok(known)
}

async fn add_file(
    db: &mut SqliteConnection,
    event: &Event,
    recording: Uuid,
    file: &NewFile,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO files
            (id, recording_id, collection, name, recording_type, file_type, extension, recording_start,
             announced_bytes, metadata, download_url, download_token, state, reason, first_event_id,
             announced_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
            iif($11 IS NULL, 'parked', 'pending'), iif($11 IS NULL, $13, NULL), $14, $15, $16)",
    )
    .bind(file.id.0)
    .bind(recording)
    .bind(&file.identity.collection)
    .bind(&file.identity.name)
    .bind(&file.identity.recording_type)
    .bind(&file.file_type)
    .bind(&file.extension)
    .bind(file.recording_start)
    .bind(file.announced_bytes)
    .bind(Json(&file.metadata))
    .bind(file.download_url.as_ref().map(|url| url.expose_secret()))
    .bind(file.download_token.as_ref().map(|token| token.expose_secret()))
    .bind(NO_URL)
    .bind(event.id.0)
    .bind(Moment(event.received_at))
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

async fn add_transfer(
    db: &mut SqliteConnection,
    file: &NewFile,
    account: &str,
    now: i64,
) -> Result<(), StoreError> {
    let parked = file.download_url.is_none();
    sqlx::query(
        "INSERT INTO jobs (id, kind, subject, account, state, run_at, waits_for, reason, created_at, updated_at)
         VALUES ($1, 'transfer', $2, $7, $3, $4, $5, $6, $4, $4)",
    )
    .bind(file.job.0)
    .bind(file.id.0)
    .bind(if parked { "parked" } else { "waiting" })
    .bind(now)
    .bind(parked.then_some("token"))
    .bind(parked.then_some(NO_URL))
    .bind(account)
    .execute(db)
    .await?;
    Ok(())
}

/// Refreshes a known file that still needs something, and wakes its transfer; returns how many it woke.
async fn refresh(
    db: &mut SqliteConnection,
    known: KnownFile,
    file: NewFile,
    now: i64,
) -> Result<u64, StoreError> {
    if known.needs_nothing {
        return Ok(0);
    }
    // A gone file takes a token only with a URL, which wakes it.
    let takes_access = !known.gone || file.download_url.is_some();
    let has_url: bool = sqlx::query_scalar(
        "UPDATE files SET
            file_type = COALESCE(NULLIF($2, ''), file_type),
            extension = COALESCE(NULLIF($3, ''), extension),
            recording_start = COALESCE($4, recording_start),
            announced_bytes = COALESCE($5, announced_bytes),
            metadata = $6,
            download_url = COALESCE($7, download_url),
            download_token = COALESCE($8, download_token),
            state = iif(state = 'gone' AND $7 IS NOT NULL, 'pending', state),
            reason = iif(state = 'gone' AND $7 IS NOT NULL, NULL, reason),
            updated_at = $9
         WHERE id = $1
         RETURNING download_url IS NOT NULL",
    )
    .bind(known.id)
    .bind(&file.file_type)
    .bind(&file.extension)
    .bind(file.recording_start)
    .bind(file.announced_bytes)
    .bind(Json(merged(known.metadata.0, file.metadata.clone())))
    .bind(file.download_url.as_ref().map(|url| url.expose_secret()))
    .bind(file.download_token.as_ref().filter(|_| takes_access).map(|token| token.expose_secret()))
    .bind(now)
    .fetch_one(&mut *db)
    .await?;
    if has_url && file.brings_access() { wake(db, known.id, known.gone, now).await } else { Ok(0) }
}

/// Wakes the transfer of a file that got fresh access when it is parked for that, or done because the file was
/// gone, and tells a running one.
async fn wake(db: &mut SqliteConnection, file: Uuid, was_gone: bool, now: i64) -> Result<u64, StoreError> {
    sqlx::query(
        "UPDATE jobs SET wanted_again = true, updated_at = $2
         WHERE kind = 'transfer' AND subject = $1 AND state = 'running'",
    )
    .bind(file)
    .bind(now)
    .execute(&mut *db)
    .await?;
    let woken = sqlx::query(
        "UPDATE jobs SET state = 'waiting', run_at = $2, attempts = iif(state = 'done', 0, attempts),
            lost_leases = iif(state = 'done', 0, lost_leases), snoozes = 0, waits_for = NULL, reason = NULL,
            finished_at = NULL, updated_at = $2
         WHERE kind = 'transfer' AND subject = $1
            AND (state = 'parked' AND waits_for = 'token' OR state = 'done' AND $3)",
    )
    .bind(file)
    .bind(now)
    .bind(was_gone)
    .execute(&mut *db)
    .await?
    .rows_affected();
    if woken > 0 {
        sqlx::query(
            "UPDATE files SET state = 'pending', reason = NULL, updated_at = $2
             WHERE id = $1 AND state = 'parked'",
        )
        .bind(file)
        .bind(now)
        .execute(db)
        .await?;
    }
    Ok(woken)
}

/// Chooses the place of a file.
pub(super) async fn place(
    db: &mut SqliteConnection,
    file: FileId,
    folder: &str,
    name: &str,
) -> Result<String, StoreError> {
    let now = now(db).await?;
    let folder: String = sqlx::query_scalar(
        "UPDATE recordings SET folder = COALESCE(folder, $2)
         WHERE id = (SELECT recording_id FROM files WHERE id = $1)
         RETURNING folder",
    )
    .bind(file.0)
    .bind(folder)
    .fetch_one(&mut *db)
    .await?;
    let key = sqlx::query_scalar(
        "UPDATE files SET object_key = COALESCE(object_key, $2 || '/' || $3), updated_at = $4
         WHERE id = $1
         RETURNING object_key",
    )
    .bind(file.0)
    .bind(folder)
    .bind(name)
    .bind(now)
    .fetch_one(db)
    .await?;
    Ok(key)
}
