//! Download tokens, shaped like Zoom's: a JWT (RFC 7519) with an `exp`, good for the files of one recording.
//! Signed with HS256 by a key that only the fake Zoom has, so that checking one needs no list of those given
//! out.

use chrono::{DateTime, TimeZone, Utc};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::content::scramble;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who gave it out.
    pub iss: String,
    /// Which recording's files it opens: its instance id.
    pub aud: String,
    /// Counts the tokens given out, from 1.
    pub jti: u64,
    /// Seconds since 1970 at which it expires.
    pub exp: i64,
}

impl Claims {
    /// When it expires.
    #[must_use]
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        Utc.timestamp_opt(self.exp, 0).single()
    }
}

/// Gives out tokens and reads them back.
#[derive(Clone)]
pub(super) struct Mint {
    key: [u8; 32],
}

impl Mint {
    pub(super) fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        for (index, word) in (0..).zip(key.chunks_exact_mut(8)) {
            word.copy_from_slice(&scramble(seed ^ 0x70ce_a5e5, index).to_le_bytes());
        }
        Self { key }
    }

    pub(super) fn issue(&self, claims: &Claims) -> String {
        // A string and numbers: this cannot fail.
        let payload = serde_json::to_vec(claims).unwrap_or_default();
        let signed =
            format!("{}.{}", BASE64URL_NOPAD.encode(HEADER.as_bytes()), BASE64URL_NOPAD.encode(&payload));
        let signature = mac(&self.key, &signed).finalize().into_bytes();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    /// What a token of ours says; `None` when it is not one. Whether it has expired is not looked at.
    pub(super) fn read(&self, token: &str) -> Option<Claims> {
        read_signed(&self.key, token)
    }
}

/// What a JWT says that was signed with this key by HS256; `None` when it is not one. Whether it has expired is not
/// looked at.
pub(super) fn read_signed<C: DeserializeOwned>(key: &[u8], token: &str) -> Option<C> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
    mac(key, signed).verify_slice(&signature).ok()?;
    let (header, payload) = signed.split_once('.')?;
    let part = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    let header: Header = serde_json::from_slice(&part(header)?).ok()?;
    if header.alg != "HS256" {
        return None;
    }
    serde_json::from_slice(&part(payload)?).ok()
}

#[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(key: &[u8], signed: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims { iss: "fake-zoom".into(), aud: "a/b+c==".into(), jti: 3, exp: 1_700_000_000 }
    }

    #[test]
    fn a_token_has_three_parts_and_says_what_was_put_in() {
        let mint = Mint::new(1);
        let token = mint.issue(&claims());
        assert_eq!(token.split('.').count(), 3);
        assert_eq!(mint.read(&token), Some(claims()));
    }

    #[test]
    fn a_token_of_another_mint_or_a_changed_one_is_none_of_ours() {
        let token = Mint::new(1).issue(&claims());
        assert_eq!(Mint::new(2).read(&token), None);
        let (head, _) = token.rsplit_once('.').unwrap();
        assert_eq!(Mint::new(1).read(&format!("{head}.AAAA")), None);
        assert_eq!(Mint::new(1).read(""), None);
    }
}
