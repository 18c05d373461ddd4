//! What is decided about files where announcements are recorded, from whichever side they come: the one place for
//! events and for answers of the API.

use std::fmt;
use std::sync::Arc;

use crate::domain::recording::RecordingIdentity;

/// Says of a recording whether a token for it can be renewed.
type Renews = dyn Fn(&RecordingIdentity) -> bool + Send + Sync;

/// What a store does with announcements beside keeping them.
#[derive(Clone)]
pub struct Intake {
    renews: Arc<Renews>,
}

impl Intake {
    /// Takes everything, and counts on every token's being renewed.
    #[must_use]
    pub fn everything() -> Self {
        Self::new(|_| true)
    }

    /// `renews` says of a recording whether there are credentials to ask for another token: where there are none, the
    /// end of a token is the end of the file.
    #[must_use]
    pub fn new(renews: impl Fn(&RecordingIdentity) -> bool + Send + Sync + 'static) -> Self {
        Self { renews: Arc::new(renews) }
    }

    pub(super) fn renews(&self, recording: &RecordingIdentity) -> bool {
        (self.renews)(recording)
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").finish_non_exhaustive()
    }
}
