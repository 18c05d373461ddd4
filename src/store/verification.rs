//! What is asked of the record for verifying: which files, how many, and how they stand.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::file::FileRow;
use crate::domain::ids::FileId;
use crate::domain::verification::FileFinding;

/// Which archived files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of these accounts, by Zoom's ids; of all when empty.
    pub account_ids: Vec<String>,
    /// Those that were archived from then on.
    pub archived_since: Option<DateTime<Utc>>,
    /// This one alone.
    pub file: Option<FileId>,
}

/// How much there is to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToVerify {
    /// When this was counted, by the database's clock. What is verified later has been looked at since.
    pub until: DateTime<Utc>,
    /// Archived files of the selection.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that were last looked at longer ago than they should be.
    pub overdue: u64,
}

/// An archived file that is to be verified.
#[derive(Debug, Clone)]
pub struct Unverified {
    /// The file.
    pub file: FileRow,
    /// The folder of its recording, with the manifest.
    pub folder: Option<String>,
    /// Whether the manifest is about to be written: it may say less than the row.
    pub manifest_waits: bool,
    /// When it was verified or archived.
    pub looked_at: DateTime<Utc>,
}

/// How all archived files stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// How long ago that one was verified, or archived, of which it is longest; `None` when nothing is archived.
    pub oldest: Option<Duration>,
    /// Files with a finding; findings that no file has are left out.
    pub findings: Vec<(FileFinding, u64)>,
    /// Foreign objects that are kept.
    pub foreign: u64,
}

/// Why a file that was archived is pending again.
pub(super) fn why_again(finding: FileFinding) -> String {
    format!("fetched again, as a person asked: a verification had found its object {}", words(finding))
}

/// What is kept of an object that lies under a key which its file has no more.
pub(super) fn left_behind(file: FileId, new_key: &str) -> String {
    format!("was the object of file {file}, found wrong and fetched again to {new_key}")
}

fn words(finding: FileFinding) -> &'static str {
    match finding {
        FileFinding::Missing => "missing",
        FileFinding::Size => "of another size",
        FileFinding::Sha256 => "with another SHA-256",
        FileFinding::Unreadable => "unreadable",
        FileFinding::Checksum => "with another checksum of the store",
        FileFinding::NoManifest | FileFinding::Manifest => "at odds with its manifest",
    }
}
