//! `config check --explain EVENT.json`: what would become of an event, without recording anything.

use std::io::{self, Read, Write};
use std::path::Path;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::terminal;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::account::AccountNames;
use crate::domain::filter::{Candidate, Filter};
use crate::domain::key::{KeyInput, KeyTemplate};
use crate::domain::recording::{AnnouncedFile, Announcement};
use crate::zoom::auto_start::{Begun, Rule, SESSION_STARTED};
use crate::zoom::payload::{self, Message};

/// What would become of one file.
struct Verdict<'a> {
    announcement: &'a Announcement,
    file: &'a AnnouncedFile,
    /// Where it would lie.
    key: String,
    /// Why it would not.
    skip: Option<String>,
}

/// Explains the event in a file; `-` is the standard input.
///
/// # Errors
/// In words, when it cannot be read.
pub(super) fn explain(
    config: &Config,
    names: AccountNames,
    path: &Path,
    as_json: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let event = body(path)?;
    let announcements = match payload::read(&event) {
        Message::Announcement { announcement, .. } => vec![*announcement],
        Message::Announcements { parts, .. } => parts.into_iter().map(|part| part.announcement).collect(),
        Message::UrlValidation { .. } => {
            return say("Zoom asks whether this URL is ours: answered, and not kept");
        }
        Message::Other { name } if name == SESSION_STARTED => return say(&begins(config, &event)),
        Message::Other { name } => {
            return say(&format!("`{name}` is about no recording: answered, counted, and not kept"));
        }
        Message::Unreadable { reason, .. } => {
            return Err(format!("the event cannot be read, and would be kept raw: {reason}").into());
        }
    };
    let template = KeyTemplate::parse(&config.archive.key_template)?.with_accounts(names.clone());
    let filter = config.filters.filter(names);
    let mut out = terminal::stdout();
    for announcement in &announcements {
        let verdicts: Vec<_> = verdicts(announcement, &template, &filter).collect();
        if as_json {
            verdicts.iter().try_for_each(|verdict| writeln!(out, "{}", in_json(verdict)))?;
        } else {
            print(&mut out, announcement, &verdicts)?;
        }
    }
    Ok(())
}

fn body(path: &Path) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut body).map(drop)
    } else {
        std::fs::read(path).map(|bytes| body = bytes)
    };
    read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(body)
}

/// What becomes of the event that a session has begun.
fn begins(config: &Config, event: &[u8]) -> String {
    let becomes = match Begun::read(event) {
        Some(session) if Rule::new(&config.zoom.auto_start).wants(&session) => {
            format!("zoom.auto_start names \"{}\": its recording is started", session.name)
        }
        Some(session) => format!("zoom.auto_start does not name \"{}\": nothing is done", session.name),
        None => "it names no session: nothing is done".to_owned(),
    };
    format!("a session has begun, and {becomes}")
}

fn say(words: &str) -> Result<(), Box<dyn std::error::Error>> {
    writeln!(terminal::stdout(), "{words}")?;
    Ok(())
}

fn verdicts<'a>(
    announcement: &'a Announcement,
    template: &'a KeyTemplate,
    filter: &'a Filter,
) -> impl Iterator<Item = Verdict<'a>> {
    let recording = &announcement.recording;
    let earliest = announcement.files.iter().filter_map(|file| file.recording_start).min();
    let began = earliest.or(recording.start_time).unwrap_or_else(|| Clock::System.now());
    announcement.files.iter().map(move |file| {
        let input = KeyInput {
            recording: &recording.identity,
            topic: recording.topic.as_deref(),
            recording_began: began,
            file: &file.identity,
            recording_type: &file.recording_type,
            file_type: &file.file_type,
            extension: &file.extension,
            file_began: file.recording_start.unwrap_or(began),
        };
        Verdict {
            announcement,
            file,
            key: format!("{}/{}", template.folder(&input), template.file_name(&input)),
            skip: file.skip.clone().or_else(|| filter.leaves_out(&Candidate::announced(recording, file))),
        }
    })
}

fn print(out: &mut impl Write, announcement: &Announcement, verdicts: &[Verdict<'_>]) -> io::Result<()> {
    let identity = &announcement.recording.identity;
    let topic = announcement.recording.topic.as_deref().unwrap_or("without a name");
    writeln!(out, "{} {} of account {}: {topic}", identity.kind, identity.instance_id, identity.account_id)?;
    if let Some(state) = announcement.change.state {
        writeln!(out, "it is {state}")?;
    }
    for odd in &announcement.odd {
        writeln!(out, "cannot be read: {odd}")?;
    }
    if verdicts.is_empty() {
        return writeln!(out, "no files");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "type", "recording type", "bytes", "key or reason"]);
    for verdict in verdicts {
        let bytes = verdict.file.announced_bytes.map(|bytes| bytes.to_string());
        table.add_row([
            if verdict.skip.is_some() { "skip" } else { "take" },
            &verdict.file.file_type,
            &verdict.file.recording_type,
            &bytes.unwrap_or_default(),
            verdict.skip.as_deref().unwrap_or(&verdict.key),
        ]);
    }
    writeln!(out, "{table}")
}

fn in_json(verdict: &Verdict<'_>) -> Value {
    json!({
        "recording": verdict.announcement.recording.identity,
        "topic": verdict.announcement.recording.topic,
        "collection": verdict.file.identity.collection,
        "name": verdict.file.identity.name,
        "recording_type": verdict.file.recording_type,
        "file_type": verdict.file.file_type,
        "announced_bytes": verdict.file.announced_bytes,
        "taken": verdict.skip.is_none(),
        "reason": verdict.skip,
        "object_key": verdict.key,
    })
}
