//! Settings: one file per section, plain data with `check()`. The only reader of configuration files and of
//! the environment.
//!
//! - [`load`]: default file < user's file < environment, with unknown keys refused by name
//! - [`secrets`]: what comes from the environment alone
//! - [`proxy`]: which proxy of the environment is on the way
//! - [`accounts`]: several Zoom accounts, each with its secrets
//! - one module per section of `config/default.toml`

pub mod accounts;
pub mod after_archive;
pub mod archive;
pub mod filters;
mod hidden;
pub mod http;
pub mod load;
pub mod log;
pub mod notify;
pub mod proxy;
pub mod reconcile;
pub mod retention;
pub mod secrets;
pub mod shown;
pub mod store;
pub mod transfer;
pub mod verify;
pub mod worker;
pub mod zoom;

use serde::{Deserialize, Serialize};

pub use load::{ConfigError, DEFAULT_TOML};
pub use secrets::Secrets;

/// Everything in `config/default.toml`, which is its reference.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The two doors.
    pub http: http::HttpConfig,
    /// How Zoom is trusted and reached.
    pub zoom: zoom::ZoomConfig,
    /// The database.
    pub store: store::StoreConfig,
    /// The storage that the user owns.
    pub archive: archive::ArchiveConfig,
    /// Which files are taken.
    pub filters: filters::FiltersConfig,
    /// The queue's workers.
    pub worker: worker::WorkerConfig,
    /// How files are carried.
    pub transfer: transfer::TransferConfig,
    /// What becomes of recordings at Zoom once they are archived.
    pub after_archive: after_archive::AfterArchiveConfig,
    /// What is looked for that no event brought.
    pub reconcile: reconcile::ReconcileConfig,
    /// How often the archive is compared with what was proven of it.
    pub verify: verify::VerifyConfig,
    /// For how long rows of our own are kept.
    pub retention: retention::RetentionConfig,
    /// Who is told of what.
    pub notify: notify::NotifyConfig,
    /// What is logged and how.
    pub log: log::LogConfig,
}

impl Config {
    /// Every value that makes no sense, by key.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        self.http.check(&mut problems);
        self.zoom.check(&mut problems);
        self.store.check(&mut problems);
        self.archive.check(&mut problems);
        self.filters.check(&mut problems);
        self.worker.check(&mut problems);
        self.transfer.check(&mut problems);
        self.reconcile.check(&mut problems);
        self.after_archive.check(&mut problems);
        self.verify.check(&mut problems);
        self.retention.check(&mut problems);
        self.notify.check(&mut problems);
        problems.0
    }
}

/// A value that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Problem {
    /// The key, such as `worker.concurrency`.
    pub key: &'static str,
    /// What is wrong with its value.
    pub message: String,
}

/// Collects problems, so that all of them are told at once.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a problem.
    pub fn add(&mut self, key: &'static str, message: impl Into<String>) {
        self.0.push(Problem { key, message: message.into() });
    }

    /// Notes a problem when a number is below its least sensible value.
    pub fn at_least(&mut self, key: &'static str, value: u64, least: u64) {
        if value < least {
            self.add(key, format!("is {value}, must be at least {least}"));
        }
    }

    /// Notes a problem when a number is above its greatest sensible value.
    pub fn at_most(&mut self, key: &'static str, value: u64, most: u64) {
        if value > most {
            self.add(key, format!("is {value}, must be at most {most}"));
        }
    }
}

/// Longest name of an account or a receiver, in bytes: it labels metrics.
const MAX_LABEL_BYTES: usize = 40;

/// Whether a name can label metrics and stand in keys and commands.
fn is_label(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    !name.is_empty() && name.len() <= MAX_LABEL_BYTES && name.bytes().all(is_plain)
}

/// Notes a problem when one of `words` is no file type of Zoom's.
fn check_file_types(key: &'static str, words: &[String], problems: &mut Problems) {
    let is_type = |word: &&String| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if let Some(odd) = words.iter().find(|word| !is_type(word)) {
        problems.add(key, format!("`{odd}` is no file type of Zoom's, such as MP4 or TRANSCRIPT"));
    }
}

/// Most connections, and events in flight, that make sense.
const MOST_AT_ONCE: u64 = 1_000_000;
/// Longest stall limit and lease that make sense, in seconds: a day.
const LONGEST_SECS: u64 = 24 * 3600;
