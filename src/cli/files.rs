//! `files list|foreign|retry|skip|unskip`: what stands where, another try for what is parked, dead, gone or not as it was
//! proven, and what is to be left out or taken after all. Works on the database itself, so it does not matter whether a
//! service runs.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde_json::json;

use super::{Common, failed};
use crate::archive;
use crate::config::{Config, Secrets};
use crate::domain::file::{FileRow, FileState};
use crate::domain::ids::FileId;
use crate::domain::verification::FileFinding;
use crate::jobs::verify::{Looked, Verifier};
use crate::store::{self, Selection, SharedStore, StoreError};
use crate::telemetry::{self, LogTarget};

/// Files read at a time.
const PAGE: u32 = 500;

/// Options of `files`.
#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    #[command(subcommand)]
    action: Action,
}

/// Every finding, as it is written on the command line.
const ANY_FINDING: &str = "missing,size,sha256,unreadable,checksum,no_manifest,manifest";

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists files with their state, and why they are in it.
    List {
        /// Only these states: pending, parked, archived, skipped, gone, dead.
        #[arg(long, value_delimiter = ',', value_name = "STATE")]
        state: Vec<FileState>,
        /// Only archived files of which a verification found this wrong: missing, size, sha256, unreadable, checksum,
        /// no_manifest, manifest; without a word, any of them.
        #[arg(
            long,
            value_delimiter = ',',
            value_name = "FINDING",
            num_args = 0..,
            default_missing_value = ANY_FINDING,
            conflicts_with = "state"
        )]
        finding: Option<Vec<FileFinding>>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Lists objects in the archive that no file and no recording knows, as verifications have found them.
    Foreign {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Tries files that are parked, dead or gone again, with all their attempts. Archived files whose object was found
    /// missing or wrong are looked at once more, and fetched again if they still are.
    Retry {
        /// Which ones; `files list` names them.
        #[arg(
            value_name = "FILE_ID",
            required_unless_present_any = ["state", "finding"],
            conflicts_with_all = ["state", "finding"]
        )]
        files: Vec<FileId>,
        /// All that are in this state: parked, dead or gone.
        #[arg(long, value_name = "STATE", conflicts_with = "finding")]
        state: Option<FileState>,
        /// All of which a verification found this wrong: missing, size, sha256, no_manifest, manifest.
        #[arg(long, value_delimiter = ',', value_name = "FINDING")]
        finding: Vec<FileFinding>,
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
            Self::Retry => "is not parked, dead or gone, and nothing was found that another try mends",
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
        Action::List { state, finding, json } => {
            let wanted = finding.map_or(Wanted::In(state), Wanted::Found);
            list(&store, &wanted, json).await
        }
        Action::Foreign { json } => foreign(&store, json).await,
        Action::Retry { files, state, finding } => {
            let files = match state {
                Some(state) => all(&store, &Wanted::In(vec![state])).await?,
                None if !finding.is_empty() => all(&store, &Wanted::Found(finding)).await?,
                None => files,
            };
            let files = unless_right(&store, &config, &secrets, files).await?;
            act_on(&store, files, Deed::Retry).await
        }
        Action::Skip { files, reason } => act_on(&store, files, Deed::Skip(&reason)).await,
        Action::Unskip { files, all: false } => act_on(&store, files, Deed::Unskip).await,
        Action::Unskip { all: true, .. } => {
            let files = all(&store, &Wanted::In(vec![FileState::Skipped])).await?;
            act_on(&store, files, Deed::Unskip).await
        }
    }
}

/// Which files.
enum Wanted {
    /// In one of these states; all when there is none.
    In(Vec<FileState>),
    /// Of which one of these was found.
    Found(Vec<FileFinding>),
}

impl Wanted {
    async fn page(&self, store: &SharedStore, after: Option<FileId>) -> Result<Vec<FileRow>, StoreError> {
        match self {
            Self::In(states) => store.files(states, after, PAGE).await,
            Self::Found(findings) => store.found(findings, after, PAGE).await,
        }
    }
}

/// Looks once more at files with a finding, and leaves out what is as it was proven by now: it would be fetched for
/// nothing.
async fn unless_right(
    store: &SharedStore,
    config: &Config,
    secrets: &Secrets,
    files: Vec<FileId>,
) -> Result<Vec<FileId>, Failure> {
    let (mut wrong, mut verifier) = (Vec::new(), None);
    for file in files {
        let row = store.transfer_work(file).await?.map(|work| work.file);
        if row.is_some_and(|row| row.found.is_some()) {
            let verifier = match &verifier {
                Some(verifier) => verifier,
                None => {
                    let archive = archive::open(&secrets.archive_url, &config.archive).await?;
                    verifier.insert(Verifier::new(store, &archive, &config.verify))
                }
            };
            if is_right(store, verifier, file).await? {
                writeln!(io::stdout().lock(), "{file} is as it was proven: nothing is to be mended")?;
                continue;
            }
        }
        wrong.push(file);
    }
    Ok(wrong)
}

/// Whether a file is found to be as it was proven.
async fn is_right(store: &SharedStore, verifier: &Verifier, file: FileId) -> Result<bool, Failure> {
    let selection = Selection { file: Some(file), ..Selection::default() };
    let until = store.to_verify(&selection, Duration::ZERO).await?.until;
    let mut right = false;
    let mut see = |looked: &Looked| right = looked.found.is_none();
    verifier.walk(selection, until, 1).next(&|_| (), &mut see).await?;
    Ok(right)
}

async fn list(store: &SharedStore, wanted: &Wanted, json: bool) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    if json {
        each_page(store, wanted, |page| {
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
    each_page(store, wanted, |page| {
        table.add_rows(page.iter().map(in_words));
        Ok(())
    })
    .await?;
    writeln!(out, "{table}")?;
    Ok(ExitCode::SUCCESS)
}

async fn all(store: &SharedStore, wanted: &Wanted) -> Result<Vec<FileId>, Failure> {
    let mut files = Vec::new();
    each_page(store, wanted, |page| {
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

/// All the files that are wanted, page by page.
async fn each_page(
    store: &SharedStore,
    wanted: &Wanted,
    mut see: impl FnMut(&[FileRow]) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = wanted.page(store, after).await?;
        see(&page)?;
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

/// The objects that nobody knows.
async fn foreign(store: &SharedStore, json: bool) -> Result<ExitCode, Failure> {
    let (mut out, mut after) = (io::stdout().lock(), None);
    loop {
        let page = store.foreign(after.as_deref(), PAGE).await?;
        for object in &page {
            if json {
                writeln!(out, "{}", serde_json::to_string(object)?)?;
                continue;
            }
            let bytes = object.bytes.map(|bytes| format!("  {bytes} bytes")).unwrap_or_default();
            let detail = object.detail.as_ref().map(|detail| format!("  {detail}")).unwrap_or_default();
            writeln!(out, "{}{bytes}{detail}", object.key)?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = Some(last.key.clone()),
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn in_words(file: &FileRow) -> [String; 6] {
    let bytes = file.archived.as_ref().map(|archived| archived.bytes).or(file.announced_bytes);
    let place = match (file.state, &file.found) {
        (FileState::Archived, Some(found)) => {
            Some(format!("{}: {}", file.object_key.as_deref().unwrap_or_default(), found.detail))
        }
        (FileState::Archived, None) => file.object_key.clone(),
        _ => file.reason.clone(),
    };
    let state = match &file.found {
        Some(found) => format!("{}, {}", file.state, found.finding),
        None => file.state.to_string(),
    };
    [
        file.id.to_string(),
        state,
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
        "verified_at": file.verified_at,
        "finding": file.found.as_ref().map(|found| found.finding),
        "finding_detail": file.found.as_ref().map(|found| &found.detail),
        "proven_before": file.proven_before.map(|(bytes, sha256)| json!({ "bytes": bytes, "sha256": sha256 })),
    })
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
