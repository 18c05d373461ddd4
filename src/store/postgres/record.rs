//! Making an event durable, and choosing the place of a file.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use super::super::announcement::{NO_URL, NewFile, NewRecording, Rows, clean, keeps_until, outlives};
use super::super::intake::{TWIN, known_elsewhere, warn_of_twins};
use super::super::moment::Moment;
use super::super::{Intake, Recorded, StoreError, error};
use super::queue::{or_want_again, skip, unskip};
use super::{compare, read};
use crate::domain::event::{Event, EventContent};
use crate::domain::ids::{FileId, RecordingId};
use crate::domain::recording::{RecordingState, TextState};

/// Times that a statement which lost a race is sent in all.
const TRIES: u32 = 5;

/// Makes an event durable.
pub(super) async fn record(pool: &PgPool, event: &Event, intake: &Intake) -> Result<Recorded, StoreError> {
    match &event.content {
        EventContent::Unreadable { reason } => {
            keep_raw(pool, event, reason).await?;
            Ok(Recorded::default())
        }
        EventContent::Announcement(announcement) => {
            if !intake.has_rules() {
                return Ok(record_rows(pool, event, &Rows::new(event, announcement, intake, None)).await?.0);
            }
            let known = compare::find(pool, &announcement.recording.identity).await?;
            let known = known.as_ref().map(|(recording, _)| recording);
            let rows = Rows::new(event, announcement, intake, known);
            let (mut recorded, recording) = record_rows(pool, event, &rows).await?;
            recorded.woken += judge(pool, recording, intake).await?;
            Ok(recorded)
        }
    }
}

/// Has the rules judge everything that is known of the recording by now; returns how many files they take after all.
/// Whoever records last sees what all have written. Where it is not reached, the event is not answered, and Zoom repeats
/// it.
async fn judge(pool: &PgPool, recording: RecordingId, intake: &Intake) -> Result<u64, StoreError> {
    let Some((recording, files)) = read::recording(pool, recording).await? else { return Ok(0) };
    let mut taken = 0;
    for verdict in intake.verdicts(&recording, &files) {
        match verdict.leaves_out {
            Some(reason) => drop(skip(pool, verdict.file, &reason, intake.rules()).await?),
            None => taken += u64::from(unskip(pool, verdict.file, intake.rules()).await?),
        }
    }
    Ok(taken)
}

/// Three statements at most. The first makes everything durable. The second wakes transfers of known files; it needs
/// a snapshot taken after the first one's locks, or it would miss a transfer that was parked (or a file that was
/// announced, or is gone) a moment before. The third draws the consequences of what the event changed, and sees the
/// recording as the first has left it. Where they are not reached, the event is not answered, and Zoom repeats it.
async fn record_rows(
    pool: &PgPool,
    event: &Event,
    rows: &Rows,
) -> Result<(Recorded, RecordingId), StoreError> {
    let (mut new, mut try_number) = (NewFiles::default(), 1);
    loop {
        match announce_and_wake(pool, event, rows, &mut new).await {
            Ok((recording, woken, endangered)) => {
                let recorded = Recorded {
                    new_files: new.all.len() as u64,
                    known_files: rows.files.len().saturating_sub(new.all.len()) as u64,
                    woken,
                    skipped: new.skipped.len() as u64,
                    twins: new.twins.len() as u64,
                    endangered,
                };
                warn_of_twins(&rows.recording.identity, recorded.twins);
                return Ok((recorded, recording));
            }
            Err(error) if error::lost_a_race(&error) && try_number < TRIES => try_number += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// What turned out to be new. A second try finds what the first one wrote: it was new all the same.
#[derive(Default)]
struct NewFiles {
    all: BTreeSet<Uuid>,
    skipped: BTreeSet<Uuid>,
    twins: BTreeSet<Uuid>,
}

impl NewFiles {
    fn note(&mut self, written: &[Written]) {
        for row in written.iter().filter(|row| row.is_new == Some(true)) {
            self.all.extend(row.id);
            self.skipped.extend(row.id.filter(|_| row.is_skipped == Some(true)));
            self.twins.extend(row.id.filter(|_| row.is_twin == Some(true)));
        }
    }
}

/// The recording, how many transfers were woken, and how many files are endangered.
async fn announce_and_wake(
    pool: &PgPool,
    event: &Event,
    rows: &Rows,
    new: &mut NewFiles,
) -> Result<(RecordingId, u64, u64), sqlx::Error> {
    let written = announce(pool, event, rows).await?;
    let (recording, is_bounded) =
        written.first().map(|row| (row.recording, row.is_bounded)).ok_or(sqlx::Error::RowNotFound)?;
    new.note(&written);
    let announced = |id: Uuid| rows.files.iter().find(|announced| announced.id.0 == id);
    let refreshed: Vec<(Uuid, &NewFile)> = written
        .iter()
        .filter(|row| row.is_new == Some(false))
        .filter_map(|row| Some((row.id?, announced(row.announced_as?)?)))
        .filter(|(_, announced)| announced.brings_access())
        .collect();
    let woken = if refreshed.is_empty() { 0 } else { wake(pool, &refreshed).await? };
    let by_token = !rows.recording.renewable && !rows.files.is_empty();
    let is_dated = written.iter().any(|row| row.is_dated == Some(true));
    let endangered = if is_bounded || is_dated || by_token || rows.recording.has_consequences() {
        follow(pool, recording, &rows.recording).await?
    } else {
        0
    };
    Ok((RecordingId(recording), woken, endangered))
}

async fn keep_raw(pool: &PgPool, event: &Event, reason: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO events (id, received_at, name, body, unreadable) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(event.id.0)
    .bind(Moment(event.received_at))
    .bind(clean(&event.name))
    .bind(&event.body)
    .bind(clean(reason))
    .execute(pool)
    .await?;
    Ok(())
}

/// A recording that an announcement wrote, with a file that it wrote; files that need nothing any more are not
/// written, and where there are none stands the recording alone.
#[derive(sqlx::FromRow)]
struct Written {
    recording: Uuid,
    /// Whether Zoom keeps it for some time only, as far as is known.
    is_bounded: bool,
    id: Option<Uuid>,
    /// The id that it would have got, had it been new.
    announced_as: Option<Uuid>,
    is_new: Option<bool>,
    /// Whether it is not taken.
    is_skipped: Option<bool>,
    /// Whether that is because another account has it.
    is_twin: Option<bool>,
    /// Whether it was known until when it can be had.
    is_dated: Option<bool>,
}

async fn announce(pool: &PgPool, event: &Event, rows: &Rows) -> Result<Vec<Written>, sqlx::Error> {
    let files = &rows.files;
    sqlx::query_as(ANNOUNCE)
        .bind(event.id.0)
        .bind(Moment(event.received_at))
        .bind(clean(&event.name))
        .bind(&event.body)
        .bind(Json(&rows.odd))
        .bind(rows.recording.id.0)
        .bind(&rows.recording.identity.account_id)
        .bind(rows.recording.identity.kind.as_str())
        .bind(&rows.recording.identity.instance_id)
        .bind(&rows.recording.topic)
        .bind(rows.recording.start_time)
        .bind(Json(&rows.recording.metadata))
        .bind(NO_URL)
        .bind(files.iter().map(|file| file.id.0).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.job.0).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.identity.collection.as_str()).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.identity.name.as_str()).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.identity.recording_type.as_str()).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.file_type.as_str()).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.extension.as_str()).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.recording_start).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.announced_bytes).collect::<Vec<_>>())
        .bind(files.iter().map(|file| Json(&file.metadata)).collect::<Vec<_>>())
        .bind(exposed(files.iter().map(|file| file.download_url.as_ref())))
        .bind(exposed(files.iter().map(|file| file.download_token.as_ref())))
        .bind(rows.recording.happened_at)
        .bind(rows.recording.change.state.map(RecordingState::as_str))
        .bind(rows.recording.change.transcript.map(TextState::as_str))
        .bind(rows.recording.change.summary.map(TextState::as_str))
        .bind(files.iter().map(|file| file.content.as_deref()).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.skip.as_deref()).collect::<Vec<_>>())
        .bind(files.iter().map(|file| file.token_expires_at).collect::<Vec<_>>())
        .bind(rows.recording.renewable)
        .bind(rows.recording.auto_delete.is_some())
        .bind(rows.recording.auto_delete.flatten())
        .bind(files.iter().map(|file| file.decided_by.as_str()).collect::<Vec<_>>())
        .bind(TWIN)
        .fetch_all(pool)
        .await
}

/// Event, recording, files and the jobs of new files. An event that is recorded already stays as it is, unless it was
/// kept raw; so the statement can be repeated. A gone file gets no URL here: it gets it when it is woken. One that is
/// announced under two accounts at this very moment is taken twice.
const ANNOUNCE: &str = concat!("
WITH recording AS (
    INSERT INTO recordings AS known
        (id, account_id, kind, instance_id, topic, start_time, metadata, announced_at, topic_at, told_at,
         state, state_at, transcript, transcript_at, summary, summary_at, auto_delete_at)
    VALUES ($6, $7, $8, $9, $10, $11, $12, $2, CASE WHEN $10 IS NOT NULL THEN $26 END, $26,
        $27, CASE WHEN $27 IS NOT NULL THEN $26 END, $28, CASE WHEN $28 IS NOT NULL THEN $26 END,
        $29, CASE WHEN $29 IS NOT NULL THEN $26 END, $35)
    ON CONFLICT (instance_id, account_id, (replace(kind, 'webinar', 'meeting'))) DO UPDATE SET
        kind = CASE EXCLUDED.kind WHEN 'webinar' THEN EXCLUDED.kind ELSE known.kind END,
        topic = CASE WHEN known.topic_at > EXCLUDED.topic_at THEN known.topic
            ELSE COALESCE(EXCLUDED.topic, known.topic) END,
        topic_at = GREATEST(known.topic_at, EXCLUDED.topic_at),
        start_time = COALESCE(EXCLUDED.start_time, known.start_time),
        metadata = CASE WHEN known.told_at > EXCLUDED.told_at THEN EXCLUDED.metadata || known.metadata
            ELSE known.metadata || EXCLUDED.metadata END,
        told_at = GREATEST(known.told_at, EXCLUDED.told_at),
        state = CASE WHEN known.state_at > EXCLUDED.state_at THEN known.state
            ELSE COALESCE(EXCLUDED.state, known.state) END,
        state_at = GREATEST(known.state_at, EXCLUDED.state_at),
        transcript = CASE WHEN known.transcript_at > EXCLUDED.transcript_at THEN known.transcript
            ELSE COALESCE(EXCLUDED.transcript, known.transcript) END,
        transcript_at = GREATEST(known.transcript_at, EXCLUDED.transcript_at),
        summary = CASE WHEN known.summary_at > EXCLUDED.summary_at THEN known.summary
            ELSE COALESCE(EXCLUDED.summary, known.summary) END,
        summary_at = GREATEST(known.summary_at, EXCLUDED.summary_at),
        auto_delete_at = CASE WHEN NOT $34 OR known.told_at > EXCLUDED.told_at THEN known.auto_delete_at
            ELSE EXCLUDED.auto_delete_at END
    RETURNING id, state IN ('trashed', 'deleted') OR auto_delete_at IS NOT NULL AS is_bounded
),
event AS (
    INSERT INTO events (id, received_at, name, body, recording_id, odd)
    SELECT $1, $2, $3, $4, recording.id, $5 FROM recording
    ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, body = EXCLUDED.body,
        recording_id = EXCLUDED.recording_id, unreadable = NULL, odd = EXCLUDED.odd
    WHERE events.unreadable IS NOT NULL
),
twin AS (
    SELECT DISTINCT ON (twin.collection, twin.name, twin.recording_type)
        twin.collection, twin.name, twin.recording_type, ",
    known_elsewhere!("other.account_id"),
    " AS reason
    FROM recordings other JOIN files twin ON twin.recording_id = other.id
    WHERE other.instance_id = $9 AND other.account_id <> $7
        AND replace(other.kind, 'webinar', 'meeting') = replace($8, 'webinar', 'meeting')
        AND twin.state IN ('pending', 'archived')
),
announced AS (
    SELECT given.*, CASE WHEN skip IS NULL AND twin.reason IS NOT NULL THEN $37 ELSE decider END AS decided_by,
        CASE
            WHEN COALESCE(skip, twin.reason) IS NOT NULL THEN 'skipped'
            WHEN download_url IS NULL AND content IS NULL THEN 'parked'
            ELSE 'pending'
        END AS state,
        CASE
            WHEN COALESCE(skip, twin.reason) IS NOT NULL THEN COALESCE(skip, twin.reason)
            WHEN download_url IS NULL AND content IS NULL THEN $13
        END AS reason
    FROM unnest(
        $14::uuid[], $15::uuid[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[],
        $21::timestamptz[], $22::bigint[], $23::jsonb[], $24::text[], $25::text[], $30::bytea[], $31::text[],
        $32::timestamptz[], $36::text[]
    ) AS given (
        id, job_id, collection, name, recording_type, file_type, extension,
        recording_start, announced_bytes, metadata, download_url, download_token, content, skip,
        token_expires_at, decider
    )
    LEFT JOIN twin USING (collection, name, recording_type)
),
file AS (
    INSERT INTO files AS known
        (id, recording_id, collection, name, recording_type, file_type, extension, recording_start,
         announced_bytes, metadata, download_url, download_token, token_expires_at, renewable, content, state,
         reason, decided_by, first_event_id, announced_at)
    SELECT a.id, recording.id, a.collection, a.name, a.recording_type, a.file_type, a.extension,
        a.recording_start, a.announced_bytes, a.metadata, a.download_url, a.download_token,
        a.token_expires_at, $33, a.content, a.state, a.reason, a.decided_by, $1, $2
    FROM recording CROSS JOIN announced a
    ORDER BY a.collection, a.name, a.recording_type
    ON CONFLICT (recording_id, collection, name, recording_type) DO UPDATE SET
        file_type = COALESCE(NULLIF(EXCLUDED.file_type, ''), known.file_type),
        extension = COALESCE(NULLIF(EXCLUDED.extension, ''), known.extension),
        recording_start = COALESCE(EXCLUDED.recording_start, known.recording_start),
        announced_bytes = COALESCE(EXCLUDED.announced_bytes, known.announced_bytes),
        metadata = known.metadata || EXCLUDED.metadata,
        download_url = CASE
            WHEN known.state = 'gone' THEN NULL
            WHEN ",
    outlives!("EXCLUDED.token_expires_at"),
    " THEN known.download_url
            ELSE COALESCE(EXCLUDED.download_url, known.download_url)
        END,
        download_token = CASE
            WHEN known.state = 'gone' THEN NULL
            WHEN ",
    outlives!("EXCLUDED.token_expires_at"),
    " THEN known.download_token
            ELSE COALESCE(EXCLUDED.download_token, known.download_token)
        END,
        token_expires_at = CASE
            WHEN known.state = 'gone' THEN NULL
            WHEN ",
    outlives!("EXCLUDED.token_expires_at"),
    " THEN known.token_expires_at
            WHEN EXCLUDED.download_token IS NULL THEN known.token_expires_at
            ELSE EXCLUDED.token_expires_at
        END,
        renewable = EXCLUDED.renewable,
        content = COALESCE(EXCLUDED.content, known.content),
        updated_at = now()
    WHERE known.state <> 'archived'
    RETURNING id, collection, name, recording_type, state = 'skipped' AS is_skipped,
        decided_by = $37 AS is_twin, loses_at IS NOT NULL AS is_dated
),
job AS (
    INSERT INTO jobs (id, kind, subject, account, state, run_at, waits_for, reason, finished_at)
    SELECT a.job_id, 'transfer', a.id, $7,
        CASE a.state WHEN 'pending' THEN 'waiting' WHEN 'skipped' THEN 'cancelled' ELSE 'parked' END,
        now(),
        CASE a.state WHEN 'parked' THEN 'token' END,
        a.reason,
        CASE a.state WHEN 'skipped' THEN now() END
    FROM announced a JOIN file ON file.id = a.id
)
SELECT recording.id AS recording, COALESCE(is_bounded, false) AS is_bounded, written.* FROM recording LEFT JOIN (
    SELECT file.id, a.id AS announced_as, file.id = a.id AS is_new, file.is_skipped, file.is_twin, file.is_dated
    FROM file JOIN announced a USING (collection, name, recording_type)
) written ON true
");

/// What follows from what is known of the recording now: until when its files can be had. When it was this event that
/// has it leave Zoom, what waits of it is due at once, and what is not archived is counted. What the manifest should
/// tell has it written again.
async fn follow(pool: &PgPool, recording: Uuid, told: &NewRecording) -> Result<u64, sqlx::Error> {
    let endangered: i64 = sqlx::query_scalar(FOLLOW)
        .bind(recording)
        .bind(told.change.state.is_some_and(RecordingState::is_leaving))
        .bind(told.happened_at)
        .bind(told.change.is_for_the_manifest())
        .bind(told.manifest.0)
        .fetch_one(pool)
        .await?;
    Ok(u64::try_from(endangered).unwrap_or(0))
}

const FOLLOW: &str = concat!(
    "
WITH recording AS (
    SELECT id, folder, $2 AND state IN ('trashed', 'deleted') AND state_at = $3 AS leaves, ",
    keeps_until!("LEAST(recordings.state_at + interval '30 days', recordings.auto_delete_at)"),
    " AS keeps_until
    FROM recordings WHERE id = $1
),
loss AS (
    SELECT file.id, file.state, recording.leaves, file.loses_at AS known,
        LEAST(recording.keeps_until, CASE WHEN NOT file.renewable THEN file.token_expires_at END) AS loses_at
    FROM recording JOIN files file ON file.recording_id = recording.id
    WHERE file.state NOT IN ('archived', 'gone')
),
held AS MATERIALIZED (
    SELECT job.id AS job, file.id AS file, loss.state, loss.leaves, loss.loses_at
    FROM loss
        JOIN files file ON file.id = loss.id
        JOIN jobs job ON job.kind = 'transfer' AND job.subject = loss.id
    WHERE loss.leaves OR loss.known IS DISTINCT FROM loss.loses_at
    ORDER BY job.id
    FOR UPDATE OF job, file
),
job AS (
    UPDATE jobs SET loses_at = COALESCE(held.loses_at, '9999-12-31T00:00:00Z'),
        run_at = CASE WHEN held.leaves AND jobs.state = 'waiting' THEN LEAST(run_at, now()) ELSE run_at END,
        updated_at = now()
    FROM held WHERE jobs.id = held.job
),
file AS (
    UPDATE files SET
        loses_at = CASE WHEN files.state NOT IN ('archived', 'gone') THEN held.loses_at END,
        updated_at = now()
    FROM held WHERE files.id = held.file
),
manifest AS (
    INSERT INTO jobs AS known (id, kind, subject, state, run_at)
    SELECT $5, 'manifest', recording.id, 'waiting', now() FROM recording
    WHERE $4 AND recording.folder IS NOT NULL",
    or_want_again!(),
    "
)
SELECT count(*) FROM held WHERE leaves AND state IN ('pending', 'parked', 'dead')"
);

/// Wakes the parked transfers of files that got fresh access, and those of gone files, and tells the running
/// ones. A transfer may be parking, or finding its file gone, at this very moment: its row then still runs, and
/// its file is still pending, in our snapshot. What was announced is brought along once more: a file that has
/// just gone has forgotten it.
async fn wake(pool: &PgPool, files: &[(Uuid, &NewFile)]) -> Result<u64, sqlx::Error> {
    let woken: i64 = sqlx::query_scalar(
        "
WITH fresh AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[])
        AS fresh (file, download_url, download_token, token_expires_at)
),
held AS MATERIALIZED (
    SELECT job.id, job.state, job.waits_for, file.state AS file_state, fresh.download_url, fresh.download_token,
        fresh.token_expires_at
    FROM fresh
        JOIN jobs job ON job.kind = 'transfer' AND job.subject = fresh.file
        JOIN files file ON file.id = fresh.file
    WHERE job.state IN ('parked', 'running', 'done')
        AND (file.download_url IS NOT NULL OR fresh.download_url IS NOT NULL)
    ORDER BY job.id
    FOR UPDATE OF job, file
),
running AS (
    UPDATE jobs SET wanted_again = jobs.state = 'running', updated_at = now()
    FROM held WHERE jobs.id = held.id AND held.state = 'running'
),
woken AS (
    UPDATE jobs SET state = 'waiting', run_at = now(),
        attempts = CASE held.state WHEN 'done' THEN 0 ELSE attempts END,
        lost_leases = CASE held.state WHEN 'done' THEN 0 ELSE lost_leases END,
        snoozes = 0, waits_for = NULL, reason = NULL, wanted_again = false, lease_owner = NULL,
        lease_expires_at = NULL, finished_at = NULL, updated_at = now()
    FROM held
    WHERE jobs.id = held.id AND (
        held.state = 'parked' AND held.waits_for = 'token'
        OR held.state = 'done' AND held.file_state = 'gone' AND held.download_url IS NOT NULL
    )
    RETURNING subject, held.download_url, held.download_token, held.token_expires_at
),
file AS (
    UPDATE files SET state = 'pending', reason = NULL,
        download_url = CASE files.state WHEN 'gone' THEN woken.download_url ELSE files.download_url END,
        download_token = CASE files.state WHEN 'gone' THEN woken.download_token ELSE files.download_token END,
        token_expires_at =
            CASE files.state WHEN 'gone' THEN woken.token_expires_at ELSE files.token_expires_at END,
        updated_at = now()
    FROM woken WHERE files.id = woken.subject AND files.state IN ('pending', 'parked', 'gone')
)
SELECT count(*) FROM woken",
    )
    .bind(files.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(exposed(files.iter().map(|(_, file)| file.download_url.as_ref())))
    .bind(exposed(files.iter().map(|(_, file)| file.download_token.as_ref())))
    .bind(files.iter().map(|(_, file)| file.token_expires_at).collect::<Vec<_>>())
    .fetch_one(pool)
    .await?;
    Ok(u64::try_from(woken).unwrap_or(0))
}

/// A column of secrets, as it is bound.
fn exposed<'a>(secrets: impl Iterator<Item = Option<&'a SecretString>>) -> Vec<Option<&'a str>> {
    secrets.map(|secret| secret.map(ExposeSecret::expose_secret)).collect()
}

/// Chooses the place of a file. Files that are placed at once agree on their folder: the first one writes it, under the
/// lock of the recording's row, and whoever waited for that looks again. Once it is known nobody waits.
pub(super) async fn place(
    pool: &PgPool,
    file: FileId,
    folder: &str,
    name: &str,
) -> Result<String, StoreError> {
    for _ in 0..TRIES {
        let key: Option<String> =
            sqlx::query_scalar(PLACE).bind(file.0).bind(folder).bind(name).fetch_one(pool).await?;
        if let Some(key) = key {
            return Ok(key);
        }
    }
    Err(StoreError::Unavailable(sqlx::Error::RowNotFound))
}

const PLACE: &str = "
WITH known AS MATERIALIZED (
    SELECT recordings.id, recordings.folder FROM files JOIN recordings ON recordings.id = files.recording_id
    WHERE files.id = $1
),
chosen AS (
    UPDATE recordings SET folder = $2 FROM known
    WHERE known.folder IS NULL AND recordings.id = known.id AND recordings.folder IS NULL
    RETURNING recordings.folder
)
UPDATE files SET
    object_key = COALESCE(files.object_key, COALESCE(known.folder, (SELECT folder FROM chosen)) || '/' || $3),
    updated_at = now()
FROM known WHERE files.id = $1
RETURNING files.object_key";
