//! Making an event durable, and choosing the place of a file, within one transaction each.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use sqlx::types::Json;
use sqlx::{QueryBuilder, SqliteConnection};
use uuid::Uuid;

use super::super::announcement::{
    NO_URL, NewFile, NewRecording, Rows, clean, file_keeps_until, keeps_until, merged, outlives,
};
use super::super::intake::{TWIN, warn_of_twins};
use super::super::known::{KnownFile, known_file_columns, own_zoom_state};
use super::super::moment::Moment;
use super::super::{Intake, Recorded, StoreError};
use super::queue::{enqueue, skip, unskip};
use super::{compare, file_state, never, now, read};
use crate::domain::event::{Event, EventContent};
use crate::domain::file::FileState;
use crate::domain::ids::{FileId, RecordingId};
use crate::domain::job::Task;
use crate::domain::recording::{Announcement, FileIdentity, RecordingState, Scope, TextState};

/// Files that one statement adds: far from what SQLite binds at most (32,766 values).
const FILES_AT_ONCE: usize = 100;

/// Until when Zoom keeps what was moved to the trash.
macro_rules! trashed {
    () => {
        concat!(
            "min(recordings.state_at + 30 * 86400000, COALESCE(recordings.auto_delete_at, ",
            never!(),
            "))"
        )
    };
}

/// The same of a file that was moved there by itself.
macro_rules! trashed_file {
    () => {
        concat!(
            "min(file.zoom_state_at + 30 * 86400000, COALESCE(recordings.auto_delete_at, ",
            never!(),
            "))"
        )
    };
}

/// Which transfers are those of files that came back: of all files of the recording, or those that did by themselves.
macro_rules! is_back {
    () => {
        "subject IN (
            SELECT id FROM files
            WHERE recording_id = $1 AND ($3 OR zoom_state = 'recovered' AND zoom_state_at = $4)
        )"
    };
}

/// Which files leave Zoom: all of the recording, or those that do by themselves.
macro_rules! leaves {
    () => {
        "recording_id = $1 AND ($2 OR zoom_state IN ('trashed', 'deleted') AND zoom_state_at = $3)"
    };
}

/// Makes an event durable.
pub(super) async fn record(
    db: &mut SqliteConnection,
    event: &Event,
    intake: &Intake,
) -> Result<Recorded, StoreError> {
    match &event.content {
        EventContent::Unreadable { reason } => {
            keep_event(db, event, None, Some(&clean(reason)), &[]).await?;
            Ok(Recorded::default())
        }
        EventContent::Announcement(announcement) => {
            let known = match intake.has_rules() {
                true => compare::find(db, &announcement.recording.identity).await?,
                false => None,
            };
            let known = known.as_ref().map(|(recording, _)| recording);
            let files = known_files(db, announcement).await?;
            record_rows(db, event, Rows::new(event, announcement, intake, known, &files), intake).await
        }
    }
}

/// The files that are known of a recording of which files are announced.
async fn known_files(
    db: &mut SqliteConnection,
    announcement: &Announcement,
) -> Result<Vec<KnownFile>, StoreError> {
    if announcement.files.is_empty() && matches!(announcement.scope, Scope::Recording) {
        return Ok(Vec::new());
    }
    let identity = &announcement.recording.identity;
    let files = sqlx::query_as(KNOWN_FILES)
        .bind(clean(&identity.instance_id))
        .bind(clean(&identity.account_id))
        .bind(identity.kind.as_str())
        .fetch_all(db)
        .await?;
    Ok(files)
}

const KNOWN_FILES: &str = concat!(
    "SELECT 1 AS number, ",
    known_file_columns!(),
    "
FROM recordings CROSS JOIN files ON files.recording_id = recordings.id
WHERE instance_id = $1 AND account_id = $2 AND replace(kind, 'webinar', 'meeting') = replace($3, 'webinar', 'meeting')
ORDER BY files.id"
);

/// Gives files their ids that were known without one.
async fn rename(
    db: &mut SqliteConnection,
    renamed: &[(FileId, FileIdentity)],
    now: i64,
) -> Result<(), StoreError> {
    for (file, identity) in renamed {
        sqlx::query("UPDATE files SET name = $2, updated_at = $3 WHERE id = $1")
            .bind(file.0)
            .bind(&identity.name)
            .bind(now)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

async fn record_rows(
    db: &mut SqliteConnection,
    event: &Event,
    rows: Rows,
    intake: &Intake,
) -> Result<Recorded, StoreError> {
    let now = now(db).await?;
    let told = rows.recording;
    rename(db, &rows.renamed, now).await?;
    let recording = keep_recording(db, event, &told).await?;
    keep_event(db, event, Some(recording.id), None, &rows.odd).await?;
    let (mut recorded, mut new) = (Recorded::default(), Vec::with_capacity(rows.files.len()));
    for file in rows.files {
        match recording.is_new {
            true => new.push(file),
            false => match known_file(db, recording.id, &file).await? {
                Some(known) => {
                    recorded.known_files += 1;
                    recorded.woken += refresh(db, known, file, told.renewable, now).await?;
                }
                None => new.push(file),
            },
        }
    }
    recorded.twins = mark_twins(db, &told, &mut new).await?;
    recorded.new_files = new.len() as u64;
    recorded.skipped = new.iter().filter(|file| file.skip.is_some()).count() as u64;
    for some in new.chunks(FILES_AT_ONCE) {
        add_files(db, event, &recording, some, told.renewable, now).await?;
        add_transfers(db, event, &recording, some, &told, now).await?;
    }
    warn_of_twins(&told.identity, recorded.twins);
    if intake.has_rules() {
        recorded.woken += judge(db, RecordingId(recording.id), intake).await?;
    }
    file_state::settle_placeholders(db, &rows.placeholders, intake).await?;
    if let Some(single) = &told.single {
        file_state::move_files(db, recording.id, single, told.happened_at, now).await?;
    }
    if told.comes_back() && !recording.is_new {
        recorded.woken += come_back(db, recording.id, &told, now).await?;
    }
    // A new file of a new recording got all that follows for it when it was written.
    if recorded.known_files > 0 || told.has_consequences() && (!recording.is_new || told.leaves()) {
        recorded.endangered = follow(db, recording.id, &told, now).await?;
    }
    Ok(recorded)
}

/// Has the rules judge everything that is known of the recording by now; returns how many files they take after all.
async fn judge(
    db: &mut SqliteConnection,
    recording: RecordingId,
    intake: &Intake,
) -> Result<u64, StoreError> {
    let Some((recording, files)) = read::recording(db, recording).await? else { return Ok(0) };
    let mut taken = 0;
    for verdict in intake.verdicts(&recording, &files) {
        match verdict.leaves_out {
            Some(reason) => drop(skip(db, verdict.file, &reason, intake.rules()).await?),
            None => taken += u64::from(unskip(db, verdict.file, intake.rules()).await?),
        }
    }
    Ok(taken)
}

/// Marks files that are known under another account, too; returns how many. They are archived for both: whoever may speak of one
/// account must not have another's files left out.
async fn mark_twins(
    db: &mut SqliteConnection,
    recording: &NewRecording,
    files: &mut [NewFile],
) -> Result<u64, StoreError> {
    let known: BTreeSet<(String, String)> = sqlx::query_as(TWINS)
        .bind(&recording.identity.instance_id)
        .bind(&recording.identity.account_id)
        .bind(recording.identity.kind.as_str())
        .fetch_all(db)
        .await?
        .into_iter()
        .collect();
    let mut twins = 0;
    for file in files.iter_mut().filter(|file| file.skip.is_none()) {
        let FileIdentity { collection, name } = file.identity.clone();
        if known.contains(&(collection, name)) {
            file.decided_by = TWIN.to_owned();
            twins += 1;
        }
    }
    Ok(twins)
}

/// SQLite takes the two tables of a CROSS JOIN in the order in which they stand: the other way round it would walk through
/// all files that are pending, or archived.
const TWINS: &str = "SELECT twin.collection, twin.name
     FROM recordings other CROSS JOIN files twin ON twin.recording_id = other.id
     WHERE other.instance_id = $1 AND other.account_id <> $2
        AND replace(other.kind, 'webinar', 'meeting') = replace($3, 'webinar', 'meeting')
        AND twin.state IN ('pending', 'archived')";

/// What follows from what is known of the recording now: until when its files can be had. When it was this event that
/// has it leave Zoom, what waits of it is due at once, and what is not archived is counted. What the manifest should
/// tell has it written again.
async fn follow(
    db: &mut SqliteConnection,
    recording: Uuid,
    told: &NewRecording,
    now: i64,
) -> Result<u64, StoreError> {
    let (leaves, folder): (bool, Option<String>) = sqlx::query_as(
        "SELECT COALESCE(state IN ('trashed', 'deleted') AND state_at = $2, false), folder
         FROM recordings WHERE id = $1",
    )
    .bind(recording)
    .bind(told.happened_at)
    .fetch_one(&mut *db)
    .await?;
    if folder.is_some() && told.is_for_the_manifest() {
        enqueue(db, Task::Manifest(RecordingId(recording)), 0, None, now).await?;
    }
    expect_losses(db, recording).await?;
    if told.leaves() {
        let whole = leaves && told.single.is_none();
        hurry(db, recording, whole, told.happened_at, now).await
    } else {
        Ok(0)
    }
}

/// Has everything of a recording that waits for access, or was gone, tried again, when it was this event that took it, or
/// that file, out of Zoom's trash: that event brings no access of its own. What never had a URL waits for one all the same.
/// Tells running transfers. Returns how many it woke.
async fn come_back(
    db: &mut SqliteConnection,
    recording: Uuid,
    told: &NewRecording,
    now: i64,
) -> Result<u64, StoreError> {
    let is_back: bool = sqlx::query_scalar(
        "SELECT COALESCE(state = 'recovered' AND state_at = $2, false) FROM recordings WHERE id = $1",
    )
    .bind(recording)
    .bind(told.happened_at)
    .fetch_one(&mut *db)
    .await?;
    let whole = is_back && told.single.is_none();
    if !whole && told.single.is_none() {
        return Ok(0);
    }
    sqlx::query(concat!(
        "UPDATE jobs SET wanted_again = true, updated_at = $2
         WHERE kind = 'transfer' AND state = 'running' AND ",
        is_back!()
    ))
    .bind(recording)
    .bind(now)
    .bind(whole)
    .bind(told.happened_at)
    .execute(&mut *db)
    .await?;
    let come_back = sqlx::query(COME_BACK).bind(recording).bind(now).bind(whole).bind(told.happened_at);
    let woken = come_back.execute(&mut *db).await?.rows_affected();
    if woken > 0 {
        sqlx::query(
            "UPDATE files SET state = 'pending', reason = NULL, updated_at = $2
             WHERE recording_id = $1 AND state IN ('parked', 'gone') AND EXISTS (
                SELECT 1 FROM jobs WHERE kind = 'transfer' AND subject = files.id AND state = 'waiting'
             )",
        )
        .bind(recording)
        .bind(now)
        .execute(db)
        .await?;
    }
    Ok(woken)
}

/// Writes until when the files of a recording can be had, where that has changed, and with them their transfers.
async fn expect_losses(db: &mut SqliteConnection, recording: Uuid) -> Result<(), StoreError> {
    let changed: Vec<(Uuid, Option<i64>)> = sqlx::query_as(concat!(
        "UPDATE files SET loses_at = loss.loses_at
         FROM (
            SELECT file.id, NULLIF(min(COALESCE(",
        file_keeps_until!(trashed!(), trashed_file!()),
        ", ",
        never!(),
        "), COALESCE(iif(file.renewable, NULL, file.token_expires_at), ",
        never!(),
        ")), ",
        never!(),
        ") AS loses_at
            FROM recordings JOIN files file ON file.recording_id = recordings.id
            WHERE recordings.id = $1 AND file.state NOT IN ('archived', 'gone')
         ) loss
         WHERE files.id = loss.id AND files.loses_at IS NOT loss.loses_at
         RETURNING files.id, files.loses_at"
    ))
    .bind(recording)
    .fetch_all(&mut *db)
    .await?;
    for (file, loses_at) in changed {
        sqlx::query(concat!(
            "UPDATE jobs SET loses_at = COALESCE($2, ",
            never!(),
            ") WHERE kind = 'transfer' AND subject = $1"
        ))
        .bind(file)
        .bind(loses_at)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// The jobs of one recording's files: each is looked up by its file.
const COME_BACK: &str = concat!(
    "
UPDATE jobs SET state = 'waiting', run_at = $2, attempts = iif(state = 'done', 0, attempts),
    lost_leases = iif(state = 'done', 0, lost_leases), snoozes = 0, waits_for = NULL, reason = NULL,
    finished_at = NULL, updated_at = $2
WHERE kind = 'transfer' AND ",
    is_back!(),
    " AND (
    state = 'parked' AND waits_for = 'token' AND (SELECT download_url IS NOT NULL FROM files WHERE id = subject)
    OR state = 'done' AND (SELECT files.state = 'gone' FROM files WHERE id = subject)
)"
);

/// Has what waits of a recording, or of the files that leave, due at once; returns how many of its files are not archived.
async fn hurry(
    db: &mut SqliteConnection,
    recording: Uuid,
    whole: bool,
    happened_at: Moment,
    now: i64,
) -> Result<u64, StoreError> {
    sqlx::query(concat!(
        "UPDATE jobs SET run_at = min(run_at, $4), updated_at = $4
         WHERE kind = 'transfer' AND state = 'waiting' AND subject IN (SELECT id FROM files WHERE ",
        leaves!(),
        ")"
    ))
    .bind(recording)
    .bind(whole)
    .bind(happened_at)
    .bind(now)
    .execute(&mut *db)
    .await?;
    let endangered: i64 = sqlx::query_scalar(concat!(
        "SELECT count(*) FROM files WHERE state IN ('pending', 'parked', 'dead') AND ",
        leaves!()
    ))
    .bind(recording)
    .bind(whole)
    .bind(happened_at)
    .fetch_one(db)
    .await?;
    Ok(u64::try_from(endangered).unwrap_or(0))
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
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, body = excluded.body,
            recording_id = excluded.recording_id, unreadable = NULL, odd = excluded.odd
         WHERE events.unreadable IS NOT NULL AND excluded.unreadable IS NULL",
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

/// A recording that was announced before: its metadata, and when the newest event happened that they are from.
async fn known_recording(
    db: &mut SqliteConnection,
    recording: &NewRecording,
) -> Result<Option<(Json<Map<String, Value>>, Option<Moment>)>, StoreError> {
    let known = sqlx::query_as(
        "SELECT metadata, told_at FROM recordings
         WHERE instance_id = $1 AND account_id = $2
            AND replace(kind, 'webinar', 'meeting') = replace($3, 'webinar', 'meeting')",
    )
    .bind(&recording.identity.instance_id)
    .bind(&recording.identity.account_id)
    .bind(recording.identity.kind.as_str())
    .fetch_optional(db)
    .await?;
    Ok(known)
}

/// A recording as it stands now.
#[derive(sqlx::FromRow)]
struct Recording {
    id: Uuid,
    is_new: bool,
    /// Until when Zoom keeps it, if that is known.
    keeps_until: Option<Moment>,
}

/// Writes the recording, or refreshes the known one.
async fn keep_recording(
    db: &mut SqliteConnection,
    event: &Event,
    recording: &NewRecording,
) -> Result<Recording, StoreError> {
    let identity = &recording.identity;
    let (known, told_at) = match known_recording(db, recording).await? {
        Some((known, told_at)) => (known.0, told_at),
        None => (Map::new(), None),
    };
    let told = recording.metadata.clone();
    let is_late = told_at.is_some_and(|told_at| told_at > recording.happened_at);
    let metadata = if is_late { merged(told, known) } else { merged(known, told) };
    // `max` of two is NULL when one of them is.
    let kept = sqlx::query_as(concat!(
        "INSERT INTO recordings
            (id, account_id, kind, instance_id, topic, start_time, metadata, announced_at, topic_at, told_at,
             state, state_at, transcript, transcript_at, summary, summary_at, auto_delete_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, iif($5 IS NULL, NULL, $9), $9, $10, iif($10 IS NULL, NULL, $9),
            $11, iif($11 IS NULL, NULL, $9), $12, iif($12 IS NULL, NULL, $9), $14)
         ON CONFLICT (instance_id, account_id, replace(kind, 'webinar', 'meeting')) DO UPDATE SET
            kind = iif(excluded.kind = 'webinar', excluded.kind, recordings.kind),
            topic = iif(recordings.topic_at > excluded.topic_at, recordings.topic, COALESCE(excluded.topic, recordings.topic)),
            topic_at = COALESCE(max(recordings.topic_at, excluded.topic_at), recordings.topic_at, excluded.topic_at),
            start_time = COALESCE(excluded.start_time, recordings.start_time),
            metadata = excluded.metadata,
            told_at = COALESCE(max(recordings.told_at, excluded.told_at), excluded.told_at),
            state = iif(recordings.state_at > excluded.state_at, recordings.state, COALESCE(excluded.state, recordings.state)),
            state_at = COALESCE(max(recordings.state_at, excluded.state_at), recordings.state_at, excluded.state_at),
            transcript = iif(recordings.transcript_at > excluded.transcript_at, recordings.transcript,
                COALESCE(excluded.transcript, recordings.transcript)),
            transcript_at = COALESCE(max(recordings.transcript_at, excluded.transcript_at), recordings.transcript_at,
                excluded.transcript_at),
            summary = iif(recordings.summary_at > excluded.summary_at, recordings.summary,
                COALESCE(excluded.summary, recordings.summary)),
            auto_delete_at = iif($13 AND NOT COALESCE(recordings.told_at > excluded.told_at, false),
                excluded.auto_delete_at, recordings.auto_delete_at),
            summary_at = COALESCE(max(recordings.summary_at, excluded.summary_at), recordings.summary_at,
                excluded.summary_at)
         RETURNING id, id = $1 AS is_new, ",
        keeps_until!(trashed!()),
        " AS keeps_until"
    ))
    .bind(recording.id.0)
    .bind(&identity.account_id)
    .bind(identity.kind.as_str())
    .bind(&identity.instance_id)
    .bind(&recording.topic)
    .bind(recording.start_time)
    .bind(Json(metadata))
    .bind(Moment(event.received_at))
    .bind(recording.happened_at)
    .bind(recording.change.state.map(RecordingState::as_str))
    .bind(recording.change.transcript.map(TextState::as_str))
    .bind(recording.change.summary.map(TextState::as_str))
    .bind(recording.auto_delete.is_some())
    .bind(recording.auto_delete.flatten())
    .fetch_one(db)
    .await?;
    Ok(kept)
}

/// A file that was announced before.
#[derive(sqlx::FromRow)]
struct Refreshed {
    id: Uuid,
    metadata: Json<Map<String, Value>>,
    archived: bool,
    gone: bool,
}

async fn known_file(
    db: &mut SqliteConnection,
    recording: Uuid,
    file: &NewFile,
) -> Result<Option<Refreshed>, StoreError> {
    let known = sqlx::query_as(
        "SELECT id, metadata, state = 'archived' AS archived, state = 'gone' AS gone
         FROM files
         WHERE recording_id = $1 AND collection = $2 AND name = $3",
    )
    .bind(recording)
    .bind(&file.identity.collection)
    .bind(&file.identity.name)
    .fetch_optional(db)
    .await?;
    Ok(known)
}

async fn add_files(
    db: &mut SqliteConnection,
    event: &Event,
    recording: &Recording,
    files: &[NewFile],
    renewable: bool,
    now: i64,
) -> Result<(), StoreError> {
    let mut insert = QueryBuilder::new(
        "INSERT INTO files
            (id, recording_id, collection, name, recording_type, file_type, extension, recording_start,
             announced_bytes, metadata, download_url, download_token, content, state, reason, first_event_id,
             announced_at, updated_at, token_expires_at, renewable, decided_by, loses_at) ",
    );
    insert.push_values(files, |mut row, file| {
        row.push_bind(file.id.0)
            .push_bind(recording.id)
            .push_bind(&file.identity.collection)
            .push_bind(&file.identity.name)
            .push_bind(&file.recording_type)
            .push_bind(&file.file_type)
            .push_bind(&file.extension)
            .push_bind(file.recording_start)
            .push_bind(file.announced_bytes)
            .push_bind(Json(&file.metadata))
            .push_bind(file.download_url.as_ref().map(|url| url.expose_secret()))
            .push_bind(file.download_token.as_ref().map(|token| token.expose_secret()))
            .push_bind(&file.content)
            .push_bind(state_of_new(file).as_str())
            .push_bind(why_it_rests(file))
            .push_bind(event.id.0)
            .push_bind(Moment(event.received_at))
            .push_bind(now)
            .push_bind(file.token_expires_at)
            .push_bind(renewable)
            .push_bind(&file.decided_by)
            .push_bind(loses_at(recording, file, renewable));
    });
    insert.build().execute(db).await?;
    Ok(())
}

async fn add_transfers(
    db: &mut SqliteConnection,
    event: &Event,
    recording: &Recording,
    files: &[NewFile],
    told: &NewRecording,
    now: i64,
) -> Result<(), StoreError> {
    let mut insert = QueryBuilder::new(
        "INSERT INTO jobs
            (id, kind, subject, account, state, run_at, waits_for, reason, finished_at, created_at, updated_at, trace,
             loses_at) ",
    );
    insert.push_values(files, |mut row, file| {
        let state = state_of_new(file);
        row.push_bind(file.job.0)
            .push("'transfer'")
            .push_bind(file.id.0)
            .push_bind(&told.identity.account_id)
            .push_bind(match state {
                FileState::Skipped => "cancelled",
                FileState::Parked => "parked",
                _ => "waiting",
            })
            .push_bind(now)
            .push_bind((state == FileState::Parked).then_some("token"))
            .push_bind(why_it_rests(file))
            .push_bind((state == FileState::Skipped).then_some(now))
            .push_bind(now)
            .push_bind(now)
            .push_bind(event.trace.as_deref())
            .push("COALESCE(")
            .push_bind_unseparated(loses_at(recording, file, told.renewable))
            .push_unseparated(concat!(", ", never!(), ")"));
    });
    insert.build().execute(db).await?;
    Ok(())
}

/// After that a new file cannot be had any more.
fn loses_at(recording: &Recording, file: &NewFile, renewable: bool) -> Option<Moment> {
    let token_ends = file.token_expires_at.filter(|_| !renewable);
    recording.keeps_until.into_iter().chain(token_ends).min()
}

/// How a new file begins.
fn state_of_new(file: &NewFile) -> FileState {
    if file.skip.is_some() {
        FileState::Skipped
    } else if file.waits_for_source() {
        FileState::Parked
    } else {
        FileState::Pending
    }
}

/// Why a new file is skipped or parked, when it is.
fn why_it_rests(file: &NewFile) -> Option<&str> {
    file.skip.as_deref().or(file.waits_for_source().then_some(NO_URL))
}

/// Refreshes a known file that is not archived, and wakes its transfer; returns how many it woke.
async fn refresh(
    db: &mut SqliteConnection,
    known: Refreshed,
    file: NewFile,
    renewable: bool,
    now: i64,
) -> Result<u64, StoreError> {
    if known.archived {
        return Ok(0);
    }
    // A gone file takes a token only with a URL, which wakes it.
    let takes_access = !known.gone || file.download_url.is_some();
    let has_url: bool = sqlx::query_scalar(concat!(
        "UPDATE files AS known SET
            recording_type = COALESCE(NULLIF($13, ''), recording_type),
            file_type = COALESCE(NULLIF($2, ''), file_type),
            extension = COALESCE(NULLIF($3, ''), extension),
            recording_start = COALESCE($4, recording_start),
            announced_bytes = COALESCE($5, announced_bytes),
            metadata = $6,
            download_url = iif(",
        outlives!("$8", "$11", "$9"),
        ", download_url, COALESCE($7, download_url)),
            download_token = iif(",
        outlives!("$8", "$11", "$9"),
        ", download_token, iif($7 IS NOT NULL, $8, download_token)),
            token_expires_at = iif($7 IS NULL OR ",
        outlives!("$8", "$11", "$9"),
        ", token_expires_at, $11),
            renewable = $12,
            content = COALESCE($10, content),
            state = iif(state = 'gone' AND $7 IS NOT NULL, 'pending', state),
            reason = iif(state = 'gone' AND $7 IS NOT NULL, NULL, reason),
            updated_at = $9
         WHERE id = $1
         RETURNING download_url IS NOT NULL"
    ))
    .bind(known.id)
    .bind(&file.file_type)
    .bind(&file.extension)
    .bind(file.recording_start)
    .bind(file.announced_bytes)
    .bind(Json(merged(known.metadata.0, file.metadata.clone())))
    .bind(file.download_url.as_ref().map(|url| url.expose_secret()))
    .bind(file.download_token.as_ref().filter(|_| takes_access).map(|token| token.expose_secret()))
    .bind(now)
    .bind(&file.content)
    .bind(file.token_expires_at)
    .bind(renewable)
    .bind(&file.recording_type)
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
            AND (state = 'parked' AND waits_for = 'token' OR state = 'done' AND $3
                OR state = 'waiting' AND run_at > $2 AND (SELECT object_key IS NULL FROM files WHERE id = $1))",
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

#[cfg(test)]
mod tests {
    use super::super::plans;
    use super::*;

    #[tokio::test]
    async fn an_event_reads_nothing_of_other_recordings_files() {
        for (statement, first) in [
            (
                KNOWN_FILES,
                "SEARCH recordings USING INDEX recordings_instance (instance_id=? AND account_id=?",
            ),
            (TWINS, "SEARCH other USING INDEX recordings_instance (instance_id=?)"),
            (COME_BACK, "SEARCH jobs USING INDEX sqlite_autoindex_jobs_2 (kind=? AND subject=?)"),
        ] {
            let plan = plans::of(statement).await;
            assert!(plan.starts_with(first), "{plan}");
            assert!(!plan.contains("SCAN") && !plan.contains("files_by_state"), "{plan}");
        }
    }
}
