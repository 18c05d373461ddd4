//! What is taken out of Zoom's trash: the deed behind `recordings recover`, for programs too.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tracing::{Instrument, info};

use super::Desk;
use super::ask::Path;
use super::problem::{Missing, Problem, Refusal, Trouble};
use super::recordings::shown;
use super::words::RecordingShown;
use crate::clock::Clock;
use crate::domain::event::Event;
use crate::domain::file::FileRow;
use crate::domain::ids::RecordingId;
use crate::domain::recording::{RecordingIdentity, RecordingState};
use crate::zoom::accounts::Account;
use crate::zoom::api::ApiError;

/// Takes a recording out of Zoom's trash, where it lies for thirty days.
///
/// It stays at Zoom from then on, whatever `after_archive` says. What of it is not archived is fetched.
#[utoipa::path(
    post,
    operation_id = "recover_recording",
    path = "/recordings/{id}/recover",
    tag = "recordings",
    params(("id" = RecordingId, Path, description = "The recording")),
    responses(
        (status = 200, description = "It is out of the trash", body = RecordingShown),
        (status = 502, description = "Zoom is in trouble", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Zoom cannot be reached", body = Problem, content_type = "application/problem+json"),
        Trouble, Missing, Refusal
    )
)]
pub(super) async fn recover(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<RecordingId>,
) -> Result<Json<RecordingShown>, Problem> {
    // What has been done at Zoom must be written down, although whoever asked may have gone.
    let task = tokio::spawn(take_out(desk, id).in_current_span());
    task.await.map_err(|_| Problem::internal())?
}

async fn take_out(desk: Arc<Desk>, id: RecordingId) -> Result<Json<RecordingShown>, Problem> {
    let found = desk.store.recording(id).await?;
    let (recording, files) = found.ok_or_else(|| Problem::missing("recording"))?;
    let identity = &recording.identity;
    let account = desk
        .accounts
        .for_recordings(&identity.account_id, identity.kind)
        .ok_or_else(|| Problem::conflict("there are no credentials for its account"))?;
    match account.api.recover(identity, None).await {
        // Where files of it have gone one by one, it is not in the trash as a whole.
        Err(error @ ApiError::NotFound(_)) => recover_files(account, identity, &files, error).await?,
        recovered => recovered?,
    }
    desk.store.record(&Event::of_state(Clock::System.now(), identity, RecordingState::Recovered)).await?;
    desk.wake.notify_one();
    info!(recording.id = %id, "taken out of Zoom's trash");
    shown(&desk, id).await
}

/// Takes out of the trash what of it is there. `otherwise` is why it failed as a whole, when there is nothing.
async fn recover_files(
    account: &Account,
    recording: &RecordingIdentity,
    files: &[FileRow],
    otherwise: ApiError,
) -> Result<(), ApiError> {
    let mut is_any = false;
    let mut refused = None;
    for file in files.iter().filter(|file| file.metadata.contains_key("id")) {
        match account.api.recover(recording, Some(&file.identity.name)).await {
            Ok(()) => is_any = true,
            Err(ApiError::NotFound(_)) => {}
            // One of them must not keep the others in the trash.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    if is_any { Ok(()) } else { Err(refused.unwrap_or(otherwise)) }
}
