//! `files list|retry`: what stands where, and another try for what is parked, dead or gone. Works on the database
//! itself, so it does not matter whether a service runs.

use std::io::{self, Write};
use std::process::ExitCode;

use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde_json::json;

use super::{Common, failed};
use crate::domain::file::{FileRow, FileState};
use crate::domain::ids::FileId;
use crate::store::{self, SharedStore};
use crate::telemetry::{self, LogTarget};

/// Files read at a time.
const PAGE: u32 = 500;

/// Options of `files`.
#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists files with their state, and why they are in it.
    List {
        /// Only these states: pending, parked, archived, skipped, gone, dead.
        #[arg(long, value_delimiter = ',', value_name = "STATE")]
        state: Vec<FileState>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Tries files that are parked, dead or gone again, with all their attempts.
    Retry {
        /// Which ones; `files list` names them.
        #[arg(value_name = "FILE_ID", required_unless_present = "state", conflicts_with = "state")]
        files: Vec<FileId>,
        /// All that are in this state: parked, dead or gone.
        #[arg(long, value_name = "STATE")]
        state: Option<FileState>,
    },
}

type Failure = Box<dyn std::error::Error>;

pub(super) async fn run(common: &Common, args: FilesArgs) -> ExitCode {
    match act(common, args.action).await {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

async fn act(common: &Common, action: Action) -> Result<ExitCode, Failure> {
    let (config, secrets) = common.load()?;
    telemetry::init_log(config.log.format, LogTarget::Stderr, Some("warn"));
    let store = store::open(&secrets.database_url, &config.store).await?;
    match action {
        Action::List { state, json } => list(&store, &state, json).await,
        Action::Retry { files, state: None } => retry(&store, files).await,
        Action::Retry { state: Some(state), .. } => {
            let mut files = Vec::new();
            each_page(&store, &[state], |page| {
                files.extend(page.iter().map(|file| file.id));
                Ok(())
            })
            .await?;
            retry(&store, files).await
        }
    }
}

async fn list(store: &SharedStore, states: &[FileState], json: bool) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    if json {
        each_page(store, states, |page| {
            page.iter().try_for_each(|file| writeln!(out, "{}", in_json(file)))?;
            Ok(())
        })
        .await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "id",
        "state",
        "type",
        "bytes",
        "lost after",
        "object or reason",
    ]);
    each_page(store, states, |page| {
        table.add_rows(page.iter().map(in_words));
        Ok(())
    })
    .await?;
    writeln!(out, "{table}")?;
    Ok(ExitCode::SUCCESS)
}

async fn retry(store: &SharedStore, files: Vec<FileId>) -> Result<ExitCode, Failure> {
    let (mut woken, mut out) = (0_u64, io::stdout().lock());
    let all = files.len() as u64;
    for file in files {
        if store.retry(file).await? {
            woken += 1;
        } else {
            writeln!(out, "{file} is not parked, dead or gone")?;
        }
    }
    writeln!(out, "{woken} of {all} files wait for another try")?;
    Ok(if woken == all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All files in some states, page by page.
async fn each_page(
    store: &SharedStore,
    states: &[FileState],
    mut see: impl FnMut(&[FileRow]) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = store.files(states, after, PAGE).await?;
        see(&page)?;
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

fn in_words(file: &FileRow) -> [String; 6] {
    let bytes = file.archived.as_ref().map(|archived| archived.bytes).or(file.announced_bytes);
    let place = match file.state {
        FileState::Archived => file.object_key.clone(),
        _ => file.reason.clone(),
    };
    [
        file.id.to_string(),
        file.state.to_string(),
        file.file_type.clone(),
        bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
        file.loses_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default(),
        place.unwrap_or_default(),
    ]
}

fn in_json(file: &FileRow) -> serde_json::Value {
    json!({
        "id": file.id,
        "recording_id": file.recording_id,
        "collection": file.identity.collection,
        "name": file.identity.name,
        "recording_type": file.identity.recording_type,
        "file_type": file.file_type,
        "state": file.state,
        "reason": file.reason,
        "announced_bytes": file.announced_bytes,
        "announced_at": file.announced_at,
        "token_expires_at": file.token_expires_at,
        "loses_at": file.loses_at,
        "object_key": file.object_key,
        "bytes": file.archived.as_ref().map(|archived| archived.bytes),
        "sha256": file.archived.as_ref().map(|archived| archived.sha256.to_string()),
        "archived_at": file.archived_at,
    })
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
