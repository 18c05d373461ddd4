//! Whether a file has the shape that its type promises: a look at its structure as its bytes go by, without
//! keeping them. No player's opinion: a file that passes may still be damaged, one that fails is worth a look.
//!
//! - MP4 and M4A: boxes end to end from `ftyp` to the file's last byte, with a `moov` among them (ISO/IEC
//!   14496-12, sections 4.2, 4.3 and 8.2; a box of size 0 reaches to the end)
//! - VTT: begins with `WEBVTT` (W3C WebVTT, section 4)
//! - JSON: parses, when it is short; a long one begins and ends as one
//!
//! A probe is plain data: it lies in a transfer's checkpoint, and goes on with the next run.

use serde::{Deserialize, Serialize};

/// Longest JSON that is parsed, in bytes.
const MAX_PARSED_JSON_BYTES: usize = 256 * 1024;
/// Bytes of a box's header with the long form of its size.
const LONG_BOX_HEADER_BYTES: usize = 16;
/// The same with the short form.
const SHORT_BOX_HEADER_BYTES: usize = 8;

/// Looks at the bytes of one file, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "probe", rename_all = "snake_case")]
pub enum Probe {
    /// Boxes.
    Mp4(Mp4),
    /// Captions.
    Vtt {
        /// The first bytes.
        start: Vec<u8>,
    },
    /// JSON.
    Json {
        /// All of it, while it is short.
        short: Option<Vec<u8>>,
        /// First byte that is no white space.
        first: Option<u8>,
        /// Last byte that is no white space.
        last: Option<u8>,
    },
    /// A type without a shape that is known here.
    Anything,
}

/// Where a walk over boxes has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mp4 {
    /// Bytes seen.
    position: u64,
    /// Where the next box begins; `None` when the last one reaches to the end of the file.
    next_box: Option<u64>,
    /// The part of a header that has been seen.
    header: Vec<u8>,
    has_ftyp: bool,
    has_moov: bool,
    /// What is wrong, once something is.
    broken: Option<String>,
}

impl Probe {
    /// A probe for a file with this extension (lower case, without a dot).
    #[must_use]
    pub fn new(extension: &str) -> Self {
        match extension {
            "mp4" | "m4a" => Self::Mp4(Mp4 { next_box: Some(0), ..Mp4::default() }),
            "vtt" => Self::Vtt { start: Vec::new() },
            "json" => Self::Json { short: Some(Vec::new()), first: None, last: None },
            _ => Self::Anything,
        }
    }

    /// Looks at the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Mp4(boxes) => boxes.update(bytes),
            Self::Vtt { start } => {
                let wanted = BYTE_ORDER_MARK.len() + WEBVTT.len() + 1;
                start.extend(bytes.iter().take(wanted.saturating_sub(start.len())));
            }
            Self::Json { short, first, last } => {
                let mut solid = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
                if let Some(leading) = solid.next() {
                    first.get_or_insert(leading);
                    *last = bytes.iter().rev().copied().find(|byte| !byte.is_ascii_whitespace());
                }
                *short = short.take().filter(|kept| kept.len() + bytes.len() <= MAX_PARSED_JSON_BYTES);
                if let Some(kept) = short {
                    kept.extend_from_slice(bytes);
                }
            }
            Self::Anything => {}
        }
    }

    /// Whether the file, now whole, has its shape; if not, what is wrong with it.
    ///
    /// # Errors
    /// The suspicion, in words.
    pub fn verdict(&self) -> Result<(), String> {
        match self {
            Self::Mp4(boxes) => boxes.verdict(),
            Self::Vtt { start } => {
                let text = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start);
                match text.strip_prefix(WEBVTT) {
                    Some([] | [b' ' | b'\t' | b'\n' | b'\r', ..]) => Ok(()),
                    _ => Err("it does not begin with WEBVTT".to_owned()),
                }
            }
            Self::Json { short: Some(text), .. } => {
                let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
                match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
                    Ok(_) => Ok(()),
                    Err(error) => Err(format!("it is no JSON (line {})", error.line())),
                }
            }
            Self::Json { short: None, first, last } => match (first, last) {
                (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')) => Ok(()),
                _ => Err("it does not begin and end as JSON".to_owned()),
            },
            Self::Anything => Ok(()),
        }
    }
}

const WEBVTT: &[u8] = b"WEBVTT";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Mp4 {
    fn update(&mut self, mut bytes: &[u8]) {
        while let (Some(next_box), None, false) = (self.next_box, &self.broken, bytes.is_empty()) {
            if self.position < next_box {
                let skipped =
                    usize::try_from(next_box - self.position).unwrap_or(usize::MAX).min(bytes.len());
                self.position += skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            // `position` stays at the box's first byte until its header is complete.
            if let Some(size) = self.box_size() {
                self.enter(size);
            }
        }
        self.position += bytes.len() as u64;
    }

    /// The size that a header names, once enough of it has been seen; 0 reaches to the end.
    fn box_size(&self) -> Option<u64> {
        let short = u32::from_be_bytes(*self.header.first_chunk()?);
        match self.header.len() {
            SHORT_BOX_HEADER_BYTES if short != 1 => Some(u64::from(short)),
            LONG_BOX_HEADER_BYTES => self.header.last_chunk().map(|long| u64::from_be_bytes(*long)),
            _ => None,
        }
    }

    fn enter(&mut self, size: u64) {
        let header = std::mem::take(&mut self.header);
        let kind = &header[4..8];
        if !self.has_ftyp && kind != b"ftyp" {
            self.broken = Some("it does not begin with a box `ftyp`".to_owned());
            return;
        }
        self.has_ftyp = true;
        self.has_moov |= kind == b"moov";
        let start = self.position;
        self.position += header.len() as u64;
        self.next_box = match size {
            0 => None,
            size if size < header.len() as u64 => {
                self.broken = Some(format!("the box at byte {start} is shorter than its own header"));
                return;
            }
            size => start.checked_add(size),
        };
    }

    fn verdict(&self) -> Result<(), String> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        if !self.has_ftyp {
            return Err("it is too short for an MP4".to_owned());
        }
        if !self.header.is_empty() || self.next_box.is_some_and(|next_box| next_box != self.position) {
            return Err("its last box is cut short".to_owned());
        }
        if !self.has_moov {
            return Err("it has no box `moov`, without which nothing plays it".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::content;

    fn verdict(extension: &str, bytes: &[u8], step: usize) -> Result<(), String> {
        let mut probe = Probe::new(extension);
        for piece in bytes.chunks(step) {
            probe.update(piece);
            // As a checkpoint would carry it.
            probe = serde_json::from_value(serde_json::to_value(&probe).unwrap()).unwrap();
        }
        probe.verdict()
    }

    fn mp4_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
        [&size[..], kind, content].concat()
    }

    #[test]
    fn real_media_pass_however_they_are_cut() {
        for (extension, bytes) in [
            ("mp4", content::SESSION_MP4),
            ("m4a", content::ADA_M4A),
            ("vtt", content::TRANSCRIPT_VTT),
            ("json", content::SUMMARY_JSON),
            ("txt", content::CHAT_TXT),
        ] {
            for step in [1, 7, 4096, usize::MAX] {
                if step == 1 && bytes.len() > 4096 {
                    continue;
                }
                assert_eq!(verdict(extension, bytes, step), Ok(()), "{extension} by {step}");
            }
        }
    }

    #[test]
    fn an_mp4_that_lacks_its_end_is_told() {
        let whole = content::SESSION_MP4;
        assert!(verdict("mp4", &whole[..whole.len() - 1], 1000).unwrap_err().contains("cut short"));
        assert!(verdict("mp4", &whole[..5], 1000).unwrap_err().contains("too short"));
        assert!(verdict("mp4", b"", 1).unwrap_err().contains("too short"));
    }

    #[test]
    fn an_mp4_without_index_is_told() {
        let bytes = [mp4_box(b"ftyp", b"isom"), mp4_box(b"mdat", &[7; 100])].concat();
        assert!(verdict("mp4", &bytes, 3).unwrap_err().contains("moov"));
        assert_eq!(verdict("mp4", &[bytes, mp4_box(b"moov", b"")].concat(), 3), Ok(()));
    }

    #[test]
    fn long_sizes_and_open_ends_are_read() {
        let long = [&1_u32.to_be_bytes()[..], b"mdat", &(16 + 5_u64).to_be_bytes(), b"12345"].concat();
        let open = [&0_u32.to_be_bytes()[..], b"mdat", b"to the end"].concat();
        let start = [mp4_box(b"ftyp", b"isom"), mp4_box(b"moov", b"")].concat();
        for step in [1, 8, 9, 1000] {
            assert_eq!(verdict("mp4", &[&start[..], &long, &open].concat(), step), Ok(()));
            assert!(verdict("mp4", &[&start[..], &long[..20]].concat(), step).is_err());
        }
    }

    #[test]
    fn sizes_that_lead_nowhere_are_told() {
        let tiny = [&5_u32.to_be_bytes()[..], b"ftyp", b"isom"].concat();
        assert!(verdict("mp4", &tiny, 100).unwrap_err().contains("shorter than its own header"));
        let endless = [&1_u32.to_be_bytes()[..], b"ftyp", &u64::MAX.to_be_bytes()].concat();
        assert!(verdict("mp4", &endless, 100).is_err());
        assert!(verdict("mp4", &[0x80; 100], 7).unwrap_err().contains("ftyp"));
    }

    #[test]
    fn captions_begin_with_their_word() {
        assert_eq!(verdict("vtt", b"\xef\xbb\xbfWEBVTT - by Zoom\n", 2), Ok(()));
        assert_eq!(verdict("vtt", b"WEBVTT", 2), Ok(()));
        assert!(verdict("vtt", b"WEBVTTX", 2).is_err());
        assert!(verdict("vtt", b"1\n00:00", 2).is_err());
    }

    #[test]
    fn short_json_must_parse_and_long_json_must_look_like_it() {
        assert!(verdict("json", br#"{"a": [1, 2}"#, 3).unwrap_err().contains("no JSON"));
        assert!(verdict("json", b"", 1).is_err());
        let long = |end: &str| format!("{{\"a\": \"{}\"{end} \n", "x".repeat(MAX_PARSED_JSON_BYTES));
        assert_eq!(verdict("json", long("}").as_bytes(), 5000), Ok(()));
        assert!(verdict("json", long("").as_bytes(), 5000).is_err());
    }
}
