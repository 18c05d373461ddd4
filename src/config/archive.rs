//! `[archive]`: the storage that the user owns.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Problems;
use crate::domain::key::KeyTemplate;

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveConfig {
    /// Where a file lies in the archive.
    pub key_template: String,
    /// What differs between S3 stores.
    pub s3: S3Config,
}

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Checksum that the bucket keeps.
    pub checksum: ChecksumMode,
    /// How an existing object is kept from being overwritten.
    pub conditional_create: Switch,
    /// Bucket in the path instead of the host name.
    pub path_style: Switch,
    /// Milliseconds for one request without an answer.
    pub attempt_timeout_ms: u64,
    /// Times one request is sent.
    pub max_attempts: u32,
}

/// Checksum that the bucket keeps and confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChecksumMode {
    /// `crc64nvme`, or none where the store rejects it.
    Auto,
    /// CRC-64/NVME over the whole object.
    Crc64nvme,
    /// CRC-32C.
    Crc32c,
    /// SHA-256 (of the parts, for objects of several parts).
    Sha256,
    /// None.
    None,
}

/// A behaviour that can be forced or left to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// The program finds out.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl ArchiveConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Err(error) = KeyTemplate::parse(&self.key_template) {
            problems.add("archive.key_template", error.to_string());
        }
        problems.at_least("archive.s3.attempt_timeout_ms", self.s3.attempt_timeout_ms, 100);
        problems.at_least("archive.s3.max_attempts", self.s3.max_attempts.into(), 1);
    }
}

impl S3Config {
    /// How long one request may go without an answer.
    #[must_use]
    pub fn attempt_timeout(&self) -> Duration {
        Duration::from_millis(self.attempt_timeout_ms)
    }
}
