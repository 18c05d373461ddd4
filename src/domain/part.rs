//! How a file is cut into parts, from the size that was announced.
//!
//! S3's limits (Amazon S3 User Guide, "Multipart upload limits"): parts of 5 MiB to 5 GiB but for the last,
//! at most 10 000 of them. All parts but the last are equally long, because some stores insist on it.

use serde::{Deserialize, Serialize};

/// Smallest part that S3 accepts unless it is the last one, in bytes.
pub const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// Most parts that an S3 object may have.
pub const MAX_PARTS: u64 = 10_000;
/// Parts of a file whose length nobody announced are at least this long, so that 10 000 of them reach
/// 160 GiB.
pub const MIN_PART_BYTES_UNKNOWN_LENGTH: u64 = 16 * 1024 * 1024;

const MIB: u64 = 1024 * 1024;

/// The length of every part but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartPlan {
    /// Bytes in every part but the last.
    pub part_bytes: u64,
}

impl PartPlan {
    /// Plans for a file of `announced` bytes, preferring parts of `preferred` bytes: longer where the file
    /// would not fit into 10 000 of them, in whole MiB.
    #[must_use]
    pub fn new(announced: Option<u64>, preferred: u64) -> Self {
        let floor = match announced {
            Some(bytes) => bytes.div_ceil(MAX_PARTS),
            None => MIN_PART_BYTES_UNKNOWN_LENGTH,
        };
        let wanted = preferred.max(MIN_PART_BYTES).max(floor);
        Self { part_bytes: if wanted == preferred { wanted } else { wanted.next_multiple_of(MIB) } }
    }

    /// Where part `number` (counted from 1) begins, in bytes.
    #[must_use]
    pub fn offset(self, number: u32) -> u64 {
        u64::from(number - 1) * self.part_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_file_gets_the_preferred_part() {
        assert_eq!(PartPlan::new(Some(300 * MIB), 8 * MIB).part_bytes, 8 * MIB);
    }

    #[test]
    fn a_huge_file_fits_into_ten_thousand_parts() {
        let huge = 5 * 1024 * 1024 * MIB;
        let plan = PartPlan::new(Some(huge), 8 * MIB);
        assert!(huge.div_ceil(plan.part_bytes) <= MAX_PARTS);
        assert_eq!(plan.part_bytes % MIB, 0);
    }

    #[test]
    fn no_part_is_below_what_s3_accepts() {
        assert_eq!(PartPlan::new(Some(10), 1).part_bytes, MIN_PART_BYTES);
    }

    #[test]
    fn an_unknown_length_gets_longer_parts() {
        assert_eq!(PartPlan::new(None, 8 * MIB).part_bytes, MIN_PART_BYTES_UNKNOWN_LENGTH);
    }

    #[test]
    fn parts_lie_end_to_end() {
        let plan = PartPlan::new(Some(100 * MIB), 8 * MIB);
        assert_eq!(plan.offset(1), 0);
        assert_eq!(plan.offset(3), 16 * MIB);
    }
}
