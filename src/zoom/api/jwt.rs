//! Bearer tokens for the Video SDK API: JWTs (RFC 7519) that we sign with the API secret (Zoom Build platform, "Make
//! API requests": HS256; `iss` is the API key; a life of at most an hour is suggested).

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::config::secrets::VideoSdkCredentials;
use crate::zoom::jwt;

/// From `iat` to `exp`, in seconds.
const LIFE_SECS: i64 = 3600;
/// How long ago a token claims to be made, in seconds: our clock may be ahead of Zoom's.
const BACKDATED_SECS: i64 = 60;

/// Signs tokens. Each question gets its own: that costs next to nothing, and none can be old.
#[derive(Debug)]
pub(super) struct Signer {
    credentials: VideoSdkCredentials,
}

impl Signer {
    pub(super) fn new(credentials: VideoSdkCredentials) -> Self {
        Self { credentials }
    }

    /// The account whose sessions the tokens open, where it is known.
    pub(super) fn account_id(&self) -> Option<&str> {
        self.credentials.account_id.as_deref()
    }

    pub(super) fn sign(&self, now: DateTime<Utc>) -> SecretString {
        let issued_at = now.timestamp() - BACKDATED_SECS;
        let claims = json!({
            "iss": self.credentials.api_key.expose_secret(),
            "iat": issued_at,
            "exp": issued_at + LIFE_SECS,
        });
        jwt::signed(&claims, &self.credentials.api_secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_agrees_with_one_made_by_openssl() {
        let signer = Signer::new(VideoSdkCredentials {
            account_id: None,
            api_key: "k3y".into(),
            api_secret: "s3cret".into(),
        });
        let token = signer.sign(DateTime::from_timestamp(1_700_000_060, 0).unwrap());
        // HEAD and CLAIMS are what `basenc --base64url` makes of the header and of
        // {"exp":1700003600,"iat":1700000000,"iss":"k3y"}, without `=`; the rest is
        // printf '%s' "$HEAD.$CLAIMS" | openssl dgst -sha256 -hmac s3cret -binary | basenc --base64url
        const HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
        const CLAIMS: &str = "eyJleHAiOjE3MDAwMDM2MDAsImlhdCI6MTcwMDAwMDAwMCwiaXNzIjoiazN5In0";
        const SIGNATURE: &str = "t1U4t-QvNaANhQsDeEqeeNfH6ROvFtF5hygqL8VsGu8";
        assert_eq!(token.expose_secret(), format!("{HEAD}.{CLAIMS}.{SIGNATURE}"));
    }
}
