//! CRC-64/NVME: the checksum that S3 stores can confirm for a whole object, because those of its parts can be
//! combined (Amazon S3 User Guide, "Checking object integrity").
//!
//! ```
//! use zoom_archiver::domain::checksum;
//!
//! let whole = checksum::crc64nvme(b"123456789");
//! let (head, tail) = (checksum::crc64nvme(b"1234"), checksum::crc64nvme(b"56789"));
//! assert_eq!(checksum::combine(head, tail, 5), whole);
//! ```

use crc_fast::{CrcAlgorithm, Digest};

/// A CRC-64/NVME that grows as bytes go by.
#[derive(Clone, Debug)]
pub struct Crc64Nvme(Digest);

impl Crc64Nvme {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64Nvme))
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all bytes so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.finalize()
    }
}

impl Default for Crc64Nvme {
    fn default() -> Self {
        Self::new()
    }
}

/// CRC-64/NVME of `bytes`.
#[must_use]
pub fn crc64nvme(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

/// CRC-64/NVME of two pieces end to end, from that of each and the length of the second in bytes.
#[must_use]
pub fn combine(first: u64, second: u64, second_bytes: u64) -> u64 {
    if second_bytes == 0 {
        return first;
    }
    crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, first, second, second_bytes)
}

/// As S3 writes it: the eight bytes, most significant first, in base64.
#[must_use]
pub fn to_base64(crc64nvme: u64) -> String {
    data_encoding::BASE64.encode(&crc64nvme.to_be_bytes())
}

/// Reads what [`to_base64`] writes; `None` for anything else.
#[must_use]
pub fn from_base64(text: &str) -> Option<u64> {
    let bytes = data_encoding::BASE64.decode(text.as_bytes()).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_crc_that_the_catalogue_lists() {
        // CRC RevEng catalogue, CRC-64/NVME: check value over "123456789".
        assert_eq!(crc64nvme(b"123456789"), 0xae8b_1486_0a79_9888);
        assert_eq!(to_base64(crc64nvme(b"123456789")), "rosUhgp5mIg=");
        assert_eq!(from_base64("rosUhgp5mIg="), Some(0xae8b_1486_0a79_9888));
        assert_eq!(from_base64("4waSgw=="), None);
        assert_eq!(from_base64("rosUhgp5mIg=-3"), None);
    }

    #[test]
    fn pieces_add_up_to_the_whole_in_whatever_way_it_is_cut() {
        let bytes: Vec<u8> = (0..100_003u32).map(|n| (n * 31 % 251) as u8).collect();
        let whole = crc64nvme(&bytes);
        for at in [0, 1, 4096, 65_537, bytes.len()] {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(combine(crc64nvme(head), crc64nvme(tail), tail.len() as u64), whole);
            let mut running = Crc64Nvme::new();
            running.update(head);
            running.update(tail);
            assert_eq!(running.value(), whole);
        }
    }
}
