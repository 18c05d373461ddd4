//! What a download token says of itself: Zoom's are JSON Web Tokens (RFC 7519), read here without being verified,
//! because it is Zoom who verifies them.

use chrono::{DateTime, Utc};
use data_encoding::BASE64URL_NOPAD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// When a token expires; `None` when it does not say so, or is no such token.
#[must_use]
pub fn expires_at(token: &SecretString) -> Option<DateTime<Utc>> {
    let mut pieces = token.expose_secret().split('.');
    let (_, payload, _, None) = (pieces.next()?, pieces.next()?, pieces.next()?, pieces.next()) else {
        return None;
    };
    let payload = BASE64URL_NOPAD.decode(payload.trim_end_matches('=').as_bytes()).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let exp = claims.get("exp")?;
    // RFC 7519 allows a fraction.
    let secs = exp.as_i64().or_else(|| exp.as_f64().map(|secs| secs as i64))?;
    DateTime::from_timestamp(secs, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> SecretString {
        format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(payload.as_bytes())).into()
    }

    #[test]
    fn the_expiry_is_read_from_the_token() {
        let expected = DateTime::from_timestamp(1_767_225_600, 0);
        assert_eq!(expires_at(&token(r#"{"exp":1767225600}"#)), expected);
        assert_eq!(expires_at(&token(r#"{"exp":1767225600.5}"#)), expected);
    }

    #[test]
    fn what_is_no_such_token_says_nothing() {
        for odd in ["", "opaque", "a.b", "a.b.c", "a.b.c.d", "a.!.c"] {
            assert_eq!(expires_at(&SecretString::from(odd)), None, "{odd}");
        }
        assert_eq!(expires_at(&token(r#"{"exp":"soon"}"#)), None);
        assert_eq!(expires_at(&token("[]")), None);
    }
}
