//! What a question to the API gets: the answer with a fresh token and fresh URLs, a refusal, or the fault that is
//! due. Only what the program asks; statuses, codes and shapes are those of Zoom's API reference.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use futures_util::stream;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::Context;
use super::answer::{SIGN_IN_PAGE, bearer, note_token_in_query, text};
use crate::domain::recording::RecordingKind;
use crate::simulator::events::{self, Links};
use crate::simulator::fault::ApiFault;
use crate::simulator::ledger::{ApiRequest, Endpoint};
use crate::simulator::library::ACCESS_TOKEN_LIFE;
use crate::simulator::recording::FakeRecording;
use crate::simulator::token::read_signed;
use crate::simulator::{credentials, now};

/// Everything below the API's base.
pub(super) const API_PATH: &str = "/v2/{*rest}";
/// Where access tokens are to be had.
pub(super) const TOKEN_PATH: &str = "/oauth/token";

/// Longest `ttl`, in seconds.
const LONGEST_TTL: u64 = 604_800;
/// Life of a download token that was asked for without `ttl`, in seconds.
const DEFAULT_TTL: u64 = 24 * 3600;
/// How far ahead of our clock a token may have been made, in seconds.
const CLOCK_SKEW: i64 = 30;

/// Lists the files of one session or meeting.
pub(super) async fn recordings(
    State(context): State<Context>,
    Query(query): Query<HashMap<String, String>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    note_token_in_query(&context, &query, &headers);
    let Some((endpoint, instance_id)) = asked_about(uri.path()) else {
        return error(StatusCode::NOT_FOUND, 2300, "This API endpoint is not recognized.");
    };
    let admitted = bearer(&headers).is_some_and(|token| match endpoint {
        Endpoint::SessionRecordings => is_signed_token(token),
        _ => context.library.admits_access_token(token),
    });
    let response = if admitted {
        match context.library.strike_api(&instance_id) {
            Some(fault) => strike(fault, || list(&context, endpoint, &instance_id, &query)).await,
            None => list(&context, endpoint, &instance_id, &query),
        }
    } else {
        invalid_token()
    };
    note(&context, endpoint, &uri, response)
}

/// Gives out an access token.
pub(super) async fn access_token(
    State(context): State<Context>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let response = match refusal_of_credentials(&uri, &headers, &body) {
        Some(refusal) => refusal,
        None => match context.library.strike_access_token() {
            Some(fault) => strike(fault, || give_access_token(&context)).await,
            None => give_access_token(&context),
        },
    };
    note(&context, Endpoint::AccessToken, &uri, response)
}

/// What is asked about. The path is decoded once before it is taken apart, as at Zoom, and the id once more: one
/// that holds `/` or `+` arrives as itself only when it was encoded twice.
fn asked_about(path: &str) -> Option<(Endpoint, String)> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let path = path.strip_prefix("/v2/")?.strip_suffix("/recordings")?;
    let (endpoint, id) = match path.strip_prefix("videosdk/sessions/") {
        Some(id) => (Endpoint::SessionRecordings, id),
        None => (Endpoint::MeetingRecordings, path.strip_prefix("meetings/")?),
    };
    if id.is_empty() || id.contains('/') {
        return None;
    }
    let id = id.replace('+', " ");
    Some((endpoint, percent_decode_str(&id).decode_utf8().ok()?.into_owned()))
}

fn list(
    context: &Context,
    endpoint: Endpoint,
    instance_id: &str,
    query: &HashMap<String, String>,
) -> Response {
    let ttl = match query.get("ttl").map(|ttl| ttl.parse::<u64>()) {
        None => DEFAULT_TTL,
        Some(Ok(ttl)) if ttl <= LONGEST_TTL => ttl,
        Some(_) => return error(StatusCode::BAD_REQUEST, 300, "Validation Failed."),
    };
    let Some(recording) = context.library.recording(instance_id).filter(|it| is_listed_at(it, endpoint))
    else {
        return no_such_recording();
    };
    let fields = query.get("include_fields").map(String::as_str).unwrap_or_default();
    let with_token = fields.split(',').any(|field| field == "download_access_token");
    let token = context.library.issue_token(instance_id, Duration::from_secs(ttl));
    let variant = context.library.new_variant();
    let links = Links { base: &context.base, variant: &variant, token: &token };
    let status = |file: &_| context.library.file_status(file);
    json_response(StatusCode::OK, &events::answer(&recording, &links, with_token, status))
}

fn is_listed_at(recording: &FakeRecording, endpoint: Endpoint) -> bool {
    let is_session = recording.kind == RecordingKind::VideoSdk;
    is_session == (endpoint == Endpoint::SessionRecordings)
}

/// What a token for the Video SDK API says.
#[derive(Deserialize)]
struct ApiClaims {
    iss: String,
    iat: i64,
    exp: i64,
}

fn is_signed_token(token: &str) -> bool {
    let now = now().timestamp();
    read_signed::<ApiClaims>(credentials::API_SECRET.as_bytes(), token).is_some_and(|claims| {
        claims.iss == credentials::API_KEY && claims.iat <= now + CLOCK_SKEW && claims.exp > now
    })
}

/// Zoom takes the parameters from the query or from a form.
fn refusal_of_credentials(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Option<Response> {
    let query = uri.query().unwrap_or_default().as_bytes();
    let parameters: HashMap<_, _> =
        form_urlencoded::parse(query).chain(form_urlencoded::parse(body)).collect();
    let parameter = |name: &str| parameters.get(name).map(AsRef::as_ref).unwrap_or_default();
    let expected = format!("{}:{}", credentials::CLIENT_ID, credentials::CLIENT_SECRET);
    let basic = text(headers, AUTHORIZATION).and_then(|text| text.strip_prefix("Basic ")).unwrap_or_default();
    let refuse = |error: &str, reason: &str| {
        Some(json_response(StatusCode::BAD_REQUEST, &json!({ "error": error, "reason": reason })))
    };
    if parameter("grant_type") != "account_credentials" {
        return refuse("unsupported_grant_type", "unsupported grant type");
    }
    if BASE64.decode(basic.as_bytes()).ok().as_deref() != Some(expected.as_bytes()) {
        return refuse("invalid_client", "Invalid client_id or client_secret");
    }
    if parameter("account_id") != credentials::ACCOUNT_ID {
        return refuse("invalid_request", "Bad Request");
    }
    None
}

fn give_access_token(context: &Context) -> Response {
    let answer = json!({
        "access_token": context.library.issue_access_token(),
        "token_type": "bearer",
        "expires_in": ACCESS_TOKEN_LIFE.as_secs(),
        "scope": "cloud_recording:read:list_recording_files:admin",
        "api_url": context.base.as_str().trim_end_matches('/'),
    });
    json_response(StatusCode::OK, &answer)
}

async fn strike(fault: ApiFault, answer: impl FnOnce() -> Response) -> Response {
    match fault {
        ApiFault::Gone => no_such_recording(),
        ApiFault::Status { code, retry_after } => {
            let retry_after = retry_after.map(|moment| [(RETRY_AFTER, moment)]);
            (retry_after, error(code, code.as_u16().into(), "not now")).into_response()
        }
        ApiFault::ErrorIn200 { code } => {
            error(StatusCode::OK, code, "You do not have the right permissions.")
        }
        ApiFault::MissingScope => {
            const WORDS: &str = "Invalid access token, does not contain scopes:[cloud_recording:read:\
                list_recording_files, cloud_recording:read:list_recording_files:admin].";
            error(StatusCode::BAD_REQUEST, 4711, WORDS)
        }
        ApiFault::ExpiredToken => invalid_token(),
        ApiFault::Slow(time) => {
            tokio::time::sleep(time).await;
            answer()
        }
        ApiFault::SignInPage => ([(CONTENT_TYPE, "text/html;charset=utf-8")], SIGN_IN_PAGE).into_response(),
        ApiFault::Flood { bytes } => json_response(StatusCode::OK, &json!({ "uuid": "x".repeat(bytes) })),
        ApiFault::Redirect { to } => (StatusCode::FOUND, [(LOCATION, to)]).into_response(),
        ApiFault::Cut => {
            let pieces = [Ok("{\"recording_files\":"), Err(std::io::ErrorKind::ConnectionReset)];
            Body::from_stream(stream::iter(pieces.map(|piece| piece.map_err(std::io::Error::from))))
                .into_response()
        }
    }
}

fn no_such_recording() -> Response {
    error(StatusCode::NOT_FOUND, 3301, "There is no recording for this meeting.")
}

fn invalid_token() -> Response {
    error(StatusCode::UNAUTHORIZED, 124, "Invalid access token.")
}

fn error(status: StatusCode, code: i64, message: &str) -> Response {
    json_response(status, &json!({ "code": code, "message": message }))
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json;charset=UTF-8")], value.to_string()).into_response()
}

fn note(context: &Context, endpoint: Endpoint, uri: &Uri, response: Response) -> Response {
    let target = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let status = response.status().as_u16();
    context.library.note_api_request(ApiRequest { endpoint, target, status });
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_arrives_as_itself_only_when_it_was_encoded_as_zoom_wants_it() {
        let asked = |id: &str| asked_about(&format!("/v2/videosdk/sessions/{id}/recordings"));
        let found = |id: &str| Some((Endpoint::SessionRecordings, id.to_owned()));
        assert_eq!(asked("%252FQ0z%252F9%252Baa%253D%253D"), found("/Q0z/9+aa=="));
        assert_eq!(asked("%2FQ0z%2F9%2Baa%3D%3D"), None);
        assert_eq!(asked("Q0z9%2Baa%3D%3D"), found("Q0z9 aa=="));
        assert_eq!(asked("Q0z9aa%3D%3D"), found("Q0z9aa=="));
        assert_eq!(asked("Q0z9aa=="), found("Q0z9aa=="));
        assert_eq!(asked(""), None);
        assert_eq!(
            asked_about("/v2/meetings/a%3D/recordings"),
            Some((Endpoint::MeetingRecordings, "a=".into()))
        );
        assert_eq!(asked_about("/v2/users/me/recordings"), None);
    }
}
