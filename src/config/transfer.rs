//! `[transfer]`: how files are carried.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LONGEST_SECS, Problems};
use crate::domain::part::{MIN_PART_BYTES, MIN_PART_BYTES_UNKNOWN_LENGTH};

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferConfig {
    /// Preferred length of a part, in bytes.
    pub part_bytes: u64,
    /// Parts of one file on their way at once.
    pub parts_in_flight: u32,
    /// Memory for parts, in bytes, shared by all transfers.
    pub memory_bytes: u64,
    /// Seconds without a byte after which a download is cut.
    pub stall_secs: u64,
    /// Milliseconds between the last archived file and the manifest.
    pub manifest_delay_ms: u64,
}

impl TransferConfig {
    /// How long a download may bring no byte.
    #[must_use]
    pub fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_secs)
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
        problems.at_least("transfer.stall_secs", self.stall_secs, 1);
        problems.at_most("transfer.stall_secs", self.stall_secs, LONGEST_SECS);
    }
}
