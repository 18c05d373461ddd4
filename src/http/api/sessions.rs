//! Control of live sessions: what the command `recording` does, for programs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use tracing::info;
use utoipa::IntoParams;

use super::Desk;
use super::ask::{Path, Query};
use super::problem::{Missing, Problem, Refusal, Trouble};
use super::words::Controlled;
use crate::zoom::api::live::Control;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// The name of the account whose session it is, where that is not clear.
    account: Option<String>,
}

/// Starts, stops, pauses or resumes the recording of a session.
///
/// What has come true is told by Zoom's event.
#[utoipa::path(
    post,
    operation_id = "control_recording",
    path = "/sessions/{id}/recording/{control}",
    tag = "sessions",
    params(
        ("id" = String, Path, description = "Zoom's id of the session, percent-encoded once"),
        ("control" = Control, Path, description = "What is wished"),
        Whose
    ),
    responses(
        (status = 202, description = "Zoom has taken the wish", body = Controlled),
        (status = 502, description = "Zoom is in trouble", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Zoom cannot be reached", body = Problem, content_type = "application/problem+json"),
        Trouble, Missing, Refusal
    )
)]
pub(super) async fn control(
    State(desk): State<Arc<Desk>>,
    Path((id, control)): Path<(String, String)>,
    Query(whose): Query<Whose>,
) -> Result<(StatusCode, Json<Controlled>), Problem> {
    let control = control.parse::<Control>().map_err(|_| {
        let words = "it can be started, stopped, paused and resumed: start, stop, pause, resume";
        Problem::new(StatusCode::NOT_FOUND, words)
    })?;
    let account = desk.accounts.for_sessions(whose.account.as_deref());
    let account = account.map_err(|error| Problem::conflict(error.to_string()))?;
    account.api.control(&id, control).await?;
    info!(session.id = id, session.control = %control, zoom.account = account.name, "Zoom has taken a wish");
    let told = Controlled { session_id: id, control: control.to_string(), account: account.name.clone() };
    Ok((StatusCode::ACCEPTED, Json(told)))
}
