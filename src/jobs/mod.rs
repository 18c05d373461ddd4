//! The work itself, one file per kind of job. The only room where Zoom meets the archive.
//!
//! - [`transfer`]: carries one file into the archive
//! - [`manifest`]: writes the manifest of one recording
//! - [`remove`]: removes one recording at Zoom, after it was archived
//! - [`reconcile`]: looks for what no event brought
//! - [`verify`]: compares the archive with what was proven of it
//! - [`notify`]: sends one notice to one receiver
//! - [`buffers`]: the memory that all transfers share
//! - [`throttle`]: the ceiling on what they bring together
//! - [`turns`]: one question to Zoom's API per recording at a time
//!
//! A job never settles itself: it returns an [`Outcome`], and the worker writes it down.

pub mod buffers;
pub mod manifest;
pub mod notify;
pub mod reconcile;
pub mod remove;
pub mod throttle;
pub mod transfer;
pub mod turns;
pub mod verify;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::FutureExt;

use crate::archive::{ArchiveError, SharedArchive};
use crate::clock::Clock;
use crate::config::after_archive::AfterArchiveConfig;
use crate::config::reconcile::ReconcileConfig;
use crate::config::transfer::TransferConfig;
use crate::config::verify::VerifyConfig;
use crate::domain::account::AccountNames;
use crate::domain::job::{Outcome, Task, WaitsFor};
use crate::domain::key::KeyTemplate;
use crate::notify::{Notifier, SendError};
use crate::reconcile::ReconcileError;
use crate::store::{SharedStore, StoreError};
use crate::worker::Runner;
use crate::zoom::accounts::Accounts;
use crate::zoom::api::ApiError;
use crate::zoom::download::{DownloadError, Downloader};

use buffers::Buffers;
use throttle::Throttle;
use turns::Turns;
use verify::{Verifier, VerifyError};

/// What every job works with.
pub struct Jobs {
    /// Reads only: what a job concludes goes out as its outcome.
    pub store: SharedStore,
    /// Where files go.
    pub archive: SharedArchive,
    /// Where files come from.
    pub downloader: Downloader,
    /// Where fresh access to them comes from.
    pub accounts: Accounts,
    /// What those are called.
    pub names: AccountNames,
    /// How objects are named.
    pub template: KeyTemplate,
    /// Bounds and times.
    pub config: TransferConfig,
    /// Attempts of a job before it is dead (`worker.max_attempts`).
    pub max_attempts: u32,
    /// The memory that all transfers share.
    pub buffers: Buffers,
    /// Bytes that running transfers are going to write.
    pub reserved: Arc<AtomicU64>,
    /// The ceiling on what all transfers bring together.
    pub throttle: Throttle,
    /// Who asks Zoom's API for fresh access.
    pub turns: Turns,
    /// What is looked for by period.
    pub reconcile: ReconcileConfig,
    /// Who is told, and how.
    pub notifier: Notifier,
    /// What becomes of recordings at Zoom.
    pub after_archive: AfterArchiveConfig,
    /// How often the archive is verified.
    pub verify: VerifyConfig,
    /// What compares objects with their proofs.
    pub verifier: Verifier,
    /// The time, for what expires.
    pub clock: Clock,
}

impl Jobs {
    /// The runner that a worker pool takes.
    #[must_use]
    pub fn runner(self) -> Runner {
        let jobs = Arc::new(self);
        Arc::new(move |job, context| {
            let jobs = Arc::clone(&jobs);
            async move {
                match job.task {
                    Task::Transfer(file) => transfer::run(&jobs, file, &job, &context).await,
                    Task::Manifest(recording) => manifest::run(&jobs, recording, &context).await,
                    Task::Remove(recording) => remove::run(&jobs, recording, &context).await,
                    Task::Reconcile => reconcile::run(&jobs, &context).await,
                    Task::Verify => verify::round::run(&jobs, &job, &context).await,
                    Task::Notify(notice) => notify::run(&jobs, notice, &context).await,
                }
            }
            .boxed()
        })
    }
}

/// Counts a failure that ends a run.
fn count_failure(side: &'static str, class: &'static str) {
    metrics::counter!("zoom_archiver_failures_total", "side" => side, "class" => class).increment(1);
}

/// Each kind of failure decides what happens to the job.
impl From<StoreError> for Outcome {
    fn from(error: StoreError) -> Self {
        count_failure("database", error.class());
        let reason = error.to_string();
        match error {
            StoreError::Unavailable(_) => Self::Snooze { reason },
            StoreError::LeaseLost(_) => Self::Stopped,
            _ => Self::retry(reason),
        }
    }
}

impl From<ArchiveError> for Outcome {
    fn from(error: ArchiveError) -> Self {
        count_failure("archive", error.class());
        let reason = error.to_string();
        match error {
            ArchiveError::Unavailable(_) => Self::Snooze { reason },
            ArchiveError::NoRoom(_) => Self::Later { reason, after: ROOM_REST },
            ArchiveError::Exists(_) | ArchiveError::Refused(_) => {
                Self::Park { waits_for: WaitsFor::Person, reason }
            }
            ArchiveError::NoSuchUpload(_) | ArchiveError::Mismatch(_) => Self::retry(reason),
        }
    }
}

impl From<ApiError> for Outcome {
    fn from(error: ApiError) -> Self {
        count_failure("api", error.class());
        let reason = error.to_string();
        match error {
            ApiError::NoCredentials(_) => Self::Park { waits_for: WaitsFor::Token, reason },
            ApiError::NotAllowed(_) => Self::Park { waits_for: WaitsFor::Person, reason },
            ApiError::Superseded(_) => Self::Later { reason, after: token_rest() },
            // The API's limits are those of the account.
            ApiError::Refused { retry_after, .. } => {
                Self::Retry { reason, after: retry_after, whole_account: retry_after.is_some() }
            }
            ApiError::NotFound(_) | ApiError::NotNow(_) | ApiError::Invalid(_) | ApiError::Unreachable(_) => {
                Self::retry(reason)
            }
        }
    }
}

/// Rest until something is written again for which there was no room, about.
const ROOM_REST: Duration = Duration::from_secs(60);

/// Rest before Zoom is asked again where another program puts our access tokens out of force: at random, so that the two do not
/// keep step.
fn token_rest() -> Duration {
    Duration::from_secs(10).mul_f64(rand::random_range(0.5..1.5))
}

impl From<ReconcileError> for Outcome {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Api(error) => error.into(),
            ReconcileError::Store(error) => error.into(),
            ReconcileError::Archive(error) => error.into(),
        }
    }
}

impl From<VerifyError> for Outcome {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Store(error) => error.into(),
            VerifyError::Archive(error) => error.into(),
        }
    }
}

impl From<SendError> for Outcome {
    fn from(error: SendError) -> Self {
        let reason = error.to_string();
        match error {
            SendError::Unwanted => Self::Dead { reason },
            SendError::Redirects(_) => Self::retry(reason),
            SendError::Refused { retry_after, .. } => {
                Self::Retry { reason, after: retry_after, whole_account: false }
            }
            // What holds for one notice holds for all to the same receiver.
            SendError::Busy { retry_after, .. } => {
                Self::Retry { reason, after: retry_after, whole_account: true }
            }
            SendError::Unreachable(_) | SendError::TimedOut(_) => {
                Self::Retry { reason, after: None, whole_account: true }
            }
        }
    }
}

impl From<DownloadError> for Outcome {
    fn from(error: DownloadError) -> Self {
        count_failure("zoom", error.class());
        let reason = error.to_string();
        match error {
            DownloadError::NotAllowed(_) => Self::Park { waits_for: WaitsFor::Person, reason },
            DownloadError::Expired(_) | DownloadError::NoUrl => {
                Self::Park { waits_for: WaitsFor::Token, reason }
            }
            DownloadError::Refused { retry_after, whole_account, .. } => {
                Self::Retry { reason, after: retry_after, whole_account }
            }
            DownloadError::NotFound
            | DownloadError::Interrupted(_)
            | DownloadError::Stalled(_)
            | DownloadError::TooSlow { .. }
            | DownloadError::NoRanges(_)
            | DownloadError::BeyondEnd { .. }
            | DownloadError::TooLarge { .. }
            | DownloadError::Changed(_) => Self::retry(reason),
        }
    }
}
