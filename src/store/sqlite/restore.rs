//! Bringing back what manifests tell, within one transaction each.

use sqlx::types::Json;
use sqlx::{SqliteConnection, SqlitePool};

use super::super::StoreError;
use super::super::restored::{REBUILT, Restored, RestoredFile, RestoredRecording};
use super::now;
use crate::domain::ids::RecordingId;

/// Whether there is nothing but what was brought back.
pub(super) async fn is_unwritten(pool: &SqlitePool) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT 1 FROM events WHERE name <> $1)
            AND NOT EXISTS (
                SELECT 1 FROM recordings
                WHERE id NOT IN (SELECT recording_id FROM events WHERE recording_id IS NOT NULL)
            )",
    )
    .bind(REBUILT)
    .fetch_one(pool)
    .await?)
}

/// Brings back one recording, or leaves it as it is.
pub(super) async fn restore(
    db: &mut SqliteConnection,
    recording: RestoredRecording,
) -> Result<Restored, StoreError> {
    let now = now(db).await?;
    if !add_recording(db, &recording).await? {
        return Ok(Restored::default());
    }
    for (id, received_at) in &recording.events {
        sqlx::query(
            "INSERT INTO events (id, received_at, name, body, recording_id) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(id)
        .bind(received_at)
        .bind(REBUILT)
        .bind(&recording.body)
        .bind(recording.id.0)
        .execute(&mut *db)
        .await?;
    }
    let mut restored = Restored { recordings: 1, files: 0 };
    for file in &recording.files {
        if add_file(db, recording.id, file, now).await? {
            add_transfer(db, &recording.identity.account_id, file, now).await?;
            restored.files += 1;
        }
    }
    Ok(restored)
}

/// Whether it was not known.
async fn add_recording(db: &mut SqliteConnection, recording: &RestoredRecording) -> Result<bool, StoreError> {
    let added = sqlx::query(
        "INSERT INTO recordings
            (id, account_id, kind, instance_id, topic, start_time, metadata, folder, announced_at, topic_at,
             told_at, state, state_at, transcript, transcript_at, summary, summary_at, auto_delete_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, iif($5 IS NOT NULL, $9, NULL), $9, $10, $11,
            $12, iif($12 IS NOT NULL, $9, NULL), $13, iif($13 IS NOT NULL, $9, NULL), $14)
         ON CONFLICT DO NOTHING",
    )
    .bind(recording.id.0)
    .bind(&recording.identity.account_id)
    .bind(recording.identity.kind.as_str())
    .bind(&recording.identity.instance_id)
    .bind(&recording.topic)
    .bind(recording.start_time)
    .bind(Json(&recording.metadata))
    .bind(&recording.folder)
    .bind(recording.announced_at)
    .bind(recording.state)
    .bind(recording.state_at)
    .bind(recording.transcript)
    .bind(recording.summary)
    .bind(recording.auto_delete_at)
    .execute(db)
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Whether it was not known, nor another one under its key.
async fn add_file(
    db: &mut SqliteConnection,
    recording: RecordingId,
    file: &RestoredFile,
    now: i64,
) -> Result<bool, StoreError> {
    let added = sqlx::query(
        "INSERT INTO files
            (id, recording_id, collection, name, recording_type, file_type, extension, recording_start,
             announced_bytes, metadata, state, reason, object_key, bytes, sha256, content_type, store_checksum,
             etag, version_id, mark, archived_at, first_event_id, announced_at, updated_at, earlier_objects)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
            $22, $23, $24, $25)
         ON CONFLICT DO NOTHING",
    )
    .bind(file.id)
    .bind(recording.0)
    .bind(&file.collection)
    .bind(&file.name)
    .bind(&file.recording_type)
    .bind(&file.file_type)
    .bind(&file.extension)
    .bind(file.times.recording_start)
    .bind(file.announced_bytes)
    .bind(Json(&file.metadata))
    .bind(file.state)
    .bind(&file.reason)
    .bind(&file.object_key)
    .bind(file.bytes)
    .bind(file.digest())
    .bind(&file.content_type)
    .bind(&file.store_checksum)
    .bind(&file.etag)
    .bind(&file.version_id)
    .bind(&file.mark)
    .bind(file.times.archived_at)
    .bind(file.first_event_id)
    .bind(file.times.announced_at)
    .bind(now)
    .bind(Json(&file.earlier_objects))
    .execute(db)
    .await?;
    Ok(added.rows_affected() == 1)
}

async fn add_transfer(
    db: &mut SqliteConnection,
    account: &str,
    file: &RestoredFile,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO jobs
            (id, kind, subject, account, state, run_at, waits_for, reason, finished_at, created_at, updated_at)
         VALUES ($1, 'transfer', $2, $3, $4, $5, iif($4 = 'parked', 'token', NULL), iif($4 = 'done', NULL, $6),
            iif($4 = 'parked', NULL, $5), $5, $5)",
    )
    .bind(file.job)
    .bind(file.id)
    .bind(account)
    .bind(file.job_state)
    .bind(now)
    .bind(&file.reason)
    .execute(db)
    .await?;
    Ok(())
}
