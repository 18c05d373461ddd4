//! Checksums as S3 names and writes them (Amazon S3 User Guide, "Checking object integrity").

use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType};
use crc_fast::CrcAlgorithm;
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use crate::config::archive::ChecksumMode;
use crate::domain::checksum;
use crate::domain::file::{Proof, StoreChecksum};

/// A checksum that a store can keep and confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// Confirmed over the whole object, also of several parts.
    Crc64Nvme,
    /// Of several parts: the checksum of their checksums.
    Crc32C,
    /// Of several parts: the digest of their digests.
    Sha256,
}

impl Algorithm {
    /// The one that a mode asks for.
    pub(super) fn wanted(mode: ChecksumMode) -> Option<Self> {
        match mode {
            ChecksumMode::Auto | ChecksumMode::Crc64nvme => Some(Self::Crc64Nvme),
            ChecksumMode::Crc32c => Some(Self::Crc32C),
            ChecksumMode::Sha256 => Some(Self::Sha256),
            ChecksumMode::None => None,
        }
    }

    /// Its name as S3 writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "CRC64NVME",
            Self::Crc32C => "CRC32C",
            Self::Sha256 => "SHA256",
        }
    }

    /// The one of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Crc64Nvme, Self::Crc32C, Self::Sha256].into_iter().find(|known| known.name() == name)
    }

    /// Its name for the SDK.
    pub(super) fn sdk(self) -> ChecksumAlgorithm {
        ChecksumAlgorithm::from(self.name())
    }

    /// How a store makes one checksum for several parts.
    pub(super) fn kind(self) -> ChecksumType {
        match self {
            Self::Crc64Nvme => ChecksumType::FullObject,
            Self::Crc32C | Self::Sha256 => ChecksumType::Composite,
        }
    }

    /// The raw checksum of `bytes`.
    fn raw(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc64Nvme => checksum::crc64nvme(bytes).to_be_bytes().to_vec(),
            // CRC-32C is catalogued as CRC-32/ISCSI; 32 bits of the 64 are set.
            Self::Crc32C => crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes).to_be_bytes()[4..].to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
        }
    }

    /// The checksum of `bytes`, in base64.
    pub(super) fn value(self, bytes: &[u8]) -> String {
        BASE64.encode(&self.raw(bytes))
    }

    /// The checksum of a part, of which the CRC-64/NVME is known.
    pub(super) fn of_part(self, body: &[u8], crc64nvme: u64) -> String {
        match self {
            Self::Crc64Nvme => checksum::to_base64(crc64nvme),
            Self::Crc32C | Self::Sha256 => self.value(body),
        }
    }

    /// The checksum of a whole object put at once, of which the proof is known.
    pub(super) fn of_whole(self, body: &[u8], proof: &Proof) -> String {
        match self {
            Self::Crc64Nvme => checksum::to_base64(proof.crc64nvme),
            Self::Sha256 => BASE64.encode(&proof.sha256.0),
            Self::Crc32C => self.value(body),
        }
    }

    /// The checksum that a store gives an object of these parts: `base64-count`. `None` when one of them is not
    /// known or no base64.
    pub(super) fn composite(self, parts: &[Option<String>]) -> Option<String> {
        let mut raw = Vec::new();
        for part in parts {
            raw.extend(BASE64.decode(part.as_ref()?.as_bytes()).ok()?);
        }
        Some(format!("{}-{}", self.value(&raw), parts.len()))
    }
}

/// The checksums in an answer of the store, by name.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) crc64nvme: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) sha256: Option<String>,
}

/// Collects the checksums of any answer or part that has them.
macro_rules! said {
    ($answer:expr) => {
        $crate::archive::s3::algorithm::Said {
            crc64nvme: $answer.checksum_crc64_nvme().map(str::to_owned),
            crc32c: $answer.checksum_crc32_c().map(str::to_owned),
            sha256: $answer.checksum_sha256().map(str::to_owned),
        }
    };
}
pub(super) use said;

/// Puts a checksum into any request that takes one.
macro_rules! with_checksum {
    ($request:expr, $checksum:expr) => {{
        use $crate::archive::s3::algorithm::Algorithm;
        match $checksum {
            Some((Algorithm::Crc64Nvme, value)) => $request.checksum_crc64_nvme(value),
            Some((Algorithm::Crc32C, value)) => $request.checksum_crc32_c(value),
            Some((Algorithm::Sha256, value)) => $request.checksum_sha256(value),
            None => $request,
        }
    }};
}
pub(super) use with_checksum;

impl Said {
    /// The value of one algorithm.
    pub(super) fn get(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Crc64Nvme => self.crc64nvme.as_deref(),
            Algorithm::Crc32C => self.crc32c.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
        }
    }

    /// One word of them: the one that we can compare with the whole, before the others.
    pub(super) fn word(self) -> Option<StoreChecksum> {
        [("crc64nvme", self.crc64nvme), ("sha256", self.sha256), ("crc32c", self.crc32c)]
            .into_iter()
            .find_map(|(name, value)| Some(StoreChecksum { algorithm: name.to_owned(), value: value? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_other_implementations() {
        // CRC RevEng catalogue, CRC-32/ISCSI: check value e3069283 over "123456789", in base64 4waSgw==.
        assert_eq!(Algorithm::Crc32C.value(b"123456789"), "4waSgw==");
        assert_eq!(Algorithm::Crc64Nvme.value(b"123456789"), "rosUhgp5mIg=");
        // printf 123456789 | openssl dgst -sha256 -binary | base64
        assert_eq!(Algorithm::Sha256.value(b"123456789"), "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=");
    }

    #[test]
    fn a_composite_is_the_checksum_of_checksums_and_their_number() {
        let parts = [b"a", b"b"].map(|part| Some(Algorithm::Sha256.value(part)));
        let raw: Vec<u8> = [Sha256::digest(b"a"), Sha256::digest(b"b")].concat();
        assert_eq!(Algorithm::Sha256.composite(&parts), Some(format!("{}-2", Algorithm::Sha256.value(&raw))));
        assert_eq!(Algorithm::Sha256.composite(&[Some("?".to_owned())]), None);
        assert_eq!(Algorithm::Sha256.composite(&[None]), None);
    }
}
