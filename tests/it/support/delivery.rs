//! Raw deliveries to the public door: signed as Zoom signs, or not.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Client, Response, StatusCode};
use zoom_archiver::zoom::signature::{SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};

use super::service::SECRET;

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end of time")
}

/// Sends a body as it is, with these two headers.
pub(crate) async fn send(url: &str, timestamp: &str, signature: &str, body: &[u8]) -> Response {
    Client::new()
        .post(url)
        .header(TIMESTAMP_HEADER, timestamp)
        .header(SIGNATURE_HEADER, signature)
        .header("content-type", "application/json")
        .body(body.to_vec())
        .send()
        .await
        .expect("the public door answers")
}

/// Signs a body as Zoom does, now, with the tests' secret, and sends it.
pub(crate) async fn deliver(url: &str, body: &str) -> Response {
    deliver_at(url, body, now()).await
}

/// The same, signed at some time.
pub(crate) async fn deliver_at(url: &str, body: &str, seconds: i64) -> Response {
    let timestamp = seconds.to_string();
    send(url, &timestamp, &sign(&SECRET.into(), &timestamp, body.as_bytes()), body.as_bytes()).await
}

/// Signs and sends, and gives the status.
pub(crate) async fn status_of(url: &str, body: &str) -> StatusCode {
    deliver(url, body).await.status()
}
