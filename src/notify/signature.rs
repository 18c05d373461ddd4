//! Signatures of outgoing notifications, by the Standard Webhooks specification, section "Signature scheme":
//! HMAC-SHA256 over `ID.TIMESTAMP.BODY`, base64, prefixed with the version `v1,`.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use sha2::Sha256;

use crate::config::notify::signing_key;

/// Returns the value of the `webhook-signature` header: one signature for each secret, separated by spaces, so that a
/// receiver can verify with the old or the new one while a secret is rotated. `timestamp` is in Unix seconds.
#[must_use]
pub fn sign(secrets: &[SecretString], id: &str, timestamp: i64, body: &str) -> String {
    let signature = |secret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&signing_key(secret)?).ok()?;
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        Some(format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes())))
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
