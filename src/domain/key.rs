//! Where in the archive a file lies: a key rendered from a template over account, recording, file and time.
//!
//! A key is readable, sanitised (ASCII, no `//` or `..`, bounded segments), unique and stable. The template's
//! part before its last `/` names the recording's folder and may use only what belongs to the recording; the
//! part after it names the file. So a recording always has one folder, with its manifest beside its files.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

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
        };
        let needs = [("folder", "recording", &template.folder), ("file name", "file", &template.file)];
        for (part, field, pieces) in needs {
            if !pieces.contains(&Piece::Field(field)) {
                return Err(TemplateError::NotUnique { part, field });
            }
        }
        Ok(template)
    }

    /// The folder of a recording, without a slash at either end.
    #[must_use]
    pub fn folder(&self, input: &KeyInput<'_>) -> String {
        render(&self.folder, input)
            .split('/')
            .map(bounded_segment)
            .filter(|segment| !segment.is_empty())
            .collect::<Vec<_>>()
            .join("/")
    }

    /// The name of a file within its recording's folder.
    #[must_use]
    pub fn file_name(&self, input: &KeyInput<'_>) -> String {
        bounded_segment(&render(&self.file, input).replace('/', "-"))
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

fn render(pieces: &[Piece], input: &KeyInput<'_>) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Field(name) => field(name, input),
        })
        .collect()
}

fn field(name: &str, input: &KeyInput<'_>) -> String {
    let began = input.recording_began;
    match name {
        "account" => slug(&input.recording.account_id, 40),
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
        "type" => slug(&input.file.recording_type, 50),
        "file_type" => slug(&input.file_type.to_lowercase(), 20),
        "collection" => slug(&input.file.collection, 40),
        "file" => short_hash(&[&input.file.collection, &input.file.name, &input.file.recording_type]),
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
