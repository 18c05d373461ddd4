//! The signature of Standard Webhooks (its specification, "Signature scheme": HMAC-SHA256 over id, timestamp and body with
//! dots between them, in base64, behind `v1,`; several with spaces between them while one secret replaces another).
//!
//! The specification's own crate makes them.

use secrecy::SecretString;
use standardwebhooks::Webhook;

use crate::config::notify::signing_key;

/// What stands in `webhook-signature`: one signature for each secret. `timestamp` is in seconds.
#[must_use]
pub fn sign(secrets: &[SecretString], id: &str, timestamp: i64, body: &str) -> String {
    let signature = |secret| {
        let key = Webhook::from_bytes(signing_key(secret)?).ok()?;
        key.sign(id, timestamp, body.as_bytes()).ok()
    };
    secrets.iter().filter_map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const BODY: &str = r#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    #[test]
    fn the_published_example_has_the_published_signature() {
        assert_eq!(sign(&[SECRET.into()], ID, 1_649_367_553, BODY), SIGNATURE);
    }

    #[test]
    fn while_one_secret_replaces_another_both_sign() {
        let other = "whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo";
        let signed = sign(&[other.into(), SECRET.into()], ID, 1_649_367_553, BODY);
        let signatures: Vec<_> = signed.split(' ').collect();
        assert!(
            signatures.len() == 2 && signatures[1] == SIGNATURE && signatures[0] != SIGNATURE,
            "{signed}"
        );
    }
}
