//! Tokens with which a person joins a Video SDK session, for those who test their set-up: the client's own server makes
//! them otherwise. What they say of recording is for Zoom to read when the session begins (Video SDK, "Auth", payload,
//! and "Cloud recording").

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::jwt;
use crate::config::secrets::SdkCredentials;

/// Shortest and longest life that Zoom takes, in seconds.
pub const LIFE_SECS: std::ops::RangeInclusive<u64> = 1800..=48 * 3600;
/// Longest name of a session, in characters.
pub const MAX_TOPIC_CHARS: usize = 200;
/// How long ago a token claims to be made, in seconds: our clock may be ahead of Zoom's.
const BACKDATED_SECS: i64 = 30;

/// What a token says.
#[derive(Debug, Clone)]
pub struct SessionClaims {
    /// Name of the session (`tpc`).
    pub topic: String,
    /// Whether its holder is a host; participants are none.
    pub is_host: bool,
    /// What the client calls its holder (`user_identity`).
    pub user_identity: Option<String>,
    /// What the client calls the session (`session_key`).
    pub session_key: Option<String>,
    /// `cloud_recording_option`: 1 records each user into files of their own. Counts in a host's token.
    pub cloud_recording_option: Option<u8>,
    /// `cloud_recording_election`: 1 lets the holder be recorded so.
    pub cloud_recording_election: Option<u8>,
    /// `cloud_recording_transcript_option`: 0 neither, 1 a transcript, 2 a transcript and a summary.
    pub cloud_recording_transcript_option: Option<u8>,
    /// How long it is good.
    pub life: Duration,
}

/// A token that says `claims`.
#[must_use]
pub fn mint(claims: &SessionClaims, credentials: &SdkCredentials, now: DateTime<Utc>) -> SecretString {
    let issued_at = now.timestamp() - BACKDATED_SECS;
    let life = i64::try_from(claims.life.as_secs()).unwrap_or(i64::MAX);
    let mut said = Map::new();
    let mut say =
        |key: &str, value: Option<Value>| drop(value.map(|value| said.insert(key.to_owned(), value)));
    say("app_key", Some(json!(credentials.sdk_key)));
    say("version", Some(json!(1)));
    say("role_type", Some(json!(u8::from(claims.is_host))));
    say("tpc", Some(json!(claims.topic)));
    say("iat", Some(json!(issued_at)));
    say("exp", Some(json!(issued_at.saturating_add(life))));
    say("user_identity", claims.user_identity.as_ref().map(|text| json!(text)));
    say("session_key", claims.session_key.as_ref().map(|text| json!(text)));
    say("cloud_recording_option", claims.cloud_recording_option.map(|option| json!(option)));
    say("cloud_recording_election", claims.cloud_recording_election.map(|option| json!(option)));
    let transcript = claims.cloud_recording_transcript_option;
    say("cloud_recording_transcript_option", transcript.map(|option| json!(option)));
    jwt::signed(&Value::Object(said), &credentials.sdk_secret)
}
