//! What of Zoom's metadata is kept: everything but secrets, told by the names of their keys and by their shape. The one place
//! that decides it, for events, for answers of the API, and for what is shown of events that were kept raw.

use serde_json::{Map, Value};

/// Pieces of names whose values are secrets. Zoom's references name `download_token`, `download_access_token`,
/// `recording_play_passcode`, `encrypted_password`, `h323_password`, `pstn_password`, `host_key`, `zak` and others of the kind.
const SECRET_PIECES: &[&str] =
    &["token", "password", "passcode", "passwd", "secret", "credential", "host_key", "private_key"];
/// Whole names of the same kind.
const SECRET_NAMES: &[&str] =
    &["zak", "zpk", "pwd", "pass", "pin", "jwt", "authorization", "signature", "ticket"];
/// Names of addresses that open what they lead to by themselves. Of other addresses the query is dropped.
const SECRET_ADDRESSES: &[&str] = &["download_url", "transcript_download_url", "start_url"];

/// Returns a map without the values that are secrets.
pub(super) fn map(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter()
        .filter(|(key, value)| !is_secret(key, value))
        .map(|(key, value)| (key, self::value(value)))
        .collect()
}

/// Returns the same JSON without secrets, and without the queries of addresses.
pub(super) fn value(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(map(object)),
        Value::Array(items) => Value::Array(items.into_iter().map(self::value).collect()),
        Value::String(text) if looks_like_jwt(&text) => Value::String(String::new()),
        // A text that merely begins with an address is a text.
        Value::String(text) if is_address(&text) => {
            Value::String(text.split(['?', '#']).next().unwrap_or_default().to_owned())
        }
        other => other,
    }
}

/// Whether a key's value is a secret. Flags such as `has_password` are none.
fn is_secret(key: &str, value: &Value) -> bool {
    let key = key.to_ascii_lowercase();
    let is_named = SECRET_NAMES.contains(&key.as_str())
        || SECRET_ADDRESSES.contains(&key.as_str())
        || SECRET_PIECES.iter().any(|piece| key.contains(piece));
    is_named && !matches!(value, Value::Bool(_) | Value::Null)
}

/// Whether a text has the shape of a JSON Web Token (RFC 7519): three pieces in base64url, the first of which begins an object.
fn looks_like_jwt(text: &str) -> bool {
    let is_piece = |piece: &str| piece.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    text.starts_with("eyJ")
        && text.len() > 40
        && text.split('.').count() == 3
        && text.split('.').all(is_piece)
}

fn is_address(text: &str) -> bool {
    let has_scheme = text.starts_with("https://") || text.starts_with("http://");
    has_scheme && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_left_out_wherever_they_stand_and_whatever_case_their_names_have() {
        let jwt = format!("eyJhbGciOiJIUzI1NiJ9.{}.c2ln", "x".repeat(600));
        let kept = value(json!({
            "download_token": "s3cret", "access_token": "s3cret", "Encrypted_Password": "s3cret", "zak": "s3cret",
            "host_key": "s3cret", "pstn_password": "s3cret", "h323_password": "s3cret", "recording_play_passcode": "s3cret",
            "client_secret": 7, "start_url": "https://zoom.us/s/1?zak=s3cret", "download_url": "https://zoom.us/s3cret",
            "join_url": "https://zoom.us/j/1?pwd=s3cret#s3cret",
            "settings": [{ "deep": { "password": "s3cret", "note": jwt } }],
            "hidden": jwt, "has_password": true, "topic": "How to choose a password",
        }));
        let text = kept.to_string();
        assert!(!text.contains("s3cret") && !text.contains("eyJ"), "{text}");
        assert_eq!(kept["join_url"], "https://zoom.us/j/1");
        assert_eq!(
            (&kept["has_password"], &kept["topic"]),
            (&json!(true), &json!("How to choose a password"))
        );
        assert!(kept.get("client_secret").is_none());
    }

    #[test]
    fn what_only_resembles_a_secret_is_kept() {
        let plain = json!({ "summary": "eyJ is how tokens begin", "pinned": 1, "passenger": "Ada", "timezone": "UTC" });
        assert_eq!(value(plain.clone()), plain);
    }
}
