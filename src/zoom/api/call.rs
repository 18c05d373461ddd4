//! One request to Zoom's API and its answer, of bounded size. The time for it is bounded by whoever asks.

use bytes::BytesMut;
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::refusal::Refusal;
use super::{ApiError, Product};
use crate::clock::Clock;
use crate::zoom::client::{Clients, connection_words};

/// Longest answer that is read, in bytes. A recording with a thousand participant files has about 800 000.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// What came back.
#[derive(Debug)]
pub(super) enum Answer {
    /// What was asked for.
    Given(Value),
    /// An error of Zoom's.
    Refused(Refusal),
}

impl Answer {
    pub(super) fn or_error(self, product: Product) -> Result<Value, ApiError> {
        match self {
            Self::Given(value) => Ok(value),
            Self::Refused(refusal) => Err(refusal.into_error(product)),
        }
    }
}

/// Asks for something, with a bearer token.
pub(super) async fn get(
    clients: &Clients,
    url: &Url,
    token: &SecretString,
    clock: Clock,
) -> Result<Answer, ApiError> {
    send(clients.for_url(url).get(url.clone()).bearer_auth(token.expose_secret()), clock).await
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
    send(request, clock).await
}

async fn send(request: RequestBuilder, clock: Clock) -> Result<Answer, ApiError> {
    let response = request.header(ACCEPT, "application/json").send().await.map_err(unreachable)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = body(response).await?;
    let value = serde_json::from_slice::<Value>(&body).ok();
    let refused = |value: Option<&Value>| Answer::Refused(Refusal::new(status, &headers, value, clock.now()));
    Ok(match value {
        Some(value) if status == StatusCode::OK && !is_error(&value) => Answer::Given(value),
        value => refused(value.as_ref()),
    })
}

async fn body(mut response: Response) -> Result<BytesMut, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            let reason = format!("Zoom's API answered with more than {MAX_ANSWER_BYTES} bytes");
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
    let has_answer = ["recording_files", "access_token", "uuid", "session_id"].into_iter().any(has);
    !value.is_object() || (has_code && !has_answer)
}

fn unreachable(error: reqwest::Error) -> ApiError {
    ApiError::Unreachable(connection_words(&error))
}
