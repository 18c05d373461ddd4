//! What Zoom says instead of an answer, and what it means. Codes: Zoom's API references ("Error codes", and the
//! errors of each call) and "OAuth error messages"; the same code means different things with different statuses.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::purpose::Purpose;
use super::{ApiError, Product};
use crate::outgoing::retry_after;

/// "There is no recording for this meeting", and "Meeting does not exist": with 404, both say that it is not there.
const CODES_NOT_THERE: [i64; 2] = [3301, 3001];
/// "You do not have the right permissions" (also with status 200), "User not found on this account", "User does not
/// exist or does not belong to this account".
const CODES_FORBIDDEN: [i64; 3] = [200, 1010, 1001];
/// "Your Video SDK app does not exist": there is no webhook log without one of the account's own.
const CODES_NO_APP: [i64; 1] = [1401];
/// "Invalid access token, does not contain scopes". The first two also say other things of a token.
const CODES_SCOPE: [i64; 3] = [4700, 4711, 104];

/// "Validation Failed", "Invalid field", "The next page token is invalid or expired".
const CODES_INVALID: [i64; 1] = [300];

/// Longest piece of Zoom's own words that is repeated, in characters.
const MAX_MESSAGE_CHARS: usize = 240;
/// Longest single word of it, in characters: the longest scope has some seventy, tokens have more.
const MAX_WORD_CHARS: usize = 80;

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

    /// Whether Zoom does not want to be asked so often.
    pub(super) fn is_too_many(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// When Zoom said to come again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What it means when an API says so of a call.
    pub(super) fn into_error(self, purpose: &Purpose) -> ApiError {
        if self.is_about_scopes() {
            return ApiError::NotAllowed(match purpose.scope {
                Some(scope) => format!(
                    "the Server-to-Server OAuth app of ZOOM_CLIENT_ID lacks a scope: tick {scope} on its Scopes \
                     page in the Zoom App Marketplace ({self})"
                ),
                None => format!("the Video SDK account lacks a scope ({self})"),
            });
        }
        if self.status == StatusCode::UNAUTHORIZED && purpose.product == Product::Meetings {
            // No operator is waited for: the next token may be good again, and where it is not, the OAuth server says so.
            return ApiError::Superseded(format!(
                "Zoom refuses every access token that it has just given out for ZOOM_CLIENT_ID: look whether another \
                 program fetches tokens for the same Server-to-Server OAuth app, and whether the app is activated ({self})"
            ));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            return ApiError::NotAllowed(format!(
                "Zoom does not accept ZOOM_VIDEO_SDK_API_KEY with ZOOM_VIDEO_SDK_API_SECRET: take API key and API \
                 secret (not SDK key and SDK secret) from the Build App page of the Video SDK account, and look whether \
                 this machine's clock is right ({self})"
            ));
        }
        if self.status == StatusCode::NOT_FOUND && self.has_code_of(&CODES_NOT_THERE) {
            return ApiError::NotFound(self.to_string());
        }
        if self.status == StatusCode::NOT_FOUND && self.has_code_of(&CODES_NO_APP) {
            return ApiError::NotAllowed(format!(
                "Zoom keeps no webhook log for this account: it has no Video SDK app of its own ({self})"
            ));
        }
        if self.status == StatusCode::FORBIDDEN || self.has_code_of(&CODES_FORBIDDEN) {
            let names = match purpose.product {
                Product::Meetings => "ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET",
                Product::VideoSdk => "ZOOM_VIDEO_SDK_API_KEY and ZOOM_VIDEO_SDK_API_SECRET",
            };
            return ApiError::NotAllowed(format!(
                "Zoom does not let the holder of {names} {}: they must belong to the account that recorded, with \
                 the right to do so ({self})",
                purpose.words
            ));
        }
        if purpose.is_live && self.status.is_client_error() && !self.is_too_many() {
            return match self.status {
                StatusCode::NOT_FOUND => ApiError::NotFound(self.to_string()),
                _ => ApiError::NotNow(self.to_string()),
            };
        }
        if self.status == StatusCode::BAD_REQUEST && self.has_code_of(&CODES_INVALID) {
            return ApiError::Invalid(self.to_string());
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::zoom::api::purpose;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn refusal(status: u16, body: Value) -> Refusal {
        Refusal::new(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), Some(&body), now())
    }

    fn meetings(status: u16, code: i64) -> ApiError {
        refusal(status, json!({ "code": code, "message": "words" })).into_error(&purpose::MEETING_RECORDINGS)
    }

    #[test]
    fn only_a_404_with_the_right_code_says_that_a_recording_is_not_there() {
        assert!(matches!(meetings(404, 3301), ApiError::NotFound(_)));
        assert!(matches!(meetings(404, 3001), ApiError::NotFound(_)));
        // The same code in a 200, a 404 of somebody else's, and one about the user: no reason to give a file up.
        assert!(matches!(meetings(200, 3301), ApiError::Refused { .. }));
        assert!(matches!(meetings(404, 2300), ApiError::Refused { .. }));
        assert!(matches!(meetings(404, 1001), ApiError::NotAllowed(_)));
        let page = Refusal::new(StatusCode::NOT_FOUND, &HeaderMap::new(), None, now());
        let told = page.into_error(&purpose::MEETING_RECORDINGS);
        assert!(
            matches!(&told, ApiError::Refused { reason, .. } if reason.contains("zoom.api_base_url")),
            "{told}"
        );
    }

    #[test]
    fn a_missing_scope_is_named_whatever_status_and_code_it_comes_with() {
        for (status, code) in [(400, 4711), (401, 4711), (400, 104), (400, 4700)] {
            let body =
                json!({ "code": code, "message": "Invalid access token, does not contain scopes:[x:y]." });
            let refusal = refusal(status, body);
            assert!(!refusal.is_about_the_token(), "a fresh token has the same scopes");
            let told = refusal.into_error(&purpose::MEETING_RECORDINGS);
            assert!(
                matches!(&told, ApiError::NotAllowed(words) if 
                    words.contains("cloud_recording:read:list_recording_files:admin") && words.contains("[x:y]")),
                "{told}"
            );
        }
    }

    #[test]
    fn credentials_that_are_wrong_are_for_a_person_and_named_by_their_variables() {
        let told = refusal(401, json!({ "code": 124 })).into_error(&purpose::SESSION_RECORDINGS);
        assert!(matches!(told, ApiError::NotAllowed(_)), "{told}");
        for (status, code) in [(400, 200), (200, 200), (403, 1), (400, 1010)] {
            for (purpose, variable) in [
                (&purpose::SESSION_RECORDINGS, "ZOOM_VIDEO_SDK_API_SECRET"),
                (&purpose::LIST_MEETINGS, "ZOOM_CLIENT_ID"),
            ] {
                let told = refusal(status, json!({ "code": code, "message": "no" })).into_error(purpose);
                assert!(
                    matches!(&told, ApiError::NotAllowed(words) if words.contains(variable)),
                    "{status} {code}: {told}"
                );
            }
        }
        let told = refusal(400, json!({ "reason": "Invalid client_id", "error": "invalid_client" }));
        let told = told.into_token_error().to_string();
        assert!(told.contains("ZOOM_CLIENT_SECRET") && told.contains("Invalid client_id"), "{told}");
    }

    #[test]
    fn trouble_at_zoom_passes() {
        for (status, code) in [(429, 429), (500, 0), (503, 0), (302, 0), (200, 300), (400, 0)] {
            assert!(matches!(meetings(status, code), ApiError::Refused { .. }), "{status} {code}");
        }
        assert!(matches!(meetings(401, 124), ApiError::Superseded(_)), "the next access token may be good");
        assert!(matches!(meetings(400, 300), ApiError::Invalid(_)), "the same question has the same answer");
        let told = refusal(503, json!({})).into_token_error();
        assert!(matches!(told, ApiError::Refused { .. }), "{told}");
    }

    #[test]
    fn zooms_words_are_repeated_without_what_may_be_secret_and_not_at_any_length() {
        let jwt = format!("eyJhbGciOiJIUzI1NiJ9.{}.c2ln", "x".repeat(30));
        let message = format!("bad\n token {jwt}, see https://zoom.us/rec/x?y {}", "z".repeat(90));
        let told = refusal(400, json!({ "code": "300", "message": message })).to_string();
        assert_eq!(told, "400, code 300: bad token … see … …");
        let told = refusal(400, json!({ "message": "many words ".repeat(1000) })).to_string();
        assert!(told.len() < 300, "{told}");
        assert_eq!(refusal(500, json!([1])).to_string(), "500");
        assert_eq!(refusal(500, json!({ "code": {}, "message": 7 })).to_string(), "500");
    }
}
