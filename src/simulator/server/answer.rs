//! What a request for a file gets: the file, a part of it, a refusal, or the fault that is due.

use std::collections::HashMap;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{
    ACCEPT_RANGES, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HOST, HeaderName, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::Context;
use super::body::{End, Plan};
use crate::domain::recording::RecordingKind;
use crate::simulator::fault::{Fault, RedirectTo};
use crate::simulator::ledger::{Request, Violation};
use crate::simulator::library::{Library, Opened, Refusal};

/// Where `download_url` leads: the file's key, and something that differs from one announcement to the next.
pub(super) const DOWNLOAD_PATH: &str = "/rec/webhook_download/{key}/{variant}";
/// Where redirects lead: a URL that carries its own permission, in the query.
pub(super) const SIGNED_PATH: &str = "/replay/{key}";
/// The parameter with that permission.
const PASS: &str = "pass";
/// What Zoom would call a token in the query.
const TOKEN_PARAMETERS: [&str; 2] = ["access_token", "download_token"];

pub(super) const SIGN_IN_PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <title>Sign In - Fake Zoom</title></head>\n<body><form action=\"/signin\" method=\"post\">\
    <label>Email <input name=\"email\"></label><label>Password <input name=\"password\" type=\"password\">\
    </label><button>Sign In</button></form></body></html>\n";

/// How an answer came about.
struct Answer {
    response: Response,
    /// Not the file, and not the way to it.
    refused: bool,
}

impl Answer {
    fn refusal(response: impl IntoResponse) -> Self {
        Self { response: response.into_response(), refused: true }
    }

    fn given(response: impl IntoResponse) -> Self {
        Self { response: response.into_response(), refused: false }
    }
}

/// The front door: asks for the bearer token.
pub(super) async fn download(
    State(context): State<Context>,
    Path((key, _variant)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    note_token_in_query(&context, &query, &headers);
    let Some(file) = context.library.open(&key) else { return no_such_file() };
    let admitted = bearer(&headers).is_some_and(|token| {
        let library = &context.library;
        let is_of_api = super::api::signer(token).is_some() || library.admits_access_token(token).is_some();
        if is_of_api && is_at_other_origin(&context, &headers) {
            library.note_violation(Violation::TokenAtOtherOrigin { host: host(&headers) });
        }
        library.admits(token, &file.instance_id) || opens_as_bearer(library, token, &file.instance_id)
    });
    let answer = if admitted {
        let fault = context.library.strike(&key, false);
        serve(&context, &key, file, fault, &uri, &headers)
    } else {
        Answer::refusal(refuse(context.library.refusal()))
    };
    note(&context, &key, &headers, answer)
}

/// Whether a token is the bearer of the API, and opens this file as such: calls have no token of their own.
fn opens_as_bearer(library: &Library, token: &str, instance_id: &str) -> bool {
    let Some(recording) = library.recording(instance_id) else { return false };
    let is_good = match recording.kind {
        RecordingKind::VideoSdk => super::api::signer(token).is_some(),
        _ => library.admits_access_token(token).is_some(),
    };
    is_good && (recording.kind == RecordingKind::Phone || library.are_files_open_to_api_bearer())
}

fn is_at_other_origin(context: &Context, headers: &HeaderMap) -> bool {
    format!("http://{}", host(headers)) == context.behind
}

/// Behind a redirect: asks for the permission in the URL, and wants no bearer token.
pub(super) async fn signed(
    State(context): State<Context>,
    Path(key): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    note_token_in_query(&context, &query, &headers);
    if is_at_other_origin(&context, &headers) && headers.contains_key(AUTHORIZATION) {
        context.library.note_violation(Violation::TokenAtOtherOrigin { host: host(&headers) });
    }
    let Some(file) = context.library.open(&key) else { return no_such_file() };
    let admitted = query.get(PASS).is_some_and(|pass| {
        context.library.admits(pass, &file.instance_id) && context.library.admits_pass(pass, &key)
    });
    let answer = if admitted {
        let fault = context.library.strike(&key, true);
        serve(&context, &key, file, fault, &uri, &headers)
    } else {
        Answer::refusal((StatusCode::FORBIDDEN, "Access denied"))
    };
    note(&context, &key, &headers, answer)
}

fn serve(
    context: &Context,
    key: &str,
    file: Opened,
    fault: Option<Fault>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Answer {
    match fault {
        Some(Fault::Status { code, retry_after }) => {
            let retry_after = retry_after.map(|secs| [(RETRY_AFTER, secs.to_string())]);
            Answer::refusal((code, retry_after, "not now"))
        }
        Some(Fault::SignInPage) => Answer::refusal(refuse(Refusal::SignInPage)),
        Some(Fault::JsonError) => Answer::refusal(json(
            StatusCode::OK,
            r#"{"status":false,"errorCode":3301,"errorMessage":"This recording does not exist."}"#,
        )),
        Some(Fault::ExpiredToken) => Answer::refusal(refuse(Refusal::Json)),
        Some(Fault::Empty) => Answer::refusal(([(CONTENT_TYPE, file.content_type)], "")),
        Some(Fault::Redirect(to)) => {
            let location = location(context, key, &file, &to, uri);
            Answer::given((StatusCode::FOUND, [(LOCATION, location)]))
        }
        fault => send(context, key, file, fault, headers),
    }
}

fn location(context: &Context, key: &str, file: &Opened, to: &RedirectTo, uri: &Uri) -> String {
    const PASS_LIFETIME: std::time::Duration = std::time::Duration::from_secs(3600);
    let signed = || {
        let pass = context.library.issue_token(&file.instance_id, PASS_LIFETIME);
        format!("/replay/{key}?{PASS}={pass}")
    };
    match to {
        RedirectTo::OtherPath => signed(),
        RedirectTo::OtherOrigin => format!("{}{}", context.behind, signed()),
        RedirectTo::Itself => uri.to_string(),
        RedirectTo::Anywhere(url) => url.clone(),
    }
}

/// The bytes that an answer is about, as the client asked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    All,
    /// From, and one beyond the last.
    Part(u64, u64),
    Nothing,
}

fn send(context: &Context, key: &str, file: Opened, fault: Option<Fault>, headers: &HeaderMap) -> Answer {
    let len = file.content.len();
    let asked = match fault {
        Some(Fault::RangesIgnored) => Asked::All,
        Some(Fault::ConditionalRangesIgnored) if headers.contains_key(IF_RANGE) => Asked::All,
        Some(Fault::RangesRefused) if headers.contains_key(RANGE) => Asked::Nothing,
        _ => asked(headers, &file.etag, len),
    };
    let (status, mut from, to) = match asked {
        Asked::All => (StatusCode::OK, 0, len),
        Asked::Part(from, to) => {
            let most = match fault {
                Some(Fault::ShortRanges { most }) => most,
                _ => u64::MAX,
            };
            (StatusCode::PARTIAL_CONTENT, from, to.min(from.saturating_add(most)))
        }
        Asked::Nothing => {
            let known =
                if matches!(fault, Some(Fault::UnknownLength)) { "*".to_owned() } else { len.to_string() };
            let range = format!("bytes */{known}");
            return Answer::given((StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, range)]));
        }
    };
    if let (Some(Fault::RangeShifted { by }), Asked::Part(..)) = (&fault, asked) {
        from = from.saturating_add(*by).min(to.saturating_sub(1));
    }
    if len == 0 {
        context.library.note_served(key, &file.etag, 0, 0);
    }
    let whole = to - from;
    let mut plan = Plan {
        library: context.library.clone(),
        key: key.to_owned(),
        etag: file.etag.clone(),
        content: file.content,
        from,
        count: whole,
        end: End::Whole,
        breaks: None,
        held_back: None,
        bytes_per_sec: context.bytes_per_sec,
        honest: !matches!(fault, Some(Fault::RangeShifted { .. } | Fault::Endless)),
        repeats: false,
    };
    let mut announced = Some(whole);
    match fault {
        Some(Fault::Cut { after }) => (plan.count, plan.end) = (after.min(whole), End::Cut),
        Some(Fault::Stall { after }) => (plan.count, plan.end) = (after.min(whole), End::Stall),
        Some(Fault::Slow { bytes_per_sec }) => plan.bytes_per_sec = Some(bytes_per_sec),
        Some(Fault::ContentLength { delta }) => {
            let length = whole.saturating_add_signed(delta);
            plan.count = whole.min(length);
            plan.end = if length > whole { End::Cut } else { End::Whole };
            announced = Some(length);
        }
        Some(Fault::Chunked) => announced = None,
        Some(Fault::Endless) => (plan.count, plan.repeats, announced) = (u64::MAX, true, None),
        _ => {}
    }
    if let Some(fault) = context.library.strike_within(key, from, from.saturating_add(plan.count)) {
        plan.break_off(fault);
    }
    let known_length = match fault {
        Some(Fault::UnknownLength) => "*".to_owned(),
        _ => len.to_string(),
    };
    let validator = match fault {
        Some(Fault::WeakEtag) => (ETAG, format!("W/{}", file.etag)),
        // As many seconds as there are contents: another one was changed at another time.
        Some(Fault::LastModifiedOnly) => (LAST_MODIFIED, moment_of(&file.etag)),
        _ => (ETAG, file.etag.clone()),
    };
    let ranges = !matches!(fault, Some(Fault::RangesIgnored | Fault::RangesRefused));
    let optional = [
        announced.map(|length| (CONTENT_LENGTH, length.to_string())),
        ranges.then(|| (ACCEPT_RANGES, "bytes".to_owned())),
        (status == StatusCode::PARTIAL_CONTENT)
            .then(|| (CONTENT_RANGE, format!("bytes {from}-{}/{known_length}", to - 1))),
        matches!(fault, Some(Fault::Encoded)).then(|| (CONTENT_ENCODING, "gzip".to_owned())),
        (!matches!(fault, Some(Fault::NoValidator))).then_some(validator),
    ];
    let mut response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, file.content_type)
        .header(CONTENT_DISPOSITION, "attachment");
    for (name, value) in optional.into_iter().flatten() {
        response = response.header(name, value);
    }
    Answer::given(
        response.body(plan.into_body()).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR).into_response(),
    )
}

/// A time for the version with this entity tag.
fn moment_of(etag: &str) -> String {
    let digits = etag.bytes().fold(0_i64, |sum, byte| (sum * 31 + i64::from(byte)) % 1_000_000);
    let at = chrono::DateTime::from_timestamp(1_700_000_000 + digits, 0).unwrap_or_default();
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads `Range` (RFC 9110, section 14): one range of bytes; anything else is as if it were not there.
fn asked(headers: &HeaderMap, etag: &str, len: u64) -> Asked {
    if text(headers, IF_RANGE).is_some_and(|validator| validator != etag) {
        return Asked::All;
    }
    let range = text(headers, RANGE);
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return Asked::All;
    };
    let (from, to) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(from), Ok(last)) if from <= last => (from, len.min(last.saturating_add(1))),
        (Ok(from), Err(_)) if last.is_empty() => (from, len),
        (Err(_), Ok(suffix)) if first.is_empty() => {
            (if suffix == 0 { len } else { len.saturating_sub(suffix) }, len)
        }
        _ => return Asked::All,
    };
    if from < to { Asked::Part(from, to) } else { Asked::Nothing }
}

const INVALID_TOKEN: &str = r#"{"code":124,"message":"Invalid access token."}"#;

fn refuse(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Json => json(StatusCode::UNAUTHORIZED, INVALID_TOKEN),
        Refusal::JsonIn200 => json(StatusCode::OK, INVALID_TOKEN),
        Refusal::Forbidden => StatusCode::FORBIDDEN.into_response(),
        Refusal::SignInPage => ([(CONTENT_TYPE, "text/html;charset=utf-8")], SIGN_IN_PAGE).into_response(),
    }
}

fn json(status: StatusCode, body: &'static str) -> Response {
    (status, [(CONTENT_TYPE, "application/json;charset=UTF-8")], Body::from(body)).into_response()
}

fn no_such_file() -> Response {
    json(StatusCode::NOT_FOUND, r#"{"code":3301,"message":"This recording does not exist."}"#)
}

fn note(context: &Context, key: &str, headers: &HeaderMap, answer: Answer) -> Response {
    let request = Request {
        host: host(headers),
        range: text(headers, RANGE).map(str::to_owned),
        if_range: text(headers, IF_RANGE).map(str::to_owned),
        token: bearer(headers).and_then(|token| context.library.token_number(token)),
        status: answer.response.status().as_u16(),
        at: Instant::now(),
    };
    context.library.note_request(key, request, answer.refused);
    answer.response
}

pub(super) fn note_token_in_query(context: &Context, query: &HashMap<String, String>, headers: &HeaderMap) {
    if TOKEN_PARAMETERS.iter().any(|name| query.contains_key(*name)) {
        context.library.note_violation(Violation::TokenInQuery { host: host(headers) });
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    text(headers, AUTHORIZATION)?.strip_prefix("Bearer ")
}

fn host(headers: &HeaderMap) -> String {
    text(headers, HOST).unwrap_or_default().to_owned()
}

pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(range: &str) -> Asked {
        let headers = HeaderMap::from_iter([(RANGE, range.parse().unwrap())]);
        asked(&headers, "\"tag\"", 100)
    }

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        assert_eq!(ask("bytes=0-0"), Asked::Part(0, 1));
        assert_eq!(ask("bytes=10-"), Asked::Part(10, 100));
        assert_eq!(ask("bytes=-10"), Asked::Part(90, 100));
        assert_eq!(ask("bytes=-1000"), Asked::Part(0, 100));
        assert_eq!(ask("bytes=90-1000"), Asked::Part(90, 100));
        assert_eq!(ask("bytes=100-"), Asked::Nothing);
        assert_eq!(ask("bytes=-0"), Asked::Nothing);
        for odd in ["bytes=5-1", "bytes=0-1,3-4", "lines=0-1", "bytes=-", "bytes=a-b"] {
            assert_eq!(ask(odd), Asked::All, "{odd}");
        }
    }
}
