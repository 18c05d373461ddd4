//! What a question to the API gets: what was asked for, a refusal, or the fault that is due. Only what the program asks;
//! statuses, codes and shapes are those of Zoom's API reference.
//!
//! - here: who asks, how often, and what for
//! - `call`: which question that is
//! - `lists`: recordings and deliveries, page by page
//! - `things`: one recording, one session, and what is done to them
//! - `refusal`: what is said instead of an answer

mod call;
mod lists;
mod refusal;
mod things;

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use self::call::Call;
use self::refusal::{error, invalid_token, strike, too_many};
use super::Context;
use super::answer::{bearer, note_token_in_query, text};
use crate::simulator::credentials::{self, FakeAccount};
use crate::simulator::ledger::{ApiRequest, Endpoint};
use crate::simulator::library::ACCESS_TOKEN_LIFE;
use crate::simulator::now;
use crate::simulator::token::read_signed;

/// Everything below the API's base.
pub(super) const API_PATH: &str = "/v2/{*rest}";
/// Where access tokens are to be had.
pub(super) const TOKEN_PATH: &str = "/oauth/token";

/// What the app of a fake account has been given.
const SCOPES: [&str; 9] = [
    "cloud_recording:read:list_recording_files:admin",
    "cloud_recording:read:list_account_recordings:admin",
    "cloud_recording:read:list_user_recordings:admin",
    "cloud_recording:read:meeting_transcript:admin",
    "phone:read:list_recordings:admin",
    "cloud_recording:delete:meeting_recording:admin",
    "cloud_recording:delete:recording_file:admin",
    "cloud_recording:update:recover_meeting_recordings:admin",
    "cloud_recording:update:recover_single_recording:admin",
];

/// How far ahead of our clock a token may have been made, in seconds.
const CLOCK_SKEW: i64 = 30;

/// What was sent along.
struct Sent {
    query: HashMap<String, String>,
    body: Bytes,
}

/// Answers any question but the one for an access token.
pub(super) async fn question(
    State(context): State<Context>,
    Query(query): Query<HashMap<String, String>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    note_token_in_query(&context, &query, &headers);
    let Some(call) = Call::read(&method, uri.path()) else {
        return error(StatusCode::NOT_FOUND, 2300, "This API endpoint is not recognized.");
    };
    let response = judge(&context, &call, &headers, &Sent { query, body }).await;
    note(&context, call.endpoint(), &uri, response)
}

async fn judge(context: &Context, call: &Call, headers: &HeaderMap, sent: &Sent) -> Response {
    let token = bearer(headers).unwrap_or_default();
    let account =
        if call.is_video_sdk() { signer(token) } else { context.library.admits_access_token(token) };
    let Some(account) = account else { return invalid_token() };
    if !context.library.is_within_limits(call.endpoint().weight()) {
        return too_many();
    }
    match context.library.strike_api(call.endpoint(), call.subject()) {
        Some(fault) => strike(fault, || answer(context, call, account, sent)).await,
        None => {
            let of_trash = sent.query.contains_key("trash");
            match context.library.scripted(call.endpoint(), call.subject()).filter(|_| !of_trash) {
                Some(scripted) => json_response(StatusCode::OK, &scripted),
                None => answer(context, call, account, sent),
            }
        }
    }
}

fn answer(context: &Context, call: &Call, account: &'static FakeAccount, sent: &Sent) -> Response {
    match call {
        Call::Recordings { .. }
        | Call::Transcript { .. }
        | Call::Remove { .. }
        | Call::Recover { .. }
        | Call::SessionEvents { .. } => things::answer(context, call, account, sent),
        Call::List { .. } | Call::WebhookLog => lists::answer(context, call, account, sent),
    }
}

/// Gives out an access token.
pub(super) async fn access_token(
    State(context): State<Context>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    context.library.is_within_limits(Endpoint::AccessToken.weight());
    let response = match owner_of_credentials(&uri, &headers, &body) {
        Err((error, reason)) => {
            json_response(StatusCode::BAD_REQUEST, &json!({ "error": error, "reason": reason }))
        }
        Ok(account) => match context.library.strike_access_token() {
            Some(fault) => strike(fault, || give_access_token(&context, account)).await,
            None => give_access_token(&context, account),
        },
    };
    note(&context, Endpoint::AccessToken, &uri, response)
}

/// What a token for the Video SDK API says.
#[derive(Deserialize)]
struct ApiClaims {
    iss: String,
    iat: i64,
    exp: i64,
}

/// Who has signed a token for the Video SDK API, if it is good.
pub(super) fn signer(token: &str) -> Option<&'static FakeAccount> {
    let now = now().timestamp();
    credentials::find(|account| {
        read_signed::<ApiClaims>(account.api_secret.as_bytes(), token).is_some_and(|claims| {
            claims.iss == account.api_key && claims.iat <= now + CLOCK_SKEW && claims.exp > now
        })
    })
}

/// Whose credentials they are, or Zoom's `error` and `reason`. Zoom takes the parameters from the query or from a form.
fn owner_of_credentials(
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<&'static FakeAccount, (&'static str, &'static str)> {
    let query = uri.query().unwrap_or_default().as_bytes();
    let parameters: HashMap<_, _> =
        form_urlencoded::parse(query).chain(form_urlencoded::parse(body)).collect();
    let parameter = |name: &str| parameters.get(name).map(AsRef::as_ref).unwrap_or_default();
    let basic = text(headers, AUTHORIZATION).and_then(|text| text.strip_prefix("Basic ")).unwrap_or_default();
    if parameter("grant_type") != "account_credentials" {
        return Err(("unsupported_grant_type", "unsupported grant type"));
    }
    let pair = BASE64.decode(basic.as_bytes()).ok();
    let expected = |account: &FakeAccount| format!("{}:{}", account.client_id, account.client_secret);
    let account = credentials::find(|account| pair.as_deref() == Some(expected(account).as_bytes()));
    let account = account.ok_or(("invalid_client", "Invalid client_id or client_secret"))?;
    if parameter("account_id") != account.account_id {
        return Err(("invalid_request", "Bad Request"));
    }
    Ok(account)
}

fn give_access_token(context: &Context, account: &FakeAccount) -> Response {
    let answer = json!({
        "access_token": context.library.issue_access_token(account),
        "token_type": "bearer",
        "expires_in": ACCESS_TOKEN_LIFE.as_secs(),
        "scope": SCOPES.join(" "),
        "api_url": context.base.as_str().trim_end_matches('/'),
    });
    json_response(StatusCode::OK, &answer)
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
