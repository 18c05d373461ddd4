//! One at a time per recording: files that find out together that their token has expired ask Zoom's API once, and the
//! others use the answer. In this process only; another one asks for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::domain::ids::RecordingId;

/// Who has the turn, for each recording of which anybody waits for one.
#[derive(Debug, Default)]
pub struct Turns {
    recordings: Mutex<HashMap<RecordingId, Weak<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    /// Waits for the turn; it ends when the guard is dropped.
    pub async fn take(&self, recording: RecordingId) -> OwnedMutexGuard<()> {
        self.of(recording).lock_owned().await
    }

    fn of(&self, recording: RecordingId) -> Arc<tokio::sync::Mutex<()>> {
        let mut recordings = self.recordings.lock().unwrap_or_else(PoisonError::into_inner);
        recordings.retain(|_, turn| turn.strong_count() > 0);
        let known = recordings.get(&recording).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Arc::default();
            recordings.insert(recording, Arc::downgrade(&turn));
            turn
        })
    }
}
