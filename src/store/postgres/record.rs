//! Making an event durable, and choosing the place of a file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::super::announcement::{
    NO_URL, NewFile, NewRecording, Rows, clean, file_keeps_until, keeps_until, outlives,
};
use super::super::intake::{TWIN, warn_of_twins};
use super::super::known::{KnownFile, known_file_columns, own_zoom_state};
use super::super::moment::Moment;
use super::super::{Intake, Recorded, StoreError, error};
use super::pool::Pool;
use super::queue::{or_want_again, skip, unskip};
use super::{compare, file_state, read, timed_out};
use crate::domain::event::{Event, EventContent};
use crate::domain::ids::{FileId, RecordingId};
use crate::domain::recording::{RecordingIdentity, RecordingState, Scope, TextState};

/// Times that a statement which lost a race is sent in all.
const TRIES: u32 = 5;

/// Longest time for one attempt to record events. Zoom waits for an answer for three seconds; what takes longer is
/// answered 503, and the connection is taken for dead.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes events durable, in the order of their coming. A connection that was used a moment ago may have been cut meanwhile,
/// which shows when it is used: then another one serves. What the first one wrote all the same is found, and written once.
pub(super) async fn record(
    pool: &Pool,
    events: &[Event],
    intake: &Intake,
) -> Result<Vec<Recorded>, StoreError> {
    loop {
        let mut connection = pool.acquire().await?;
        let is_trusted = connection.is_trusted();
        let attempt = record_on(&mut connection, events, intake);
        let failure = match tokio::time::timeout(ATTEMPT_TIMEOUT, attempt).await {
            Ok(Ok(recorded)) => {
                connection.give_back();
                return Ok(recorded);
            }
            Ok(Err(failure)) => {
                // It may hold locks.
                connection.discard();
                failure
            }
            Err(_) => {
                connection.discard();
                timed_out()
            }
        };
        if !(is_trusted && matches!(failure, StoreError::Unavailable(_))) {
            return Err(failure);
        }
    }
}

async fn record_on(
    connection: &mut PgConnection,
    events: &[Event],
    intake: &Intake,
) -> Result<Vec<Recorded>, StoreError> {
    let mut recorded = vec![Recorded::default(); events.len()];
    for group in groups(events) {
        let is_locked = lock(connection, events, &group).await?;
        let known_files = known_files(connection, events, &group).await?;
        let mut told = Vec::with_capacity(group.len());
        for (&place, number) in group.iter().zip(1..) {
            let event = &events[place];
            match &event.content {
                EventContent::Unreadable { reason } => keep_raw(connection, event, reason).await?,
                EventContent::Announcement(announcement) => {
                    let known = match intake.has_rules() {
                        true => compare::find(connection, &announcement.recording.identity).await?,
                        false => None,
                    };
                    let known = known.as_ref().map(|(recording, _)| recording);
                    let of_event = |file: &&KnownFile| file.number == number;
                    let files: Vec<_> = known_files.iter().filter(of_event).cloned().collect();
                    let rows = Rows::new(event, announcement, intake, known, &files);
                    told.push((place, Told { event, rows }));
                }
            }
        }
        let (places, told): (Vec<usize>, Vec<Told<'_>>) = told.into_iter().unzip();
        let written = if told.is_empty() { Vec::new() } else { record_rows(connection, &told).await? };
        if is_locked {
            sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut *connection).await?;
        }
        for ((place, (mut outcome, recording)), told) in places.into_iter().zip(written).zip(&told) {
            file_state::settle_placeholders(connection, &told.rows.placeholders, intake.rules()).await?;
            if intake.has_rules() {
                outcome.woken += judge(connection, recording, intake).await?;
            }
            recorded[place] = outcome;
        }
    }
    Ok(recorded)
}

/// Locks the recordings of which files are announced, so that between reading what is known of them and writing what is new no
/// other process does the same: it might write an entry under its id that comes without one here, and none would recognise the
/// other. The locks are the connection's, until it gives them up. Returns whether there is anything to lock.
async fn lock(connection: &mut PgConnection, events: &[Event], group: &[usize]) -> Result<bool, StoreError> {
    let (_, recordings) = with_files(events, group);
    if recordings.is_empty() {
        return Ok(false);
    }
    sqlx::query(
        "SELECT pg_advisory_lock(hashtextextended(id, 20260301))
         FROM (SELECT DISTINCT id FROM unnest($1::text[]) AS told (id) ORDER BY id) told",
    )
    .bind(recordings.iter().map(|it| clean(&it.instance_id)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(true)
}

/// The recordings of which files are announced, each with the number of its event in the group.
fn with_files<'e>(events: &'e [Event], group: &[usize]) -> (Vec<i64>, Vec<&'e RecordingIdentity>) {
    let announced = group.iter().zip(1_i64..).filter_map(|(&place, number)| match &events[place].content {
        EventContent::Announcement(announcement)
            if !announcement.files.is_empty() || !matches!(announcement.scope, Scope::Recording) =>
        {
            Some((number, &announcement.recording.identity))
        }
        _ => None,
    });
    announced.unzip()
}

/// The files that are known of the recordings of which files are announced.
async fn known_files(
    connection: &mut PgConnection,
    events: &[Event],
    group: &[usize],
) -> Result<Vec<KnownFile>, StoreError> {
    let (numbers, recordings) = with_files(events, group);
    if recordings.is_empty() {
        return Ok(Vec::new());
    }
    let each = |column: fn(&RecordingIdentity) -> &str| {
        recordings.iter().map(|it| clean(column(it))).collect::<Vec<_>>()
    };
    let files = sqlx::query_as(KNOWN_FILES)
        .bind(numbers)
        .bind(each(|it| &it.instance_id))
        .bind(each(|it| &it.account_id))
        .bind(each(|it| it.kind.as_str()))
        .fetch_all(connection)
        .await?;
    Ok(files)
}

const KNOWN_FILES: &str = concat!(
    "SELECT told.number, ",
    known_file_columns!(),
    "
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS told (number, instance_id, account_id, kind)
    CROSS JOIN LATERAL (
        SELECT id, state, state_at FROM recordings
        WHERE instance_id = told.instance_id AND account_id = told.account_id
            AND replace(kind, 'webinar', 'meeting') = replace(told.kind, 'webinar', 'meeting')
        OFFSET 0
    ) recordings
    JOIN files ON files.recording_id = recordings.id
ORDER BY files.id"
);

/// Which events can be written by one statement: none of the same session or meeting, of whichever account, as a row can
/// be written once only, and what is taken under one account is left out under another.
fn groups(events: &[Event]) -> Vec<Vec<usize>> {
    let mut turns: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let turn = match &event.content {
            EventContent::Unreadable { .. } => 0,
            EventContent::Announcement(announcement) => {
                let turn = turns.entry(&announcement.recording.identity.instance_id).or_default();
                *turn += 1;
                *turn - 1
            }
        };
        if groups.len() <= turn {
            groups.push(Vec::new());
        }
        groups[turn].push(place);
    }
    groups
}

/// An event, and the rows that it makes.
struct Told<'e> {
    event: &'e Event,
    rows: Rows,
}

/// Has the rules judge everything that is known of the recording by now; returns how many files they take after all.
/// A verdict may have been out of date by the time it was written down: so whoever writes one looks again, and whatever
/// is written last is looked at by the one who wrote it. Where that is not reached, the event is not answered, and Zoom
/// repeats it.
async fn judge(
    connection: &mut PgConnection,
    recording: RecordingId,
    intake: &Intake,
) -> Result<u64, StoreError> {
    let (mut taken, mut is_settled) = (0, false);
    while !is_settled {
        let Some((recording, files)) = read::recording(connection, recording).await? else { break };
        is_settled = true;
        for verdict in intake.verdicts(&recording, &files) {
            let is_written = match verdict.leaves_out {
                Some(reason) => skip(&mut *connection, verdict.file, &reason, intake.rules()).await?,
                None => {
                    let is_taken = unskip(&mut *connection, verdict.file, intake.rules()).await?;
                    taken += u64::from(is_taken);
                    is_taken
                }
            };
            is_settled &= !is_written;
        }
    }
    Ok(taken)
}

/// The first statement makes everything durable. The second wakes transfers of known files; it needs a snapshot taken
/// after the first one's locks, or it would miss a transfer that was parked (or a file that was announced, or is gone) a
/// moment before. Others draw the consequences of what an event changed, and see the recording as the first has left it.
/// Where they are not reached, the events are not answered, and Zoom repeats them.
async fn record_rows(
    connection: &mut PgConnection,
    told: &[Told<'_>],
) -> Result<Vec<(Recorded, RecordingId)>, StoreError> {
    let (mut new, mut try_number) = (NewFiles::default(), 1);
    loop {
        match announce_and_wake(connection, told, &mut new).await {
            Ok(recorded) => {
                for (Told { rows, .. }, (recorded, _)) in told.iter().zip(&recorded) {
                    warn_of_twins(&rows.recording.identity, recorded.twins);
                }
                return Ok(recorded);
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

async fn announce_and_wake(
    connection: &mut PgConnection,
    told: &[Told<'_>],
    new: &mut NewFiles,
) -> Result<Vec<(Recorded, RecordingId)>, sqlx::Error> {
    rename(connection, told).await?;
    let written = announce(connection, told).await?;
    new.note(&written);
    let woken = wake(connection, &refreshed(told, &written)).await?;
    let mut outcomes = Vec::with_capacity(told.len());
    for (Told { rows, .. }, number) in told.iter().zip(1..) {
        let written: Vec<&Written> = written.iter().filter(|row| row.number == number).collect();
        let recording = written.first().ok_or(sqlx::Error::RowNotFound)?;
        let is_new = recording.recording == rows.recording.id.0;
        if let Some(single) = &rows.recording.single {
            let at = rows.recording.happened_at;
            file_state::move_files(connection, recording.recording, single, at).await?;
        }
        let come_back = if rows.recording.comes_back() && !is_new {
            come_back(connection, recording.recording, &rows.recording).await?
        } else {
            0
        };
        let endangered = if has_consequences(&rows.recording, &written) {
            follow(connection, recording.recording, &rows.recording).await?
        } else {
            0
        };
        let count =
            |ids: &BTreeSet<Uuid>| rows.files.iter().filter(|file| ids.contains(&file.id.0)).count() as u64;
        let is_woken = |row: &&&Written| row.id.is_some_and(|id| woken.contains(&id));
        let recorded = Recorded {
            new_files: count(&new.all),
            known_files: rows.files.len() as u64 - count(&new.all),
            woken: written.iter().filter(is_woken).count() as u64 + come_back,
            skipped: count(&new.skipped),
            twins: count(&new.twins),
            endangered,
        };
        outcomes.push((recorded, RecordingId(recording.recording)));
    }
    Ok(outcomes)
}

/// Whether what was written changes anything for what was known before. A new file of a new recording got all that
/// follows for it when it was written.
fn has_consequences(told: &NewRecording, written: &[&Written]) -> bool {
    let is_new = written.first().is_some_and(|row| row.recording == told.id.0);
    let ends = |row: &Written| row.is_dated == Some(true) || !told.renewable;
    let redates = written.iter().any(|row| row.is_new == Some(false) && ends(row));
    redates || told.has_consequences() && (!is_new || told.leaves())
}

/// Known files for which something came that a parked transfer may wait for, and what came.
fn refreshed<'t>(told: &'t [Told<'_>], written: &[Written]) -> Vec<(Uuid, &'t NewFile)> {
    let announced: BTreeMap<Uuid, &NewFile> =
        told.iter().flat_map(|told| &told.rows.files).map(|file| (file.id.0, file)).collect();
    written
        .iter()
        .filter(|row| row.is_new == Some(false))
        .filter_map(|row| Some((row.id?, *announced.get(&row.announced_as?)?)))
        .filter(|(_, announced)| announced.brings_access())
        .collect()
}

/// Gives files their ids that were known without one. A row that has got such a name meanwhile keeps it.
async fn rename(connection: &mut PgConnection, told: &[Told<'_>]) -> Result<(), sqlx::Error> {
    for (file, identity) in told.iter().flat_map(|told| &told.rows.renamed) {
        sqlx::query(
            "UPDATE files SET name = $2, updated_at = now()
             WHERE id = $1 AND NOT EXISTS (
                SELECT 1 FROM files other
                WHERE other.recording_id = files.recording_id AND other.collection = files.collection AND other.name = $2
             )",
        )
        .bind(file.0)
        .bind(&identity.name)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn keep_raw(connection: &mut PgConnection, event: &Event, reason: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO events (id, received_at, name, body, unreadable) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(event.id.0)
    .bind(Moment(event.received_at))
    .bind(clean(&event.name))
    .bind(&event.body)
    .bind(clean(reason))
    .execute(connection)
    .await?;
    Ok(())
}

/// A recording that an announcement wrote, with a file that it wrote; files that need nothing any more are not
/// written, and where there are none stands the recording alone.
#[derive(sqlx::FromRow)]
struct Written {
    /// Of the event, from 1.
    number: i64,
    recording: Uuid,
    id: Option<Uuid>,
    /// The id that it would have got, had it been new.
    announced_as: Option<Uuid>,
    is_new: Option<bool>,
    /// Whether it is not taken.
    is_skipped: Option<bool>,
    /// Whether another account has it, too.
    is_twin: Option<bool>,
    /// Whether it was known until when it can be had.
    is_dated: Option<bool>,
}

async fn announce(connection: &mut PgConnection, told: &[Told<'_>]) -> Result<Vec<Written>, sqlx::Error> {
    fn each<'t, T>(told: &'t [Told<'_>], column: impl Fn(&'t Told<'_>) -> T) -> Vec<T> {
        told.iter().map(column).collect()
    }
    let each_recording = || told.iter().map(|told| &told.rows.recording);
    let files: Vec<(i64, &NewFile)> = told
        .iter()
        .zip(1..)
        .flat_map(|(told, number)| told.rows.files.iter().map(move |file| (number, file)))
        .collect();
    let each_file = || files.iter().map(|(_, file)| *file);
    sqlx::query_as(ANNOUNCE)
        .bind(each(told, |told| told.event.id.0))
        .bind(each(told, |told| Moment(told.event.received_at)))
        .bind(each(told, |told| clean(&told.event.name)))
        .bind(each(told, |told| told.event.body.as_slice()))
        .bind(each(told, |told| Json(&told.rows.odd)))
        .bind(each_recording().map(|it| it.id.0).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.identity.account_id.as_str()).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.identity.kind.as_str()).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.identity.instance_id.as_str()).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.topic.as_deref()).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.start_time).collect::<Vec<_>>())
        .bind(each_recording().map(|it| Json(&it.metadata)).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.happened_at).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.change.state.map(RecordingState::as_str)).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.change.transcript.map(TextState::as_str)).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.change.summary.map(TextState::as_str)).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.renewable).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.auto_delete.is_some()).collect::<Vec<_>>())
        .bind(each_recording().map(|it| it.auto_delete.flatten()).collect::<Vec<_>>())
        .bind(files.iter().map(|(number, _)| *number).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.id.0).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.job.0).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.identity.collection.as_str()).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.identity.name.as_str()).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.recording_type.as_str()).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.file_type.as_str()).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.extension.as_str()).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.recording_start).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.announced_bytes).collect::<Vec<_>>())
        .bind(each_file().map(|file| Json(&file.metadata)).collect::<Vec<_>>())
        .bind(exposed(each_file().map(|file| file.download_url.as_ref())))
        .bind(exposed(each_file().map(|file| file.download_token.as_ref())))
        .bind(each_file().map(|file| file.token_expires_at).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.content.as_deref()).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.skip.as_deref()).collect::<Vec<_>>())
        .bind(each_file().map(|file| file.decided_by.as_str()).collect::<Vec<_>>())
        .bind(NO_URL)
        .bind(TWIN)
        .bind(each(told, |told| told.event.trace.as_deref()))
        .bind(each_file().map(NewFile::waits_for_source).collect::<Vec<_>>())
        .fetch_all(connection)
        .await
}

/// Until when Zoom keeps what was moved to the trash.
macro_rules! trashed {
    () => {
        "LEAST(recordings.state_at + interval '30 days', recordings.auto_delete_at)"
    };
}

/// Events, recordings, files and the jobs of new files. An event that is recorded already stays as it is, unless it was
/// kept raw; so the statement can be repeated. A gone file gets no URL here: it gets it when it is woken.
const ANNOUNCE: &str = concat!("
WITH told AS MATERIALIZED (
    SELECT * FROM unnest(
        $1::uuid[], $2::timestamptz[], $3::text[], $4::bytea[], $5::jsonb[], $6::uuid[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::timestamptz[], $12::jsonb[], $13::timestamptz[], $14::text[], $15::text[],
        $16::text[], $17::boolean[], $18::boolean[], $19::timestamptz[], $39::text[]
    ) WITH ORDINALITY AS told (
        event_id, received_at, event_name, body, odd, recording_id, account_id, kind,
        instance_id, topic, start_time, metadata, happened_at, state, transcript,
        summary, renewable, says_auto_delete, auto_delete_at, trace, number
    )
),
recording AS (
    INSERT INTO recordings
        (id, account_id, kind, instance_id, topic, start_time, metadata, announced_at, topic_at, told_at,
         state, state_at, transcript, transcript_at, summary, summary_at, auto_delete_at)
    SELECT recording_id, account_id, kind, instance_id, topic, start_time, metadata, received_at,
        CASE WHEN topic IS NOT NULL THEN happened_at END, happened_at,
        state, CASE WHEN state IS NOT NULL THEN happened_at END,
        transcript, CASE WHEN transcript IS NOT NULL THEN happened_at END,
        summary, CASE WHEN summary IS NOT NULL THEN happened_at END, auto_delete_at
    FROM told ORDER BY instance_id
    ON CONFLICT (instance_id, account_id, (replace(kind, 'webinar', 'meeting'))) DO UPDATE SET
        kind = CASE EXCLUDED.kind WHEN 'webinar' THEN EXCLUDED.kind ELSE recordings.kind END,
        topic = CASE WHEN recordings.topic_at > EXCLUDED.topic_at THEN recordings.topic
            ELSE COALESCE(EXCLUDED.topic, recordings.topic) END,
        topic_at = GREATEST(recordings.topic_at, EXCLUDED.topic_at),
        start_time = COALESCE(EXCLUDED.start_time, recordings.start_time),
        metadata = CASE WHEN recordings.told_at > EXCLUDED.told_at THEN EXCLUDED.metadata || recordings.metadata
            ELSE recordings.metadata || EXCLUDED.metadata END,
        told_at = GREATEST(recordings.told_at, EXCLUDED.told_at),
        state = CASE WHEN recordings.state_at > EXCLUDED.state_at THEN recordings.state
            ELSE COALESCE(EXCLUDED.state, recordings.state) END,
        state_at = GREATEST(recordings.state_at, EXCLUDED.state_at),
        transcript = CASE WHEN recordings.transcript_at > EXCLUDED.transcript_at THEN recordings.transcript
            ELSE COALESCE(EXCLUDED.transcript, recordings.transcript) END,
        transcript_at = GREATEST(recordings.transcript_at, EXCLUDED.transcript_at),
        summary = CASE WHEN recordings.summary_at > EXCLUDED.summary_at THEN recordings.summary
            ELSE COALESCE(EXCLUDED.summary, recordings.summary) END,
        summary_at = GREATEST(recordings.summary_at, EXCLUDED.summary_at),
        auto_delete_at = CASE
            WHEN recordings.told_at > EXCLUDED.told_at THEN recordings.auto_delete_at
            WHEN (SELECT says_auto_delete FROM told WHERE told.instance_id = EXCLUDED.instance_id)
                THEN EXCLUDED.auto_delete_at
            ELSE recordings.auto_delete_at
        END
    RETURNING id, instance_id, ",
    keeps_until!(trashed!()),
    " AS keeps_until
),
event AS (
    INSERT INTO events (id, received_at, name, body, recording_id, odd)
    SELECT event_id, received_at, event_name, body, recording.id, odd FROM told JOIN recording USING (instance_id)
    ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, body = EXCLUDED.body,
        recording_id = EXCLUDED.recording_id, unreadable = NULL, odd = EXCLUDED.odd
    WHERE events.unreadable IS NOT NULL
),
twin AS (
    SELECT DISTINCT told.number, twin.collection, twin.name, true AS is_known
    FROM told
        CROSS JOIN LATERAL (
            SELECT id FROM recordings
            WHERE instance_id = told.instance_id AND account_id <> told.account_id
                AND replace(kind, 'webinar', 'meeting') = replace(told.kind, 'webinar', 'meeting')
            OFFSET 0
        ) other
        CROSS JOIN LATERAL (
            SELECT collection, name FROM files
            WHERE recording_id = other.id AND state IN ('pending', 'archived')
            OFFSET 0
        ) twin
),
announced AS MATERIALIZED (
    SELECT given.*, CASE WHEN skip IS NULL AND twin.is_known THEN $38 ELSE decider END AS decided_by,
        CASE
            WHEN skip IS NOT NULL THEN 'skipped'
            WHEN waits THEN 'parked'
            ELSE 'pending'
        END AS state,
        CASE
            WHEN skip IS NOT NULL THEN skip
            WHEN waits THEN $37
        END AS reason
    FROM unnest(
        $20::bigint[], $21::uuid[], $22::uuid[], $23::text[], $24::text[], $25::text[], $26::text[], $27::text[],
        $28::timestamptz[], $29::bigint[], $30::jsonb[], $31::text[], $32::text[], $33::timestamptz[],
        $34::bytea[], $35::text[], $36::text[], $40::boolean[]
    ) AS given (
        number, id, job_id, collection, name, recording_type, file_type, extension,
        recording_start, announced_bytes, metadata, download_url, download_token, token_expires_at,
        content, skip, decider, waits
    )
    LEFT JOIN twin USING (number, collection, name)
),
file AS (
    INSERT INTO files AS known
        (id, recording_id, collection, name, recording_type, file_type, extension, recording_start,
         announced_bytes, metadata, download_url, download_token, token_expires_at, renewable, content, state,
         reason, decided_by, first_event_id, announced_at, loses_at)
    SELECT a.id, recording.id, a.collection, a.name, a.recording_type, a.file_type, a.extension,
        a.recording_start, a.announced_bytes, a.metadata, a.download_url, a.download_token,
        a.token_expires_at, told.renewable, a.content, a.state, a.reason, a.decided_by, told.event_id,
        told.received_at, LEAST(recording.keeps_until, CASE WHEN NOT told.renewable THEN a.token_expires_at END)
    FROM announced a JOIN told USING (number) JOIN recording USING (instance_id)
    ORDER BY instance_id, a.collection, a.name
    ON CONFLICT (recording_id, collection, name) DO UPDATE SET
        recording_type = COALESCE(NULLIF(EXCLUDED.recording_type, ''), known.recording_type),
        file_type = COALESCE(NULLIF(EXCLUDED.file_type, ''), known.file_type),
        extension = COALESCE(NULLIF(EXCLUDED.extension, ''), known.extension),
        recording_start = COALESCE(EXCLUDED.recording_start, known.recording_start),
        announced_bytes = COALESCE(EXCLUDED.announced_bytes, known.announced_bytes),
        metadata = known.metadata || EXCLUDED.metadata,
        download_url = CASE
            WHEN known.state = 'gone' THEN NULL
            WHEN ",
    outlives!("EXCLUDED.download_token", "EXCLUDED.token_expires_at", "now()"),
    " THEN known.download_url
            ELSE COALESCE(EXCLUDED.download_url, known.download_url)
        END,
        download_token = CASE
            WHEN known.state = 'gone' THEN NULL
            WHEN ",
    outlives!("EXCLUDED.download_token", "EXCLUDED.token_expires_at", "now()"),
    " THEN known.download_token
            WHEN EXCLUDED.download_url IS NOT NULL THEN EXCLUDED.download_token
            ELSE known.download_token
        END,
        token_expires_at = CASE
            WHEN known.state = 'gone' THEN NULL
            WHEN ",
    outlives!("EXCLUDED.download_token", "EXCLUDED.token_expires_at", "now()"),
    " THEN known.token_expires_at
            WHEN EXCLUDED.download_url IS NULL THEN known.token_expires_at
            ELSE EXCLUDED.token_expires_at
        END,
        renewable = EXCLUDED.renewable,
        content = COALESCE(EXCLUDED.content, known.content),
        updated_at = now()
    WHERE known.state <> 'archived'
    RETURNING id, recording_id, collection, name, state = 'skipped' AS is_skipped,
        decided_by = $38 AS is_twin, loses_at
),
job AS (
    INSERT INTO jobs (id, kind, subject, account, state, run_at, waits_for, reason, finished_at, trace, loses_at)
    SELECT a.job_id, 'transfer', a.id, told.account_id,
        CASE a.state WHEN 'pending' THEN 'waiting' WHEN 'skipped' THEN 'cancelled' ELSE 'parked' END,
        now(),
        CASE a.state WHEN 'parked' THEN 'token' END,
        a.reason,
        CASE a.state WHEN 'skipped' THEN now() END,
        told.trace,
        COALESCE(file.loses_at, '9999-12-31T00:00:00Z')
    FROM announced a JOIN told USING (number) JOIN file ON file.id = a.id
)
SELECT told.number, recording.id AS recording, written.id, announced.id AS announced_as,
    written.id = announced.id AS is_new, is_skipped, is_twin, written.loses_at IS NOT NULL AS is_dated
FROM told JOIN recording USING (instance_id)
    LEFT JOIN (file written JOIN announced USING (collection, name))
        ON written.recording_id = recording.id AND announced.number = told.number
");

/// What follows from what is known of the recording now: until when its files can be had. When it was this event that
/// has it leave Zoom, what waits of it is due at once, and what is not archived is counted. What the manifest should
/// tell has it written again.
async fn follow(
    connection: &mut PgConnection,
    recording: Uuid,
    told: &NewRecording,
) -> Result<u64, sqlx::Error> {
    let endangered: i64 = sqlx::query_scalar(FOLLOW)
        .bind(recording)
        .bind(told.change.state.is_some_and(RecordingState::is_leaving))
        .bind(told.happened_at)
        .bind(told.is_for_the_manifest())
        .bind(told.manifest.0)
        .bind(told.single.is_some() && told.leaves())
        .fetch_one(connection)
        .await?;
    Ok(u64::try_from(endangered).unwrap_or(0))
}

const FOLLOW: &str = concat!(
    "
WITH recording AS (
    SELECT id, folder, $2 AND state IN ('trashed', 'deleted') AND state_at = $3 AS leaves
    FROM recordings WHERE id = $1
),
loss AS (
    SELECT file.id, file.state, file.loses_at AS known,
        COALESCE(recording.leaves, false)
            OR COALESCE($6 AND file.zoom_state IN ('trashed', 'deleted') AND file.zoom_state_at = $3, false) AS leaves,
        LEAST(",
    file_keeps_until!(trashed!(), "LEAST(file.zoom_state_at + interval '30 days', recordings.auto_delete_at)"),
    ", CASE WHEN NOT file.renewable THEN file.token_expires_at END) AS loses_at
    FROM recording JOIN recordings ON recordings.id = recording.id
        JOIN files file ON file.recording_id = recording.id
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
/// Returns the files whose transfers were woken.
async fn wake(
    connection: &mut PgConnection,
    files: &[(Uuid, &NewFile)],
) -> Result<BTreeSet<Uuid>, sqlx::Error> {
    if files.is_empty() {
        return Ok(BTreeSet::new());
    }
    let woken: Vec<Uuid> = sqlx::query_scalar(
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
    WHERE (job.state IN ('parked', 'running', 'done')
            OR job.state = 'waiting' AND job.run_at > now() AND file.object_key IS NULL)
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
        held.state = 'parked' AND held.waits_for = 'token' OR held.state = 'waiting'
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
SELECT subject FROM woken",
    )
    .bind(files.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(exposed(files.iter().map(|(_, file)| file.download_url.as_ref())))
    .bind(exposed(files.iter().map(|(_, file)| file.download_token.as_ref())))
    .bind(files.iter().map(|(_, file)| file.token_expires_at).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(woken.into_iter().collect())
}

/// A column of secrets, as it is bound.
fn exposed<'a>(secrets: impl Iterator<Item = Option<&'a SecretString>>) -> Vec<Option<&'a str>> {
    secrets.map(|secret| secret.map(ExposeSecret::expose_secret)).collect()
}

/// Has everything of a recording that waits for access, or was gone, tried again, when it was this event that took it, or
/// that file, out of Zoom's trash: that event brings no access of its own. What never had a URL waits for one all the same.
/// Tells running transfers. Returns how many it woke.
async fn come_back(
    connection: &mut PgConnection,
    recording: Uuid,
    told: &NewRecording,
) -> Result<u64, sqlx::Error> {
    let woken: i64 = sqlx::query_scalar(
        "
WITH held AS MATERIALIZED (
    SELECT job.id, job.state, job.waits_for, file.state AS file_state
    FROM recordings recording
        JOIN files file ON file.recording_id = recording.id
        JOIN jobs job ON job.kind = 'transfer' AND job.subject = file.id
    WHERE recording.id = $1 AND (
            NOT $3 AND recording.state = 'recovered' AND recording.state_at = $2
            OR $3 AND file.zoom_state = 'recovered' AND file.zoom_state_at = $2
        )
        AND job.state IN ('parked', 'running', 'done') AND (file.download_url IS NOT NULL OR file.state = 'gone')
    ORDER BY job.id
    FOR UPDATE OF job, file
),
running AS (
    UPDATE jobs SET wanted_again = true, updated_at = now()
    FROM held WHERE jobs.id = held.id AND held.state = 'running'
),
woken AS (
    UPDATE jobs SET state = 'waiting', run_at = now(),
        attempts = CASE held.state WHEN 'done' THEN 0 ELSE attempts END,
        lost_leases = CASE held.state WHEN 'done' THEN 0 ELSE lost_leases END,
        snoozes = 0, waits_for = NULL, reason = NULL, wanted_again = false, finished_at = NULL, updated_at = now()
    FROM held
    WHERE jobs.id = held.id AND (
        held.state = 'parked' AND held.waits_for = 'token' OR held.state = 'done' AND held.file_state = 'gone'
    )
    RETURNING subject
),
file AS (
    UPDATE files SET state = 'pending', reason = NULL, updated_at = now()
    FROM woken WHERE files.id = woken.subject AND files.state IN ('parked', 'gone')
)
SELECT count(*) FROM woken",
    )
    .bind(recording)
    .bind(told.happened_at)
    .bind(told.single.is_some())
    .fetch_one(connection)
    .await?;
    Ok(u64::try_from(woken).unwrap_or(0))
}

/// Chooses the place of a file. Files that are placed at once agree on their folder: the first one writes it, under the
/// lock of the recording's row, and whoever waited for that looks again. Once it is known nobody waits.
pub(super) async fn place(pool: &Pool, file: FileId, folder: &str, name: &str) -> Result<String, StoreError> {
    for _ in 0..TRIES {
        let key: Option<String> = sqlx::query_scalar(PLACE)
            .bind(file.0)
            .bind(folder)
            .bind(name)
            .fetch_one(&mut *pool.acquire().await?)
            .await?;
        if let Some(key) = key {
            return Ok(key);
        }
    }
    Err(StoreError::Unavailable(sqlx::Error::RowNotFound))
}

/// The commit is not waited for to reach the disk: what comes after it, a checkpoint or the settlement, brings it
/// there. A crash of the server that takes away both has the key chosen again, from the same facts.
const PLACE: &str = "
WITH known AS MATERIALIZED (
    SELECT recordings.id, recordings.folder, set_config('synchronous_commit', 'off', true)
    FROM files JOIN recordings ON recordings.id = files.recording_id
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
