//! `files list|retry|skip|unskip`: what stands where, another try for what is parked, dead or gone, and what is to be
//! left out or taken after all. Works on the database itself, so it does not matter whether a service runs.

use std::io::{self, Write};
use std::process::ExitCode;

use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde_json::json;

use super::{Common, failed};
use crate::domain::file::{FileRow, FileState};
use crate::domain::ids::FileId;
use crate::store::{self, SharedStore, StoreError};
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
    /// Leaves out files that are pending, parked or dead: nothing fetches them any more.
    Skip {
        /// Which ones; `files list` names them.
        #[arg(value_name = "FILE_ID", required = true)]
        files: Vec<FileId>,
        /// Why, for whoever wonders later.
        #[arg(long, default_value = "left out by a person")]
        reason: String,
    },
    /// Takes files that were skipped, by a person or by a filter, after all.
    Unskip {
        /// Which ones; `files list --state skipped` names them.
        #[arg(value_name = "FILE_ID", required_unless_present = "all", conflicts_with = "all")]
        files: Vec<FileId>,
        /// All that are skipped.
        #[arg(long)]
        all: bool,
    },
}

/// What a person does to files.
#[derive(Debug, Clone, Copy)]
enum Deed<'a> {
    Retry,
    Skip(&'a str),
    Unskip,
}

impl Deed<'_> {
    async fn on(self, store: &SharedStore, file: FileId) -> Result<bool, StoreError> {
        match self {
            Self::Retry => store.retry(file).await,
            Self::Skip(reason) => store.skip(file, reason).await,
            Self::Unskip => store.unskip(file).await,
        }
    }

    /// Which files it is not for.
    fn refusal(self) -> &'static str {
        match self {
            Self::Retry => "is not parked, dead or gone",
            Self::Skip(_) => "is not pending, parked or dead",
            Self::Unskip => "is not skipped",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Retry => "files wait for another try",
            Self::Skip(_) => "files are left out",
            Self::Unskip => "files are taken after all",
        }
    }
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
        Action::Retry { files, state: None } => act_on(&store, files, Deed::Retry).await,
        Action::Retry { state: Some(state), .. } => {
            act_on(&store, all_in(&store, state).await?, Deed::Retry).await
        }
        Action::Skip { files, reason } => act_on(&store, files, Deed::Skip(&reason)).await,
        Action::Unskip { files, all: false } => act_on(&store, files, Deed::Unskip).await,
        Action::Unskip { all: true, .. } => {
            act_on(&store, all_in(&store, FileState::Skipped).await?, Deed::Unskip).await
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

async fn all_in(store: &SharedStore, state: FileState) -> Result<Vec<FileId>, Failure> {
    let mut files = Vec::new();
    each_page(store, &[state], |page| {
        files.extend(page.iter().map(|file| file.id));
        Ok(())
    })
    .await?;
    Ok(files)
}

async fn act_on(store: &SharedStore, files: Vec<FileId>, deed: Deed<'_>) -> Result<ExitCode, Failure> {
    let (mut done, mut out) = (0_u64, io::stdout().lock());
    let all = files.len() as u64;
    for file in files {
        if deed.on(store, file).await? {
            done += 1;
        } else {
            writeln!(out, "{file} {}", deed.refusal())?;
        }
    }
    writeln!(out, "{done} of {all} {}", deed.done())?;
    Ok(if done == all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
