//! How the installation stands, on one screen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;

use super::jobs::transfer_of;
use super::problem::{Problem, Trouble};
use super::words::{Answering, LosingFile, Numbers, Status};
use super::{Desk, Shelf};
use crate::clock::Clock;
use crate::domain::file::{FileRow, FileState};
use crate::domain::job::JobState;
use crate::domain::recording::RecordingState;
use crate::store::{FileFilter, Losing, Store, StoreError};

/// Time for the archive to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How far back the rate is looked at.
const WINDOW: Duration = Duration::from_secs(600);

/// Says how the installation stands.
#[utoipa::path(
    get,
    operation_id = "show_status",
    path = "/status",
    tag = "status",
    responses((status = 200, description = "How it stands", body = Status), Trouble)
)]
pub(super) async fn show(State(desk): State<Arc<Desk>>) -> Result<Json<Status>, Problem> {
    let (database, archive) = tokio::join!(database(&desk), archive(&desk.archive));
    let (millis, numbers) = database?;
    let (nearest, overdue) = tokio::try_join!(first(&desk, Losing::Ahead), first(&desk, Losing::Overdue))?;
    Ok(Json(Status::new((desk.store.describe(), millis), archive, numbers, nearest, overdue)))
}

/// How long the database takes to answer, in milliseconds, and what it says.
async fn database(desk: &Desk) -> Result<(u64, Numbers), StoreError> {
    let began = Instant::now();
    desk.store.ping().await?;
    let millis = millis_since(began);
    Ok((millis, numbers(desk.store.as_ref()).await?))
}

async fn numbers(store: &dyn Store) -> Result<Numbers, StoreError> {
    let queue =
        async { tokio::try_join!(store.depth(), store.flow(WINDOW), store.holdups(), store.resting()) };
    let with_warning = FileFilter { marked: true, ..FileFilter::default() };
    let others = async {
        tokio::try_join!(
            store.losses(),
            store.twins(),
            store.count_files(&with_warning),
            store.unreadable_events(),
            store.verification(),
            store.pruned()
        )
    };
    let (queue, others) = tokio::try_join!(queue, others)?;
    let (depths, flow, holdups, resting) = queue;
    let (losses, twins, warnings, unreadable_events, verification, pruned) = others;
    let window_secs = WINDOW.as_secs();
    Ok(Numbers {
        depths,
        losses,
        twins,
        warnings,
        flow,
        window_secs,
        holdups,
        resting,
        unreadable_events,
        verification,
        pruned,
    })
}

/// The first of the files that can be lost, with the command that goes on from there.
async fn first(desk: &Desk, which: Losing) -> Result<Option<LosingFile>, Problem> {
    let files = desk.store.losing(which, &FileFilter::default(), None, 1).await?;
    let Some(file) = files.into_iter().next() else { return Ok(None) };
    let Some(loses_at) = file.loses_at else { return Ok(None) };
    let command = way_out(desk, &file).await?;
    Ok(Some(LosingFile {
        id: file.id,
        recording_id: file.recording_id,
        file_type: file.file_type,
        state: file.state,
        reason: file.reason,
        loses_at,
        command,
    }))
}

/// What a person types to have a file go on: nothing but a look, where it goes on by itself.
async fn way_out(desk: &Desk, file: &FileRow) -> Result<String, Problem> {
    let (id, recording) = (file.id, file.recording_id);
    if file.state == FileState::Parked {
        let known = desk.store.recording(recording).await?;
        if known.is_some_and(|(row, _)| file.state_at_zoom(&row) == Some(RecordingState::Trashed)) {
            return Ok(format!("recordings recover {recording}"));
        }
    }
    if file.state != FileState::Pending {
        return Ok(format!("files retry {id}"));
    }
    let now = Clock::System.now();
    let rests =
        transfer_of(desk, id).await?.is_some_and(|it| it.state == JobState::Waiting && it.run_at > now);
    Ok(if rests { format!("files retry {id}") } else { format!("files show {id}") })
}

/// Whether the archive answers.
async fn archive(shelf: &Shelf) -> Answering {
    let room = match &shelf.opened {
        Ok(archive) => {
            let room = tokio::time::timeout(PATIENCE, archive.room()).await;
            room.ok().and_then(Result::ok).flatten()
        }
        Err(_) => None,
    };
    Answering { name: shelf.place.clone(), answer: answer(shelf).await, room }
}

async fn answer(shelf: &Shelf) -> Result<u64, String> {
    let archive = shelf.opened.as_ref().map_err(Clone::clone)?;
    let began = Instant::now();
    match tokio::time::timeout(PATIENCE, archive.ping()).await {
        Ok(Ok(())) => Ok(millis_since(began)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn millis_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
