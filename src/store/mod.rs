//! The record: events, recordings, files and the queue, in one database.
//!
//! One method is one verb is one transaction. [`Store`] has two implementations side by side, `postgres`
//! and `sqlite`; this is the only room that knows SQL. Leases and waiting times are judged by the database's
//! clock, so callers pass durations, never instants.

mod announcement;
mod connections;
mod error;
mod gather;
mod identity;
mod intake;
mod known;
mod list;
mod migrations;
mod moment;
mod postgres;
mod postgres_url;
mod pruning;
mod restored;
mod rows;
mod settled;
mod sqlite;
mod unbroken;
mod url;
mod verification;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::Value;

use crate::config::store::StoreConfig;
use crate::domain::archive::ArchiveIdentity;
use crate::domain::event::{Event, EventRow};
use crate::domain::file::{FileRow, FileState, RecordingRow};
use crate::domain::finding::{Finding, Look};
use crate::domain::ids::{EventId, FileId, JobId, NoticeId, RecordingId};
use crate::domain::job::{Job, JobRow, JobState, Lease, Settlement, Task};
use crate::domain::manifest::Manifest;
use crate::domain::notice::Notice;
use crate::domain::recording::RecordingIdentity;
use crate::domain::verification::{FileFinding, ForeignObject, Found, ListedObject};
use url::DatabaseUrl;

pub use intake::Intake;
pub use list::{EventFilter, FileFilter, JobFilter, Losing, Order, Page, RecordingFilter};
pub use migrations::Migrated;
pub use pruning::{Bygone, Prunable, Pruned, PrunedCount};
pub use restored::Restored;
pub use verification::{Selection, ToVerify, Unverified, Verification};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is overloaded or shutting down: the same call may succeed later.
    #[error("database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The lease is no longer ours; whatever we were doing belongs to somebody else now.
    #[error("the lease on job {0} is lost")]
    LeaseLost(crate::domain::ids::JobId),
    /// The database answered with something that this version does not understand, or refused a statement.
    #[error("database refused: {0}")]
    Refused(#[source] sqlx::Error),
    /// A row holds a word or a value that this version does not know.
    #[error("database holds something unreadable: {0}")]
    Unreadable(String),
    /// The schema could not be brought up to date.
    #[error("migration failed: {0}")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// The schema is not the one that this program was built for.
    #[error("database schema is version {found}, this program needs version {needed}: {}", mend(*found, *needed))]
    Schema {
        /// The version in the database; 0 for an empty one.
        found: i64,
        /// This program's.
        needed: i64,
    },
    /// `DATABASE_URL` names no database that this program can use.
    #[error("DATABASE_URL {0}")]
    Url(String),
}

impl StoreError {
    /// What kind it is, as a word for metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::LeaseLost(_) => "lease_lost",
            Self::Refused(_) | Self::Url(_) => "refused",
            Self::Unreadable(_) => "unreadable",
            Self::Migration(_) | Self::Schema { .. } => "schema",
        }
    }

    /// Whether a newer release has brought the schema further than this program knows it. A program that runs may go on under
    /// it: migrations keep the release before them working. One that starts must not.
    #[must_use]
    pub fn is_newer_schema(&self) -> bool {
        matches!(self, Self::Schema { found, needed } if found > needed)
    }
}

/// What a person does about a schema of another version.
fn mend(found: i64, needed: i64) -> &'static str {
    if found < needed { "migrate it" } else { "use the program's newer release" }
}

/// What recording an event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// Files that were not known before.
    pub new_files: u64,
    /// Files that were known, and got a fresh URL and token unless they are archived already.
    pub known_files: u64,
    /// Transfers that this event woke: parked ones, those of gone files, and those of files that the rules had left out
    /// and take now that more is known.
    pub woken: u64,
    /// New files that are deliberately not taken.
    pub skipped: u64,
    /// New files that are known under another account, too.
    pub twins: u64,
    /// Files that are not archived yet although this event says that their recording leaves Zoom.
    pub endangered: u64,
}

/// What one sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Jobs whose lease had expired and that wait again.
    pub returned: u64,
    /// Jobs whose lease had expired too many times and that are parked for a person now.
    pub parked: u64,
}

/// All that a transfer needs to know of its file.
#[derive(Debug, Clone)]
pub struct TransferWork {
    /// The file.
    pub file: FileRow,
    /// Its recording.
    pub recording: RecordingRow,
    /// When the earliest known file of that recording began.
    pub recording_began: Option<DateTime<Utc>>,
    /// Where Zoom offers it; a secret.
    pub download_url: Option<SecretString>,
    /// Bearer token for it; a secret.
    pub download_token: Option<SecretString>,
    /// The file itself, where an event has brought it along.
    pub content: Option<Bytes>,
}

/// All that is told by a notice.
#[derive(Debug, Clone)]
pub struct NoticeWork {
    /// The notice.
    pub notice: Notice,
    /// Its receiver, by the name that the settings give it.
    pub target: String,
    /// The recording that it is about.
    pub recording: RecordingRow,
    /// And the file, where it is about one.
    pub file: Option<FileRow>,
}

/// Files that are told of at a time.
const LOSSES_AT_ONCE: i64 = 500;

/// A file that waits with a token that ends soon.
#[derive(Debug, Clone)]
pub struct EndingToken {
    /// The file.
    pub file: FileId,
    /// Whose it is.
    pub recording: RecordingIdentity,
}

/// How many jobs of a kind stand in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    /// Kind of job, as in [`Task::kind`](crate::domain::job::Task::kind).
    pub kind: String,
    /// Their state.
    pub state: JobState,
    /// How many.
    pub jobs: u64,
    /// For waiting jobs that are due: for how long the longest of them has been.
    pub oldest_due: Option<Duration>,
}

/// How many files of a recording stand in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// The recording.
    pub recording: RecordingId,
    /// The state.
    pub state: FileState,
    /// How many.
    pub files: u64,
}

/// How many jobs of a kind and of a Zoom account stand in a state that is no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Kind of job, as in [`Task::kind`](crate::domain::job::Task::kind).
    pub kind: String,
    /// Zoom's id of the account, or the receiver of notices; `None` for jobs that ask nothing of either.
    pub account: Option<String>,
    /// Waiting, running, parked or dead.
    pub state: JobState,
    /// How many.
    pub jobs: u64,
    /// Of waiting jobs, for how long the longest has been due; of parked and dead ones, for how long the first has
    /// been that. `None` when none is due, and of running ones.
    pub oldest: Option<Duration>,
}

/// Connections to the database that this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// What they are for: `write` and `read` of SQLite; `any`, `read` (lists and looks) and `record` (events) of PostgreSQL.
    pub purpose: &'static str,
    /// Open ones.
    pub open: u32,
    /// Those of them that nobody uses now.
    pub idle: u32,
    /// As many as there may be.
    pub most: u32,
}

/// How the database itself is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Room that it takes, in bytes.
    pub bytes: u64,
    /// Age of the oldest transaction of any client, nought when none is open; `None` where the database does not say.
    pub oldest_transaction: Option<Duration>,
    /// Its tables; none where the database does not count their rows.
    pub tables: Vec<TableHealth>,
}

/// How many rows a table has, as the database estimates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableHealth {
    /// Its name.
    pub table: String,
    /// Rows.
    pub live_rows: u64,
    /// Versions of rows that nobody sees any more and that still take room.
    pub dead_rows: u64,
}

/// What is nearest to being lost, of the files that are neither archived nor gone nor skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// How long until the next of them cannot be had any more; `None` when no such moment lies ahead.
    pub nearest: Option<Duration>,
    /// How many of them are past that moment.
    pub overdue: u64,
}

/// Why some transfers do not move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdup {
    /// Where they stand: waiting, parked or dead.
    pub state: JobState,
    /// Why, as each of them says; of what lies in Zoom's trash what they have in common.
    pub reason: String,
    /// How many.
    pub jobs: u64,
}

/// Transfers that wait and are not due yet: they rest after a failure, or Zoom still works on their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resting {
    /// How many.
    pub jobs: u64,
    /// Those of them that were put back because the archive or the database was away.
    pub put_back: u64,
    /// How long until the first of them is due.
    pub next: Option<Duration>,
}

/// How fast files are archived, and what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// Files that were archived within the window.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are pending.
    pub files_left: u64,
    /// Their bytes, as far as they were announced.
    pub bytes_left: u64,
    /// Files that are pending and whose size was not announced.
    pub files_of_unknown_size: u64,
    /// Announced bytes of the files that are being transferred.
    pub bytes_running: u64,
    /// How much of that the archive holds for certain.
    pub bytes_carried: u64,
    /// Bytes per second of all running transfers together, as far as they have come on: of each since its run began.
    pub carried_per_sec: u64,
}

/// The record. See the module's text for what every method promises.
///
/// # Errors
/// Every method returns [`StoreError::Unavailable`] when the same call may succeed later.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Which database this is, for logs and reports, without credentials: `postgres 15.18` or `sqlite 3.50.2`.
    fn describe(&self) -> &str;

    /// Makes an event, its recording, its files and their jobs durable.
    ///
    /// A known file keeps its row; unless it is archived it gets the fresh URL and token, and a
    /// transfer that is parked for a token is woken, one that runs is wanted again. A gone file is woken by a URL,
    /// and by nothing less. Announced facts that the event does not give are kept as they were. A new file of a
    /// known recording joins it. A file without a URL is recorded parked for a token, unless the event brings its
    /// content; one that is to be skipped is recorded skipped, with the reason, and keeps its fresh access for the
    /// case that somebody wants it. So is a new file that another account has, pending or archived: the same instance has
    /// no two accounts. When this returns `Ok`, all of it has been committed.
    ///
    /// The rules judge a file by all that was ever said of it, and anew with everything that is said of its recording:
    /// what they left out for want of a fact is taken when the fact comes, and the other way round. What is archived
    /// or gone stays, and so does what a person has left out or taken.
    ///
    /// The recording's state, topic and other facts are moved by what happened last, in whatever order the events
    /// come. When a recording leaves Zoom, what waits to be fetched of it is due at once. When it is taken out of the
    /// trash, what of it waits for access or was gone is tried again. What a manifest should tell has it written again.
    ///
    /// An event that is recorded already stays as it is, unless it was kept raw and can be read now.
    async fn record(&self, event: &Event) -> Result<Recorded, StoreError>;

    /// Claims up to `limit` jobs that are due for `owner` under a lease of length `lease`; transfers of the Zoom
    /// accounts in `full` stay where they are. No job is ever handed to two claimers.
    ///
    /// Accounts take turns: the one of which least runs, anywhere, comes first, and jobs that ask nothing of Zoom count
    /// as one account. So an account with ten thousand jobs gets its share while others wait, and all of it when they
    /// do not. Within an account, and between equals, what is lost first comes first, then what is oldest.
    async fn claim(
        &self,
        owner: &str,
        limit: u32,
        lease: Duration,
        full: &[String],
    ) -> Result<Vec<Job>, StoreError>;

    /// The same for notices, each of which has its turn by its receiver: those to receivers in `full` stay where they
    /// are. [`claim`](Self::claim) brings none.
    async fn claim_notices(
        &self,
        owner: &str,
        limit: u32,
        lease: Duration,
        full: &[String],
    ) -> Result<Vec<Job>, StoreError>;

    /// Extends a lease to `lease` from now.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when it is no longer ours.
    async fn extend(&self, lease: &Lease, length: Duration) -> Result<(), StoreError>;

    /// Writes what the next holder of the job will need, in place of what was there. The job made headway: that
    /// earlier runs failed, lost their lease or were put back is forgotten.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when it is no longer ours.
    async fn checkpoint(&self, lease: &Lease, checkpoint: &Value) -> Result<(), StoreError>;

    /// Writes what the next holder of the job will need, in place of what was there, although the job made no
    /// headway: nothing is forgotten.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when it is no longer ours.
    async fn note(&self, lease: &Lease, checkpoint: &Value) -> Result<(), StoreError>;

    /// Ends a run: the job's new state, what it recorded, the file's state and the jobs that follow, at once.
    ///
    /// An archived file, and a gone one, loses its URL and token. A job that was wanted again while it ran waits
    /// again instead of being done or parked for a token, and its file is not gone; but a transfer that archived
    /// its file is done. A file whose transfer is parked or dead is parked or dead itself, with the reason.
    ///
    /// Who wants to hear of it has a notice waiting with the same commit: of what the completion tells, and of a file
    /// that is gone, dead, or parked for a person. The same news of the same occasion is told once.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the lease is no longer ours; then nothing is written.
    async fn settle(&self, lease: &Lease, settlement: Settlement) -> Result<(), StoreError>;

    /// Returns jobs whose lease has expired to `waiting`, with their checkpoint; a job that has lost
    /// `max_lost_leases` of them in a row is parked for a person: it may be what kills its workers; who wants to hear of
    /// that is told.
    async fn sweep(&self, max_lost_leases: u32) -> Result<Swept, StoreError>;

    /// Wakes the transfer of a file that is parked, dead or gone, as a person decides: it waits again, due now,
    /// with all its attempts, and the file is pending.
    ///
    /// The same for a transfer that waits and is not due yet: it need not rest any longer.
    ///
    /// The same for an archived file whose object a verification has found missing or wrong: what had been proven of it
    /// is kept beside, and it gets another key where something lies under the one that it had; that object is foreign
    /// from then on. Where only the manifest was found missing or wrong, that is written again.
    ///
    /// The same for an archived file with a warning: it is fetched again under another key, and the object that it had is kept
    /// among its earlier ones.
    ///
    /// `false`, and nothing changed, when it is none of these.
    async fn retry(&self, file: FileId) -> Result<bool, StoreError>;

    /// Leaves out a file that is pending, parked or dead, as a person decides: its transfer is withdrawn, also while it
    /// runs, and a manifest that was written before is written again. `false`, and nothing changed, when it is none of these, or
    /// is fetched again beside the object that it has.
    async fn skip(&self, file: FileId, reason: &str) -> Result<bool, StoreError>;

    /// Takes a file that is skipped after all, as a person decides: its transfer waits, due now. `false`, and nothing changed, when it is not
    /// skipped.
    async fn unskip(&self, file: FileId) -> Result<bool, StoreError>;

    /// Wakes a job that is no transfer and that is parked, dead or cancelled, or waits and is not due yet, as a person
    /// decides: it waits again, due now, with all its attempts. `false`, and nothing changed, when it is none of these.
    async fn retry_job(&self, job: JobId) -> Result<bool, StoreError>;

    /// Withdraws a job that is no transfer and has not ended, as a person decides, also while it runs. Whatever wants
    /// it later makes it wait again. `false`, and nothing changed, when there is no such job.
    async fn cancel_job(&self, job: JobId, reason: &str) -> Result<bool, StoreError>;

    /// Chooses the place of a file, once: the folder of its recording and the key of its object. What was
    /// chosen before stands. Returns the key.
    async fn place(&self, file: FileId, folder: &str, name: &str) -> Result<String, StoreError>;

    /// Everything a transfer needs; `None` when the file is not known.
    async fn transfer_work(&self, file: FileId) -> Result<Option<TransferWork>, StoreError>;

    /// A recording with all its files, in order of announcement; `None` when it is not known.
    async fn recording(&self, id: RecordingId) -> Result<Option<(RecordingRow, Vec<FileRow>)>, StoreError>;

    /// A recording by what makes it the same one at Zoom, with all its files, in order of announcement; `None` when it
    /// is not known.
    async fn find(
        &self,
        identity: &RecordingIdentity,
    ) -> Result<Option<(RecordingRow, Vec<FileRow>)>, StoreError>;

    /// Recordings whose session or meeting began from `from` on and before `until`, in order of announcement, at most
    /// `limit`, after the recording `after` where one is named.
    async fn began_between(
        &self,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        after: Option<RecordingId>,
        limit: u32,
    ) -> Result<Vec<RecordingRow>, StoreError>;

    /// Files that are pending or parked and whose token says that it ends before that moment, in order of announcement,
    /// at most `limit`, after the file `after` where one is named.
    async fn ending_tokens(
        &self,
        before: DateTime<Utc>,
        after: Option<FileId>,
        limit: u32,
    ) -> Result<Vec<EndingToken>, StoreError>;

    /// Has a job wait that comes again by period, due now, with all its attempts; unless it waits or runs, or its last
    /// run ended, however that was, less than `period` ago by the database's clock. So however many ask for it, it
    /// runs once in a period. Whether it waits because of this call.
    async fn repeat(&self, task: Task, period: Duration) -> Result<bool, StoreError>;

    /// Files in one of `states` (all when empty), in order of announcement, at most `limit`, after the file
    /// `after` where one is named.
    async fn files(
        &self,
        states: &[FileState],
        after: Option<FileId>,
        limit: u32,
    ) -> Result<Vec<FileRow>, StoreError> {
        let filter = FileFilter { states: states.to_vec(), ..FileFilter::default() };
        let page = Page { after: after.map(|file| file.0), order: Order::Oldest, limit };
        self.list_files(&filter, page).await
    }

    /// A page of the recordings that fit a filter.
    async fn list_recordings(
        &self,
        filter: &RecordingFilter,
        page: Page,
    ) -> Result<Vec<RecordingRow>, StoreError>;

    /// How many files of these recordings stand in which state.
    async fn tally(&self, recordings: &[RecordingId]) -> Result<Vec<Tally>, StoreError>;

    /// A page of the files that fit a filter.
    async fn list_files(&self, filter: &FileFilter, page: Page) -> Result<Vec<FileRow>, StoreError>;

    /// Files that can be lost and fit a filter, the nearest loss first, at most `limit`, after the one that is named by both.
    async fn losing(
        &self,
        which: Losing,
        filter: &FileFilter,
        after: Option<(DateTime<Utc>, FileId)>,
        limit: u32,
    ) -> Result<Vec<FileRow>, StoreError>;

    /// How many files fit a filter.
    async fn count_files(&self, filter: &FileFilter) -> Result<u64, StoreError>;

    /// A file; `None` when it is not known.
    async fn file(&self, id: FileId) -> Result<Option<FileRow>, StoreError>;

    /// A page of the jobs that fit a filter.
    async fn list_jobs(&self, filter: &JobFilter, page: Page) -> Result<Vec<JobRow>, StoreError>;

    /// A job; `None` when it is not known.
    async fn job(&self, id: JobId) -> Result<Option<JobRow>, StoreError>;

    /// A page of the events that fit a filter.
    async fn list_events(&self, filter: &EventFilter, page: Page) -> Result<Vec<EventRow>, StoreError>;

    /// An event with its body; `None` when it is not known.
    async fn event(&self, id: EventId) -> Result<Option<(EventRow, Vec<u8>)>, StoreError>;

    /// How many events are kept that could not be read; ten thousand are as good as more.
    async fn unreadable_events(&self) -> Result<u64, StoreError>;

    /// Why transfers wait, are parked or dead: by state the reasons that most of them have, and how many do. What waits
    /// without having failed has none.
    async fn holdups(&self) -> Result<Vec<Holdup>, StoreError>;

    /// Which transfers wait and are not due yet.
    async fn resting(&self) -> Result<Resting, StoreError>;

    /// What was archived within the last `window`, by the database's clock, what runs, and what is left.
    async fn flow(&self, window: Duration) -> Result<Flow, StoreError>;

    /// Files with one of these findings, in order of announcement, at most `limit`, after the file `after` where one is
    /// named.
    async fn found(
        &self,
        findings: &[FileFinding],
        after: Option<FileId>,
        limit: u32,
    ) -> Result<Vec<FileRow>, StoreError>;

    /// How many archived files of a selection there are, and how many of them were last looked at longer ago than
    /// `period`.
    async fn to_verify(&self, selection: &Selection, period: Duration) -> Result<ToVerify, StoreError>;

    /// Archived files of a selection that were last looked at before `until`, which is when they were verified or
    /// archived; the longest unverified first, at most `limit`, after the one that is named by both.
    async fn unverified(
        &self,
        selection: &Selection,
        until: DateTime<Utc>,
        after: Option<(DateTime<Utc>, FileId)>,
        limit: u32,
    ) -> Result<Vec<Unverified>, StoreError>;

    /// Writes what a verification of an archived file found, in place of what an earlier one did. `false`, and nothing
    /// written, when the file is not any more what was looked at. Who wants to hear of it has a notice waiting with the same
    /// commit, unless the same was found before.
    async fn verified(&self, file: &FileRow, found: Option<&Found>) -> Result<bool, StoreError>;

    /// Takes a part of the archive's listing, all keys after `after` up to and with `until` (without one: to the end), and
    /// returns which objects are foreign: neither a file's nor the manifest of a recording. Up to `room` of them are kept
    /// for [`foreign`](Self::foreign), and what was kept of that part and is foreign no more is forgotten.
    async fn sift(
        &self,
        after: Option<&str>,
        until: Option<&str>,
        listed: &[ListedObject],
        room: u32,
    ) -> Result<Vec<ListedObject>, StoreError>;

    /// The foreign objects that are kept, in order of their keys, at most `limit`, after a key where one is named.
    async fn foreign(&self, after: Option<&str>, limit: u32) -> Result<Vec<ForeignObject>, StoreError>;

    /// How all archived files stand, by what the last verification of each has found.
    async fn verification(&self) -> Result<Verification, StoreError>;

    /// Whether the record holds nothing but what [`restore`](Self::restore) has brought.
    async fn is_unwritten(&self) -> Result<bool, StoreError>;

    /// Brings back a recording and its files from its manifest, which lies in `folder`: what is archived with its proof,
    /// what is skipped or gone as it was, all else parked for a token. A recording that is known stays as it is.
    async fn restore(&self, folder: &str, manifest: &Manifest) -> Result<Restored, StoreError>;

    /// Which of these uploads, each an id and the key of its object, are ours and of no more use: the key is that
    /// of one of our files (or empty, where the archive knows by itself that it is ours), no transfer that may
    /// still run has the upload in its checkpoint, and none runs under the key. Their ids.
    async fn leftovers(&self, uploads: &[(String, String)]) -> Result<Vec<String>, StoreError>;

    /// Takes the checkpoints of up to `limit` transfers that have been dead or cancelled for that long: what they
    /// began is given up, and a retry starts over.
    async fn abandon(&self, older_than: Duration, limit: u32) -> Result<Vec<Value>, StoreError>;

    /// Forgets up to `limit` events that came, or jobs that were finished, `age` ago or earlier, by the database's clock: the
    /// oldest first, after the row `after` where one is named. They are counted with the same commit. Holds nobody up: a
    /// row that somebody works on at that moment is left for another time.
    async fn prune(
        &self,
        what: Prunable,
        age: Duration,
        after: Option<Bygone>,
        limit: u32,
    ) -> Result<Pruned, StoreError>;

    /// What has been forgotten so far, by table and kind.
    async fn pruned(&self) -> Result<Vec<PrunedCount>, StoreError>;

    /// Tells who wants to hear of it of files that are neither archived nor gone nor skipped and that cannot be had any
    /// more after `lead` from now; each once, unless that moment moves. Of how many, 500 at most: call it until there are
    /// none.
    async fn tell_losses(&self, lead: Duration) -> Result<u64, StoreError>;

    /// Everything that a notice tells; `None` when there is none such, or its recording is not known any more.
    async fn notice_work(&self, id: NoticeId) -> Result<Option<NoticeWork>, StoreError>;

    /// What is nearest to being lost.
    async fn losses(&self) -> Result<Losses, StoreError>;

    /// How many files are left out because the same file is known, and taken, under another account.
    async fn twins(&self) -> Result<u64, StoreError>;

    /// How many jobs stand where. Goes through an index of every job to count what is finished: for a person who asks, not for
    /// a machine that asks every few seconds.
    async fn depth(&self) -> Result<Vec<Depth>, StoreError>;

    /// How many jobs wait, run or stand still, and for how long. What is finished costs nothing, however much it is.
    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError>;

    /// The archive that holds the objects of this record, once one is noted.
    async fn archive_identity(&self) -> Result<Option<ArchiveIdentity>, StoreError>;

    /// Notes the archive, in place of another one where `replace` says so; returns the one that is noted then.
    async fn note_archive(
        &self,
        archive: &ArchiveIdentity,
        replace: bool,
    ) -> Result<ArchiveIdentity, StoreError>;

    /// How the database itself is. Cheap.
    async fn health(&self) -> Result<Health, StoreError>;

    /// The connections of this process. Asks nobody.
    fn connections(&self) -> Vec<Connections>;

    /// Looks at the database, for `doctor` and for the start: rights, settings, clock. Writes nothing that stays.
    async fn examine(&self, look: Look) -> Result<Vec<Finding>, StoreError>;

    /// Proves that the database answers and holds the schema of this version.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Closes its connections; calls after that fail as unavailable.
    async fn close(&self);
}

/// A store behind which either database may stand.
pub type SharedStore = Arc<dyn Store>;

/// Whether `url` names a database that can be opened, as far as the text tells.
///
/// # Errors
/// [`StoreError::Url`] without the password.
pub fn check_url(url: &SecretString) -> Result<(), StoreError> {
    DatabaseUrl::read(url).map(drop)
}

/// Connects to the database that `url` names, and checks that it holds the schema of this version. Does not
/// migrate. For whoever records nothing: see [`open_with`].
///
/// # Errors
/// [`StoreError::Url`] without the password, [`StoreError::Unavailable`], [`StoreError::Schema`].
pub async fn open(url: &SecretString, config: &StoreConfig) -> Result<SharedStore, StoreError> {
    open_with(url, config, Intake::everything()).await
}

/// The same, for whoever records announcements: `intake` decides what becomes of their files.
///
/// # Errors
/// [`StoreError::Url`] without the password, [`StoreError::Unavailable`], [`StoreError::Schema`].
pub async fn open_with(
    url: &SecretString,
    config: &StoreConfig,
    intake: Intake,
) -> Result<SharedStore, StoreError> {
    let store: SharedStore = match DatabaseUrl::read(url)? {
        DatabaseUrl::Postgres(url) => Arc::new(postgres::PostgresStore::open(url, config, intake).await?),
        DatabaseUrl::Sqlite(path) => Arc::new(sqlite::SqliteStore::open(&path, config, intake).await?),
    };
    store.ping().await?;
    Ok(store)
}

/// Brings the schema of the database that `url` names up to this version; creates a SQLite file that does not
/// exist. Any number of processes may do this at once: one works, the others wait for it.
///
/// # Errors
/// [`StoreError::Url`] without the password, [`StoreError::Unavailable`], [`StoreError::Migration`].
pub async fn migrate(url: &SecretString, config: &StoreConfig) -> Result<Migrated, StoreError> {
    match DatabaseUrl::read(url)? {
        DatabaseUrl::Postgres(url) => postgres::migrate(url, config).await,
        DatabaseUrl::Sqlite(path) => sqlite::migrate(path, config).await,
    }
}

/// Moves the queue of a SQLite file into the past, which is as good as moving its clock on. For tests of what takes hours.
#[cfg(test)]
pub(crate) async fn move_into_the_past(url: &SecretString, by: Duration) {
    let Ok(DatabaseUrl::Sqlite(path)) = DatabaseUrl::read(url) else { panic!("is no SQLite file") };
    sqlite::move_into_the_past(&path, by).await.expect("the file is there");
}
