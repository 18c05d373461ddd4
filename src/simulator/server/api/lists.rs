//! Recordings and deliveries of events, page by page.

use std::collections::HashMap;

use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::Context;
use super::call::{Call, Whose};
use super::refusal::{error, invalid_field, missing_scope};
use super::{Sent, json_response};
use crate::domain::recording::RecordingKind;
use crate::simulator::credentials::FakeAccount;
use crate::simulator::events::{self, FileStatus, Links};
use crate::simulator::library::{Library, ListedBy};
use crate::simulator::now;
use crate::simulator::recording::FakeRecording;

/// Entries on a page when nothing is said of it.
const DEFAULT_PAGE: usize = 30;
/// Most entries on a page.
const LONGEST_PAGE: usize = 300;
/// Longest span of a list, in days: a month.
const LONGEST_DAYS: i64 = 31;
/// Longest span of the log.
const LONGEST_LOG: TimeDelta = TimeDelta::days(7);

pub(super) fn answer(context: &Context, call: &Call, account: &'static FakeAccount, sent: &Sent) -> Response {
    let Some(page) = Page::read(&sent.query) else { return invalid_field() };
    match call {
        Call::List { whose: Whose::Account(id) } if id != "me" => {
            missing_scope("cloud_recording:read:list_account_recordings:master")
        }
        Call::List { whose: Whose::User(user) } if !Library::is_user(user) => {
            error(StatusCode::NOT_FOUND, 1001, &format!("User does not exist: {user}."))
        }
        Call::List { whose } => recordings(context, whose, account, &sent.query, &page),
        _ => deliveries(context, &sent.query, &page),
    }
}

/// Which page of which list. The token for the next one is good for the same list only.
struct Page {
    skip: usize,
    size: usize,
    list: String,
}

impl Page {
    fn read(query: &HashMap<String, String>) -> Option<Self> {
        let parameter = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let list = ["from", "to", "trash", "trash_type", "type"].map(parameter).join("~");
        let size = query.get("page_size").map_or(Some(DEFAULT_PAGE), |size| size.parse().ok())?;
        let skip = match parameter("next_page_token") {
            "" => 0,
            token => token.strip_prefix(&format!("{list}~"))?.parse().ok()?,
        };
        Some(Self { skip, size: size.clamp(1, LONGEST_PAGE), list })
    }

    fn next_token(&self, total: usize) -> String {
        let next = self.skip + self.size;
        if next < total { format!("{}~{next}", self.list) } else { String::new() }
    }
}

fn recordings(
    context: &Context,
    whose: &Whose,
    account: &FakeAccount,
    query: &HashMap<String, String>,
    page: &Page,
) -> Response {
    let in_trash = query.get("trash").is_some_and(|trash| trash == "true");
    let today = now().date_naive();
    let day = |name: &str, default: NaiveDate| match query.get(name) {
        Some(text) => text.parse::<NaiveDate>().ok(),
        None => Some(default),
    };
    let days = day("from", today).zip(day("to", today + TimeDelta::days(1)));
    let Some((from, to)) = days.filter(|(from, to)| (*to - *from).num_days() <= LONGEST_DAYS) else {
        return invalid_field();
    };
    let from = context.library.first_listed(from, to);
    let files_only = match query.get("trash_type").map(String::as_str) {
        Some("recording_file") => true,
        None | Some("meeting_recordings" | "session_recordings") => false,
        Some(_) => return invalid_field(),
    };
    let kinds: &[RecordingKind] = match whose {
        Whose::Sessions => &[RecordingKind::VideoSdk],
        Whose::Calls => &[RecordingKind::Phone],
        Whose::Account(_) | Whose::User(_) => &[RecordingKind::Meeting, RecordingKind::Webinar],
    };
    let by = ListedBy { account, kinds, days: (!in_trash).then_some((from, to)), files_only };
    let listed = context.library.list(&by, page.skip, page.size);
    let entries: Vec<_> = listed.recordings.iter().map(|it| entry(context, it, in_trash)).collect();
    let array = match whose {
        Whose::Sessions => "sessions",
        Whose::Calls => "recordings",
        Whose::Account(_) | Whose::User(_) => "meetings",
    };
    let mut answer = json!({
        "page_size": page.size,
        "total_records": listed.total,
        "next_page_token": page.next_token(listed.total),
        array: entries,
    });
    if !in_trash {
        answer["from"] = json!(from.to_string());
        answer["to"] = json!(to.to_string());
    }
    json_response(StatusCode::OK, &answer)
}

/// A recording as it stands in a list: as when it is asked about, but without a token.
fn entry(context: &Context, recording: &FakeRecording, in_trash: bool) -> Value {
    let variant = context.library.new_variant();
    let links = Links { base: &context.base, variant: &variant, token: "" };
    if recording.kind == RecordingKind::Phone {
        return events::listed_call(recording, &links);
    }
    events::answer(recording, &links, false, |file| match context.library.is_in_trash(&file.key) {
        in_trash_too if in_trash => {
            if in_trash_too {
                FileStatus::Completed
            } else {
                FileStatus::Deleted
            }
        }
        _ => context.library.file_status(file),
    })
}

fn deliveries(context: &Context, query: &HashMap<String, String>, page: &Page) -> Response {
    let moment = |name: &str, default: DateTime<Utc>| match query.get(name) {
        Some(text) => text.parse::<DateTime<Utc>>().ok(),
        None => Some(default),
    };
    let now = now();
    let span = moment("from", now - LONGEST_LOG).zip(moment("to", now));
    let Some((from, to)) = span.filter(|(from, to)| *to - *from <= LONGEST_LOG) else {
        return invalid_field();
    };
    let kind = query.get("type").map_or("1", String::as_str);
    let wanted = |failed: bool| matches!((kind, failed), ("1", _) | ("2", true) | ("3", false));
    let (logged, total) = context.library.logged(
        |logged| (from..=to).contains(&logged.at) && wanted(logged.has_failed()),
        page.skip,
        page.size,
    );
    let entries: Vec<_> = logged
        .iter()
        .map(|logged| {
            json!({
                "event": logged.event,
                "status": logged.status.map_or(-1, i32::from),
                "retry_num": logged.retry,
                "date_time": logged.at.to_rfc3339_opts(SecondsFormat::Secs, true),
                "request_body": logged.body,
            })
        })
        .collect();
    let answer = json!({
        "page_size": page.size,
        "next_page_token": page.next_token(total),
        "webhook_logs": entries,
    });
    json_response(StatusCode::OK, &answer)
}
