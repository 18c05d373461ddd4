//! Files of which Zoom has not said yet what they are: it lists them while it works on a recording. The key of an object holds
//! its extension and is chosen once, so it is not chosen before type or extension is known.

use std::time::Duration;

use tracing::info;

use super::super::Jobs;
use super::access::{not_there, reread};
use super::alive_while;
use crate::domain::file::{FileRow, FileState};
use crate::domain::job::{Outcome, WaitsFor};
use crate::domain::recording::{RecordingKind, is_of_archive};
use crate::store::TransferWork;
use crate::worker::JobContext;
use crate::zoom::api::ApiError;

/// Longest rest between two questions about a file that Zoom still works on.
const LONGEST_REST: Duration = Duration::from_secs(6 * 3600);
/// Age at which a file that has a URL is taken without its type, before its token ends: tokens last a day.
const PATIENCE: Duration = Duration::from_secs(12 * 3600);

/// Waits for Zoom to say what kind of file this is. Where its API can be asked, it is asked, and the answer recorded like an
/// event; elsewhere an event must say so.
///
/// # Errors
/// What follows for the job as long as nothing is known.
pub(super) async fn typed(
    jobs: &Jobs,
    context: &JobContext,
    work: TransferWork,
) -> Result<TransferWork, Outcome> {
    if has_type(&work.file) || work.download_url.is_some() && age(jobs, &work.file) >= PATIENCE {
        return Ok(work);
    }
    let identity = &work.recording.identity;
    let is_askable = identity.kind != RecordingKind::Phone && !is_of_archive(&work.file.identity.collection);
    let reason = "Zoom has not said yet what kind of file this is".to_owned();
    let wait = || Outcome::Later { reason: reason.clone(), after: rest(jobs, &work.file) };
    if !is_askable || !jobs.accounts.know(identity) {
        return Err(match work.download_url {
            Some(_) => wait(),
            None => Outcome::Park { waits_for: WaitsFor::Token, reason },
        });
    }
    let _turn = alive_while(context, jobs.turns.take(work.recording.id)).await;
    let known = reread(jobs, &work).await?;
    if has_type(&known.file) {
        return Ok(known);
    }
    context.alive();
    match jobs.accounts.recording(identity).await {
        Ok(event) => drop(jobs.store.record(&event).await?),
        Err(ApiError::NotFound(words)) => return Err(not_there(jobs, &known, &words)),
        Err(refused) => return Err(refused.into()),
    }
    let known = reread(jobs, &work).await?;
    match known.file.state {
        // Other files came in its place, and the job has been withdrawn.
        FileState::Skipped => Err(Outcome::Withdrawn),
        _ if has_type(&known.file) => {
            info!(file.id = %known.file.id, "Zoom's API says what kind of file it is");
            Ok(known)
        }
        _ => Err(wait()),
    }
}

/// Whether a key can be chosen, or has been.
fn has_type(file: &FileRow) -> bool {
    file.object_key.is_some() || !file.file_type.is_empty() || !file.extension.is_empty()
}

/// Rest until Zoom is asked again about a file that it still works on: a quarter of the time since the file was announced, so
/// that rests grow, within `transfer.processing_secs` and six hours.
pub(super) fn rest(jobs: &Jobs, file: &FileRow) -> Duration {
    let shortest = jobs.config.processing_rest();
    (age(jobs, file) / 4).min(LONGEST_REST).max(shortest)
}

fn age(jobs: &Jobs, file: &FileRow) -> Duration {
    (jobs.clock.now() - file.announced_at).to_std().unwrap_or_default()
}
