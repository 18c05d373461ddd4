//! Where in the archive a file lies: a key rendered from a template over account, recording, file and time.
//!
//! A key is readable, sanitised (ASCII, no `//` or `..`, bounded segments), unique and stable. The template's
//! part before its last `/` names the recording's folder and may use only what belongs to the recording; the
//! part after it names the file. So a recording always has one folder, with its manifest beside its files.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::account::AccountNames;
use super::recording::{FileIdentity, RecordingIdentity};

/// Name of the manifest in a recording's folder.
pub const MANIFEST_NAME: &str = "recording.json";

/// Longest segment (between two `/`) that a rendered key may have, in bytes. Directories commonly stop at
/// 255 per name; the staging suffix needs room too.
pub const MAX_SEGMENT_BYTES: usize = 120;

/// Longest key, in bytes; S3 stops at 1024 (Amazon S3 User Guide, "Naming Amazon S3 objects").
pub const MAX_KEY_BYTES: usize = 900;

/// What may stand in the folder part.
const FOLDER_FIELDS: &[&str] =
    &["account", "kind", "year", "month", "day", "date", "topic", "instance", "recording"];
/// What may stand, beside those, in the file part.
const FILE_FIELDS: &[&str] = &["time", "type", "file_type", "collection", "file", "ext"];

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    folder: Vec<Piece>,
    file: Vec<Piece>,
    accounts: AccountNames,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(&'static str),
}

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// A `{` without its `}`.
    #[error("`{{` without `}}` in `{0}`")]
    Unclosed(String),
    /// A placeholder that does not exist, or not in this part.
    #[error("`{{{field}}}` cannot stand in the {part} part; known there: {known}")]
    UnknownField {
        /// As written.
        field: String,
        /// `folder` or `file name`.
        part: &'static str,
        /// What could stand there.
        known: String,
    },
    /// Two files could get the same key.
    #[error("the {part} part needs `{{{field}}}`, or two of them could get the same key")]
    NotUnique {
        /// `folder` or `file name`.
        part: &'static str,
        /// What is missing.
        field: &'static str,
    },
    /// There is no folder part.
    #[error("needs at least one `/`: a folder for each recording, a name for each file")]
    NoFolder,
}

/// Another key for the same file, beside the one that it had: `a/b.mp4`, `a/b.again1.mp4`, `a/b.again2.mp4`.
#[must_use]
pub fn another_key(key: &str) -> String {
    const AGAIN: &str = ".again";
    let (folder, name) = key.rsplit_once('/').map_or(("", key), |(folder, name)| (folder, name));
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let counted =
        stem.rsplit_once(AGAIN).and_then(|(first, count)| Some((first, count.parse::<u64>().ok()?)));
    let (first, count) = counted.map_or((stem, 1), |(first, count)| (first, count.saturating_add(1)));
    let dot = if extension.is_empty() { "" } else { "." };
    let slash = if folder.is_empty() { "" } else { "/" };
    format!("{folder}{slash}{first}{AGAIN}{count}{dot}{extension}")
}

/// What a key is rendered from.
#[derive(Debug, Clone)]
pub struct KeyInput<'a> {
    /// The recording.
    pub recording: &'a RecordingIdentity,
    /// Its topic or session name.
    pub topic: Option<&'a str>,
    /// When the earliest file of the recording began; not the start of the meeting.
    pub recording_began: DateTime<Utc>,
    /// The file.
    pub file: &'a FileIdentity,
    /// Its `recording_type`, empty when unknown.
    pub recording_type: &'a str,
    /// Its type, such as `MP4`.
    pub file_type: &'a str,
    /// Its extension, empty when unknown.
    pub extension: &'a str,
    /// When this file began.
    pub file_began: DateTime<Utc>,
}

impl KeyTemplate {
    /// Parses and checks a template.
    ///
    /// # Errors
    /// When a placeholder is unknown, or when keys would not be unique.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let (folder, file) = text.trim_matches('/').rsplit_once('/').ok_or(TemplateError::NoFolder)?;
        let both: Vec<&'static str> = FOLDER_FIELDS.iter().chain(FILE_FIELDS).copied().collect();
        let template = Self {
            folder: parse_pieces(folder, "folder", FOLDER_FIELDS)?,
            file: parse_pieces(file, "file name", &both)?,
            accounts: AccountNames::default(),
        };
        let needs = [("folder", "recording", &template.folder), ("file name", "file", &template.file)];
        for (part, field, pieces) in needs {
            if !pieces.contains(&Piece::Field(field)) {
                return Err(TemplateError::NotUnique { part, field });
            }
        }
        Ok(template)
    }

    /// The same template, in which `{account}` stands for these names.
    #[must_use]
    pub fn with_accounts(self, accounts: AccountNames) -> Self {
        Self { accounts, ..self }
    }

    /// The folder of a recording, without a slash at either end.
    #[must_use]
    pub fn folder(&self, input: &KeyInput<'_>) -> String {
        self.render(&self.folder, input)
            .split('/')
            .map(bounded_segment)
            .filter(|segment| !segment.is_empty())
            .collect::<Vec<_>>()
            .join("/")
    }

    /// The name of a file within its recording's folder.
    #[must_use]
    pub fn file_name(&self, input: &KeyInput<'_>) -> String {
        bounded_segment(&self.render(&self.file, input).replace('/', "-"))
    }

    fn render(&self, pieces: &[Piece], input: &KeyInput<'_>) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Field(name) => field(name, input, &self.accounts),
        };
        pieces.iter().map(text).collect()
    }
}

fn parse_pieces(text: &str, part: &'static str, known: &[&'static str]) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            pieces.push(Piece::Literal(rest[..open].to_owned()));
        }
        let close = rest[open..].find('}').ok_or_else(|| TemplateError::Unclosed(text.to_owned()))?;
        let name = &rest[open + 1..open + close];
        let field = known.iter().find(|field| **field == name).ok_or_else(|| {
            TemplateError::UnknownField { field: name.to_owned(), part, known: known.join(", ") }
        })?;
        pieces.push(Piece::Field(field));
        rest = &rest[open + close + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Ok(pieces)
}

fn field(name: &str, input: &KeyInput<'_>, accounts: &AccountNames) -> String {
    let began = input.recording_began;
    match name {
        "account" => slug(accounts.in_keys(&input.recording.account_id), 40),
        "kind" => input.recording.kind.as_str().to_owned(),
        "year" => began.format("%Y").to_string(),
        "month" => began.format("%m").to_string(),
        "day" => began.format("%d").to_string(),
        "date" => began.format("%Y-%m-%d").to_string(),
        "topic" => slug(input.topic.unwrap_or_default(), 60),
        "instance" => slug(&input.recording.instance_id, 60),
        "recording" => short_hash(&[
            &input.recording.account_id,
            input.recording.kind.as_str(),
            &input.recording.instance_id,
        ]),
        "time" => input.file_began.format("%H%M%SZ").to_string(),
        "type" => slug(input.recording_type, 50),
        "file_type" => slug(&input.file_type.to_lowercase(), 20),
        "collection" => slug(&input.file.collection, 40),
        "file" => short_hash(&[&input.file.collection, &input.file.name]),
        "ext" => match slug(input.extension, 10) {
            empty if empty == EMPTY_SLUG => "bin".to_owned(),
            extension => extension.to_lowercase(),
        },
        _ => unreachable!("the parser admits known fields only"),
    }
}

/// What stands for a name that has no letter or digit left.
const EMPTY_SLUG: &str = "unnamed";

/// Any text as one safe piece of a key: transliterated to ASCII, everything but letters, digits, `.`, `_`
/// turned into single dashes, no dot or dash at its ends, at most `max` bytes.
fn slug(text: &str, max: usize) -> String {
    let ascii = deunicode::deunicode(text);
    let mut out = String::with_capacity(max);
    for c in ascii.chars() {
        if out.len() >= max {
            break;
        }
        let safe = c.is_ascii_alphanumeric() || c == '_' || (c == '.' && !out.ends_with('.'));
        if safe {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let trimmed = out.trim_matches(['.', '-']);
    if trimmed.is_empty() { EMPTY_SLUG.to_owned() } else { trimmed.to_owned() }
}

/// Cuts a segment to its bound, keeping a short extension, and keeps dots from its ends: no `..`, and
/// nothing hidden.
fn bounded_segment(segment: &str) -> String {
    let segment = segment.trim_matches('.');
    if segment.len() <= MAX_SEGMENT_BYTES {
        return segment.to_owned();
    }
    let tail = &segment[segment.rfind('-').filter(|at| segment.len() - at <= 40).unwrap_or(segment.len())..];
    format!("{}{tail}", &segment[..MAX_SEGMENT_BYTES - tail.len()])
}

/// Twelve hex digits of a SHA-256 over length-prefixed parts: the same for the same thing in any database.
fn short_hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    data_encoding::HEXLOWER.encode(&hasher.finalize()[..6])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::recording::RecordingKind;

    const DEFAULT: &str =
        "{account}/{kind}/{year}/{month}/{date}-{topic}-{recording}/{time}-{type}-{file}.{ext}";

    struct Sample {
        recording: RecordingIdentity,
        file: FileIdentity,
        recording_type: &'static str,
        topic: Option<&'static str>,
        extension: &'static str,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                recording: RecordingIdentity {
                    account_id: "aCc_1".into(),
                    kind: RecordingKind::VideoSdk,
                    instance_id: "/Q0z/9+aa==".into(),
                },
                file: FileIdentity { collection: "recording_files".into(), name: "f1".into() },
                recording_type: "shared_screen_with_speaker_view",
                topic: Some("Weekly sync"),
                extension: "mp4",
            }
        }
    }

    impl Sample {
        fn key(&self, template: &str) -> String {
            let template = KeyTemplate::parse(template).unwrap();
            let input = KeyInput {
                recording: &self.recording,
                topic: self.topic,
                recording_began: "2026-01-02T03:04:05Z".parse().unwrap(),
                file: &self.file,
                recording_type: self.recording_type,
                file_type: "MP4",
                extension: self.extension,
                file_began: "2026-01-02T03:09:00Z".parse().unwrap(),
            };
            format!("{}/{}", template.folder(&input), template.file_name(&input))
        }
    }

    #[test]
    fn a_key_can_be_read_by_people() {
        assert_eq!(
            Sample::default().key(DEFAULT),
            format!(
                "aCc_1/video_sdk/2026/01/2026-01-02-Weekly-sync-{}/030900Z-shared_screen_with_speaker_view-{}.mp4",
                short_hash(&["aCc_1", "video_sdk", "/Q0z/9+aa=="]),
                short_hash(&["recording_files", "f1"]),
            )
        );
    }

    #[test]
    fn an_account_that_has_a_name_is_called_by_it_and_its_recordings_stay_apart() {
        let names = AccountNames::new([("emea".to_owned(), "aCc_1".to_owned())], true);
        let template = KeyTemplate::parse(DEFAULT).unwrap().with_accounts(names);
        let sample = Sample::default();
        let input = KeyInput {
            recording: &sample.recording,
            topic: sample.topic,
            recording_began: "2026-01-02T03:04:05Z".parse().unwrap(),
            file: &sample.file,
            recording_type: sample.recording_type,
            file_type: "MP4",
            extension: sample.extension,
            file_began: "2026-01-02T03:09:00Z".parse().unwrap(),
        };
        let folder = sample.key(DEFAULT).rsplit_once('/').unwrap().0.replace("aCc_1/", "emea/");
        assert_eq!(template.folder(&input), folder);
    }

    #[test]
    fn hostile_names_stay_harmless() {
        for topic in
            ["../../etc/passwd", "a//b", "..", "\0\n\u{202e}", "CON", "🎉🎉", "", "x".repeat(5000).leak()]
        {
            let key = Sample { topic: Some(topic), ..Sample::default() }.key(DEFAULT);
            assert!(key.is_ascii() && key.len() <= MAX_KEY_BYTES, "{key}");
            assert!(!key.contains("..") && !key.contains("//") && !key.starts_with('/'), "{key}");
            assert!(!key.contains(|c: char| c.is_control() || c == '\\'), "{key}");
            assert!(key.split('/').all(|s| !s.is_empty() && s.len() <= MAX_SEGMENT_BYTES), "{key}");
        }
    }

    #[test]
    fn names_in_any_script_are_transliterated() {
        let key = Sample { topic: Some("Köln 会议 Привет"), ..Sample::default() }.key(DEFAULT);
        assert!(key.contains("Koln-Hui-Yi-Privet"), "{key}");
    }

    #[test]
    fn the_same_id_in_two_collections_makes_two_keys() {
        let first = Sample::default();
        let mut second = Sample::default();
        second.file.collection = "participant_video_files".into();
        assert_ne!(first.key(DEFAULT), second.key(DEFAULT));
    }

    #[test]
    fn ids_that_differ_only_in_odd_characters_make_two_keys() {
        let mut other = Sample::default();
        other.recording.instance_id = "/Q0z/9-aa==".into();
        assert_ne!(Sample::default().key(DEFAULT), other.key(DEFAULT));
    }

    #[test]
    fn an_overlong_segment_keeps_its_unique_end() {
        let sample = Sample { topic: Some("long ".repeat(40).leak()), ..Sample::default() };
        let key = sample.key("{topic}{topic}{topic}-{recording}/{type}{type}{type}{type}-{file}.{ext}");
        let hash = short_hash(&["recording_files", "f1"]);
        assert!(key.ends_with(&format!("-{hash}.mp4")), "{key}");
        assert!(key.split('/').all(|segment| segment.len() <= MAX_SEGMENT_BYTES), "{key}");
        let folder = key.split('/').next().unwrap();
        assert!(folder.ends_with(&short_hash(&["aCc_1", "video_sdk", "/Q0z/9+aa=="])), "{key}");
    }

    #[test]
    fn a_file_without_extension_gets_one() {
        assert!(Sample { extension: "", ..Sample::default() }.key(DEFAULT).ends_with(".bin"));
    }

    #[test]
    fn a_file_that_is_fetched_again_gets_the_next_key_beside_the_one_it_had() {
        for (key, next) in [
            ("a/b/c-f00d.mp4", "a/b/c-f00d.again1.mp4"),
            ("a/b/c-f00d.again1.mp4", "a/b/c-f00d.again2.mp4"),
            ("a.b/c", "a.b/c.again1"),
            ("c.againx.mp4", "c.againx.again1.mp4"),
        ] {
            assert_eq!(another_key(key), next);
        }
    }

    #[test]
    fn a_template_that_could_give_two_files_one_key_is_refused() {
        let refused = |text| KeyTemplate::parse(text).unwrap_err().to_string();
        assert!(refused("{topic}/{file}").contains("{recording}"));
        assert!(refused("{recording}/{type}").contains("{file}"));
        assert!(refused("{recording}-{file}").contains('/'));
        assert!(refused("{recording}/{type}/{file}").contains("folder"));
        assert!(refused("{recording}/{fiel}{file}").contains("{fiel}"));
        assert!(refused("{recording/{file}").contains("without"));
    }
}
