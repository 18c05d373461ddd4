//! Jobs: what the queue holds. A transfer stands for its file, so what is done to it is done to the file.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tracing::info;
use uuid::Uuid;

use super::Desk;
use super::ask::{Body, Path, Query, list_query, listed, reason, words};
use super::problem::{Missing, Problem, Refusal, Trouble};
use super::words::{Job, Listed, Why};
use crate::domain::ids::{FileId, JobId};
use crate::domain::job::{JobRow, JobState, TRANSFER};
use crate::store::{JobFilter, Order, Page};

/// Why a job is withdrawn, where nothing is said.
const WITHDRAWN: &str = "withdrawn by a person";

list_query! {
    pub(super) struct Wanted {
        /// In one of these states, between commas.
        #[serde(default, deserialize_with = "words")]
        #[param(style = Form, explode = false, min_items = 1, inline)]
        state: Vec<JobState>,
        /// Of this kind: `transfer`, `manifest`, `remove`, `notify`, `reconcile`, `verify`…
        kind: Option<String>,
        /// That ask this account, by Zoom's id; of notifications those to this receiver.
        account_id: Option<String>,
        /// About this file or recording.
        subject: Option<Uuid>,
    }
}

/// Lists jobs.
#[utoipa::path(
    get,
    operation_id = "list_jobs",
    path = "/jobs",
    tag = "jobs",
    params(Wanted),
    responses((status = 200, description = "A page of them", body = Listed<Job>), Trouble)
)]
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Listed<Job>>, Problem> {
    let page = wanted.page()?;
    let filter = JobFilter {
        states: wanted.state,
        kind: wanted.kind,
        account: wanted.account_id,
        subject: wanted.subject,
    };
    let rows = desk.store.list_jobs(&filter, page).await?;
    Ok(Json(listed(page, rows, |row| row.id.0, Job::from)))
}

/// Shows a job.
#[utoipa::path(
    get,
    operation_id = "show_job",
    path = "/jobs/{id}",
    tag = "jobs",
    params(("id" = JobId, Path, description = "The job")),
    responses((status = 200, description = "The job", body = Job), Trouble, Missing)
)]
pub(super) async fn show(State(desk): State<Arc<Desk>>, Path(id): Path<JobId>) -> Result<Json<Job>, Problem> {
    Ok(Json(known(&desk, id).await?.into()))
}

/// The job that carries a file; none where it is forgotten.
pub(super) async fn transfer_of(desk: &Desk, file: FileId) -> Result<Option<JobRow>, Problem> {
    let filter = JobFilter { kind: Some(TRANSFER.to_owned()), subject: Some(file.0), ..JobFilter::default() };
    let page = Page { after: None, order: Order::Newest, limit: 1 };
    Ok(desk.store.list_jobs(&filter, page).await?.pop())
}

async fn known(desk: &Desk, id: JobId) -> Result<JobRow, Problem> {
    desk.store.job(id).await?.ok_or_else(|| Problem::missing("job"))
}

/// Tries a job again, with all its attempts.
///
/// Not one that runs or is done. One that waits is due at once, where it rests. A transfer: where its file is parked, dead or
/// gone, or rests.
#[utoipa::path(
    post,
    operation_id = "retry_job",
    path = "/jobs/{id}/retry",
    tag = "jobs",
    params(("id" = JobId, Path, description = "The job")),
    responses((status = 200, description = "It waits for another try", body = Job), Trouble, Missing, Refusal)
)]
pub(super) async fn retry(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<JobId>,
) -> Result<Json<Job>, Problem> {
    let row = known(&desk, id).await?;
    let (done, refusal) = if row.kind == TRANSFER {
        (
            desk.store.retry(FileId(row.subject)).await?,
            "carries a file that is not parked, dead or gone, and does not rest",
        )
    } else {
        (desk.store.retry_job(id).await?, "is not parked, dead or cancelled, and does not rest")
    };
    told(&desk, id, done, refusal, "a person has a job tried again").await
}

/// Withdraws a job that has not ended, also while it runs.
///
/// The file of a transfer is skipped by that. Any other job waits again when something wants it again.
#[utoipa::path(
    post,
    operation_id = "cancel_job",
    path = "/jobs/{id}/cancel",
    tag = "jobs",
    params(("id" = JobId, Path, description = "The job")),
    request_body = Option<Why>,
    responses((status = 200, description = "It is withdrawn", body = Job), Trouble, Missing, Refusal)
)]
pub(super) async fn cancel(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<JobId>,
    Body(why): Body<Why>,
) -> Result<Json<Job>, Problem> {
    let row = known(&desk, id).await?;
    let reason = reason(why.reason, WITHDRAWN)?;
    let (done, refusal) = if row.kind == TRANSFER {
        (
            desk.store.skip(FileId(row.subject), &reason).await?,
            "carries a file that is not pending, parked or dead",
        )
    } else {
        (desk.store.cancel_job(id, &reason).await?, "has ended")
    };
    told(&desk, id, done, refusal, "a person withdraws a job").await
}

/// How a job stands after a deed; a conflict when it was not for it.
async fn told(
    desk: &Desk,
    id: JobId,
    done: bool,
    refusal: &str,
    deed: &'static str,
) -> Result<Json<Job>, Problem> {
    if !done {
        return Err(Problem::conflict(format!("{id} {refusal}")));
    }
    desk.wake.notify_one();
    let row = known(desk, id).await?;
    info!(job.id = %id, job.kind = row.kind, job.state = %row.state, "{deed}");
    Ok(Json(row.into()))
}
