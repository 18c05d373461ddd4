//! What Zoom could not deliver, as its own log of webhooks has it. Video SDK accounts only.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;
use url::Url;

use super::purpose;
use super::trail::Trail;
use super::{Api, ApiError, path};
use crate::domain::recording::{RecordingIdentity, RecordingKind};
use crate::zoom::payload::{self, Message, UNKNOWN_ACCOUNT};

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
    trail: Trail,
}

impl Api {
    /// Reads what Zoom could not deliver from `from` on, up to `until`, in pages.
    #[must_use]
    pub fn failed_deliveries(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> WebhookLog<'_> {
        WebhookLog { api: self, from, until, trail: Trail::default() }
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
        let own = self.api.account_id(RecordingKind::VideoSdk);
        let page = entries.iter().filter_map(|entry| failed_delivery(entry, own)).collect();
        if !self.trail.turn(payload::text(answer.get("next_page_token")).unwrap_or_default())? {
            self.from = to;
        }
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
            if let Some(token) = self.trail.token() {
                query.append_pair("next_page_token", token);
            }
        }
        Ok(url)
    }
}

/// An entry of the log of the account `own`; nothing when it names no event. Its body is only looked at for the recording:
/// it holds tokens.
fn failed_delivery(entry: &Value, own: Option<&str>) -> Option<FailedDelivery> {
    let status = payload::text(entry.get("status")).and_then(|status| status.parse().ok());
    Some(FailedDelivery {
        event: payload::text(entry.get("event"))?,
        at: payload::time(entry.get("date_time")),
        status: status.filter(|status| *status >= 100),
        recording: entry.get("request_body").and_then(|body| recording(body, own)),
    })
}

/// The body of an event comes as JSON, or as text that is JSON. One that does not say whose it is is the account's whose log
/// it is.
fn recording(body: &Value, own: Option<&str>) -> Option<RecordingIdentity> {
    let message = match body {
        Value::String(text) => payload::read(text.as_bytes()),
        body => payload::read(body.to_string().as_bytes()),
    };
    let Message::Announcement { announcement, .. } = message else { return None };
    let mut recording = announcement.recording.identity;
    if recording.account_id == UNKNOWN_ACCOUNT
        && let Some(own) = own
    {
        own.clone_into(&mut recording.account_id);
    }
    Some(recording)
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
            let read = failed_delivery(&entry, Some("own")).unwrap();
            assert_eq!((read.status, read.at.is_some()), (Some(503), true));
            let recording = read.recording.as_ref().unwrap();
            assert_eq!((recording.instance_id.as_str(), recording.account_id.as_str()), ("s==", "acc"));
            assert!(!format!("{read:?}").contains("t0p-secret"));
        }
        let read = failed_delivery(&json!({ "event": "session.started", "status": -1 }), None).unwrap();
        assert_eq!((read.status, read.at, read.recording), (None, None, None));
        assert!(failed_delivery(&json!({ "status": 500 }), None).is_none());
    }

    #[test]
    fn a_body_that_names_no_account_is_of_the_account_whose_log_it_is() {
        let entry = json!({ "event": "session.recording_completed", "request_body": {
            "event": "session.recording_completed", "payload": { "object": { "session_id": "s==" } } } });
        for (own, account_id) in [(Some("own"), "own"), (None, UNKNOWN_ACCOUNT)] {
            assert_eq!(failed_delivery(&entry, own).unwrap().recording.unwrap().account_id, account_id);
        }
    }
}
