//! What Zoom says instead of an answer, and what it means. Codes: Zoom's API references ("Error codes", and the
//! errors of each call) and "OAuth error messages"; the same code means different things with different statuses.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{ApiError, Product};
use crate::zoom::client::{header_text, retry_after_secs};

/// The scope that lists the files of a meeting's recording.
const MEETINGS_SCOPE: &str = "cloud_recording:read:list_recording_files:admin";

/// "There is no recording for this meeting", and "Meeting does not exist": with 404, both say that it is not there.
const CODES_NOT_THERE: [i64; 2] = [3301, 3001];
/// "You do not have the right permissions" (also with status 200), "User not found on this account", "User does not
/// exist or does not belong to this account".
const CODES_FORBIDDEN: [i64; 3] = [200, 1010, 1001];
/// "Invalid access token, does not contain scopes". The first two also say other things of a token.
const CODES_SCOPE: [i64; 3] = [4700, 4711, 104];

/// Longest piece of Zoom's own words that is repeated, in characters.
const MAX_MESSAGE_CHARS: usize = 240;
/// Longest single word of it, in characters: the longest scope has some seventy, tokens have more.
const MAX_WORD_CHARS: usize = 80;
/// Longest rest that Zoom may ask for: its daily limits end with the day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// An error of Zoom's.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: Option<i64>,
    /// Zoom's own words, as far as they can be repeated.
    message: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// `body` is the JSON that came, if it was JSON.
    pub(super) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        body: Option<&Value>,
        now: DateTime<Utc>,
    ) -> Self {
        let field = |names: &[&str]| names.iter().find_map(|name| body?.get(name));
        let code = field(&["code", "errorCode"]);
        let message = field(&["message", "errorMessage", "reason", "error"]).and_then(Value::as_str);
        Self {
            status,
            code: code.and_then(|code| code.as_i64().or_else(|| code.as_str()?.parse().ok())),
            message: repeatable(message.unwrap_or(if body.is_some() { "" } else { "no JSON" })),
            retry_after: retry_after(headers, now),
        }
    }

    /// Whether a fresh bearer token may help.
    pub(super) fn is_about_the_token(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED && !self.is_about_scopes()
    }

    fn is_about_scopes(&self) -> bool {
        self.code.is_some_and(|code| CODES_SCOPE.contains(&code)) && self.message.contains("scope")
    }

    fn has_code_of(&self, codes: &[i64]) -> bool {
        self.code.is_some_and(|code| codes.contains(&code))
    }

    /// What it means when a product's API says so.
    pub(super) fn into_error(self, product: Product) -> ApiError {
        if self.is_about_scopes() {
            return ApiError::NotAllowed(match product {
                Product::Meetings => format!(
                    "the Server-to-Server OAuth app of ZOOM_CLIENT_ID lacks a scope: tick {MEETINGS_SCOPE} on its \
                     Scopes page in the Zoom App Marketplace ({self})"
                ),
                Product::VideoSdk => format!("the Video SDK account lacks a scope ({self})"),
            });
        }
        if self.status == StatusCode::UNAUTHORIZED {
            return ApiError::NotAllowed(match product {
                Product::Meetings => format!(
                    "Zoom refuses the access token that it has just given out for ZOOM_CLIENT_ID: look whether the \
                     Server-to-Server OAuth app is activated ({self})"
                ),
                Product::VideoSdk => format!(
                    "Zoom does not accept ZOOM_VIDEO_SDK_API_KEY with ZOOM_VIDEO_SDK_API_SECRET: take API key and \
                     API secret (not SDK key and SDK secret) from the Build App page of the Video SDK account, and \
                     look whether this machine's clock is right ({self})"
                ),
            });
        }
        if self.status == StatusCode::NOT_FOUND && self.has_code_of(&CODES_NOT_THERE) {
            return ApiError::NotFound(self.to_string());
        }
        if self.status == StatusCode::FORBIDDEN || self.has_code_of(&CODES_FORBIDDEN) {
            let names = match product {
                Product::Meetings => "ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET",
                Product::VideoSdk => "ZOOM_VIDEO_SDK_API_KEY and ZOOM_VIDEO_SDK_API_SECRET",
            };
            return ApiError::NotAllowed(format!(
                "Zoom does not show this recording to the holder of {names}: they must belong to the account that \
                 recorded it, with the right to see its recordings ({self})"
            ));
        }
        let hint = match self.status {
            StatusCode::NOT_FOUND => "; is zoom.api_base_url right?",
            status if status.is_redirection() => ", a redirect; is zoom.api_base_url right?",
            _ => "",
        };
        ApiError::Refused {
            reason: format!("Zoom's API answered {self}{hint}"),
            retry_after: self.retry_after,
        }
    }

    /// What it means when the OAuth server says so.
    pub(super) fn into_token_error(self) -> ApiError {
        match self.status {
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                ApiError::NotAllowed(format!(
                    "Zoom gives no access token for ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET: take \
                     them from the App Credentials page of a Server-to-Server OAuth app that is activated ({self})"
                ))
            }
            _ => ApiError::Refused {
                reason: format!("Zoom's OAuth server answered {self}"),
                retry_after: self.retry_after,
            },
        }
    }
}

/// Status, code and Zoom's words: `401, code 124: Invalid access token.`
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(code) = self.code {
            write!(f, ", code {code}")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// Zoom's words without what may be a token or an address, and not too many of them.
fn repeatable(message: &str) -> String {
    let is_secret =
        |word: &str| word.chars().count() > MAX_WORD_CHARS || word.contains("eyJ") || word.contains("://");
    let words: Vec<_> =
        message.split_whitespace().map(|word| if is_secret(word) { "…" } else { word }).collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect()
}

/// Zoom gives seconds, or the moment in which a daily limit ends ("Rate limits": `2020-05-31T00:00:00Z`).
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = header_text(headers, RETRY_AFTER);
    let moment = || {
        let moment =
            DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text)).ok()?;
        Some((moment.to_utc() - now).to_std().unwrap_or_default())
    };
    retry_after_secs(headers).or_else(moment).map(|rest| rest.min(MAX_RETRY_AFTER))
}
