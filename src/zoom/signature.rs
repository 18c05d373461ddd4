//! Whether Zoom sent a request: HMAC-SHA256 over `v0:{timestamp}:{raw body}` with the app's Secret Token
//! (Zoom, "Using webhooks", section "Verify webhook events"), and the answer to its URL validation.

use std::time::Duration;

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Header that carries the signature, `v0=` and 64 hex digits.
pub const SIGNATURE_HEADER: &str = "x-zm-signature";
/// Header that carries the time of signing, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "x-zm-request-timestamp";

/// Longest `plainToken` that is answered. Zoom's have some twenty characters.
pub const MAX_PLAIN_TOKEN_CHARS: usize = 128;

/// Why a request is not believed. For metrics and logs only: the sender learns nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing.
    #[error("missing")]
    Missing,
    /// A header has the wrong shape.
    #[error("malformed")]
    Malformed,
    /// Signed too long ago, or too far in the future.
    #[error("stale")]
    Stale,
    /// No secret matches.
    #[error("wrong")]
    Wrong,
}

impl SignatureError {
    /// A bounded label for metrics and logs.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Wrong => "wrong",
        }
    }
}

/// How far a timestamp may lie from our clock.
#[derive(Debug, Clone, Copy)]
pub struct ReplayWindow {
    /// Into the past.
    pub back: Duration,
    /// Into the future.
    pub ahead: Duration,
}

/// Whether the headers of a request may be genuine: present, well formed and fresh. Costs nothing, so it comes
/// before the body is received. Returns the claimed digest.
///
/// # Errors
/// Any [`SignatureError`] but `Wrong`.
pub fn check_headers(
    timestamp: Option<&[u8]>,
    signature: Option<&[u8]>,
    now: DateTime<Utc>,
    window: ReplayWindow,
) -> Result<[u8; 32], SignatureError> {
    let (Some(timestamp), Some(signature)) = (timestamp, signature) else {
        return Err(SignatureError::Missing);
    };
    let claimed = signature
        .strip_prefix(b"v0=")
        .and_then(|hex| HEXLOWER.decode(hex).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(SignatureError::Malformed)?;
    let seconds = parse_seconds(timestamp).ok_or(SignatureError::Malformed)?;
    let age = now.timestamp().saturating_sub(seconds);
    let limit = if age >= 0 { window.back } else { window.ahead };
    if age.unsigned_abs() > limit.as_secs() {
        return Err(SignatureError::Stale);
    }
    Ok(claimed)
}

/// Verifies a request against every secret, in constant time for each, and returns the index of the one that
/// matched.
///
/// # Errors
/// See [`SignatureError`].
pub fn verify(
    secrets: &[SecretString],
    timestamp: Option<&[u8]>,
    signature: Option<&[u8]>,
    body: &[u8],
    now: DateTime<Utc>,
    window: ReplayWindow,
) -> Result<usize, SignatureError> {
    let claimed = check_headers(timestamp, signature, now, window)?;
    let timestamp = timestamp.ok_or(SignatureError::Missing)?;
    secrets
        .iter()
        .position(|secret| mac(secret, timestamp, body).verify_slice(&claimed).is_ok())
        .ok_or(SignatureError::Wrong)
}

/// Signs as Zoom does: the value of [`SIGNATURE_HEADER`].
#[must_use]
pub fn sign(secret: &SecretString, timestamp: &str, body: &[u8]) -> String {
    let digest = mac(secret, timestamp.as_bytes(), body).finalize().into_bytes();
    format!("v0={}", HEXLOWER.encode(&digest))
}

/// The `encryptedToken` that answers a URL validation, with the secret that verified the request; `None` when
/// the token is one that Zoom would not send. One with `:` is refused because the answer could then be the
/// signature of a forged event.
#[must_use]
pub fn encrypt_plain_token(secret: &SecretString, plain: &str) -> Option<String> {
    if plain.is_empty() || plain.contains(':') || plain.chars().count() > MAX_PLAIN_TOKEN_CHARS {
        return None;
    }
    let mut mac = keyed(secret);
    mac.update(plain.as_bytes());
    Some(HEXLOWER.encode(&mac.finalize().into_bytes()))
}

/// Digits only: no sign, no white space, at most eleven (the year 5138).
fn parse_seconds(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 11 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn mac(secret: &SecretString, timestamp: &[u8], body: &[u8]) -> Hmac<Sha256> {
    let mut mac = keyed(secret);
    mac.update(b"v0:");
    mac.update(timestamp);
    mac.update(b":");
    mac.update(body);
    mac
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed(secret: &SecretString) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: ReplayWindow =
        ReplayWindow { back: Duration::from_secs(7200), ahead: Duration::from_secs(300) };
    const BODY: &[u8] = br#"{"event":"session.recording_completed"}"#;

    fn secrets() -> Vec<SecretString> {
        vec!["old".into(), "new".into()]
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn check(timestamp: &str, signature: &str, now: i64) -> Result<usize, SignatureError> {
        verify(&secrets(), Some(timestamp.as_bytes()), Some(signature.as_bytes()), BODY, at(now), WINDOW)
    }

    #[test]
    fn what_zoom_signed_is_believed_with_any_of_the_secrets() {
        let signature = sign(&"new".into(), "1700000000", BODY);
        assert_eq!(check("1700000000", &signature, 1_700_000_000), Ok(1));
    }

    #[test]
    fn a_signature_agrees_with_one_made_by_openssl() {
        // printf 'v0:1700000000:{"a":1}' | openssl dgst -sha256 -hmac s3cret
        assert_eq!(
            sign(&"s3cret".into(), "1700000000", br#"{"a":1}"#),
            "v0=bd185b05da99402f371e04f620aeca81515f08c0ef7fcf979fccaa4d2f87d47c",
        );
    }

    #[test]
    fn an_old_event_is_believed_to_the_end_of_the_window_and_not_beyond() {
        let signature = sign(&"old".into(), "1700000000", BODY);
        assert_eq!(check("1700000000", &signature, 1_700_007_200), Ok(0));
        assert_eq!(check("1700000000", &signature, 1_700_007_201), Err(SignatureError::Stale));
        assert_eq!(check("1700000000", &signature, 1_699_999_700), Ok(0));
        assert_eq!(check("1700000000", &signature, 1_699_999_699), Err(SignatureError::Stale));
    }

    #[test]
    fn a_changed_timestamp_breaks_the_signature() {
        let signature = sign(&"old".into(), "1700000000", BODY);
        assert_eq!(check("1700000001", &signature, 1_700_000_000), Err(SignatureError::Wrong));
    }

    #[test]
    fn odd_headers_are_malformed() {
        let signature = sign(&"old".into(), "1700000000", BODY);
        for timestamp in ["", "-1700000000", "+1700000000", "1700000000 ", "17e8", "999999999999"] {
            assert_eq!(check(timestamp, &signature, 1_700_000_000), Err(SignatureError::Malformed));
        }
        for signature in ["", "v0=", "v1=00", &signature[3..], &signature.to_uppercase()] {
            assert_eq!(check("1700000000", signature, 1_700_000_000), Err(SignatureError::Malformed));
        }
    }

    #[test]
    fn a_token_that_could_be_an_event_is_not_encrypted() {
        let secret = SecretString::from("old");
        assert!(encrypt_plain_token(&secret, "qgg8vlvZRS6UYooatFL8Aw").is_some());
        assert_eq!(encrypt_plain_token(&secret, "v0:1700000000:{}"), None);
        assert_eq!(encrypt_plain_token(&secret, &"x".repeat(129)), None);
        assert_eq!(encrypt_plain_token(&secret, ""), None);
    }
}
