//! Bringing back what manifests tell.

use sqlx::types::Json;

use super::super::StoreError;
use super::super::restored::{REBUILT, Restored, RestoredRecording, in_json};
use super::super::rows::whole;
use super::pool::Pool;

/// Whether there is nothing but what was brought back.
pub(super) async fn is_unwritten(pool: &Pool) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT 1 FROM events WHERE name <> $1)
            AND NOT EXISTS (
                SELECT 1 FROM recordings
                WHERE id NOT IN (SELECT recording_id FROM events WHERE recording_id IS NOT NULL)
            )",
    )
    .bind(REBUILT)
    .fetch_one(&mut *pool.acquire().await?)
    .await?)
}

/// Brings back one recording, or leaves it as it is.
pub(super) async fn restore(pool: &Pool, recording: &RestoredRecording) -> Result<Restored, StoreError> {
    let (recordings, files): (i64, i64) = sqlx::query_as(RESTORE)
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
        .bind(recording.events.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(recording.events.iter().map(|(_, at)| *at).collect::<Vec<_>>())
        .bind(REBUILT)
        .bind(&recording.body)
        .bind(Json(in_json(&recording.files)))
        .fetch_one(&mut *pool.acquire().await?)
        .await?;
    Ok(Restored { recordings: whole(recordings)?, files: whole(files)? })
}

/// All of it hangs on the recording, which is written once.
const RESTORE: &str = "
WITH recording AS (
    INSERT INTO recordings
        (id, account_id, kind, instance_id, topic, start_time, metadata, folder, announced_at, topic_at, told_at,
         state, state_at, transcript, transcript_at, summary, summary_at, auto_delete_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $5 IS NOT NULL THEN $9 END, $9, $10, $11,
        $12, CASE WHEN $12 IS NOT NULL THEN $9 END, $13, CASE WHEN $13 IS NOT NULL THEN $9 END, $14)
    ON CONFLICT DO NOTHING
    RETURNING id, account_id
),
event AS (
    INSERT INTO events (id, received_at, name, body, recording_id)
    SELECT came.id, came.received_at, $17, $18, recording.id
    FROM recording CROSS JOIN unnest($15::uuid[], $16::timestamptz[]) AS came (id, received_at)
    ON CONFLICT (id) DO NOTHING
),
told AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($19) AS told (
        id uuid, job uuid, job_state text, collection text, name text, recording_type text, file_type text,
        extension text, recording_start timestamptz, announced_bytes bigint, metadata jsonb, state text,
        reason text, object_key text, bytes bigint, sha256 text, content_type text, store_checksum text,
        etag text, version_id text, mark text, archived_at timestamptz, earlier_objects jsonb,
        first_event_id uuid, announced_at timestamptz
    )
),
file AS (
    INSERT INTO files
        (id, recording_id, collection, name, recording_type, file_type, extension, recording_start,
         announced_bytes, metadata, state, reason, object_key, bytes, sha256, content_type, store_checksum, etag,
         version_id, mark, archived_at, earlier_objects, first_event_id, announced_at)
    SELECT told.id, recording.id, collection, name, recording_type, file_type, extension, recording_start,
        announced_bytes, metadata, state, reason, object_key, bytes, decode(sha256, 'hex'), content_type,
        store_checksum, etag, version_id, mark, archived_at, earlier_objects, first_event_id, announced_at
    FROM recording CROSS JOIN told
    ON CONFLICT DO NOTHING
    RETURNING id
),
job AS (
    INSERT INTO jobs (id, kind, subject, account, state, run_at, waits_for, reason, finished_at)
    SELECT told.job, 'transfer', told.id, recording.account_id, told.job_state, now(),
        CASE told.job_state WHEN 'parked' THEN 'token' END,
        CASE WHEN told.job_state <> 'done' THEN told.reason END,
        CASE WHEN told.job_state <> 'parked' THEN now() END
    FROM recording CROSS JOIN file JOIN told ON told.id = file.id
)
SELECT (SELECT count(*) FROM recording), (SELECT count(*) FROM file)";
