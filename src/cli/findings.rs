//! `findings list|foreign|retry`: what verifications have found, and what can be done about it. Works on the database and
//! the archive themselves, so it does not matter whether a service runs.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;

use super::Common;
use super::ask::ended;
use super::deeds::{Deeds, Telling};
use super::reach::{Failure, Reach};
use super::terminal;
use crate::archive;
use crate::config::{Config, Secrets};
use crate::domain::file::FileRow;
use crate::domain::ids::FileId;
use crate::domain::verification::FileFinding;
use crate::jobs::verify::{Looked, Verifier};
use crate::store::{Selection, SharedStore};

/// Files read at a time.
const PAGE: u32 = 500;

/// Options of `findings`.
#[derive(Debug, Args)]
pub(super) struct FindingsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists archived files that a verification has found not to be as they were proven, with what was found.
    List {
        /// Only these: missing, size, sha256, unreadable, checksum, no_manifest, manifest.
        #[arg(long, value_delimiter = ',', value_name = "FINDING")]
        finding: Vec<FileFinding>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Lists objects in the archive that no file and no recording knows.
    Foreign {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Looks at such files once more, and has what is still missing or wrong fetched again, or the manifest written again.
    Retry {
        /// Which ones; `findings list` names them.
        #[arg(value_name = "FILE_ID", required_unless_present = "finding", conflicts_with = "finding")]
        files: Vec<FileId>,
        /// All of which this was found: missing, size, sha256, no_manifest, manifest.
        #[arg(long, value_delimiter = ',', value_name = "FINDING")]
        finding: Vec<FileFinding>,
        #[command(flatten)]
        telling: Telling,
    },
}

pub(super) async fn run(common: &Common, args: FindingsArgs) -> ExitCode {
    ended(act(common, args.action).await)
}

async fn act(common: &Common, action: Action) -> Result<ExitCode, Failure> {
    // A look once more is told of like any other.
    let Reach { config, secrets, store, .. } = Reach::open(common, "warn").await?;
    match action {
        Action::List { finding, json } => {
            let wanted = if finding.is_empty() { FileFinding::ALL.to_vec() } else { finding };
            list(&store, &wanted, json).await
        }
        Action::Foreign { json } => foreign(&store, json).await,
        Action::Retry { files, finding, telling } => {
            let files = if finding.is_empty() { files } else { all(&store, &finding).await? };
            let deeds = Deeds::of(files.len() as u64, "files wait for another try", telling);
            retry(&store, &config, &secrets, files, deeds).await
        }
    }
}

async fn list(store: &SharedStore, wanted: &[FileFinding], as_json: bool) -> Result<ExitCode, Failure> {
    let mut out = terminal::stdout();
    each_page(store, wanted, |page| page.iter().try_for_each(|file| tell(&mut out, file, as_json))).await?;
    Ok(ExitCode::SUCCESS)
}

fn tell(out: &mut impl Write, file: &FileRow, as_json: bool) -> io::Result<()> {
    let Some(found) = &file.found else { return Ok(()) };
    let key = file.object_key.as_deref().unwrap_or_default();
    if !as_json {
        return writeln!(out, "{}  {}: {key}: {}", file.id, found.finding, found.detail);
    }
    let told = json!({
        "id": file.id,
        "recording_id": file.recording_id,
        "object_key": key,
        "finding": found.finding,
        "finding_detail": found.detail,
        "verified_at": file.verified_at,
        "bytes": file.archived.as_ref().map(|archived| archived.bytes),
        "sha256": file.archived.as_ref().map(|archived| archived.sha256),
    });
    writeln!(out, "{told}")
}

async fn all(store: &SharedStore, wanted: &[FileFinding]) -> Result<Vec<FileId>, Failure> {
    let mut files = Vec::new();
    each_page(store, wanted, |page| {
        files.extend(page.iter().map(|file| file.id));
        Ok(())
    })
    .await?;
    Ok(files)
}

/// All files of which one of these was found, page by page.
async fn each_page(
    store: &SharedStore,
    wanted: &[FileFinding],
    mut see: impl FnMut(&[FileRow]) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = store.found(wanted, after, PAGE).await?;
        see(&page)?;
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

/// Has files tried again, but for what is found, by one more look, to be as it was proven by now: it would be fetched for
/// nothing.
async fn retry(
    store: &SharedStore,
    config: &Config,
    secrets: &Secrets,
    files: Vec<FileId>,
    mut deeds: Deeds,
) -> Result<ExitCode, Failure> {
    let (mut wrong, mut verifier) = (Vec::new(), None);
    for file in files {
        let row = store.transfer_work(file).await?.map(|work| work.file);
        if row.is_some_and(|row| row.found.is_some()) {
            let verifier = match &verifier {
                Some(verifier) => verifier,
                None => {
                    let archive = archive::open(secrets.archive_url.expose_secret(), &config.archive).await?;
                    verifier.insert(Verifier::new(store, &archive, &config.verify))
                }
            };
            if is_right(store, verifier, file).await? {
                deeds.spare(file, "is as it was proven: nothing is to be mended")?;
                continue;
            }
        }
        wrong.push(file);
    }
    for file in wrong {
        match store.retry(file).await {
            Ok(true) => deeds.did(file),
            Ok(false) => deeds.left(file, "nothing was found of it that another try mends")?,
            Err(error) => return deeds.broken_off(error),
        }
    }
    deeds.end()
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

/// The objects that nobody knows.
async fn foreign(store: &SharedStore, json: bool) -> Result<ExitCode, Failure> {
    let (mut out, mut after) = (terminal::stdout(), None);
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
