//! What a verification finds: how an object in the archive stands against what was proven of it.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::recording::UnknownWord;

/// What is wrong with an archived file; the gravest where there is more than one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileFinding {
    /// There is no object under its key.
    Missing,
    /// The object has another length than was proven.
    Size,
    /// The object has another SHA-256 than was proven.
    Sha256,
    /// There is an object, but the archive does not give it.
    Unreadable,
    /// The object reads back as it was proven, but the store's own checksum of it is another one than it was.
    Checksum,
    /// The object is right, but its recording has no manifest.
    NoManifest,
    /// The object is right, but the manifest says something else of it.
    Manifest,
}

/// How a finding is mended, where a command can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// Fetched from Zoom again, under the key that it had.
    FetchAgain,
    /// Fetched from Zoom again, under another key: what lies under the one that it had stays there.
    FetchAgainBeside,
    /// Its manifest written again.
    WriteManifest,
}

impl FileFinding {
    /// Every finding, the gravest first.
    pub const ALL: [Self; 7] = [
        Self::Missing,
        Self::Size,
        Self::Sha256,
        Self::Unreadable,
        Self::Checksum,
        Self::NoManifest,
        Self::Manifest,
    ];

    /// The word used in SQL, logs, API and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Size => "size",
            Self::Sha256 => "sha256",
            Self::Unreadable => "unreadable",
            Self::Checksum => "checksum",
            Self::NoManifest => "no_manifest",
            Self::Manifest => "manifest",
        }
    }

    /// What another try does about it; `None` where a person has to look.
    #[must_use]
    pub fn mend(self) -> Option<Mend> {
        match self {
            Self::Missing => Some(Mend::FetchAgain),
            Self::Size | Self::Sha256 => Some(Mend::FetchAgainBeside),
            Self::NoManifest | Self::Manifest => Some(Mend::WriteManifest),
            Self::Unreadable | Self::Checksum => None,
        }
    }
}

impl fmt::Display for FileFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FileFinding {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|finding| finding.as_str() == text)
            .ok_or_else(|| UnknownWord::new("finding", text))
    }
}

/// A finding, and what exactly was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub finding: FileFinding,
    /// In words, without secrets.
    pub detail: String,
}

/// An object as the archive lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Key within the archive, without the archive's own prefix.
    pub key: String,
    /// Its length.
    pub bytes: u64,
}

/// An object that is neither a file's nor a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForeignObject {
    /// Its key.
    pub key: String,
    /// Its length, when the archive last listed it.
    pub bytes: Option<u64>,
    /// When it was first found.
    pub found_at: DateTime<Utc>,
    /// What is known of it.
    pub detail: Option<String>,
}
