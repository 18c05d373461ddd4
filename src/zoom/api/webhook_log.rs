//! What Zoom could not deliver, as its own log of webhooks has it. Video SDK accounts only.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;
use url::Url;

use super::purpose;
use super::{Api, ApiError, path};
use crate::domain::recording::RecordingIdentity;
use crate::zoom::payload::{self, Message};

/// Longest span of one question (Video SDK API reference, "Get webhook logs": seven days).
const LONGEST_DAYS: i64 = 7;
/// The value of `type` for deliveries that failed.
const FAILED: &str = "2";

/// One try to deliver an event that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedDelivery {
    /// Name of the event.
    pub event: String,
    /// When it was tried.
    pub at: Option<DateTime<Utc>>,
    /// HTTP status that Zoom was answered with; missing when it was not answered.
    pub status: Option<u16>,
    /// The recording that the event is about, as far as the log says.
    pub recording: Option<RecordingIdentity>,
}

/// The log that is being read. An error does not end it: [`next`](Self::next) asks for the same page again.
#[derive(Debug)]
pub struct WebhookLog<'a> {
    api: &'a Api,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    page_token: String,
}

impl Api {
    /// Reads what Zoom could not deliver from `from` on, up to `until`, in pages.
    #[must_use]
    pub fn failed_deliveries(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> WebhookLog<'_> {
        WebhookLog { api: self, from, until, page_token: String::new() }
    }
}

impl WebhookLog<'_> {
    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn next(&mut self) -> Result<Option<Vec<FailedDelivery>>, ApiError> {
        if self.from >= self.until {
            return Ok(None);
        }
        let to = self.until.min(self.from + TimeDelta::days(LONGEST_DAYS));
        let answer = self.api.get(&purpose::WEBHOOK_LOG, &self.url(to)?).await?;
        let entries = answer
            .get("webhook_logs")
            .and_then(Value::as_array)
            .ok_or_else(|| ApiError::refused("Zoom's API answered a log without `webhook_logs`"))?;
        let page = entries.iter().filter_map(failed_delivery).collect();
        let next = payload::text(answer.get("next_page_token")).unwrap_or_default();
        if !next.is_empty() && next == self.page_token {
            return Err(ApiError::refused("Zoom's log leads from one page to the same page again"));
        }
        if next.is_empty() {
            self.from = to;
        }
        self.page_token = next;
        Ok(Some(page))
    }

    fn url(&self, to: DateTime<Utc>) -> Result<Url, ApiError> {
        let mut url = path::under(&self.api.base, "videosdk/report/webhook_logs")?;
        {
            let moment = |moment: DateTime<Utc>| moment.to_rfc3339_opts(SecondsFormat::Secs, true);
            let mut query = url.query_pairs_mut();
            query
                .append_pair("from", &moment(self.from))
                .append_pair("to", &moment(to))
                .append_pair("type", FAILED)
                .append_pair("page_size", &self.api.page_size.to_string());
            if !self.page_token.is_empty() {
                query.append_pair("next_page_token", &self.page_token);
            }
        }
        Ok(url)
    }
}

/// An entry of the log; nothing when it names no event. Its body is only looked at for the recording: it holds tokens.
fn failed_delivery(entry: &Value) -> Option<FailedDelivery> {
    let status = payload::text(entry.get("status")).and_then(|status| status.parse().ok());
    Some(FailedDelivery {
        event: payload::text(entry.get("event"))?,
        at: payload::time(entry.get("date_time")),
        status: status.filter(|status| *status >= 100),
        recording: entry.get("request_body").and_then(recording),
    })
}

/// The body of an event comes as JSON, or as text that is JSON.
fn recording(body: &Value) -> Option<RecordingIdentity> {
    let message = match body {
        Value::String(text) => payload::read(text.as_bytes()),
        body => payload::read(body.to_string().as_bytes()),
    };
    match message {
        Message::Announcement { announcement, .. } => Some(announcement.recording.identity),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_read_as_far_as_it_says_anything() {
        let body = json!({ "event": "session.recording_completed", "download_token": "t0p-secret",
            "payload": { "account_id": "acc", "object": { "session_id": "s==", "recording_files": [] } } });
        for body in [body.clone(), json!(body.to_string())] {
            let entry = json!({ "event": "session.recording_completed", "status": "503",
                "date_time": "2026-01-02T03:04:05Z", "request_body": body });
            let read = failed_delivery(&entry).unwrap();
            assert_eq!((read.status, read.at.is_some()), (Some(503), true));
            assert_eq!(read.recording.as_ref().unwrap().instance_id, "s==");
            assert!(!format!("{read:?}").contains("t0p-secret"));
        }
        let read = failed_delivery(&json!({ "event": "session.started", "status": -1 })).unwrap();
        assert_eq!((read.status, read.at, read.recording), (None, None, None));
        assert!(failed_delivery(&json!({ "status": 500 })).is_none());
    }
}
