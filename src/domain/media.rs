//! File types as Zoom names them, file name extensions, and media types.

/// The extension of a file whose announcement names only its type; empty when the type is unknown.
/// Zoom's types: the `file_type` field in its cloud recording API reference.
#[must_use]
pub fn extension_of(file_type: &str) -> &'static str {
    match file_type {
        "MP4" => "mp4",
        "M4A" => "m4a",
        "MP3" => "mp3",
        "CHAT" | "CHAT_MESSAGE" => "txt",
        "TRANSCRIPT" | "CC" => "vtt",
        "TIMELINE" | "SUMMARY" => "json",
        "CSV" => "csv",
        _ => "",
    }
}

/// The media type of an object, from its extension and, where that says nothing, from its first bytes.
#[must_use]
pub fn content_type(extension: &str, first_bytes: &[u8]) -> &'static str {
    match extension {
        "mp4" => "video/mp4",
        "m4a" => "audio/mp4",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "txt" => "text/plain; charset=utf-8",
        "vtt" => "text/vtt; charset=utf-8",
        "json" => "application/json",
        "csv" => "text/csv; charset=utf-8",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        _ => sniff(first_bytes),
    }
}

fn sniff(first_bytes: &[u8]) -> &'static str {
    let is_mp4 = first_bytes.get(4..8) == Some(b"ftyp");
    match first_bytes {
        _ if is_mp4 && first_bytes.get(8..11) == Some(b"M4A") => "audio/mp4",
        _ if is_mp4 => "video/mp4",
        [b'W', b'E', b'B', b'V', b'T', b'T', ..] => "text/vtt; charset=utf-8",
        [b'{' | b'[', ..] => "application/json",
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        _ => "application/octet-stream",
    }
}

/// Whether the first bytes of a body are those of an HTML page: Zoom's sign-in page comes with status 200.
#[must_use]
pub fn looks_like_html(first_bytes: &[u8]) -> bool {
    let start = first_bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first_bytes).trim_ascii_start();
    let begins = |tag: &[u8]| start.len() >= tag.len() && start[..tag.len()].eq_ignore_ascii_case(tag);
    begins(b"<!doctype html") || begins(b"<html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_extension_decides_alone() {
        assert_eq!(content_type("vtt", b"{\"a\":1}"), "text/vtt; charset=utf-8");
    }

    #[test]
    fn without_an_extension_the_first_bytes_decide() {
        assert_eq!(content_type("", b"\0\0\0\x20ftypisom"), "video/mp4");
        assert_eq!(content_type("", b"\0\0\0\x20ftypM4A "), "audio/mp4");
        assert_eq!(content_type("", b"WEBVTT\n"), "text/vtt; charset=utf-8");
        assert_eq!(content_type("", b""), "application/octet-stream");
    }

    #[test]
    fn a_page_is_recognised_behind_white_space_and_in_any_case() {
        assert!(looks_like_html(b"\n  <!DOCTYPE html><html>"));
        assert!(looks_like_html(b"\xef\xbb\xbf<HTML lang=en>"));
        assert!(!looks_like_html(b"WEBVTT\n\n<v Ada>Hello"));
        assert!(!looks_like_html(b""));
    }
}
