//! The SHA-256 of a file while its bytes come in. Its state is plain data: it lies in a transfer's checkpoint,
//! and another process goes on with it.

use data_encoding::BASE64;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest, Sha256};

use super::file::Sha256Digest;

/// A SHA-256 that grows as bytes go by.
#[derive(Debug, Clone, Default)]
pub struct RunningSha256(Sha256);

impl RunningSha256 {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all bytes so far.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest(self.0.clone().finalize().into())
    }
}

impl Serialize for RunningSha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0.serialize()))
    }
}

impl<'de> Deserialize<'de> for RunningSha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let state = BASE64.decode(text.as_bytes()).map_err(D::Error::custom)?;
        let state = state.as_slice().try_into().map_err(|_| D::Error::custom("no state of a SHA-256"))?;
        Sha256::deserialize(state).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_elsewhere_from_any_byte() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let whole = Sha256Digest(Sha256::digest(&bytes).into());
        for at in [0, 1, 63, 64, 65, 999, 1000] {
            let mut here = RunningSha256::default();
            here.update(&bytes[..at]);
            let state = serde_json::to_value(&here).unwrap();
            let mut there: RunningSha256 = serde_json::from_value(state).unwrap();
            there.update(&bytes[at..]);
            assert_eq!(there.digest(), whole, "continued at {at}");
        }
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for odd in ["\"\"", "\"?\"", "\"AAAA\"", "7"] {
            assert!(serde_json::from_str::<RunningSha256>(odd).is_err(), "{odd}");
        }
    }
}
