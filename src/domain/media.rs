//! File types as Zoom names them, file name extensions, and media types.

/// Zoom's file types, each with the extensions that its files have; the first one stands in where Zoom names none. Sources:
/// `file_type` and `file_extension` in Zoom's event and API references for Video SDK, Meetings, archive files and Phone. That
/// a call's sound is MP3 or WAV and its transcript JSON is observed, not documented.
const FILE_TYPES: &[(&str, &[&str])] = &[
    ("MP4", &["mp4"]),
    ("M4A", &["m4a"]),
    ("MP3", &["mp3", "wav", "m4a", "mp4"]),
    ("TRANSCRIPT", &["vtt", "json", "txt"]),
    ("CC", &["vtt", "txt"]),
    ("CHAT", &["txt", "json"]),
    ("CHAT_MESSAGE", &["json", "txt"]),
    ("TIMELINE", &["json"]),
    ("SUMMARY", &["json", "txt", "md"]),
    ("CSV", &["csv"]),
    ("TB", &["jpg", "jpeg", "png"]),
    ("SUB_GROUP_MEMBER_LOG", &["json", "txt", "csv"]),
    ("AIC_CONVERSATION", &["json", "txt", "md"]),
];

/// Zoom's recording types with the extension of their files, for entries that name no file type. Source: `recording_type` in
/// the same references.
const RECORDING_TYPES: &[(&str, &str)] = &[
    ("audio_only", "m4a"),
    ("audio_only_each_participant", "m4a"),
    ("audio_interpretation", "m4a"),
    ("audio_transcript", "vtt"),
    ("cc_transcript", "vtt"),
    ("closed_caption", "vtt"),
    ("chat_file", "txt"),
    ("chat_message", "json"),
    ("poll", "csv"),
    ("timeline", "json"),
    ("thumbnail", "jpg"),
    ("summary", "json"),
    ("summary_next_steps", "json"),
    ("summary_smart_chapters", "json"),
    ("aic_conversation", "json"),
    ("shared_screen_with_speaker_view", "mp4"),
    ("shared_screen_with_speaker_view(cc)", "mp4"),
    ("shared_screen_with_gallery_view", "mp4"),
    ("gallery_view", "mp4"),
    ("speaker_view", "mp4"),
    ("active_speaker", "mp4"),
    ("shared_screen", "mp4"),
    ("host_video", "mp4"),
    ("individual_user", "mp4"),
    ("individual_shared_screen", "mp4"),
    ("sign_interpretation", "mp4"),
    ("production_studio", "mp4"),
];

/// Returns the extension of a file, in lower case and without a dot, from what Zoom says of it: the extension that it names,
/// unless files of that type never have it (Zoom's own examples call a participant's M4A `MP4` and a transcript `M4A`), else
/// the one of its file type or recording type. Empty when nothing says it.
#[must_use]
pub fn extension_of(file_type: &str, recording_type: &str, named: Option<&str>) -> String {
    let named = named.map(|named| named.trim_start_matches('.').to_lowercase()).filter(|it| !it.is_empty());
    let of_type = FILE_TYPES.iter().find(|(name, _)| *name == file_type).map(|(_, extensions)| *extensions);
    let extension = match (named, of_type) {
        (Some(named), Some(extensions)) if extensions.contains(&named.as_str()) => return named,
        (_, Some(extensions)) => extensions[0],
        (Some(named), None) => return named,
        (None, None) => {
            let recording_type = recording_type.to_lowercase();
            RECORDING_TYPES
                .iter()
                .find(|(name, _)| *name == recording_type)
                .map_or("", |(_, extension)| extension)
        }
    };
    extension.to_owned()
}

/// Returns Zoom's file type for an extension, for entries that name a file but no type; empty when there is none.
#[must_use]
pub fn type_of(extension: &str) -> &'static str {
    match extension.to_lowercase().as_str() {
        "mp4" => "MP4",
        "m4a" => "M4A",
        "mp3" | "wav" => "MP3",
        "vtt" => "TRANSCRIPT",
        "txt" => "CHAT",
        "csv" => "CSV",
        _ => "",
    }
}

/// Returns the media type of an object: from its first bytes where they leave no doubt, else from its extension.
#[must_use]
pub fn content_type(extension: &str, first_bytes: &[u8]) -> &'static str {
    if let Some(sniffed) = sniff(extension, first_bytes) {
        return sniffed;
    }
    match extension {
        "mp4" => "video/mp4",
        "m4a" => "audio/mp4",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "txt" => "text/plain; charset=utf-8",
        "vtt" => "text/vtt; charset=utf-8",
        "md" => "text/markdown; charset=utf-8",
        "json" => "application/json",
        "csv" => "text/csv; charset=utf-8",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        _ if matches!(first_bytes, [b'{' | b'[', ..]) => "application/json",
        _ => "application/octet-stream",
    }
}

/// The media type of formats that begin with bytes of their own.
fn sniff(extension: &str, first_bytes: &[u8]) -> Option<&'static str> {
    let is_mp4 = first_bytes.get(4..8) == Some(b"ftyp");
    let is_audio = extension == "m4a" || first_bytes.get(8..11) == Some(b"M4A");
    Some(match first_bytes {
        _ if is_mp4 && is_audio => "audio/mp4",
        _ if is_mp4 => "video/mp4",
        [b'W', b'E', b'B', b'V', b'T', b'T', ..]
        | [0xef, 0xbb, 0xbf, b'W', b'E', b'B', b'V', b'T', b'T', ..] => "text/vtt; charset=utf-8",
        [b'I', b'D', b'3', ..] => "audio/mpeg",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => "audio/wav",
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        _ => return None,
    })
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
    fn bytes_that_leave_no_doubt_are_believed_before_an_extension() {
        assert_eq!(content_type("vtt", b"\x89PNG\r\n"), "image/png");
        assert_eq!(content_type("m4a", b"\0\0\0\x20ftypisom"), "audio/mp4");
        assert_eq!(content_type("bin", b"RIFF\x24\0\0\0WAVEfmt "), "audio/wav");
        assert_eq!(content_type("mp3", b"\0\0\0\x20ftypM4A "), "audio/mp4");
    }

    #[test]
    fn every_documented_type_has_an_extension() {
        for (file_type, extensions) in FILE_TYPES {
            assert_eq!(extension_of(file_type, "", None), extensions[0]);
            for extension in *extensions {
                assert_eq!(extension_of(file_type, "", Some(&extension.to_uppercase())), *extension);
                assert_ne!(content_type(extension, b""), "application/octet-stream", "{extension}");
            }
        }
        for (recording_type, extension) in RECORDING_TYPES {
            assert_eq!(extension_of("", recording_type, None), *extension);
            assert_ne!(content_type(extension, b""), "application/octet-stream");
        }
    }

    #[test]
    fn an_extension_that_contradicts_the_type_is_not_believed() {
        for (file_type, named, extension) in [
            ("M4A", Some("MP4"), "m4a"),
            ("TRANSCRIPT", Some("M4A"), "vtt"),
            ("TRANSCRIPT", Some("JSON"), "json"),
            ("HOLOGRAM", Some("GLB"), "glb"),
            ("HOLOGRAM", None, ""),
        ] {
            assert_eq!(extension_of(file_type, "", named), extension, "{file_type} {named:?}");
        }
    }

    #[test]
    fn a_page_is_recognised_behind_white_space_and_in_any_case() {
        assert!(looks_like_html(b"\n  <!DOCTYPE html><html>"));
        assert!(looks_like_html(b"\xef\xbb\xbf<HTML lang=en>"));
        assert!(!looks_like_html(b"WEBVTT\n\n<v Ada>Hello"));
        assert!(!looks_like_html(b""));
    }
}
