//! What the API says instead of an answer.

use axum::body::{self, Body};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use futures_util::stream;
use serde_json::{Value, json};

use super::super::answer::SIGN_IN_PAGE;
use super::json_response;
use crate::simulator::fault::ApiFault;
use crate::simulator::now;

/// Answers as the fault has it; `answer` is what would come without it.
pub(super) async fn strike(fault: ApiFault, answer: impl FnOnce() -> Response) -> Response {
    match fault {
        ApiFault::Gone => no_such_recording(),
        ApiFault::Status { code, retry_after } => {
            let retry_after = retry_after.map(|moment| [(RETRY_AFTER, moment)]);
            (retry_after, error(code, code.as_u16().into(), "not now")).into_response()
        }
        ApiFault::ErrorIn200 { code } => {
            error(StatusCode::OK, code, "You do not have the right permissions.")
        }
        ApiFault::MissingScope => missing_scope(
            "cloud_recording:read:list_recording_files, cloud_recording:read:list_recording_files:admin",
        ),
        ApiFault::ExpiredToken => invalid_token(),
        ApiFault::Slow(time) => {
            tokio::time::sleep(time).await;
            answer()
        }
        ApiFault::ClockAhead { secs } => {
            let date = now() + TimeDelta::seconds(secs);
            ([(DATE, date.format("%a, %d %b %Y %H:%M:%S GMT").to_string())], answer()).into_response()
        }
        ApiFault::SignInPage => ([(CONTENT_TYPE, "text/html;charset=utf-8")], SIGN_IN_PAGE).into_response(),
        ApiFault::Flood { bytes } => json_response(StatusCode::OK, &json!({ "uuid": "x".repeat(bytes) })),
        ApiFault::Redirect { to } => (StatusCode::FOUND, [(LOCATION, to)]).into_response(),
        ApiFault::Cut => {
            let pieces = [Ok("{\"recording_files\":"), Err(std::io::ErrorKind::ConnectionReset)];
            Body::from_stream(stream::iter(pieces.map(|piece| piece.map_err(std::io::Error::from))))
                .into_response()
        }
        ApiFault::NullFile => without_first_file(answer()).await,
        ApiFault::AnotherSha256 => {
            let change = |value: &mut Value| {
                if let Some(first) = value.pointer_mut("/recording_files/0").and_then(Value::as_object_mut) {
                    first.insert("encryption_fingerprint".to_owned(), json!("0f".repeat(32)));
                }
            };
            changed(answer(), change).await
        }
        ApiFault::NoDownloadToken => {
            let change =
                |value: &mut Value| drop(value.as_object_mut().map(|it| it.remove("download_access_token")));
            changed(answer(), change).await
        }
        ApiFault::NoDownloadTokenAt { origin } => {
            let change = |value: &mut Value| {
                value.as_object_mut().map(|it| it.remove("download_access_token"));
                let files = value.pointer_mut("/recording_files").and_then(Value::as_array_mut);
                for file in files.into_iter().flatten() {
                    let moved = file["download_url"]
                        .as_str()
                        .and_then(|url| Some(format!("{origin}/{}", url.splitn(4, '/').nth(3)?)));
                    file["download_url"] = json!(moved);
                }
            };
            changed(answer(), change).await
        }
        ApiFault::InvalidField => invalid_field(),
        ApiFault::HalfAnEmoji => {
            let body = body::to_bytes(answer().into_body(), usize::MAX).await.unwrap_or_default();
            let mut text = String::from_utf8_lossy(&body).into_owned();
            for key in ["topic", "session_name"] {
                text = text.replace(&format!("\"{key}\":\""), &format!("\"{key}\":\"\\ud83d "));
            }
            ([(CONTENT_TYPE, "application/json;charset=UTF-8")], text).into_response()
        }
        ApiFault::Scope { scope } => changed(answer(), |value| value["scope"] = scope.into()).await,
        ApiFault::LeadsTo { token } => {
            let none = json!([]);
            let page =
                json!({ "sessions": none, "meetings": none, "webhook_logs": none, "next_page_token": token });
            json_response(StatusCode::OK, &page)
        }
        ApiFault::About { instance_id } => {
            let about = json!({ "session_id": instance_id, "uuid": instance_id, "recording_files": [] });
            json_response(StatusCode::OK, &about)
        }
    }
}

async fn without_first_file(answer: Response) -> Response {
    let change = |value: &mut Value| {
        if let Some(first) = value.pointer_mut("/recording_files/0") {
            *first = Value::Null;
        }
    };
    changed(answer, change).await
}

async fn changed(answer: Response, change: impl FnOnce(&mut Value)) -> Response {
    let status = answer.status();
    // Our own answers are whole, and JSON.
    let body = body::to_bytes(answer.into_body(), usize::MAX).await.unwrap_or_default();
    let mut value: Value = serde_json::from_slice(&body).unwrap_or_default();
    change(&mut value);
    json_response(status, &value)
}

pub(super) fn no_such_recording() -> Response {
    error(StatusCode::NOT_FOUND, 3301, "There is no recording for this meeting.")
}

pub(super) fn missing_scope(scopes: &str) -> Response {
    let words = format!("Invalid access token, does not contain scopes:[{scopes}].");
    error(StatusCode::BAD_REQUEST, 4711, &words)
}

pub(super) fn invalid_token() -> Response {
    error(StatusCode::UNAUTHORIZED, 124, "Invalid access token.")
}

pub(super) fn invalid_field() -> Response {
    error(StatusCode::BAD_REQUEST, 300, "Validation Failed.")
}

pub(super) fn too_many() -> Response {
    let words = "You have reached the maximum per-second rate limit for this API. Try again later.";
    ([(RETRY_AFTER, "1")], error(StatusCode::TOO_MANY_REQUESTS, 429, words)).into_response()
}

pub(super) fn error(status: StatusCode, code: i64, message: &str) -> Response {
    json_response(status, &json!({ "code": code, "message": message }))
}
