//! Files: what stands where and why, another try for what failed, and what is to be left out or taken after all.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tracing::info;

use super::Desk;
use super::ask::{
    Body, Path, Query, list_query, listed_by, place, read_place, reason, rows_of_a_page, words,
};
use super::jobs::transfer_of;
use super::problem::{Missing, Problem, Refusal, Trouble};
use super::words::{EarlierObject, File, FileShown, Job, Listed, MAX_RETRY, Retried, RetryFiles, Why};
use crate::domain::file::{FileRow, FileState};
use crate::domain::ids::{FileId, RecordingId};
use crate::domain::span::Span;
use crate::store::{FileFilter, Losing, Order, Page};

/// Files that a bulk retry reads at a time.
const RETRY_PAGE: u32 = 200;
/// Why a file is left out, where nothing is said.
pub(super) const LEFT_OUT: &str = "left out by a person";

list_query! {
    pub(super) struct Wanted after "^[A-Za-z0-9_-]{32}$" {
        /// In one of these states, between commas.
        #[serde(default, deserialize_with = "words")]
        #[param(style = Form, explode = false, min_items = 1, inline)]
        state: Vec<FileState>,
        /// Of this recording.
        #[param(inline)]
        recording_id: Option<RecordingId>,
        /// Of this account, by Zoom's id.
        account_id: Option<String>,
        /// Of this type, as announced.
        file_type: Option<String>,
        /// Only those that bear a mark: archived, although something about them is odd.
        #[serde(default)]
        marked: bool,
        /// Only those that cannot be had any more after so long, as far as is known, or that are past that moment. The
        /// nearest loss comes first then, whatever `order` says.
        #[param(value_type = Option<String>, pattern = "^[0-9]{1,6}[smhd]$", example = "6h")]
        lost_within: Option<Span>,
    }
}

/// Lists files.
#[utoipa::path(
    get,
    operation_id = "list_files",
    path = "/files",
    tag = "files",
    params(Wanted),
    responses((status = 200, description = "A page of them", body = Listed<File>), Trouble)
)]
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Listed<File>>, Problem> {
    let limit = rows_of_a_page(wanted.limit)?;
    let after = wanted.after.as_deref().map(read_place).transpose()?;
    let filter = FileFilter {
        states: wanted.state,
        recording: wanted.recording_id,
        account: wanted.account_id,
        file_type: wanted.file_type,
        marked: wanted.marked,
    };
    let rows = match wanted.lost_within {
        Some(Span(time)) => desk.store.losing(Losing::Within(time), &filter, after, limit).await?,
        None => {
            let after = after.map(|(_, id)| id.0);
            let page = Page { after, order: wanted.order.unwrap_or_default(), limit };
            desk.store.list_files(&filter, page).await?
        }
    };
    Ok(Json(listed_by(limit, rows, |row| place(row.loses_at, row.id), File::from)))
}

/// Shows a file with its transfer.
#[utoipa::path(
    get,
    operation_id = "show_file",
    path = "/files/{id}",
    tag = "files",
    params(("id" = FileId, Path, description = "The file")),
    responses((status = 200, description = "The file", body = FileShown), Trouble, Missing)
)]
pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<FileId>,
) -> Result<Json<FileShown>, Problem> {
    let mut row = known(&desk, id).await?;
    let transfer = transfer_of(&desk, id).await?.map(Job::from);
    let metadata = std::mem::take(&mut row.metadata);
    let mut earlier = std::mem::take(&mut row.earlier_objects);
    earlier.retain(|object| row.archived.as_ref().is_none_or(|archived| archived.object_key != object.key));
    let earlier_objects = earlier.into_iter().map(EarlierObject::from).collect();
    Ok(Json(FileShown { file: row.into(), earlier_objects, metadata, transfer }))
}

pub(super) async fn known(desk: &Desk, id: FileId) -> Result<FileRow, Problem> {
    desk.store.file(id).await?.ok_or_else(|| Problem::missing("file"))
}

/// Tries a file that is parked, dead or gone again, with all its attempts.
///
/// One that is pending and rests after a failure is due at once. An archived file with a warning is fetched again: another version
/// becomes a new object, and the object that it had stays.
#[utoipa::path(
    post,
    operation_id = "retry_file",
    path = "/files/{id}/retry",
    tag = "files",
    params(("id" = FileId, Path, description = "The file")),
    responses((status = 200, description = "It waits for another try", body = File), Trouble, Missing, Refusal)
)]
pub(super) async fn retry(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<FileId>,
) -> Result<Json<File>, Problem> {
    let done = desk.store.retry(id).await?;
    told(
        &desk,
        id,
        done,
        "is not parked, dead or gone, does not rest, and bears no warning",
        "a person has it tried again",
    )
    .await
}

/// Leaves out a file that is pending, parked or dead: nothing fetches it any more.
#[utoipa::path(
    post,
    operation_id = "skip_file",
    path = "/files/{id}/skip",
    tag = "files",
    params(("id" = FileId, Path, description = "The file")),
    request_body = Option<Why>,
    responses((status = 200, description = "It is left out", body = File), Trouble, Missing, Refusal)
)]
pub(super) async fn skip(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<FileId>,
    Body(why): Body<Why>,
) -> Result<Json<File>, Problem> {
    let done = desk.store.skip(id, &reason(why.reason, LEFT_OUT)?).await?;
    told(&desk, id, done, "is not pending, parked or dead", "a person leaves it out").await
}

/// Takes a file that was skipped, by a person or by a filter, after all.
#[utoipa::path(
    post,
    operation_id = "unskip_file",
    path = "/files/{id}/unskip",
    tag = "files",
    params(("id" = FileId, Path, description = "The file")),
    responses((status = 200, description = "It is taken", body = File), Trouble, Missing, Refusal)
)]
pub(super) async fn unskip(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<FileId>,
) -> Result<Json<File>, Problem> {
    let done = desk.store.unskip(id).await?;
    told(&desk, id, done, "is not skipped", "a person takes it after all").await
}

/// How a file stands after a deed; a conflict when it was not for it.
async fn told(
    desk: &Desk,
    id: FileId,
    done: bool,
    refusal: &str,
    deed: &'static str,
) -> Result<Json<File>, Problem> {
    let row = known(desk, id).await?;
    if !done {
        return Err(Problem::conflict(format!("{id} {refusal}")));
    }
    desk.wake.notify_one();
    info!(file.id = %id, file.state = %row.state, "{deed}");
    Ok(Json(row.into()))
}

/// Tries all files that fit again, at most a thousand in one call.
///
/// While more of them matched than were retried, ask again. With `dry_run` they are only counted.
#[utoipa::path(
    post,
    operation_id = "retry_files",
    path = "/files/retry",
    tag = "files",
    request_body = RetryFiles,
    responses((status = 200, description = "How many there were", body = Retried), Trouble, Refusal)
)]
pub(super) async fn retry_all(
    State(desk): State<Arc<Desk>>,
    Body(wanted): Body<RetryFiles>,
) -> Result<Json<Retried>, Problem> {
    if wanted.state.is_empty() {
        return Err(Problem::bad("`state` must name one at least: parked, dead, gone"));
    }
    let filter = FileFilter {
        states: wanted.state.into_iter().map(Into::into).collect(),
        recording: wanted.recording_id,
        account: wanted.account_id,
        file_type: wanted.file_type,
        marked: false,
    };
    let matched = desk.store.count_files(&filter).await?;
    let files = if wanted.dry_run { Vec::new() } else { retry_each(&desk, &filter).await? };
    let retried = files.len() as u64;
    if retried > 0 {
        desk.wake.notify_one();
        info!(files = retried, "a person has files tried again");
    }
    Ok(Json(Retried { matched, retried, files }))
}

async fn retry_each(desk: &Desk, filter: &FileFilter) -> Result<Vec<FileId>, Problem> {
    let mut page = Page { after: None, order: Order::Oldest, limit: RETRY_PAGE };
    let mut retried = Vec::new();
    loop {
        let rows = desk.store.list_files(filter, page).await?;
        let Some(last) = rows.last() else { return Ok(retried) };
        page.after = Some(last.id.0);
        for row in &rows {
            if desk.store.retry(row.id).await? {
                retried.push(row.id);
            }
            if retried.len() == MAX_RETRY {
                return Ok(retried);
            }
        }
    }
}
