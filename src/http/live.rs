//! `POST /api/v1/sessions/{id}/recording/{control}` behind the private door: what the command `recording` does, for
//! programs. The id is percent-encoded once; `?account=NAME` says whose session it is, where that is not clear.

use axum::Json;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::json;
use tracing::info;

use crate::zoom::accounts::Accounts;
use crate::zoom::api::ApiError;
use crate::zoom::api::live::Control;

/// The route.
pub(super) const PATH: &str = "/api/v1/sessions/{id}/recording/{control}";

#[derive(Debug, Deserialize)]
pub(super) struct Whose {
    account: Option<String>,
}

/// Does what the path says; 202 when Zoom has taken the wish.
pub(super) async fn control(
    accounts: Accounts,
    Path((id, control)): Path<(String, String)>,
    Query(whose): Query<Whose>,
) -> Response {
    let Ok(control) = control.parse::<Control>() else {
        return failure(
            StatusCode::NOT_FOUND,
            "it can be started, stopped, paused and resumed: start, stop, pause, resume",
        );
    };
    let account = match accounts.for_sessions(whose.account.as_deref()) {
        Ok(account) => account,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match account.api.control(&id, control).await {
        Ok(()) => {
            info!(session.id = id, session.control = %control, zoom.account = account.name, "Zoom has taken a wish");
            let told = json!({ "session_id": id, "control": control.as_str(), "account": account.name });
            (StatusCode::ACCEPTED, Json(told)).into_response()
        }
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &ApiError) -> Response {
    let words = error.to_string();
    match error {
        ApiError::NotFound(_) => failure(StatusCode::NOT_FOUND, &words),
        ApiError::NotNow(_) => failure(StatusCode::CONFLICT, &words),
        ApiError::NoCredentials(_) => failure(StatusCode::BAD_REQUEST, &words),
        ApiError::NotAllowed(_) => failure(StatusCode::FORBIDDEN, &words),
        ApiError::Unreachable(_) => failure(StatusCode::GATEWAY_TIMEOUT, &words),
        ApiError::Refused { retry_after: None, .. } => failure(StatusCode::BAD_GATEWAY, &words),
        ApiError::Refused { retry_after: Some(rest), .. } => {
            let rest = [(RETRY_AFTER, rest.as_secs().max(1).to_string())];
            (rest, failure(StatusCode::SERVICE_UNAVAILABLE, &words)).into_response()
        }
    }
}

fn failure(status: StatusCode, words: &str) -> Response {
    (status, Json(json!({ "error": words }))).into_response()
}
