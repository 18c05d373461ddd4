//! JSON Web Tokens that we sign ourselves (RFC 7519, HS256).

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::Sha256;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// A token that says `claims`.
pub(super) fn signed(claims: &Value, secret: &SecretString) -> SecretString {
    let encoded = |part: &str| BASE64URL_NOPAD.encode(part.as_bytes());
    let signed = format!("{}.{}", encoded(HEADER), encoded(&claims.to_string()));
    let signature = BASE64URL_NOPAD.encode(&mac(&signed, secret));
    format!("{signed}.{signature}").into()
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(signed: &str, secret: &SecretString) -> [u8; 32] {
    let key = secret.expose_secret().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    mac.finalize().into_bytes().into()
}
