//! Rows as both databases hand them out, and how they become words of the domain.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::moment::Moment;
use super::verification::{ToVerify, Unverified, Verification};
use super::{Backlog, Depth, EndingToken, Flow, Holdup, Losses, Resting, StoreError, Tally, TransferWork};
use crate::domain::event::EventRow;
use crate::domain::file::{ArchivedFile, ArchivedObject, FileRow, RecordingRow, Sha256Digest};
use crate::domain::ids::{EventId, FileId, JobId, NoticeId, RecordingId};
use crate::domain::job::{Carried, Job, JobRow, JobState, Lease, TRANSFER, Task};
use crate::domain::notice::Notice;
use crate::domain::recording::{FileIdentity, RecordingIdentity, UnknownWord};
use crate::domain::verification::{ForeignObject, Found};

/// The columns of a [`RecordingRecord`].
macro_rules! recording_columns {
    () => {
        "id, account_id, kind, instance_id, topic, start_time, metadata, state, state_at, transcript, summary, \
         folder, announced_at"
    };
}

/// The columns of a [`FileRecord`]: all but the secrets.
macro_rules! file_columns {
    () => {
        "id, recording_id, collection, name, recording_type, file_type, extension, recording_start, \
         announced_bytes, metadata, token_expires_at, loses_at, zoom_state, zoom_state_at, state, reason, object_key, bytes, sha256, content_type, store_checksum, \
         etag, version_id, mark, archived_at, verified_at, finding, finding_detail, proven_bytes, proven_sha256, \
         earlier_objects, first_event_id, announced_at"
    };
}

/// The columns of a [`JobRowRecord`]. How far a transfer has come is for its run alone to say: what waits, or stands still,
/// has no pace.
macro_rules! job_columns {
    () => {
        "id, kind, subject, account, state, run_at, attempts, snoozes, lost_leases, lease_owner, lease_expires_at, \
         waits_for, reason, created_at, updated_at, finished_at, \
         CASE WHEN state = 'running' AND kind = 'transfer' THEN checkpoint END AS checkpoint, \
         CASE WHEN state = 'running' AND kind = 'transfer' THEN \
            (SELECT announced_bytes FROM files WHERE files.id = jobs.subject) END AS announced_bytes"
    };
}

/// The columns of an [`EventRecord`].
macro_rules! event_columns {
    () => {
        "id, received_at, name, recording_id, unreadable, odd, CAST(octet_length(body) AS bigint) AS bytes"
    };
}

pub(super) use {event_columns, file_columns, job_columns, recording_columns};

/// A row of `recordings`.
#[derive(FromRow)]
pub(super) struct RecordingRecord {
    id: Uuid,
    account_id: String,
    kind: String,
    instance_id: String,
    topic: Option<String>,
    start_time: Option<Moment>,
    metadata: Json<Map<String, Value>>,
    state: Option<String>,
    state_at: Option<Moment>,
    transcript: Option<String>,
    summary: Option<String>,
    folder: Option<String>,
    announced_at: Moment,
}

impl RecordingRecord {
    pub(super) fn read(self) -> Result<RecordingRow, StoreError> {
        Ok(RecordingRow {
            id: RecordingId(self.id),
            identity: RecordingIdentity {
                account_id: self.account_id,
                kind: self.kind.parse()?,
                instance_id: self.instance_id,
            },
            topic: self.topic,
            start_time: time(self.start_time),
            metadata: self.metadata.0,
            state: word(self.state)?,
            state_at: time(self.state_at),
            transcript: word(self.transcript)?,
            summary: word(self.summary)?,
            folder: self.folder,
            announced_at: self.announced_at.0,
        })
    }
}

/// A row of `files`, without its secrets.
#[derive(FromRow)]
pub(super) struct FileRecord {
    id: Uuid,
    recording_id: Uuid,
    collection: String,
    name: String,
    recording_type: String,
    file_type: String,
    extension: String,
    recording_start: Option<Moment>,
    announced_bytes: Option<i64>,
    metadata: Json<Map<String, Value>>,
    token_expires_at: Option<Moment>,
    loses_at: Option<Moment>,
    zoom_state: Option<String>,
    zoom_state_at: Option<Moment>,
    state: String,
    reason: Option<String>,
    object_key: Option<String>,
    #[sqlx(flatten)]
    proof: ProofRecord,
    archived_at: Option<Moment>,
    verified_at: Option<Moment>,
    finding: Option<String>,
    finding_detail: Option<String>,
    proven_bytes: Option<i64>,
    proven_sha256: Option<Vec<u8>>,
    earlier_objects: Json<Vec<ArchivedObject>>,
    first_event_id: Uuid,
    announced_at: Moment,
}

/// What is set in a row of `files` when it is archived.
#[derive(FromRow)]
struct ProofRecord {
    bytes: Option<i64>,
    sha256: Option<Vec<u8>>,
    content_type: Option<String>,
    store_checksum: Option<String>,
    etag: Option<String>,
    version_id: Option<String>,
    mark: Option<String>,
}

impl FileRecord {
    pub(super) fn read(self) -> Result<FileRow, StoreError> {
        Ok(FileRow {
            id: FileId(self.id),
            recording_id: RecordingId(self.recording_id),
            identity: FileIdentity { collection: self.collection, name: self.name },
            recording_type: self.recording_type,
            file_type: self.file_type,
            extension: self.extension,
            recording_start: time(self.recording_start),
            announced_bytes: self.announced_bytes.map(whole).transpose()?,
            metadata: self.metadata.0,
            token_expires_at: time(self.token_expires_at),
            loses_at: time(self.loses_at),
            zoom_state: word(self.zoom_state)?,
            zoom_state_at: time(self.zoom_state_at),
            state: self.state.parse()?,
            reason: self.reason,
            archived: self.proof.read(self.object_key.as_deref())?,
            object_key: self.object_key,
            archived_at: time(self.archived_at),
            verified_at: time(self.verified_at),
            found: found(self.finding, self.finding_detail)?,
            proven_before: match (self.proven_bytes, self.proven_sha256) {
                (Some(bytes), Some(sha256)) => Some((whole(bytes)?, digest(sha256)?)),
                _ => None,
            },
            earlier_objects: self.earlier_objects.0,
            first_event_id: EventId(self.first_event_id),
            announced_at: self.announced_at.0,
        })
    }
}

impl ProofRecord {
    fn read(self, object_key: Option<&str>) -> Result<Option<ArchivedFile>, StoreError> {
        let (Some(object_key), Some(bytes), Some(sha256), Some(content_type)) =
            (object_key, self.bytes, self.sha256, self.content_type)
        else {
            return Ok(None);
        };
        Ok(Some(ArchivedFile {
            object_key: object_key.to_owned(),
            bytes: whole(bytes)?,
            sha256: digest(sha256)?,
            content_type,
            store_checksum: self.store_checksum.as_deref().map(FromStr::from_str).transpose()?,
            etag: self.etag,
            version_id: self.version_id,
            mark: self.mark,
        }))
    }
}

/// A row of `files` with its secrets, and the start of the earliest file of its recording.
#[derive(FromRow)]
pub(super) struct TransferRecord {
    #[sqlx(flatten)]
    file: FileRecord,
    recording_began: Option<Moment>,
    download_url: Option<String>,
    download_token: Option<String>,
    content: Option<Vec<u8>>,
}

impl TransferRecord {
    /// The recording that the file belongs to.
    pub(super) fn recording_id(&self) -> Uuid {
        self.file.recording_id
    }

    pub(super) fn read(self, recording: RecordingRecord) -> Result<TransferWork, StoreError> {
        Ok(TransferWork {
            file: self.file.read()?,
            recording: recording.read()?,
            recording_began: time(self.recording_began),
            download_url: self.download_url.map(SecretString::from),
            download_token: self.download_token.map(SecretString::from),
            content: self.content.map(Bytes::from),
        })
    }
}

/// A token that ends soon.
#[derive(FromRow)]
pub(super) struct EndingTokenRecord {
    id: Uuid,
    account_id: String,
    kind: String,
    instance_id: String,
}

impl EndingTokenRecord {
    pub(super) fn read(self) -> Result<EndingToken, StoreError> {
        Ok(EndingToken {
            file: FileId(self.id),
            recording: RecordingIdentity {
                account_id: self.account_id,
                kind: self.kind.parse()?,
                instance_id: self.instance_id,
            },
        })
    }
}

/// A notice that waits to be sent.
#[derive(FromRow)]
pub(super) struct NoticeRecord {
    account: String,
    notice: Json<NoticeColumn>,
}

/// What stands in the column `notice`.
#[derive(Deserialize)]
struct NoticeColumn {
    kind: String,
    subject: Uuid,
    /// Unix milliseconds.
    at: i64,
    detail: Map<String, Value>,
}

impl NoticeRecord {
    /// Its receiver, and the notice.
    pub(super) fn read(self, id: NoticeId) -> Result<(String, Notice), StoreError> {
        let NoticeColumn { kind, subject, at, detail } = self.notice.0;
        let happened_at =
            DateTime::from_timestamp_millis(at).ok_or_else(|| unreadable("a notice of no time"))?;
        Ok((self.account, Notice { id, kind: kind.parse()?, subject, happened_at, detail }))
    }
}

/// What a claim returns of a row of `jobs`.
#[derive(FromRow)]
pub(super) struct JobRecord {
    id: Uuid,
    kind: String,
    subject: Uuid,
    account: Option<String>,
    loses_at: Moment,
    run_at: Moment,
    attempts: i64,
    snoozes: i64,
    lease_token: i64,
    checkpoint: Option<Json<Value>>,
    waited_ms: i64,
    trace: Option<String>,
}

impl JobRecord {
    fn read(self) -> Result<Job, StoreError> {
        Ok(Job {
            lease: Lease { job: JobId(self.id), token: self.lease_token },
            task: Task::from_row(&self.kind, self.subject)?,
            account: self.account,
            attempts: count(self.attempts),
            snoozes: count(self.snoozes),
            checkpoint: self.checkpoint.map(|checkpoint| checkpoint.0),
            waited: elapsed(self.waited_ms),
            trace: self.trace,
        })
    }
}

/// Claimed jobs, nearest loss first, then oldest first: `RETURNING` promises no order.
pub(super) fn claimed(mut records: Vec<JobRecord>) -> Result<Vec<Job>, StoreError> {
    records.sort_by_key(|record| (record.loses_at, record.run_at, record.id));
    records.into_iter().map(JobRecord::read).collect()
}

/// A row of `jobs`, with the checkpoint of a transfer that runs.
#[derive(FromRow)]
pub(super) struct JobRowRecord {
    id: Uuid,
    kind: String,
    subject: Uuid,
    account: Option<String>,
    state: String,
    run_at: Moment,
    attempts: i64,
    snoozes: i64,
    lost_leases: i64,
    lease_owner: Option<String>,
    lease_expires_at: Option<Moment>,
    waits_for: Option<String>,
    reason: Option<String>,
    created_at: Moment,
    updated_at: Moment,
    finished_at: Option<Moment>,
    checkpoint: Option<Json<Value>>,
    announced_bytes: Option<i64>,
}

impl JobRowRecord {
    pub(super) fn read(self) -> Result<JobRow, StoreError> {
        let (state, of) = (self.state.parse()?, self.announced_bytes.map(whole).transpose()?);
        let is_carried = state == JobState::Running && self.kind == TRANSFER;
        Ok(JobRow {
            carried: is_carried.then(|| carried(self.checkpoint.as_deref(), of)),
            id: JobId(self.id),
            kind: self.kind,
            subject: self.subject,
            account: self.account,
            state,
            run_at: self.run_at.0,
            attempts: count(self.attempts),
            snoozes: count(self.snoozes),
            lost_leases: count(self.lost_leases),
            lease_owner: self.lease_owner,
            lease_expires_at: time(self.lease_expires_at),
            waits_for: word(self.waits_for)?,
            reason: self.reason,
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
            finished_at: time(self.finished_at),
        })
    }
}

/// How far a transfer has come. Where a checkpoint says so: `jobs/transfer/checkpoint.rs`; one of an unknown shape says
/// nothing.
fn carried(checkpoint: Option<&Value>, of: Option<u64>) -> Carried {
    let number = |path: &str| checkpoint.and_then(|it| it.pointer(path)).and_then(Value::as_u64).unwrap_or(0);
    let per_sec = number("/pace/bytes").saturating_mul(1000).checked_div(number("/pace/millis"));
    let bytes = number("/upload/measured/bytes");
    Carried { of, bytes: of.map_or(bytes, |of| bytes.min(of)), per_sec: per_sec.unwrap_or(0) }
}

/// A row of `events`, without its body.
#[derive(FromRow)]
pub(super) struct EventRecord {
    id: Uuid,
    received_at: Moment,
    name: String,
    recording_id: Option<Uuid>,
    unreadable: Option<String>,
    odd: Json<Vec<String>>,
    bytes: i64,
}

impl EventRecord {
    pub(super) fn read(self) -> Result<EventRow, StoreError> {
        Ok(EventRow {
            id: EventId(self.id),
            received_at: self.received_at.0,
            name: self.name,
            recording_id: self.recording_id.map(RecordingId),
            unreadable: self.unreadable,
            odd: self.odd.0,
            bytes: whole(self.bytes)?,
        })
    }
}

/// A row of `events` with its body.
#[derive(FromRow)]
pub(super) struct KeptRecord {
    #[sqlx(flatten)]
    event: EventRecord,
    body: Vec<u8>,
}

impl KeptRecord {
    pub(super) fn read(self) -> Result<(EventRow, Vec<u8>), StoreError> {
        Ok((self.event.read()?, self.body))
    }
}

/// How many files of a recording stand where.
#[derive(FromRow)]
pub(super) struct TallyRecord {
    recording_id: Uuid,
    state: String,
    files: i64,
}

impl TallyRecord {
    pub(super) fn read(self) -> Result<Tally, StoreError> {
        Ok(Tally {
            recording: RecordingId(self.recording_id),
            state: self.state.parse()?,
            files: whole(self.files)?,
        })
    }
}

/// What was archived of late, and what is left.
#[derive(FromRow)]
pub(super) struct FlowRecord {
    files: i64,
    bytes: i64,
    files_left: i64,
    bytes_left: i64,
    files_of_unknown_size: i64,
    bytes_running: i64,
    bytes_carried: i64,
    carried_per_sec: i64,
}

impl FlowRecord {
    pub(super) fn read(self) -> Result<Flow, StoreError> {
        Ok(Flow {
            files: whole(self.files)?,
            bytes: whole(self.bytes)?,
            files_left: whole(self.files_left)?,
            bytes_left: whole(self.bytes_left)?,
            files_of_unknown_size: whole(self.files_of_unknown_size)?,
            bytes_running: whole(self.bytes_running)?,
            bytes_carried: whole(self.bytes_carried)?,
            carried_per_sec: whole(self.carried_per_sec)?,
        })
    }
}

/// How many jobs stand where.
#[derive(FromRow)]
pub(super) struct DepthRecord {
    kind: String,
    state: String,
    jobs: i64,
    oldest_due_ms: Option<i64>,
}

impl DepthRecord {
    pub(super) fn read(self) -> Result<Depth, StoreError> {
        Ok(Depth {
            kind: self.kind,
            state: self.state.parse()?,
            jobs: whole(self.jobs)?,
            oldest_due: self.oldest_due_ms.map(whole).transpose()?.map(Duration::from_millis),
        })
    }
}

/// How many jobs stand in a state that is no end.
#[derive(FromRow)]
pub(super) struct BacklogRecord {
    kind: String,
    account: Option<String>,
    state: String,
    jobs: i64,
    oldest_ms: Option<i64>,
}

impl BacklogRecord {
    pub(super) fn read(self) -> Result<Backlog, StoreError> {
        Ok(Backlog {
            kind: self.kind,
            account: self.account,
            state: self.state.parse()?,
            jobs: whole(self.jobs)?,
            oldest: self.oldest_ms.map(elapsed),
        })
    }
}

/// Why some transfers do not move.
#[derive(FromRow)]
pub(super) struct HoldupRecord {
    state: String,
    reason: String,
    jobs: i64,
}

impl HoldupRecord {
    pub(super) fn read(self) -> Result<Holdup, StoreError> {
        Ok(Holdup { state: self.state.parse()?, reason: self.reason, jobs: whole(self.jobs)? })
    }
}

/// Which transfers rest.
#[derive(FromRow)]
pub(super) struct RestingRecord {
    jobs: i64,
    put_back: i64,
    next_ms: Option<i64>,
}

impl RestingRecord {
    pub(super) fn read(self) -> Result<Resting, StoreError> {
        Ok(Resting {
            jobs: whole(self.jobs)?,
            put_back: whole(self.put_back)?,
            next: self.next_ms.map(elapsed),
        })
    }
}

/// What is nearest to being lost.
#[derive(FromRow)]
pub(super) struct LossesRecord {
    nearest_ms: Option<i64>,
    overdue: i64,
}

impl LossesRecord {
    pub(super) fn read(self) -> Result<Losses, StoreError> {
        Ok(Losses {
            nearest: self.nearest_ms.map(whole).transpose()?.map(Duration::from_millis),
            overdue: whole(self.overdue)?,
        })
    }
}

/// An archived file that is to be verified.
#[derive(FromRow)]
pub(super) struct UnverifiedRecord {
    #[sqlx(flatten)]
    file: FileRecord,
    folder: Option<String>,
    manifest_waits: bool,
    looked_at: Moment,
}

impl UnverifiedRecord {
    pub(super) fn read(self) -> Result<Unverified, StoreError> {
        Ok(Unverified {
            file: self.file.read()?,
            folder: self.folder,
            manifest_waits: self.manifest_waits,
            looked_at: self.looked_at.0,
        })
    }
}

/// How much there is to verify.
#[derive(FromRow)]
pub(super) struct ToVerifyRecord {
    now: Moment,
    files: i64,
    bytes: i64,
    overdue: i64,
}

impl ToVerifyRecord {
    pub(super) fn read(self) -> Result<ToVerify, StoreError> {
        Ok(ToVerify {
            until: self.now.0,
            files: whole(self.files)?,
            bytes: whole(self.bytes)?,
            overdue: whole(self.overdue)?,
        })
    }
}

/// A row of `foreign_objects`.
#[derive(FromRow)]
pub(super) struct ForeignRecord {
    key: String,
    bytes: Option<i64>,
    found_at: Moment,
    detail: Option<String>,
}

impl ForeignRecord {
    pub(super) fn read(self) -> Result<ForeignObject, StoreError> {
        Ok(ForeignObject {
            key: self.key,
            bytes: self.bytes.map(whole).transpose()?,
            found_at: self.found_at.0,
            detail: self.detail,
        })
    }
}

/// What the last verifications have found, from its parts.
pub(super) fn verification(
    oldest_ms: Option<i64>,
    findings: Vec<(String, i64)>,
    foreign: i64,
) -> Result<Verification, StoreError> {
    let findings = findings.into_iter().map(|(word, files)| Ok((word.parse()?, whole(files)?)));
    Ok(Verification {
        // A clock that was set back is no age.
        oldest: oldest_ms.map(|ms| Duration::from_millis(ms.max(0).unsigned_abs())),
        findings: findings.collect::<Result<_, StoreError>>()?,
        foreign: whole(foreign)?,
    })
}

/// A length of time as the databases take it; one that does not fit is as good as for ever.
pub(super) fn millis(duration: Duration) -> i64 {
    // A thousand years: far below the last date of either database.
    const FOR_EVER: i64 = 1000 * 365 * 24 * 60 * 60 * 1000;
    i64::try_from(duration.as_millis()).map_or(FOR_EVER, |millis| millis.min(FOR_EVER))
}

fn time(moment: Option<Moment>) -> Option<DateTime<Utc>> {
    moment.map(|moment| moment.0)
}

fn word<T: FromStr<Err = UnknownWord>>(text: Option<String>) -> Result<Option<T>, StoreError> {
    Ok(text.as_deref().map(FromStr::from_str).transpose()?)
}

fn found(finding: Option<String>, detail: Option<String>) -> Result<Option<Found>, StoreError> {
    let Some(finding) = finding else { return Ok(None) };
    Ok(Some(Found { finding: finding.parse()?, detail: detail.unwrap_or_default() }))
}

fn digest(sha256: Vec<u8>) -> Result<Sha256Digest, StoreError> {
    sha256.try_into().map(Sha256Digest).map_err(|_| unreadable("a SHA-256 that has not 32 bytes"))
}

pub(super) fn whole(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| unreadable("a negative count"))
}

/// A time that has passed by the database's clock, which may have been set back meanwhile.
pub(super) fn elapsed(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn unreadable(what: &str) -> StoreError {
    StoreError::Unreadable(what.to_owned())
}
