//! What is decided where the record is written: which files are taken, from whichever side they come (the one place for
//! events and for answers of the API), and who is told of what becomes of them.

use std::fmt;
use std::sync::Arc;

use tracing::warn;

use crate::domain::file::{FileRow, FileState, RecordingRow};
use crate::domain::filter::{Candidate, Filter};
use crate::domain::ids::FileId;
use crate::domain::notice::Subscriptions;
use crate::domain::recording::{AnnouncedFile, AnnouncedRecording, RecordingIdentity};

/// Says of a recording whether a token for it can be renewed.
type Renews = dyn Fn(&RecordingIdentity) -> bool + Send + Sync;

// Who has decided whether a file is taken, as `files.decided_by` says it: the rules, by their fingerprint, or one of these.
// Rules judge again only what was judged by the very same rules.

/// It lies in storage of the account's own.
const STORAGE: &str = "storage";
/// It is taken, although the same file is known under another account. Rules may still leave it out.
pub(super) const TWIN: &str = "twin";
/// A person has left it out, or taken it after all.
pub(super) const PERSON: &str = "person";

/// Whether a file is taken, at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    /// Why it is not, if so.
    pub(super) leaves_out: Option<String>,
    /// Who says so.
    pub(super) by: String,
}

/// Says loudly that files are known under another account.
pub(super) fn warn_of_twins(recording: &RecordingIdentity, twins: u64) {
    if twins > 0 {
        warn!(
            recording.account = recording.account_id,
            recording.kind = %recording.kind,
            recording.instance = recording.instance_id,
            files = twins,
            "known under another account, too, and archived for both: are the account ids in the settings right?"
        );
    }
}

/// How many files were known under another account when they were announced. Earlier releases left them out.
pub(super) const TWINS: &str = "SELECT count(*) FROM files WHERE decided_by = 'twin'";

/// What the rules say of a known file, against what stands in its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) file: FileId,
    /// Why it is not taken any more; `None`: it is taken after all.
    pub(super) leaves_out: Option<String>,
}

/// What a store does with announcements and settlements beside keeping them.
#[derive(Clone)]
pub struct Intake {
    filter: Arc<Filter>,
    rules: Arc<str>,
    renews: Arc<Renews>,
    subscriptions: Arc<Subscriptions>,
}

impl Intake {
    /// Takes everything, counts on every token's being renewed, and tells nobody.
    #[must_use]
    pub fn everything() -> Self {
        Self::new(Filter::default(), |_| true)
    }

    /// `filter` says which files are taken. `renews` says of a recording whether there are credentials to ask for
    /// another token: where there are none, the end of a token is the end of the file.
    #[must_use]
    pub fn new(filter: Filter, renews: impl Fn(&RecordingIdentity) -> bool + Send + Sync + 'static) -> Self {
        Self {
            rules: filter.fingerprint().into(),
            filter: Arc::new(filter),
            renews: Arc::new(renews),
            subscriptions: Arc::default(),
        }
    }

    /// The same, with receivers to be told.
    #[must_use]
    pub fn telling(self, subscriptions: Subscriptions) -> Self {
        Self { subscriptions: Arc::new(subscriptions), ..self }
    }

    pub(super) fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Whether a file is taken that nobody has announced before.
    pub(super) fn decide(&self, recording: &AnnouncedRecording, file: &AnnouncedFile) -> Decision {
        match &file.skip {
            Some(reason) => Decision { leaves_out: Some(reason.clone()), by: STORAGE.to_owned() },
            None => Decision {
                leaves_out: self.filter.leaves_out(&Candidate::announced(recording, file)),
                by: self.rules().to_owned(),
            },
        }
    }

    /// What the rules are called in `files.decided_by`.
    pub(super) fn rules(&self) -> &str {
        &self.rules
    }

    /// Whether anything may be left out by rules.
    pub(super) fn has_rules(&self) -> bool {
        self.filter.has_rules()
    }

    /// Which files of a recording stand otherwise than the rules say, now that more is known of it. What is archived
    /// or gone stays. Who has decided about a file is for the database to see.
    pub(super) fn verdicts(&self, recording: &RecordingRow, files: &[FileRow]) -> Vec<Verdict> {
        let judged = files.iter().filter_map(|file| {
            let leaves_out = self.filter.leaves_out(&Candidate::known(recording, file));
            let is_otherwise = match file.state {
                FileState::Skipped => leaves_out.is_none(),
                FileState::Pending | FileState::Parked | FileState::Dead => leaves_out.is_some(),
                FileState::Archived | FileState::Gone => false,
            };
            is_otherwise.then_some(Verdict { file: file.id, leaves_out })
        });
        judged.collect()
    }

    pub(super) fn renews(&self, recording: &RecordingIdentity) -> bool {
        (self.renews)(recording)
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("filter", &self.filter).finish_non_exhaustive()
    }
}
