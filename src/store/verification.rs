//! What is asked of the record for verifying: which files, how many, and how they stand.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::file::{ArchivedObject, FileRow};
use crate::domain::ids::FileId;
use crate::domain::key::another_key;
use crate::domain::verification::{FileFinding, Mend};

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

/// What a retry does about an archived file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Again {
    /// Its manifest is written again.
    WriteManifest,
    /// It is fetched again.
    Fetch(FetchAgain),
}

/// How an archived file is fetched again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FetchAgain {
    /// Key of the object that it has; a file that has another one meanwhile is left alone.
    pub(super) key: String,
    /// Key of the object to come.
    pub(super) new_key: String,
    /// Why the file is pending.
    pub(super) reason: String,
    /// What was found of the present object: where anything was, the new one must hold the bytes that had been proven.
    pub(super) finding: Option<FileFinding>,
    /// What is kept of the present object as a foreign one, where that remains under a key that no file has any more.
    pub(super) left_behind: Option<String>,
    /// Objects that the file had before, with the present one where that is kept.
    pub(super) earlier_objects: Vec<ArchivedObject>,
}

impl Again {
    /// What is to be done about a file: what its finding asks for, or, where it has none but a warning, another try to fetch
    /// it. `None` where there is nothing to do.
    pub(super) fn about(file: &FileRow) -> Option<Self> {
        let archived = file.archived.as_ref()?;
        let (key, earlier_objects) = (archived.object_key.clone(), file.earlier_objects.clone());
        let Some(found) = &file.found else {
            let warning = archived.mark.as_ref()?;
            let present = ArchivedObject::new(archived, file.archived_at);
            let mut earlier_objects: Vec<_> =
                earlier_objects.into_iter().filter(|it| it.key != key).collect();
            earlier_objects.push(present);
            return Some(Self::Fetch(FetchAgain {
                new_key: another_key(&key),
                key,
                reason: format!("fetched again, as a person asked: {warning}"),
                finding: None,
                left_behind: None,
                earlier_objects,
            }));
        };
        let finding = found.finding;
        let new_key = match finding.mend()? {
            Mend::WriteManifest => return Some(Self::WriteManifest),
            Mend::FetchAgain => key.clone(),
            Mend::FetchAgainBeside => another_key(&key),
        };
        let found = words(finding);
        Some(Self::Fetch(FetchAgain {
            reason: format!("fetched again, as a person asked: a verification had found its object {found}"),
            finding: Some(finding),
            left_behind: (key != new_key).then(|| {
                format!("was the object of file {}, found wrong and fetched again to {new_key}", file.id)
            }),
            key,
            new_key,
            earlier_objects,
        }))
    }
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
