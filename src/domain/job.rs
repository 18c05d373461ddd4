//! The queue's words: job, lease, checkpoint, outcome, settlement. The picture of the states is
//! `docs/job-states.md`; the database repeats it in `CHECK` constraints.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::file::ArchivedFile;
use super::ids::{FileId, JobId, NoticeId, RecordingId};
use super::notice::News;
use super::recording::UnknownWord;

/// What a job is about. There is one job per kind and subject, ever: it is woken, not doubled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// Carry one file into the archive.
    Transfer(FileId),
    /// Write the manifest of one recording.
    Manifest(RecordingId),
    /// Remove one recording at Zoom, where that is asked for.
    Remove(RecordingId),
    /// Look for what no event brought. There is one such job, which comes again by period.
    Reconcile,
    /// Compare a share of the archive with what was proven of it. There is one such job, which comes again by period.
    Verify,
    /// Send one notice to one receiver.
    Notify(NoticeId),
}

/// The kind of job that carries a file.
pub const TRANSFER: &str = "transfer";

impl Task {
    /// The kind as the word used in SQL, logs and metrics.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Transfer(_) => TRANSFER,
            Self::Manifest(_) => "manifest",
            Self::Remove(_) => "remove",
            Self::Reconcile => "reconcile",
            Self::Verify => "verify",
            Self::Notify(_) => "notify",
        }
    }

    /// The id of the row that the job is about; nil when it is about no row.
    #[must_use]
    pub fn subject(self) -> Uuid {
        match self {
            Self::Transfer(FileId(id))
            | Self::Manifest(RecordingId(id))
            | Self::Remove(RecordingId(id))
            | Self::Notify(NoticeId(id)) => id,
            Self::Reconcile | Self::Verify => Uuid::nil(),
        }
    }

    /// Reads back what [`kind`](Self::kind) and [`subject`](Self::subject) wrote.
    ///
    /// # Errors
    /// When the kind is none of this version's.
    pub fn from_row(kind: &str, subject: Uuid) -> Result<Self, UnknownWord> {
        match kind {
            TRANSFER => Ok(Self::Transfer(FileId(subject))),
            "manifest" => Ok(Self::Manifest(RecordingId(subject))),
            "remove" => Ok(Self::Remove(RecordingId(subject))),
            "reconcile" => Ok(Self::Reconcile),
            "verify" => Ok(Self::Verify),
            "notify" => Ok(Self::Notify(NoticeId(subject))),
            _ => Err(UnknownWord::new("job kind", kind)),
        }
    }
}

/// Which jobs a claim is about. Each queue has slots of its own, so that neither takes from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// All but the notices.
    Work,
    /// The notices: what runs here waits for receivers that are nobody's but the user's.
    Notices,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Rests until `run_at`.
    Waiting,
    /// Held by a worker under a lease.
    Running,
    /// Rests until something named happens.
    Parked,
    /// Finished.
    Done,
    /// Given up.
    Dead,
    /// Withdrawn.
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Running, Self::Parked, Self::Done, Self::Dead, Self::Cancelled];

    /// The word used in SQL, logs and API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownWord::new("job state", text))
    }
}

/// The right to work on a job, and to write of it. Every write names the token and must change exactly one
/// row, else the job is lost to its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job held.
    pub job: JobId,
    /// Fencing number: grows with every claim of the job, so a holder that slept past its lease is refused.
    pub token: i64,
}

/// A claimed job.
#[derive(Debug, Clone)]
pub struct Job {
    /// The right to work on it.
    pub lease: Lease,
    /// What is to be done.
    pub task: Task,
    /// Whose turn it is when the job runs: the Zoom account that a transfer asks for its file, the receiver of a
    /// notice; `None` for jobs that ask nothing of either.
    pub account: Option<String>,
    /// Failed attempts that counted, since it last made headway.
    pub attempts: u32,
    /// Times it was put back through no fault of its own since it last made headway.
    pub snoozes: u32,
    /// What the last holder left for the next one.
    pub checkpoint: Option<Value>,
    /// The trace of the event that it goes back to (`traceparent`, W3C Trace Context), if any.
    pub trace: Option<String>,
    /// How long it had been due when it was claimed.
    pub waited: Duration,
}

/// How far the transfer of a file has come, as far as its run has told: by the parts that the archive has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Bytes of the file, where they were announced.
    pub of: Option<u64>,
    /// How many of them the archive holds for certain; no more than were announced.
    pub bytes: u64,
    /// Bytes per second of this run; nought before there is anything to go by.
    pub per_sec: u64,
}

/// A job as the store knows it, for people: without its checkpoint.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// As in [`Task::kind`]; perhaps one that this version does not know.
    pub kind: String,
    /// As in [`Task::subject`].
    pub subject: Uuid,
    /// The Zoom account that it asks; `None` for jobs that ask nothing of Zoom.
    pub account: Option<String>,
    /// Where it stands.
    pub state: JobState,
    /// When it is due, or was.
    pub run_at: DateTime<Utc>,
    /// As in [`Job::attempts`].
    pub attempts: u32,
    /// As in [`Job::snoozes`].
    pub snoozes: u32,
    /// Leases in a row that it has lost.
    pub lost_leases: u32,
    /// Who runs it: host and process.
    pub lease_owner: Option<String>,
    /// How long that one may.
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
    /// How far it has come, where it is a transfer that runs.
    pub carried: Option<Carried>,
}

/// What a parked job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// A fresh URL or token, from a later event or the API.
    Token,
    /// A person's decision; the reason says which.
    Person,
}

impl WaitsFor {
    /// The word used in SQL, logs and API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Person => "person",
        }
    }
}

impl FromStr for WaitsFor {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "token" => Ok(Self::Token),
            "person" => Ok(Self::Person),
            _ => Err(UnknownWord::new("thing to wait for", text)),
        }
    }
}

/// How a run of a job ended, as the job itself reports it. The worker turns it into a [`Settlement`].
#[derive(Debug)]
pub enum Outcome {
    /// Finished.
    Done(Box<Completion>),
    /// Failed in a way that may pass; costs an attempt.
    Retry {
        /// What went wrong, without secrets.
        reason: String,
        /// The earliest sensible time, where the other side named one (`Retry-After`).
        after: Option<Duration>,
        /// Whether it turned away not this file but the whole Zoom account (429), or not this notice but all for the
        /// same receiver: then the worker begins no other of them until then, or for a rest of its own where no time
        /// was named.
        whole_account: bool,
    },
    /// The archive or the database is away, which is not the job's fault: put back, costs no attempt. The worker
    /// takes on little until something succeeds again.
    Snooze {
        /// What it waits out, without secrets.
        reason: String,
    },
    /// Not yet, though nothing is wrong (Zoom still processes the file): put back for a while, costs no attempt.
    Later {
        /// What it waits for, without secrets.
        reason: String,
        /// How long.
        after: Duration,
    },
    /// Cannot go on before something happens.
    Park {
        /// What must happen.
        waits_for: WaitsFor,
        /// Why, without secrets.
        reason: String,
    },
    /// Zoom has the file no more, and says so when asked twice. The job is done; its file is gone.
    Gone {
        /// How Zoom said it, without secrets.
        reason: String,
        /// Jobs that follow from it, as in [`Completion::next`].
        next: Vec<(Task, Duration)>,
    },
    /// Cannot ever go on.
    Dead {
        /// Why, without secrets.
        reason: String,
    },
    /// Stopped by its worker before it could end; put back at once, costs no attempt.
    Stopped,
    /// Cancelled while it ran, in consequence of what it did itself: there is nothing to settle.
    Withdrawn,
}

impl Outcome {
    /// A failure that may pass, of which nobody said when.
    #[must_use]
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None, whole_account: false }
    }
}

/// What a finished job writes in the transaction that ends it.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    /// The file that is now archived.
    pub archived: Option<(FileId, ArchivedFile)>,
    /// Jobs that follow from it, each with how long it rests first. One that waits already keeps its time; one
    /// that runs is wanted again; one that has ended or is parked waits again.
    pub next: Vec<(Task, Duration)>,
    /// What receivers are told, unless the job was wanted again meanwhile.
    pub news: Option<News>,
}

/// How a run of a job is written down, in one transaction.
#[derive(Debug, Clone)]
pub enum Settlement {
    /// `running` → `done` (or back to `waiting` when it was wanted again meanwhile).
    Done(Box<Completion>),
    /// `running` → `done`, and the transfer's file is gone: it forgets its URL and token (or back to `waiting`
    /// when it was wanted again meanwhile).
    Gone {
        /// Why.
        reason: String,
        /// Jobs that follow from it, as in [`Completion::next`].
        next: Vec<(Task, Duration)>,
    },
    /// `running` → `waiting`.
    Wait {
        /// How long from now.
        after: Duration,
        /// Why, when something went wrong.
        reason: Option<String>,
        /// What it costs.
        cost: Cost,
    },
    /// `running` → `parked`.
    Park {
        /// What it waits for.
        waits_for: WaitsFor,
        /// Why.
        reason: String,
    },
    /// `running` → `dead`; costs an attempt.
    Dead {
        /// Why.
        reason: String,
    },
}

/// What going back to `waiting` costs a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// One of its attempts.
    Attempt,
    /// Nothing but a longer rest next time.
    Snooze,
    /// Nothing.
    Nothing,
}
