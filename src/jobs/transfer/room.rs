//! Room in the archive: a file that does not fit is not begun, and one that turns out not to fit gives back what it took. Whoever
//! shares the disk, the database first of all, needs the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{Jobs, ROOM_REST};
use super::Ended;
use super::checkpoint::TransferCheckpoint;
use crate::domain::job::Outcome;
use crate::store::TransferWork;

/// Bytes that a transfer is going to write, taken off what others find; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reserves room for what is left of a file, as far as its size was announced.
///
/// # Errors
/// [`Ended::NoRoom`] when there is not so much.
pub(super) async fn reserve(
    jobs: &Jobs,
    work: &TransferWork,
    checkpoint: &TransferCheckpoint,
) -> Result<Option<Reserved>, Ended> {
    let Some(room) = jobs.archive.room().await? else { return Ok(None) };
    let held = checkpoint.upload.as_ref().map_or(0, |begun| begun.measured.bytes);
    let bytes = work.file.announced_bytes.unwrap_or(0).saturating_sub(held);
    let others = jobs.reserved.fetch_add(bytes, Ordering::Relaxed);
    let reserved = Reserved { all: Arc::clone(&jobs.reserved), bytes };
    if bytes.saturating_add(others) > room {
        return Err(Ended::NoRoom(format!(
            "{bytes} bytes do not fit: {room} may be written to {}, of which other transfers need {others}",
            jobs.archive.describe()
        )));
    }
    Ok(Some(reserved))
}

/// The outcome of a run for which there is no room: it goes on when there is, and costs no attempt.
pub(super) fn wait(reason: String) -> Outcome {
    Outcome::Later {
        reason: format!("no room: {reason}"),
        after: ROOM_REST.mul_f64(rand::random_range(0.5..1.5)),
    }
}
