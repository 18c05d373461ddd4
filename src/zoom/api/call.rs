//! One request to Zoom's API and its answer, of bounded size. The time for it is bounded by whoever asks.

use bytes::BytesMut;
use http::header::{ACCEPT, CONTENT_TYPE, DATE};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::ApiError;
use super::purpose::Purpose;
use super::refusal::Refusal;
use crate::clock::{Clock, ClockElsewhere};
use crate::domain::json;
use crate::outgoing::{Clients, connection_words};

/// Longest answer that is read, in bytes. A recording with a thousand participant files has about 800 000.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// What only an answer has: an object with a code and none of these is an error, whatever its status.
const ANSWER_KEYS: [&str; 7] =
    ["recording_files", "access_token", "uuid", "session_id", "sessions", "meetings", "webhook_logs"];

/// What is sent.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) url: Url,
    /// Sent as JSON.
    pub(super) body: Option<Value>,
}

impl Question {
    pub(super) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, body: None }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) enum Answer {
    /// What was asked for; null when something was done and there is nothing to say.
    Given(Value),
    /// An error of Zoom's.
    Refused(Refusal),
}

impl Answer {
    pub(super) fn or_error(self, purpose: &Purpose) -> Result<Value, ApiError> {
        match self {
            Self::Given(value) => Ok(value),
            Self::Refused(refusal) => Err(refusal.into_error(purpose)),
        }
    }
}

/// Asks, with a bearer token.
pub(super) async fn ask(
    clients: &Clients,
    question: &Question,
    token: &SecretString,
    clock: Clock,
    elsewhere: &ClockElsewhere,
) -> Result<Answer, ApiError> {
    let Question { method, url, body } = question;
    let mut request =
        clients.for_url(url).request(method.clone(), url.clone()).bearer_auth(token.expose_secret());
    if let Some(body) = body {
        request = request.json(body);
    }
    let (answer, headers) = send(request, *method != Method::GET, clock).await?;
    if let Some(date) = headers.get(DATE).and_then(|date| date.to_str().ok()) {
        elsewhere.note(date, clock.now());
    }
    Ok(answer)
}

/// Sends a form, with a user and a password.
pub(super) async fn post_form(
    clients: &Clients,
    url: &Url,
    user: &SecretString,
    password: &SecretString,
    form: String,
    clock: Clock,
) -> Result<Answer, ApiError> {
    let request = clients
        .for_url(url)
        .post(url.clone())
        .basic_auth(user.expose_secret(), Some(password.expose_secret()))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form);
    send(request, false, clock).await.map(|(answer, _)| answer)
}

/// `may_be_silent`: whether success needs no words (202, 204).
async fn send(
    request: RequestBuilder,
    may_be_silent: bool,
    clock: Clock,
) -> Result<(Answer, HeaderMap), ApiError> {
    let response = request.header(ACCEPT, "application/json").send().await.map_err(unreachable)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = body(response).await?;
    if may_be_silent && status.is_success() && body.is_empty() {
        return Ok((Answer::Given(Value::Null), headers));
    }
    let value = json::parse(&body).ok();
    let is_success = if may_be_silent { status.is_success() } else { status == StatusCode::OK };
    let answer = match value {
        Some(value) if is_success && !is_error(&value) => Answer::Given(value),
        value => Answer::Refused(Refusal::new(status, &headers, value.as_ref(), clock.now())),
    };
    Ok((answer, headers))
}

async fn body(mut response: Response) -> Result<BytesMut, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            let reason = format!(
                "Zoom's API answered with more than {MAX_ANSWER_BYTES} bytes; in a list, a smaller \
                 zoom.api_page_size helps"
            );
            return Err(ApiError::refused(reason));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether a 200 is an error all the same: an object with a code and nothing that an answer would have.
fn is_error(value: &Value) -> bool {
    let has = |key: &str| value.get(key).is_some();
    let has_code = ["code", "errorCode", "error"].into_iter().any(has);
    let has_answer = ANSWER_KEYS.iter().any(|key| has(key));
    !value.is_object() || (has_code && !has_answer)
}

fn unreachable(error: reqwest::Error) -> ApiError {
    ApiError::Unreachable(connection_words(&error))
}
