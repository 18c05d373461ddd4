//! `[transfer]`: how files are carried.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LONGEST_SECS, Problems};
use crate::domain::part::{MIN_PART_BYTES, MIN_PART_BYTES_UNKNOWN_LENGTH};

/// Lowest ceiling that makes sense, in bytes per second: below it the stall limit would cut what waits its turn.
pub(super) const LEAST_CEILING: u64 = 64 * 1024;

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferConfig {
    /// Preferred length of a part, in bytes.
    pub part_bytes: u64,
    /// Parts of one file in memory at once.
    pub parts_in_flight: u32,
    /// Parts of one file that are fetched at once.
    pub ranges_in_flight: u32,
    /// Memory for parts, in bytes, shared by all transfers.
    pub memory_bytes: u64,
    /// Seconds without a byte after which a download is cut.
    pub stall_secs: u64,
    /// Fewest bytes per second that a download may bring; 0 for no such limit.
    pub min_bytes_per_sec: u64,
    /// Most bytes per second that all downloads of this process may bring; 0 for no such limit.
    pub max_bytes_per_sec: u64,
    /// Seconds for which a fresh token may take to be used: one that expires sooner is renewed first.
    pub token_margin_secs: u64,
    /// Seconds until a file that Zoom still works on is asked for again.
    pub processing_secs: u64,
    /// Times that a doubtful file is asked for again before it is archived with a warning.
    pub doubt_retries: u32,
    /// Seconds before the first of them; three times as long before each further one.
    pub doubt_rest_secs: u64,
    /// Most bytes that may come of a file, in percent of its announced size, beside 64 MiB.
    pub size_limit_percent: u64,
    /// Most bytes that may come of a file whose size was not announced.
    pub max_file_bytes: u64,
    /// Hours after which an unfinished upload that no transfer goes on with is given up.
    pub leftover_hours: u64,
    /// Milliseconds between the last archived file and the manifest.
    pub manifest_delay_ms: u64,
}

impl TransferConfig {
    /// How long a download may bring no byte.
    #[must_use]
    pub fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_secs)
    }

    /// Parts of one file that are fetched at once: what is fetched is in memory, so never more than may be there.
    #[must_use]
    pub fn ranges(&self) -> u32 {
        self.ranges_in_flight.min(self.parts_in_flight)
    }

    /// How long a token must last for it to be used.
    #[must_use]
    pub fn token_margin(&self) -> Duration {
        Duration::from_secs(self.token_margin_secs)
    }

    /// Rest before a file that Zoom still works on is asked for again.
    #[must_use]
    pub fn processing_rest(&self) -> Duration {
        Duration::from_secs(self.processing_secs)
    }

    /// Rest before a doubtful file is asked for again that was asked for again so often already.
    #[must_use]
    pub fn doubt_rest(&self, asked_again: u32) -> Duration {
        let secs = self.doubt_rest_secs.saturating_mul(3_u64.saturating_pow(asked_again));
        Duration::from_secs(secs.min(LONGEST_SECS))
    }

    /// Most bytes that may come of a file of which Zoom announced this size.
    #[must_use]
    pub fn limit_for(&self, announced: u64) -> u64 {
        const SLACK_BYTES: u64 = 64 * 1024 * 1024;
        (announced / 100)
            .saturating_add(1)
            .saturating_mul(self.size_limit_percent)
            .saturating_add(SLACK_BYTES)
    }

    /// Age at which an unfinished upload that no transfer goes on with is given up.
    #[must_use]
    pub fn leftover_age(&self) -> Duration {
        Duration::from_secs(self.leftover_hours.saturating_mul(3600))
    }

    /// Rest before a manifest is written.
    #[must_use]
    pub fn manifest_delay(&self) -> Duration {
        Duration::from_millis(self.manifest_delay_ms)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("transfer.part_bytes", self.part_bytes, MIN_PART_BYTES);
        problems.at_least("transfer.parts_in_flight", self.parts_in_flight.into(), 1);
        problems.at_least(
            "transfer.memory_bytes",
            self.memory_bytes,
            self.part_bytes.max(MIN_PART_BYTES_UNKNOWN_LENGTH),
        );
        problems.at_least("transfer.ranges_in_flight", self.ranges_in_flight.into(), 1);
        if self.max_bytes_per_sec > 0 {
            problems.at_least("transfer.max_bytes_per_sec", self.max_bytes_per_sec, LEAST_CEILING);
            problems.at_most("transfer.min_bytes_per_sec", self.min_bytes_per_sec, self.max_bytes_per_sec);
        }
        problems.at_most("transfer.token_margin_secs", self.token_margin_secs, LONGEST_SECS);
        problems.at_least("transfer.processing_secs", self.processing_secs, 1);
        problems.at_most("transfer.processing_secs", self.processing_secs, LONGEST_SECS);
        problems.at_most("transfer.doubt_retries", self.doubt_retries.into(), 20);
        problems.at_most("transfer.doubt_rest_secs", self.doubt_rest_secs, LONGEST_SECS);
        problems.at_least("transfer.size_limit_percent", self.size_limit_percent, 100);
        problems.at_least("transfer.max_file_bytes", self.max_file_bytes, 1);
        problems.at_least("transfer.leftover_hours", self.leftover_hours, 1);
        problems.at_least("transfer.stall_secs", self.stall_secs, 1);
        problems.at_most("transfer.stall_secs", self.stall_secs, LONGEST_SECS);
    }
}
