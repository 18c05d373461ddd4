//! Events: what Zoom has told, as it is kept, and how it is recorded once more.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tracing::info;

use super::Desk;
use super::ask::{Path, Query, list_query, listed};
use super::problem::{Missing, Problem, Refusal, Trouble};
use super::words::{Event, EventShown, Listed, Replayed};
use crate::domain::event::{self, EventContent, EventRow};
use crate::domain::ids::{EventId, RecordingId};
use crate::domain::recording::Announcement;
use crate::store::EventFilter;
use crate::zoom::bounds::Bounds;
use crate::zoom::payload::{self, FOREIGN_ACCOUNT, Message, UNKNOWN_ACCOUNT};

list_query! {
    pub(super) struct Wanted {
        /// Of this kind, by Zoom's name for it.
        name: Option<String>,
        /// About this recording.
        #[param(inline)]
        recording_id: Option<RecordingId>,
        /// Only those that could not be read.
        #[serde(default)]
        unreadable: bool,
    }
}

/// Lists events.
#[utoipa::path(
    get,
    operation_id = "list_events",
    path = "/events",
    tag = "events",
    params(Wanted),
    responses((status = 200, description = "A page of them", body = Listed<Event>), Trouble)
)]
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Listed<Event>>, Problem> {
    let page = wanted.page()?;
    let filter =
        EventFilter { name: wanted.name, recording: wanted.recording_id, unreadable: wanted.unreadable };
    let rows = desk.store.list_events(&filter, page).await?;
    Ok(Json(listed(page, rows, |row| row.id.0, Event::from)))
}

/// Shows an event with its body.
#[utoipa::path(
    get,
    operation_id = "show_event",
    path = "/events/{id}",
    tag = "events",
    params(("id" = EventId, Path, description = "The event")),
    responses((status = 200, description = "The event", body = EventShown), Trouble, Missing)
)]
pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<EventId>,
) -> Result<Json<EventShown>, Problem> {
    let (row, body) = known(&desk, id).await?;
    // What could not be read is kept as it came, with its tokens.
    Ok(Json(EventShown { event: row.into(), body: payload::to_show(&body) }))
}

async fn known(desk: &Desk, id: EventId) -> Result<(EventRow, Vec<u8>), Problem> {
    desk.store.event(id).await?.ok_or_else(|| Problem::missing("event"))
}

/// Records an event once more, as if Zoom had sent it again.
///
/// What is recorded already stays as it is. What an earlier version could not read may be readable now. Tokens are not
/// kept, so files that are new by this wait for one, unless the event was kept raw.
#[utoipa::path(
    post,
    operation_id = "replay_event",
    path = "/events/{id}/replay",
    tag = "events",
    params(("id" = EventId, Path, description = "The event")),
    responses((status = 200, description = "What it changed", body = Replayed), Trouble, Missing, Refusal)
)]
pub(super) async fn replay(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<EventId>,
) -> Result<Json<Replayed>, Problem> {
    let (row, body) = known(&desk, id).await?;
    if let Some(reason) = row.unreadable.as_ref().filter(|reason| reason.starts_with(FOREIGN_ACCOUNT)) {
        let reason = Some(reason.clone());
        return Ok(Json(Replayed { id, readable: false, reason, new_files: 0, known_files: 0, woken: 0 }));
    }
    let mut told = Replayed { id, readable: true, reason: None, new_files: 0, known_files: 0, woken: 0 };
    let mut events = match read(&row, &body) {
        Ok(events) => events,
        Err(reason) => return Ok(Json(Replayed { readable: false, reason: Some(reason), ..told })),
    };
    let account = account_of(&desk, &row).await?;
    // The event itself comes last: should the others not be recorded, it can be replayed again.
    events.reverse();
    for event in &mut events {
        let EventContent::Announcement(announcement) = &mut event.content else { continue };
        let account_id = &mut announcement.recording.identity.account_id;
        if account_id == UNKNOWN_ACCOUNT
            && let Some(known) = &account
        {
            known.clone_into(account_id);
        }
        let recorded = desk.store.record(event).await?;
        told.new_files += recorded.new_files;
        told.known_files += recorded.known_files;
        told.woken += recorded.woken;
    }
    desk.wake.notify_one();
    info!(event.id = %id, event.name = row.name, new_files = told.new_files, "a person has an event recorded again");
    Ok(Json(told))
}

/// The account of an event that does not say whose it is: that of its recording, or the only one that there is.
async fn account_of(desk: &Desk, row: &EventRow) -> Result<Option<String>, Problem> {
    let Some(recording) = row.recording_id else { return Ok(desk.only_account.clone()) };
    let found = desk.store.recording(recording).await?;
    Ok(found.map(|(recording, _)| recording.identity.account_id))
}

/// What an event says, the first of it under the event's own id; or why it cannot be read.
fn read(row: &EventRow, body: &[u8]) -> Result<Vec<event::Event>, String> {
    let event = |id: EventId, name: &str, announcement: Announcement, body: Vec<u8>| event::Event {
        id,
        received_at: row.received_at,
        name: name.to_owned(),
        body,
        content: EventContent::Announcement(announcement),
        trace: None,
    };
    match payload::read_within(Bounds::REPLAYED, body) {
        Message::Announcement { name, announcement, body } => {
            Ok(vec![event(row.id, &name, *announcement, body)])
        }
        Message::Announcements { name, parts } => {
            let parts = parts.into_iter().enumerate().map(|(number, part)| {
                let id = if number == 0 { row.id } else { EventId::new() };
                event(id, &name, part.announcement, part.body)
            });
            Ok(parts.collect())
        }
        Message::Unreadable { reason, .. } => Err(reason),
        Message::Other { .. } | Message::UrlValidation { .. } => Err("it is about no recording".to_owned()),
    }
}
