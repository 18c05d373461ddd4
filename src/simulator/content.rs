//! What is in a file: real media made for this project (see `media/README.md`), or bytes that are computed
//! as they are asked for, so that a file of any size costs no memory.

use std::sync::LazyLock;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::domain::file::Sha256Digest;

/// A short video with sound: H.264 and AAC, index in front.
pub const SESSION_MP4: &[u8] = include_bytes!("media/session.mp4");
/// The mixed sound: AAC.
pub const SESSION_M4A: &[u8] = include_bytes!("media/session.m4a");
/// One participant's sound: AAC.
pub const ADA_M4A: &[u8] = include_bytes!("media/participant-ada.m4a");
/// One participant's picture: H.264.
pub const ADA_MP4: &[u8] = include_bytes!("media/participant-ada.mp4");
/// Another participant's sound: AAC.
pub const GRACE_M4A: &[u8] = include_bytes!("media/participant-grace.m4a");
/// What was said: WebVTT.
pub const TRANSCRIPT_VTT: &[u8] = include_bytes!("media/transcript.vtt");
/// What was written.
pub const CHAT_TXT: &[u8] = include_bytes!("media/chat.txt");
/// Who spoke when: JSON.
pub const TIMELINE_JSON: &[u8] = include_bytes!("media/timeline.json");
/// The summary: JSON with a `summary` section.
pub const SUMMARY_JSON: &[u8] = include_bytes!("media/summary.json");

/// Generated content is put together from blocks of this many bytes: a number of the block's own, and a stretch of
/// the pool that begins where this number says. So it costs little more than copying, also in an unoptimised build.
const BLOCK_BYTES: usize = 4096;
/// Pseudo-random bytes that are the same for all content.
static POOL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    const WORDS: u64 = 32 * 1024;
    (0..WORDS).flat_map(|index| scramble(POOL_SEED, index).to_le_bytes()).collect()
});
const POOL_SEED: u64 = 0x9001;
/// How generated content begins: `ftyp`, an empty `moov`, and an `mdat` that reaches to the end (ISO/IEC
/// 14496-12, section 4.2).
pub const HEAD: &[u8; 40] = b"\0\0\0\x18ftypisom\0\0\x02\0isommp41\0\0\0\x08moov\0\0\0\0mdat";
/// Bytes hashed at a time.
const HASH_STEP: usize = 64 * 1024;

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Bytes that are part of the program.
    Embedded(&'static [u8]),
    /// A text that is part of the program, with so many spaces before its last byte that it is of this length: still of its
    /// type. No shorter than the text.
    Stretched {
        /// The text.
        text: &'static [u8],
        /// How long it is then.
        bytes: u64,
    },
    /// Pseudo-random bytes, the same for the same seed, computed by offset. From [`HEAD`]'s length on they are
    /// the payload of an MP4 (bytes to carry, not to play); fewer begin with a byte that no text begins with.
    Generated {
        /// Which bytes.
        seed: u64,
        /// How many.
        bytes: u64,
    },
}

impl Content {
    /// Content of the same type of about this length: a text keeps its words, and is never shorter than they are; all else
    /// is generated.
    #[must_use]
    pub fn of_length(self, seed: u64, bytes: u64) -> Self {
        match self {
            Self::Embedded(text) | Self::Stretched { text, .. } if std::str::from_utf8(text).is_ok() => {
                Self::Stretched { text, bytes: bytes.max(text.len() as u64) }
            }
            _ => Self::Generated { seed, bytes },
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(self) -> u64 {
        match self {
            Self::Embedded(bytes) => bytes.len() as u64,
            Self::Stretched { bytes, .. } | Self::Generated { bytes, .. } => bytes,
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Up to `max` bytes from `offset` on; fewer at the end, none beyond it.
    #[must_use]
    pub fn read(self, offset: u64, max: usize) -> Bytes {
        let left = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = left.min(max);
        match self {
            _ if count == 0 => Bytes::new(),
            Self::Embedded(bytes) => {
                // `count` is not 0, so `offset` lies within the slice and fits.
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                Bytes::from_static(bytes).slice(from..from + count)
            }
            Self::Stretched { text, bytes } => stretch(text, bytes, offset, count),
            Self::Generated { seed, bytes } => generate(seed, bytes, offset, count),
        }
    }

    /// SHA-256 of all of it. Takes its time for a large file (hundreds of MB a second): not for an async task
    /// when there are many.
    #[must_use]
    pub fn sha256(self) -> Sha256Digest {
        let mut hash = Sha256::new();
        let mut offset = 0;
        while offset < self.len() {
            let piece = self.read(offset, HASH_STEP);
            hash.update(&piece);
            offset += piece.len() as u64;
        }
        Sha256Digest(hash.finalize().into())
    }

    /// A strong entity tag: other content, other tag.
    #[must_use]
    pub fn etag(self) -> String {
        match self {
            Self::Embedded(_) => format!("\"{}\"", HEXLOWER.encode(&self.sha256().0[..12])),
            Self::Stretched { text, bytes } => {
                format!("\"{}-{bytes:x}\"", HEXLOWER.encode(&Sha256::digest(text)[..12]))
            }
            Self::Generated { seed, bytes } => format!("\"{seed:x}-{bytes:x}\""),
        }
    }
}

/// The bytes `offset..offset + count` of a text that spaces make as long as `len`.
fn stretch(text: &[u8], len: u64, offset: u64, count: usize) -> Bytes {
    let last = text.len().saturating_sub(1);
    let byte = |at: u64| match usize::try_from(at) {
        Ok(at) if at < last => text[at],
        _ if at + 1 == len => text.last().copied().unwrap_or(b' '),
        _ => b' ',
    };
    (offset..offset + count as u64).map(byte).collect::<Vec<u8>>().into()
}

/// The bytes `offset..offset + count` of generated content of `len` bytes: from the endless stream that belongs
/// to `seed`, but for their beginning.
fn generate(seed: u64, len: u64, offset: u64, count: usize) -> Bytes {
    let block_bytes = BLOCK_BYTES as u64;
    let first_block = offset / block_bytes;
    let skip = usize::try_from(offset % block_bytes).unwrap_or_default();
    let mut bytes = Vec::with_capacity((skip + count).next_multiple_of(BLOCK_BYTES));
    for block in first_block.. {
        if bytes.len() >= skip + count {
            break;
        }
        push_block(scramble(seed, block), &mut bytes);
    }
    bytes.truncate(skip + count);
    if first_block == 0 && len >= HEAD.len() as u64 {
        let head = HEAD.len().min(bytes.len());
        bytes[..head].copy_from_slice(&HEAD[..head]);
    } else if first_block == 0 {
        // 0x80 to 0xbf: in UTF-8 these never begin a character.
        bytes[0] = 0x80 | (bytes[0] & 0x3f);
    }
    Bytes::from(bytes).slice(skip..)
}

fn push_block(number: u64, bytes: &mut Vec<u8>) {
    let number_bytes = number.to_le_bytes();
    let stretch = BLOCK_BYTES - number_bytes.len();
    let places = (POOL.len() - stretch) as u64;
    // Smaller than the pool, so it fits.
    let from = usize::try_from(number % places).unwrap_or_default();
    bytes.extend_from_slice(&number_bytes);
    bytes.extend_from_slice(&POOL[from..from + stretch]);
}

/// Word `index` of the stream of `seed`: the output function of SplitMix64 (Steele, Lea, Flood, 2014), which
/// needs no state but the position.
pub(super) fn scramble(seed: u64, index: u64) -> u64 {
    let mut word = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_content_is_the_same_however_it_is_cut() {
        let content = Content::Generated { seed: 7, bytes: 10_000 };
        let whole = content.read(0, 10_000);
        for (offset, count) in
            [(0, 1), (1, 7), (3, 500), (38, 8), (4090, 20), (8192, 1), (9999, 1), (17, 9983)]
        {
            let from = usize::try_from(offset).unwrap();
            assert_eq!(content.read(offset, count), whole[from..from + count], "{offset}+{count}");
        }
    }

    #[test]
    fn a_text_of_another_length_is_still_of_its_type() {
        for (text, bytes) in [(TRANSCRIPT_VTT, 9000), (SUMMARY_JSON, 9000), (SUMMARY_JSON, 1)] {
            let content = Content::Embedded(text).of_length(7, bytes);
            let read = content.read(0, 10_000);
            assert_eq!(read.len() as u64, content.len());
            assert_eq!(content.len(), bytes.max(text.len() as u64));
            assert_eq!(content.read(5, 8990), read[5..content.len().min(8995) as usize]);
            match text == TRANSCRIPT_VTT {
                true => assert!(read.starts_with(b"WEBVTT\n")),
                false => assert!(serde_json::from_slice::<serde_json::Value>(&read).is_ok()),
            }
        }
        let media = Content::Embedded(SESSION_MP4).of_length(7, 9000);
        assert_eq!(media, Content::Generated { seed: 7, bytes: 9000 });
    }

    #[test]
    fn other_seeds_and_other_places_are_other_bytes() {
        let pieces = [(1, 0), (2, 0), (1, 4096), (2, 4096), (1, 9000)]
            .map(|(seed, offset)| Content::Generated { seed, bytes: 10_000 }.read(offset, 1000));
        assert_eq!(std::collections::BTreeSet::from(pieces).len(), 5);
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        for content in [Content::Generated { seed: 7, bytes: 10 }, Content::Embedded(b"0123456789")] {
            assert_eq!(content.read(8, 100).len(), 2);
            assert!(content.read(10, 1).is_empty());
            assert!(content.read(u64::MAX, 1).is_empty());
        }
    }

    #[test]
    fn generated_content_never_looks_like_text() {
        for seed in 0..1000 {
            let first = Content::Generated { seed, bytes: 1 }.read(0, 1)[0];
            assert!((0x80..0xc0).contains(&first), "{first:#x}");
        }
    }

    #[test]
    fn generated_content_has_the_shape_of_an_mp4() {
        for bytes in [40, 41, 1000] {
            let mut probe = crate::domain::probe::Probe::new("mp4");
            probe.update(&Content::Generated { seed: 5, bytes }.read(0, 10_000));
            assert_eq!(probe.verdict(), Ok(()));
        }
    }

    #[test]
    fn another_seed_or_length_is_another_entity() {
        let tags = [
            Content::Generated { seed: 1, bytes: 10 }.etag(),
            Content::Generated { seed: 2, bytes: 10 }.etag(),
            Content::Generated { seed: 1, bytes: 11 }.etag(),
            Content::Embedded(SESSION_MP4).etag(),
            Content::Embedded(SESSION_M4A).etag(),
        ];
        assert_eq!(std::collections::BTreeSet::from(tags).len(), 5);
    }

    #[test]
    fn the_digest_is_that_of_the_bytes() {
        let content = Content::Generated { seed: 3, bytes: HASH_STEP as u64 * 2 + 5 };
        let all = content.read(0, HASH_STEP * 3);
        assert_eq!(content.sha256().0, <[u8; 32]>::from(Sha256::digest(&all)));
    }
}
