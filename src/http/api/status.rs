//! How the installation stands, on one screen.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::problem::{Problem, Trouble};
use super::words::Status;
use super::{Desk, Shelf};

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
    let store = &desk.store;
    let numbers = async {
        tokio::try_join!(
            store.depth(),
            store.losses(),
            store.twins(),
            store.flow(WINDOW),
            store.verification(),
            store.pruned()
        )
    };
    let (numbers, trouble) = tokio::join!(numbers, trouble(&desk.archive));
    let (depths, losses, twins, flow, verification, pruned) = numbers?;
    let archive = (desk.archive.place.clone(), trouble);
    let (losses, flow) = ((losses, twins), (flow, WINDOW.as_secs()));
    Ok(Json(Status::new(store.describe(), archive, &depths, losses, flow, verification, pruned)))
}

/// Why the archive does not answer, if so.
async fn trouble(shelf: &Shelf) -> Option<String> {
    let archive = match &shelf.opened {
        Ok(archive) => archive,
        Err(reason) => return Some(reason.clone()),
    };
    match tokio::time::timeout(PATIENCE, archive.ping()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
