//! `[archive]`: the storage that the user owns.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Problems;
use crate::domain::fact;
use crate::domain::key::KeyTemplate;

/// Most tags that an object may have (Amazon S3 User Guide, "Categorizing your objects using tags").
const MAX_TAGS: usize = 10;
/// Longest key and longest value of a tag, in characters (same page).
const MAX_TAG_CHARS: (usize, usize) = (128, 256);
/// What tags may hold beside letters and digits (same page).
const TAG_PUNCTUATION: &str = " +-=._:/@";
/// Longest retention that Amazon S3 takes (User Guide, "Object Lock considerations"), in days.
const MAX_LOCK_DAYS: u64 = 36_500;

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveConfig {
    /// Where a file lies in the archive.
    pub key_template: String,
    /// Bytes of a directory's disk that no object takes.
    pub min_free_bytes: u64,
    /// Whether it is tried at the start if it can be written to.
    pub try_at_start: bool,
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
    /// Whether the signature of a request covers its body.
    pub sign_body: Switch,
    /// Milliseconds for one request without an answer.
    pub attempt_timeout_ms: u64,
    /// Times one request is sent.
    pub max_attempts: u32,
    /// Storage class of files, empty for the bucket's default.
    pub storage_class: String,
    /// Encryption at rest.
    pub server_side_encryption: Encryption,
    /// Key for `aws:kms`, empty for the store's default.
    pub kms_key_id: String,
    /// `key=value` tags of every object.
    pub tags: Vec<String>,
    /// Names of the facts that are kept with every file.
    pub metadata: Vec<String>,
    /// Object Lock retention.
    pub object_lock_mode: LockMode,
    /// Days that the retention lasts.
    pub object_lock_days: u64,
    /// Object Lock legal hold.
    pub legal_hold: bool,
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

/// Encryption at rest by the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encryption {
    /// What the bucket does by itself.
    #[serde(rename = "none")]
    None,
    /// With the store's own key (SSE-S3).
    #[serde(rename = "aes256")]
    Aes256,
    /// With a key of its key management (SSE-KMS).
    #[serde(rename = "aws:kms")]
    Kms,
    /// Twice, with such a key (DSSE-KMS).
    #[serde(rename = "aws:kms:dsse")]
    KmsTwice,
}

/// Object Lock retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// What the bucket does by itself.
    None,
    /// Who has a right of its own may lift it.
    Governance,
    /// Nobody may lift it before its end.
    Compliance,
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
        self.s3.check_options(problems);
    }
}

impl S3Config {
    fn check_options(&self, problems: &mut Problems) {
        if !self.storage_class.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
            problems.add("archive.s3.storage_class", "is no storage class, such as \"STANDARD_IA\"");
        }
        let with_key = matches!(self.server_side_encryption, Encryption::Kms | Encryption::KmsTwice);
        if !self.kms_key_id.is_empty() && !with_key {
            problems.add("archive.s3.kms_key_id", "needs archive.s3.server_side_encryption = \"aws:kms\"");
        }
        if let Some(wrong) = self.wrong_tag() {
            problems.add("archive.s3.tags", wrong);
        }
        if let Some(unknown) = self.metadata.iter().find(|name| !fact::NAMES.contains(&name.as_str())) {
            let known = fact::NAMES.join(", ");
            problems.add("archive.s3.metadata", format!("knows no `{unknown}`; known are {known}"));
        }
        match self.object_lock_mode {
            LockMode::None if self.object_lock_days > 0 => {
                problems.add("archive.s3.object_lock_days", "needs archive.s3.object_lock_mode");
            }
            LockMode::None => {}
            LockMode::Governance | LockMode::Compliance => {
                problems.at_least("archive.s3.object_lock_days", self.object_lock_days, 1);
                problems.at_most("archive.s3.object_lock_days", self.object_lock_days, MAX_LOCK_DAYS);
            }
        }
    }

    fn wrong_tag(&self) -> Option<String> {
        if self.tags.len() > MAX_TAGS {
            return Some(format!("holds {} tags, an object may have {MAX_TAGS}", self.tags.len()));
        }
        let mut seen = Vec::new();
        for tag in &self.tags {
            let Some((key, value)) = tag.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                return Some(format!("`{tag}` is not key=value"));
            };
            if key.chars().count() > MAX_TAG_CHARS.0 || value.chars().count() > MAX_TAG_CHARS.1 {
                return Some(format!(
                    "`{key}` is too long: a key may have {} characters, a value {}",
                    MAX_TAG_CHARS.0, MAX_TAG_CHARS.1
                ));
            }
            if let Some(odd) = tag.chars().find(|c| !c.is_alphanumeric() && !TAG_PUNCTUATION.contains(*c)) {
                return Some(format!(
                    "`{key}` holds `{odd}`; beside letters and digits may stand: {TAG_PUNCTUATION}"
                ));
            }
            if key.starts_with("aws:") {
                return Some(format!("`{key}`: keys that begin with aws: are Amazon's own"));
            }
            if seen.contains(&key) {
                return Some(format!("`{key}` is there twice"));
            }
            seen.push(key);
        }
        None
    }

    /// The tags as pairs of key and value.
    pub fn tag_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tags.iter().filter_map(|tag| tag.split_once('='))
    }

    /// How long one request may go without an answer.
    #[must_use]
    pub fn attempt_timeout(&self) -> Duration {
        Duration::from_millis(self.attempt_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load::{Environment, load};

    fn with(settings: &[(&str, &str)]) -> Environment {
        let variable = |key: &str| format!("ZOOM_ARCHIVER_ARCHIVE__S3__{}", key.to_uppercase());
        settings.iter().map(|(key, value)| (variable(key), (*value).to_owned())).collect()
    }

    #[test]
    fn every_object_option_can_be_set_by_the_environment() {
        let config = load(
            None,
            &with(&[
                ("storage_class", "STANDARD_IA"),
                ("server_side_encryption", "aws:kms"),
                ("kms_key_id", "alias/archive"),
                ("tags", "team=öffentlich, formula=a=b"),
                ("metadata", "topic,start"),
                ("object_lock_mode", "compliance"),
                ("object_lock_days", "3650"),
                ("legal_hold", "true"),
            ]),
        );
        let s3 = config.unwrap().archive.s3;
        let tags: Vec<_> = s3.tag_pairs().collect();
        assert_eq!(tags, [("team", "öffentlich"), ("formula", "a=b")]);
        assert_eq!(s3.metadata, ["topic", "start"]);
        assert!(s3.legal_hold);
    }

    #[test]
    fn an_object_option_that_makes_no_sense_is_refused_by_name() {
        let many = (0..11).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        let long = format!("{}=v", "k".repeat(129));
        for (settings, key) in [
            (&[("storage_class", "STANDARD IA")][..], "storage_class"),
            (&[("server_side_encryption", "rot13")], "server_side_encryption"),
            (&[("kms_key_id", "alias/archive")], "kms_key_id"),
            (&[("tags", "team")], "tags"),
            (&[("tags", "=value")], "tags"),
            (&[("tags", "a=1,a=2")], "tags"),
            (&[("tags", "aws:x=1")], "tags"),
            (&[("tags", "team=R&D")], "tags"),
            (&[("tags", &many)], "tags"),
            (&[("tags", &long)], "tags"),
            (&[("metadata", "topic,password")], "metadata"),
            (&[("object_lock_mode", "forever")], "object_lock_mode"),
            (&[("object_lock_mode", "governance")], "object_lock_days"),
            (&[("object_lock_days", "1")], "object_lock_days"),
            (&[("object_lock_mode", "compliance"), ("object_lock_days", "36501")], "object_lock_days"),
            (&[("legal_hold", "perhaps")], "legal_hold"),
        ] {
            let told = load(None, &with(settings)).unwrap_err().to_string();
            assert!(told.contains(key), "{settings:?}: {told}");
        }
    }
}
