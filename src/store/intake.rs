//! What is decided where the record is written: which files are taken, from whichever side they come (the one place for
//! events and for answers of the API), and who is told of what becomes of them.

use std::fmt;
use std::sync::Arc;

use crate::domain::filter::Filter;
use crate::domain::notice::Subscriptions;
use crate::domain::recording::{AnnouncedFile, AnnouncedRecording, RecordingIdentity};

/// Says of a recording whether a token for it can be renewed.
type Renews = dyn Fn(&RecordingIdentity) -> bool + Send + Sync;

/// What a store does with announcements and settlements beside keeping them.
#[derive(Clone)]
pub struct Intake {
    filter: Arc<Filter>,
    renews: Arc<Renews>,
    subscriptions: Arc<Subscriptions>,
}

impl Intake {
    /// Takes everything, counts on every token's being renewed, and tells nobody.
    #[must_use]
    pub fn everything() -> Self {
        Self::new(Filter::default(), |_| true)
    }

    /// `filter` says which files are taken. `renews` says of a recording whether there are credentials to ask for another token: where there are none, the
    /// end of a token is the end of the file.
    #[must_use]
    pub fn new(filter: Filter, renews: impl Fn(&RecordingIdentity) -> bool + Send + Sync + 'static) -> Self {
        Self { filter: Arc::new(filter), renews: Arc::new(renews), subscriptions: Arc::default() }
    }

    /// The same, with receivers to be told.
    #[must_use]
    pub fn telling(self, subscriptions: Subscriptions) -> Self {
        Self { subscriptions: Arc::new(subscriptions), ..self }
    }

    pub(super) fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Why a file is not taken, if so.
    pub(super) fn leaves_out(&self, recording: &AnnouncedRecording, file: &AnnouncedFile) -> Option<String> {
        file.skip.clone().or_else(|| self.filter.leaves_out(recording, file))
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
