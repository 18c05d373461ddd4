//! The JSON of questions and answers. The same types serve the door, the document about it, and the commands.
//!
//! No token, no signed URL and no checkpoint is in any of them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::config::secrets::ZoomAccount;
use crate::domain::event::EventRow;
use crate::domain::file::{ArchivedObject, FileRow, FileState, RecordingRow};
use crate::domain::ids::{EventId, FileId, JobId, RecordingId};
use crate::domain::job::{Carried, JobRow, JobState, TRANSFER, WaitsFor};
use crate::domain::recording::{RecordingKind, RecordingState, TextState};
use crate::domain::verification::FileFinding;
use crate::store::{self, Depth, Flow, Losses, PrunedCount, Verification};

/// Most rows of a page.
pub const MAX_PAGE: u32 = 500;
/// Most files that one bulk retry wakes.
pub const MAX_RETRY: usize = 1000;
/// Longest reason of a person, in characters.
pub const MAX_REASON: usize = 500;

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Listed<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// Where the next page begins: give it as `after`. Null on the last page.
    pub next: Option<String>,
}

/// How many files stand in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileCounts {
    /// Announced; the transfer waits or runs.
    pub pending: u64,
    /// Wait for something named.
    pub parked: u64,
    /// In the archive, proven.
    pub archived: u64,
    /// Deliberately not taken.
    pub skipped: u64,
    /// Zoom no longer has them.
    pub gone: u64,
    /// Given up.
    pub dead: u64,
}

impl FileCounts {
    pub(super) fn add(&mut self, state: FileState, files: u64) {
        let count = match state {
            FileState::Pending => &mut self.pending,
            FileState::Parked => &mut self.parked,
            FileState::Archived => &mut self.archived,
            FileState::Skipped => &mut self.skipped,
            FileState::Gone => &mut self.gone,
            FileState::Dead => &mut self.dead,
        };
        *count += files;
    }
}

/// A recording.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Recording {
    /// Its id.
    pub id: RecordingId,
    /// Zoom's id of the account.
    pub account_id: String,
    /// The product.
    pub kind: RecordingKind,
    /// Zoom's id of it: `session_id`, or `uuid`.
    pub instance_id: String,
    /// Its name.
    pub topic: Option<String>,
    /// Start of the session or meeting.
    pub start_time: Option<DateTime<Utc>>,
    /// How it stands at Zoom, as far as its events have said.
    pub state: Option<RecordingState>,
    /// Since when.
    pub state_at: Option<DateTime<Utc>>,
    /// What became of its transcript.
    pub transcript: Option<TextState>,
    /// What became of its summary.
    pub summary: Option<TextState>,
    /// The folder of the archive that its objects lie in.
    pub folder: Option<String>,
    /// When it was first announced.
    pub announced_at: DateTime<Utc>,
    /// How its files stand.
    pub file_counts: FileCounts,
}

impl Recording {
    pub(super) fn new(row: RecordingRow, file_counts: FileCounts) -> Self {
        Self {
            id: row.id,
            account_id: row.identity.account_id,
            kind: row.identity.kind,
            instance_id: row.identity.instance_id,
            topic: row.topic,
            start_time: row.start_time,
            state: row.state,
            state_at: row.state_at,
            transcript: row.transcript,
            summary: row.summary,
            folder: row.folder,
            announced_at: row.announced_at,
            file_counts,
        }
    }
}

/// A recording with everything that is known of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RecordingShown {
    /// The recording.
    #[serde(flatten)]
    pub recording: Recording,
    /// All that Zoom said of it, without secrets.
    pub metadata: Map<String, Value>,
    /// Its files, in order of announcement.
    pub files: Vec<File>,
}

/// A file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct File {
    /// Its id.
    pub id: FileId,
    /// Its recording.
    pub recording_id: RecordingId,
    /// The list that it stood in.
    pub collection: String,
    /// Zoom's id of it, or what stands in for one.
    pub name: String,
    /// `recording_type`, empty when Zoom gave none.
    pub recording_type: String,
    /// `file_type`, empty when Zoom gave none.
    pub file_type: String,
    /// Where it stands.
    pub state: FileState,
    /// Why it stands there, when that is not self-evident.
    pub reason: Option<String>,
    /// The size that Zoom announced, in bytes.
    pub announced_bytes: Option<u64>,
    /// When it was first announced.
    pub announced_at: DateTime<Utc>,
    /// When this piece of the recording began.
    pub recording_start: Option<DateTime<Utc>>,
    /// When the token for its URL ends, where that is known.
    pub token_expires_at: Option<DateTime<Utc>>,
    /// After that it cannot be had any more, as far as is known.
    pub loses_at: Option<DateTime<Utc>>,
    /// How it stands at Zoom by itself, where an event named this file alone; null where it stands as its recording does.
    #[serde(default)]
    pub zoom_state: Option<RecordingState>,
    /// Key of its object, once a place has been chosen.
    pub object_key: Option<String>,
    /// Bytes received and stored.
    pub bytes: Option<u64>,
    /// SHA-256 of the content, in hex.
    pub sha256: Option<String>,
    /// Media type of the object.
    pub content_type: Option<String>,
    /// The store's own checksum.
    pub store_checksum: Option<String>,
    /// Something a person should know of the object.
    pub mark: Option<String>,
    /// When it was archived.
    pub archived_at: Option<DateTime<Utc>>,
    /// When its object was last compared with what was proven of it; null when it was not yet.
    pub verified_at: Option<DateTime<Utc>>,
    /// What was found to be wrong then; null when nothing was.
    pub finding: Option<FileFinding>,
    /// What exactly was found.
    pub finding_detail: Option<String>,
}

impl From<FileRow> for File {
    fn from(row: FileRow) -> Self {
        let archived = row.archived.as_ref();
        Self {
            bytes: archived.map(|archived| archived.bytes),
            sha256: archived.map(|archived| archived.sha256.to_string()),
            content_type: archived.map(|archived| archived.content_type.clone()),
            store_checksum: archived
                .and_then(|archived| archived.store_checksum.as_ref())
                .map(ToString::to_string),
            mark: archived.and_then(|archived| archived.mark.clone()),
            id: row.id,
            recording_id: row.recording_id,
            collection: row.identity.collection,
            name: row.identity.name,
            recording_type: row.recording_type,
            file_type: row.file_type,
            state: row.state,
            reason: row.reason,
            announced_bytes: row.announced_bytes,
            announced_at: row.announced_at,
            recording_start: row.recording_start,
            token_expires_at: row.token_expires_at,
            loses_at: row.loses_at,
            zoom_state: row.zoom_state,
            object_key: row.object_key,
            archived_at: row.archived_at,
            verified_at: row.verified_at,
            finding: row.found.as_ref().map(|found| found.finding),
            finding_detail: row.found.map(|found| found.detail),
        }
    }
}

/// A file with everything that is known of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FileShown {
    /// The file.
    #[serde(flatten)]
    pub file: File,
    /// Objects that it had before, the oldest first: archived with a warning, and kept beside the present one.
    #[serde(default)]
    pub earlier_objects: Vec<EarlierObject>,
    /// All that Zoom said of it, without secrets.
    pub metadata: Map<String, Value>,
    /// The job that carries it.
    pub transfer: Option<Job>,
}

/// An object that a file had before.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EarlierObject {
    /// Its key.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
    /// The warning that it was archived with.
    pub mark: Option<String>,
    /// When it was archived.
    pub archived_at: Option<DateTime<Utc>>,
}

impl From<ArchivedObject> for EarlierObject {
    fn from(object: ArchivedObject) -> Self {
        Self {
            key: object.key,
            bytes: object.bytes,
            sha256: object.sha256.to_string(),
            mark: object.mark,
            archived_at: object.archived_at,
        }
    }
}

/// A job of the queue.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does: `transfer`, `manifest`, `remove`, `notify`, `reconcile`, `verify`…
    pub kind: String,
    /// The file or recording that it is about; null when it is about none.
    pub subject: Option<Uuid>,
    /// Zoom's id of the account that it asks, or the receiver that a notification is for; null when it asks none.
    pub account_id: Option<String>,
    /// Where it stands.
    pub state: JobState,
    /// When it is due, or was.
    pub run_at: DateTime<Utc>,
    /// Failures in a row without headway.
    pub attempts: u32,
    /// Times that it was put back through no fault of its own.
    pub snoozes: u32,
    /// Leases in a row that it lost.
    pub lost_leases: u32,
    /// Who runs it: host and process.
    pub lease_owner: Option<String>,
    /// Until when that one holds it.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// What it waits for when it is parked.
    pub waits_for: Option<WaitsFor>,
    /// Why it stands there, or how its last run failed.
    pub reason: Option<String>,
    /// When it was first wanted.
    pub created_at: DateTime<Utc>,
    /// When anything of it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it ended, if it did.
    pub finished_at: Option<DateTime<Utc>>,
    /// How far it has come; null where it is no transfer, or does not run.
    pub headway: Option<Headway>,
}

/// How far a running transfer has come, as far as it has told: by the parts that the archive has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Headway {
    /// Bytes of its file; null where none were announced.
    pub bytes: Option<u64>,
    /// How many of those are in the archive.
    pub carried: u64,
    /// Bytes per second since its run began; nought before there is anything to go by.
    pub bytes_per_sec: u64,
    /// How long the rest takes at that rate, in seconds; null while that cannot be said.
    pub secs: Option<u64>,
}

impl From<Carried> for Headway {
    fn from(of: Carried) -> Self {
        let left = of.of.map(|all| all.saturating_sub(of.bytes));
        Self {
            bytes: of.of,
            carried: of.bytes,
            bytes_per_sec: of.per_sec,
            secs: left.and_then(|left| left.checked_div(of.per_sec)),
        }
    }
}

impl From<JobRow> for Job {
    fn from(row: JobRow) -> Self {
        Self {
            headway: row.carried.map(Headway::from),
            id: row.id,
            kind: row.kind,
            subject: Some(row.subject).filter(|subject| !subject.is_nil()),
            account_id: row.account,
            state: row.state,
            run_at: row.run_at,
            attempts: row.attempts,
            snoozes: row.snoozes,
            lost_leases: row.lost_leases,
            lease_owner: row.lease_owner,
            lease_expires_at: row.lease_expires_at,
            waits_for: row.waits_for,
            reason: row.reason,
            created_at: row.created_at,
            updated_at: row.updated_at,
            finished_at: row.finished_at,
        }
    }
}

/// An event.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// When it reached us.
    pub received_at: DateTime<Utc>,
    /// Zoom's name for its kind; empty when that could not be read.
    pub name: String,
    /// The recording that it is about, when it could be read.
    pub recording_id: Option<RecordingId>,
    /// Why it could not be read, if so.
    pub unreadable: Option<String>,
    /// What in it could not be read, although the whole could.
    pub odd: Vec<String>,
    /// Length of its body as it is kept, in bytes.
    pub bytes: u64,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            received_at: row.received_at,
            name: row.name,
            recording_id: row.recording_id,
            unreadable: row.unreadable,
            odd: row.odd,
            bytes: row.bytes,
        }
    }
}

/// An event with its body.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EventShown {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// Its body without tokens and signed URLs; null when it is no JSON.
    pub body: Option<Value>,
}

/// What became of an event that was recorded again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// The event.
    pub id: EventId,
    /// Whether it can be read.
    pub readable: bool,
    /// Why not, if so.
    pub reason: Option<String>,
    /// Files that were not known before.
    pub new_files: u64,
    /// Files that were.
    pub known_files: u64,
    /// Transfers that it woke.
    pub woken: u64,
}

/// A Zoom account of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// What a person calls it.
    pub name: String,
    /// Zoom's id of it, where it is known.
    pub account_id: Option<String>,
    /// Whether there is a secret to verify its events with.
    pub has_webhook_secret: bool,
    /// Whether there are credentials for the API of Video SDK sessions.
    pub has_video_sdk_credentials: bool,
    /// Whether there are credentials for the API of meetings and webinars.
    pub has_meeting_credentials: bool,
}

impl From<&ZoomAccount> for Account {
    fn from(account: &ZoomAccount) -> Self {
        Self {
            name: account.name.clone(),
            account_id: account.account_id.clone(),
            has_webhook_secret: !account.webhook_secret_tokens.is_empty(),
            has_video_sdk_credentials: account.credentials.video_sdk.is_some(),
            has_meeting_credentials: account.credentials.oauth.is_some(),
        }
    }
}

/// Why, for whoever wonders later.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub reason: Option<String>,
}

/// Files to be tried again. What is not said is not asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryFiles {
    /// In one of these states: `parked`, `dead`, `gone`.
    #[serde(default)]
    #[schema(min_items = 1, required = true)]
    pub state: Vec<Retriable>,
    /// Of this recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_id: Option<RecordingId>,
    /// Of this account, by Zoom's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Of this type, as announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_type: Option<String>,
    /// Only count them.
    #[serde(default)]
    pub dry_run: bool,
}

/// A state from which a file can be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Retriable {
    /// Waits for something named.
    Parked,
    /// Given up.
    Dead,
    /// Zoom no longer had it.
    Gone,
}

impl From<Retriable> for FileState {
    fn from(state: Retriable) -> Self {
        match state {
            Retriable::Parked => Self::Parked,
            Retriable::Dead => Self::Dead,
            Retriable::Gone => Self::Gone,
        }
    }
}

/// What a bulk retry did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retried {
    /// Files that fitted when it began.
    pub matched: u64,
    /// Those of them that wait for another try now; at most a thousand in one call.
    pub retried: u64,
    /// Which those are.
    pub files: Vec<FileId>,
}

/// An address for a download.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// The address. Whoever has it can read the object: keep it secret.
    pub url: String,
    /// For how long, in seconds.
    pub valid_secs: u64,
}

/// A wish that Zoom has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Controlled {
    /// The session.
    pub session_id: String,
    /// What was wished.
    pub control: String,
    /// The name of its account.
    pub account: String,
}

/// How many jobs stand in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobCounts {
    /// Rest until they are due.
    pub waiting: u64,
    /// Held by a worker.
    pub running: u64,
    /// Wait for something named.
    pub parked: u64,
    /// Finished.
    pub done: u64,
    /// Given up.
    pub dead: u64,
    /// Withdrawn.
    pub cancelled: u64,
}

impl JobCounts {
    fn add(&mut self, state: JobState, jobs: u64) {
        let count = match state {
            JobState::Waiting => &mut self.waiting,
            JobState::Running => &mut self.running,
            JobState::Parked => &mut self.parked,
            JobState::Done => &mut self.done,
            JobState::Dead => &mut self.dead,
            JobState::Cancelled => &mut self.cancelled,
        };
        *count += jobs;
    }
}

/// Jobs of a kind that is no transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KindCounts {
    /// The kind.
    pub kind: String,
    /// How they stand.
    #[serde(flatten)]
    pub jobs: JobCounts,
}

/// How the installation stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Which database it is.
    pub database: String,
    /// How long it took to answer, in milliseconds.
    pub database_millis: u64,
    /// Where the archive is.
    pub archive: String,
    /// How long it took to answer, in milliseconds; null when it did not.
    pub archive_millis: Option<u64>,
    /// Why the archive does not answer, if so.
    pub archive_trouble: Option<String>,
    /// Bytes that may still be written to it, where it is a disk that has an end (`archive.min_free_bytes` stay free beside them).
    #[serde(default)]
    pub archive_room_bytes: Option<u64>,
    /// The jobs that carry files.
    pub transfers: JobCounts,
    /// All other jobs, by kind.
    pub others: Vec<KindCounts>,
    /// How long the longest of those transfers has waited that are due, in seconds; null when none is.
    pub oldest_waiting_secs: Option<u64>,
    /// How long until the next file that is not archived cannot be had any more, in seconds; null when no such moment
    /// is known.
    pub nearest_loss_secs: Option<u64>,
    /// That file; null when no such moment is known.
    pub nearest_loss: Option<LosingFile>,
    /// Files that are past that moment.
    pub overdue: u64,
    /// The one of them that has been so for longest.
    pub first_overdue: Option<LosingFile>,
    /// Why transfers wait, are parked or dead: of each state the three reasons that most of them have.
    pub holdups: Vec<Holdup>,
    /// Transfers that wait and are not due yet.
    pub resting: Resting,
    /// Events that are kept as they came, because they could not be read; ten thousand are as good as more.
    pub unreadable_events: u64,
    /// Files that are known under another account, too, and archived for both.
    pub twins: u64,
    /// Archived files with a warning: their `mark` says which.
    #[serde(default)]
    pub warnings: u64,
    /// How far the running transfers have come.
    pub running: Running,
    /// How fast files have been archived of late.
    pub rate: Rate,
    /// What is still to come.
    pub left: Left,
    /// What the verifications of archived files have found.
    pub verification: Verified,
    /// What has been forgotten because of its age: no list shows it any more. Finished jobs among it are counted here alone.
    pub pruned: Vec<Pruned>,
}

/// A file that is not archived, and until when it can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LosingFile {
    /// Its id.
    pub id: FileId,
    /// Its recording.
    pub recording_id: RecordingId,
    /// `file_type`, empty when Zoom gave none.
    pub file_type: String,
    /// Where it stands.
    pub state: FileState,
    /// Why it stands there, or how its last run failed.
    pub reason: Option<String>,
    /// After that it cannot be had any more, as far as is known.
    pub loses_at: DateTime<Utc>,
    /// The command of `zoom-archiver` that goes on from here, once what the reason says is mended.
    pub command: String,
}

/// Why some transfers do not move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holdup {
    /// Where they stand.
    pub state: JobState,
    /// Why, as each of them says.
    pub reason: String,
    /// How many.
    pub files: u64,
}

impl From<store::Holdup> for Holdup {
    fn from(of: store::Holdup) -> Self {
        Self { state: of.state, reason: of.reason, files: of.jobs }
    }
}

/// Transfers that wait and are not due yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resting {
    /// How many.
    pub files: u64,
    /// Those of them that were put back because the archive or the database was away: an hour of that costs no attempt.
    pub put_back: u64,
    /// How long until the first of them is due, in seconds; null when none rests.
    pub next_secs: Option<u64>,
}

impl From<store::Resting> for Resting {
    fn from(of: store::Resting) -> Self {
        Self { files: of.jobs, put_back: of.put_back, next_secs: of.next.map(|next| next.as_secs()) }
    }
}

/// What the verifications of archived files have found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verified {
    /// For how long that object was not looked at of which it is longest, in seconds; null when nothing is archived.
    pub oldest_unverified_secs: Option<u64>,
    /// Files that are not as they were proven, by what was found; the findings that no file has are left out.
    pub findings: Vec<FindingCount>,
    /// Objects in the archive that are neither a file's nor a manifest.
    pub foreign_objects: u64,
}

/// How many files there are of which something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FindingCount {
    /// What was found.
    pub finding: FileFinding,
    /// Of how many files.
    pub files: u64,
}

impl From<Verification> for Verified {
    fn from(of: Verification) -> Self {
        let count = |(finding, files)| FindingCount { finding, files };
        Self {
            oldest_unverified_secs: of.oldest.map(|oldest| oldest.as_secs()),
            findings: of.findings.into_iter().map(count).collect(),
            foreign_objects: of.foreign,
        }
    }
}

/// Rows that have been forgotten because of their age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pruned {
    /// What they were: `events` or `jobs`.
    pub table: String,
    /// Zoom's name of the events, or the kind of the jobs.
    pub kind: String,
    /// How many.
    pub rows: u64,
    /// When the newest of them came, or was finished.
    pub until: DateTime<Utc>,
}

impl From<PrunedCount> for Pruned {
    fn from(count: PrunedCount) -> Self {
        Self { table: count.table, kind: count.kind, rows: count.rows, until: count.until }
    }
}

/// How far the running transfers have come, as far as they have told: by the parts that the archive has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Running {
    /// Bytes of their files, as far as they were announced.
    pub bytes: u64,
    /// How many of those are in the archive.
    pub carried: u64,
    /// Bytes per second of all of them together, of each since its run began.
    pub bytes_per_sec: u64,
    /// How long the rest of them takes at that rate, in seconds; null while there is none.
    pub secs: Option<u64>,
}

/// How fast files have been archived of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rate {
    /// Over how long a time this was looked at, in seconds.
    pub window_secs: u64,
    /// Files archived in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes per second: what was archived in it, or what the running transfers carry now, whichever is more.
    pub bytes_per_sec: u64,
}

/// What is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Left {
    /// Pending files.
    pub files: u64,
    /// Their bytes, as far as they were announced, without what running transfers have carried of them.
    pub bytes: u64,
    /// Those of which no size was announced.
    pub files_of_unknown_size: u64,
    /// How long that takes at the rate of late, in seconds; null when nothing was archived of late and nothing is on its way.
    pub secs: Option<u64>,
}

/// What the database says of how the installation stands.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) depths: Vec<Depth>,
    pub(super) losses: Losses,
    pub(super) twins: u64,
    pub(super) warnings: u64,
    pub(super) flow: Flow,
    /// Over how long a time that was looked at, in seconds.
    pub(super) window_secs: u64,
    pub(super) holdups: Vec<store::Holdup>,
    pub(super) resting: store::Resting,
    pub(super) unreadable_events: u64,
    pub(super) verification: Verification,
    pub(super) pruned: Vec<PrunedCount>,
}

/// Whether somebody answers.
#[derive(Debug)]
pub(super) struct Answering {
    /// Who.
    pub(super) name: String,
    /// Within how many milliseconds, or why not.
    pub(super) answer: Result<u64, String>,
    /// Bytes that may still be written, where it has an end.
    pub(super) room: Option<u64>,
}

impl Status {
    pub(super) fn new(
        (database, database_millis): (&str, u64),
        archive: Answering,
        numbers: Numbers,
        nearest_loss: Option<LosingFile>,
        first_overdue: Option<LosingFile>,
    ) -> Self {
        let Numbers { depths, losses, twins, warnings, flow, window_secs, verification, pruned, .. } =
            numbers;
        let (mut transfers, mut others) = (JobCounts::default(), Vec::<KindCounts>::new());
        for depth in &depths {
            if depth.kind == TRANSFER {
                transfers.add(depth.state, depth.jobs);
                continue;
            }
            if others.last().is_none_or(|last| last.kind != depth.kind) {
                others.push(KindCounts { kind: depth.kind.clone(), jobs: JobCounts::default() });
            }
            if let Some(last) = others.last_mut() {
                last.jobs.add(depth.state, depth.jobs);
            }
        }
        let due = depths.iter().filter(|depth| depth.kind == TRANSFER).filter_map(|depth| depth.oldest_due);
        // Not the sum: what has just been archived was carried by what runs now, or in its place.
        let bytes_per_sec = (flow.bytes / window_secs.max(1)).max(flow.carried_per_sec);
        let bytes_left = flow.bytes_left.saturating_sub(flow.bytes_carried);
        Self {
            database: database.to_owned(),
            database_millis,
            archive: archive.name,
            archive_millis: archive.answer.as_ref().ok().copied(),
            archive_trouble: archive.answer.err(),
            archive_room_bytes: archive.room,
            transfers,
            others,
            oldest_waiting_secs: due.max().map(|due| due.as_secs()),
            nearest_loss_secs: losses.nearest.map(|nearest| nearest.as_secs()),
            nearest_loss,
            overdue: losses.overdue,
            first_overdue,
            holdups: numbers.holdups.into_iter().map(Holdup::from).collect(),
            resting: numbers.resting.into(),
            unreadable_events: numbers.unreadable_events,
            twins,
            warnings,
            running: Running {
                bytes: flow.bytes_running,
                carried: flow.bytes_carried,
                bytes_per_sec: flow.carried_per_sec,
                secs: (flow.bytes_running - flow.bytes_carried).checked_div(flow.carried_per_sec),
            },
            rate: Rate { window_secs, files: flow.files, bytes: flow.bytes, bytes_per_sec },
            left: Left {
                files: flow.files_left,
                bytes: bytes_left,
                files_of_unknown_size: flow.files_of_unknown_size,
                secs: bytes_left.checked_div(bytes_per_sec),
            },
            verification: verification.into(),
            pruned: pruned.into_iter().map(Pruned::from).collect(),
        }
    }
}
