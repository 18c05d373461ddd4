//! `[worker]`: the queue's workers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LONGEST_SECS, Problems};

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// Jobs worked on at once.
    pub concurrency: u32,
    /// Transfers of one Zoom account at once; 0 for no limit of its own.
    pub concurrency_per_account: u32,
    /// Length of a lease, in seconds.
    pub lease_secs: u64,
    /// Milliseconds between looks into the queue.
    pub poll_interval_ms: u64,
    /// Milliseconds between sweeps for expired leases.
    pub sweep_interval_ms: u64,
    /// Shortest rest after a failure, in milliseconds.
    pub retry_base_ms: u64,
    /// Longest rest after a failure, in milliseconds.
    pub retry_max_ms: u64,
    /// Failed attempts in a row, without headway, after which a job is dead.
    pub max_attempts: u32,
    /// Leases a job may lose in a row.
    pub max_lost_leases: u32,
    /// Milliseconds for running jobs to stop.
    pub shutdown_grace_ms: u64,
}

impl WorkerConfig {
    /// Transfers of one Zoom account at once: at least one, and never more than jobs in all.
    #[must_use]
    pub fn per_account(&self) -> u32 {
        match self.concurrency_per_account {
            0 => self.concurrency,
            limit => limit.min(self.concurrency),
        }
    }

    /// Length of a lease.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_secs)
    }

    /// Time between looks into the queue.
    #[must_use]
    pub fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }

    /// Time between sweeps for expired leases.
    #[must_use]
    pub fn sweep_interval(&self) -> Duration {
        Duration::from_millis(self.sweep_interval_ms)
    }

    /// Time for running jobs to stop.
    #[must_use]
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("worker.concurrency", self.concurrency.into(), 1);
        problems.at_least("worker.lease_secs", self.lease_secs, 1);
        problems.at_most("worker.lease_secs", self.lease_secs, LONGEST_SECS);
        problems.at_least("worker.poll_interval_ms", self.poll_interval_ms, 10);
        problems.at_least("worker.sweep_interval_ms", self.sweep_interval_ms, 10);
        problems.at_least("worker.retry_base_ms", self.retry_base_ms, 1);
        problems.at_least("worker.retry_max_ms", self.retry_max_ms, self.retry_base_ms);
        problems.at_least("worker.max_attempts", self.max_attempts.into(), 1);
        problems.at_least("worker.max_lost_leases", self.max_lost_leases.into(), 1);
    }
}
