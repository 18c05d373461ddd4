//! One recording, one session, and what is done to them.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Context;
use super::call::Call;
use super::refusal::{error, invalid_field, no_such_recording};
use super::{Sent, json_response};
use crate::domain::recording::RecordingKind;
use crate::simulator::credentials::{FakeAccount, owner};
use crate::simulator::events::{self, Links};
use crate::simulator::recording::FakeRecording;

/// Longest `ttl`, in seconds.
const LONGEST_TTL: u64 = 604_800;
/// Life of a download token that was asked for without `ttl`, in seconds.
const DEFAULT_TTL: u64 = 24 * 3600;

pub(super) fn answer(context: &Context, call: &Call, account: &'static FakeAccount, sent: &Sent) -> Response {
    match call {
        Call::Recordings { sessions, id } => match find(context, account, *sessions, id) {
            Some(recording) if !is_wholly_in_trash(context, &recording) => {
                describe(context, &recording, sent)
            }
            _ => no_such_recording(),
        },
        Call::Transcript { id } => match find(context, account, false, id) {
            Some(recording) => transcript(context, &recording),
            None => no_such_recording(),
        },
        Call::Remove { sessions, id, file } => {
            let library = &context.library;
            let removed = match sent.query.get("action").map(String::as_str) {
                _ if find(context, account, *sessions, id).is_none() => false,
                None | Some("trash") => library.trash(id, file.as_deref()),
                Some("delete") => library.delete(id, file.as_deref()),
                Some(_) => return invalid_field(),
            };
            done(removed)
        }
        Call::Recover { sessions, id, file } => match word(sent, "action").as_deref() {
            Some("recover") => {
                let is_there = find(context, account, *sessions, id).is_some();
                done(is_there && context.library.recover(id, file.as_deref()))
            }
            _ => invalid_field(),
        },
        Call::SessionEvents { id } => {
            match context.library.control(id, &word(sent, "method").unwrap_or_default()) {
                Some(true) => StatusCode::ACCEPTED.into_response(),
                Some(false) => {
                    error(StatusCode::BAD_REQUEST, 3000, "Not possible in the session's present state.")
                }
                None => error(StatusCode::NOT_FOUND, 3001, "Session does not exist."),
            }
        }
        Call::List { .. } | Call::WebhookLog => invalid_field(),
    }
}

/// Where the transcript of a meeting is: the first file of that type.
fn transcript(context: &Context, recording: &FakeRecording) -> Response {
    let Some(file) = recording.file("TRANSCRIPT") else {
        let withheld = json!({ "can_download": false, "download_restriction_reason": "NOT_READY" });
        return json_response(StatusCode::OK, &withheld);
    };
    let variant = context.library.new_variant();
    let links = Links { base: &context.base, variant: &variant, token: "" };
    let there = json!({
        "meeting_id": recording.instance_id,
        "account_id": recording.account_id,
        "meeting_topic": recording.topic,
        "can_download": true,
        "download_url": links.download_url(file),
    });
    json_response(StatusCode::OK, &there)
}

fn describe(context: &Context, recording: &FakeRecording, sent: &Sent) -> Response {
    let ttl = match sent.query.get("ttl").map(|ttl| ttl.parse::<u64>()) {
        None => DEFAULT_TTL,
        Some(Ok(ttl)) if ttl <= LONGEST_TTL => ttl,
        Some(_) => return invalid_field(),
    };
    let fields = sent.query.get("include_fields").map(String::as_str).unwrap_or_default();
    let with_token = fields.split(',').any(|field| field == "download_access_token");
    let token = context.library.issue_token(&recording.instance_id, Duration::from_secs(ttl));
    let variant = context.library.new_variant();
    let links = Links { base: &context.base, variant: &variant, token: &token };
    let status = |file: &_| context.library.file_status(file);
    json_response(StatusCode::OK, &events::answer(recording, &links, with_token, status))
}

fn is_wholly_in_trash(context: &Context, recording: &FakeRecording) -> bool {
    let is_in_trash = |key: &str| context.library.is_in_trash(key);
    !recording.files.is_empty() && recording.files.iter().all(|file| is_in_trash(&file.key))
}

/// A recording, as far as this account sees it, in the trash or not.
fn find(context: &Context, account: &FakeAccount, sessions: bool, id: &str) -> Option<FakeRecording> {
    context.library.recording(id).filter(|recording| {
        (recording.kind == RecordingKind::VideoSdk) == sessions && owner(&recording.account_id) == account
    })
}

fn word(sent: &Sent, key: &str) -> Option<String> {
    let body: Value = serde_json::from_slice(&sent.body).ok()?;
    Some(body.get(key)?.as_str()?.to_owned())
}

fn done(done: bool) -> Response {
    if done { StatusCode::NO_CONTENT.into_response() } else { no_such_recording() }
}
