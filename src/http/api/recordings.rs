//! Recordings, and how their files stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};

use super::Desk;
use super::ask::{Path, Query, list_query, listed, moment};
use super::problem::{Missing, Problem, Trouble};
use super::words::{FileCounts, Listed, Recording, RecordingShown};
use crate::domain::ids::RecordingId;
use crate::domain::recording::{RecordingKind, RecordingState};
use crate::store::RecordingFilter;

list_query! {
    pub(super) struct Wanted {
        /// Zoom's id of the account.
        account_id: Option<String>,
        /// The product.
        #[param(inline)]
        kind: Option<RecordingKind>,
        /// Zoom's id of the recording: `session_id`, or `uuid`.
        instance_id: Option<String>,
        /// How it stands at Zoom.
        #[param(inline)]
        state: Option<RecordingState>,
        /// Its session or meeting began at this moment or later.
        #[serde(default, deserialize_with = "moment")]
        from: Option<DateTime<Utc>>,
        /// Its session or meeting began before this moment.
        #[serde(default, deserialize_with = "moment")]
        until: Option<DateTime<Utc>>,
    }
}

/// Lists recordings.
#[utoipa::path(
    get,
    operation_id = "list_recordings",
    path = "/recordings",
    tag = "recordings",
    params(Wanted),
    responses((status = 200, description = "A page of them", body = Listed<Recording>), Trouble)
)]
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Listed<Recording>>, Problem> {
    let page = wanted.page()?;
    let filter = RecordingFilter {
        account: wanted.account_id,
        kind: wanted.kind,
        instance: wanted.instance_id,
        state: wanted.state,
        from: wanted.from,
        until: wanted.until,
    };
    let rows = desk.store.list_recordings(&filter, page).await?;
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let mut counts = BTreeMap::<RecordingId, FileCounts>::new();
    for tally in desk.store.tally(&ids).await? {
        counts.entry(tally.recording).or_default().add(tally.state, tally.files);
    }
    let item = |row: crate::domain::file::RecordingRow| {
        let counts = counts.get(&row.id).copied().unwrap_or_default();
        Recording::new(row, counts)
    };
    Ok(Json(listed(page, rows, |row| row.id.0, item)))
}

/// Shows a recording with all its files.
#[utoipa::path(
    get,
    operation_id = "show_recording",
    path = "/recordings/{id}",
    tag = "recordings",
    params(("id" = RecordingId, Path, description = "The recording")),
    responses((status = 200, description = "The recording", body = RecordingShown), Trouble, Missing)
)]
pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<RecordingId>,
) -> Result<Json<RecordingShown>, Problem> {
    shown(&desk, id).await
}

/// How a recording stands.
pub(super) async fn shown(desk: &Desk, id: RecordingId) -> Result<Json<RecordingShown>, Problem> {
    let found = desk.store.recording(id).await?;
    let (mut row, files) = found.ok_or_else(|| Problem::missing("recording"))?;
    let mut counts = FileCounts::default();
    files.iter().for_each(|file| counts.add(file.state, 1));
    let metadata = std::mem::take(&mut row.metadata);
    let recording = Recording::new(row, counts);
    Ok(Json(RecordingShown { recording, metadata, files: files.into_iter().map(Into::into).collect() }))
}
