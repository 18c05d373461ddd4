//! What is checked before an object of several parts is completed, whatever the archive.

use super::{ArchiveError, Part};
use crate::domain::checksum;
use crate::domain::file::Proof;
use crate::domain::part::{MAX_PARTS, PartPlan};

/// The parts in order, after the review: numbers from 1 without a gap, lengths that add up to that of the whole,
/// and checksums that do so where every part has one.
///
/// # Errors
/// [`ArchiveError::Mismatch`], saying what does not add up.
pub(super) fn review<'a>(parts: &'a [Part], proof: &Proof) -> Result<Vec<&'a Part>, ArchiveError> {
    let mut ordered: Vec<&Part> = parts.iter().collect();
    ordered.sort_by_key(|part| part.number);
    for (expected, part) in (1..).zip(&ordered) {
        if part.number != expected {
            return Err(mismatch(format!("part {expected} is missing or doubled")));
        }
    }
    let bytes: u64 = ordered.iter().map(|part| part.bytes).sum();
    if ordered.is_empty() || bytes != proof.bytes {
        return Err(mismatch(format!("the parts hold {bytes} bytes, the file {}", proof.bytes)));
    }
    let crc = ordered.iter().try_fold(checksum::crc64nvme(b""), |whole, part| {
        Some(checksum::combine(whole, part.crc64nvme?, part.bytes))
    });
    if crc.is_some_and(|crc| crc != proof.crc64nvme) {
        return Err(mismatch("the CRC-64/NVME of the parts is not that of the file".to_owned()));
    }
    Ok(ordered)
}

/// Checks that a body has the length that the proof says.
///
/// # Errors
/// [`ArchiveError::Mismatch`].
pub(super) fn review_body(body: &[u8], proof: &Proof) -> Result<(), ArchiveError> {
    if body.len() as u64 != proof.bytes {
        return Err(mismatch(format!("the body holds {} bytes, the file {}", body.len(), proof.bytes)));
    }
    Ok(())
}

/// Checks that a part is one of the plan.
///
/// # Errors
/// [`ArchiveError::Refused`].
pub(super) fn review_part(plan: PartPlan, number: u32, body: &[u8]) -> Result<(), ArchiveError> {
    let bytes = body.len() as u64;
    if number == 0 || u64::from(number) > MAX_PARTS || bytes > plan.part_bytes {
        return Err(ArchiveError::Refused(format!(
            "part {number} of {bytes} bytes does not fit a plan of at most {MAX_PARTS} parts of {} bytes",
            plan.part_bytes
        )));
    }
    Ok(())
}

fn mismatch(what: String) -> ArchiveError {
    ArchiveError::Mismatch(what)
}
