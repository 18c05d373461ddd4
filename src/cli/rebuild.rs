//! `rebuild`: fills an empty database from the manifests in the archive: recordings, files, proofs, keys. Goes through the
//! archive's listing page by page; what is no manifest, or one that cannot be read, is told and passed over. Broken off,
//! it can be run again. Exit code 1 when a manifest could not be read.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use secrecy::ExposeSecret;
use serde_json::json;

use super::reach::Failure;
use super::terminal;
use super::{Common, failed};
use crate::archive::{self, ArchiveError, SharedArchive};
use crate::domain::manifest::{Manifest, folder_of_manifest, manifest_key};
use crate::jobs::verify::MOST_MANIFEST_BYTES;
use crate::store::{self, Restored, SharedStore};
use crate::telemetry::{self, LogTarget};

/// Keys taken from the archive at a time.
const KEYS: usize = 1000;
/// Manifests read at once.
const MANIFESTS_AT_ONCE: usize = 8;

/// Options of `rebuild`.
#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    /// One JSON object a line: each manifest that could not be read, and the report at the end.
    #[arg(long)]
    json: bool,
}

/// What came of a manifest.
enum Came {
    /// It was brought back.
    Back(Restored),
    /// It was not, and why.
    Not(String),
}

/// What was brought back.
#[derive(Debug, Default)]
struct Report {
    manifests: u64,
    recordings: u64,
    files: u64,
    unread: u64,
}

pub(super) async fn run(common: &Common, args: &RebuildArgs) -> ExitCode {
    match rebuild(common, args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error.to_string()),
    }
}

/// Whether every manifest could be read.
async fn rebuild(common: &Common, args: &RebuildArgs) -> Result<bool, Failure> {
    let (config, secrets) = common.load()?;
    telemetry::init_log(config.log.format, LogTarget::Stderr, Some("warn"));
    store::migrate(&secrets.database_url, &config.store).await?;
    let store = store::open(&secrets.database_url, &config.store).await?;
    if !store.is_unwritten().await? {
        return Err(
            "the database is not empty: `rebuild` fills an empty one, set DATABASE_URL to such".into()
        );
    }
    let archive = archive::open(secrets.archive_url.expose_secret(), &config.archive).await?;
    archive.ping().await?;
    let (mut report, bar, mut after) = (Report::default(), bar(args.json), None);
    loop {
        let page = archive.keys(after.as_deref(), KEYS).await?;
        let folders = page.iter().filter_map(|object| folder_of_manifest(&object.key));
        let mut came = stream::iter(folders.map(|folder| bring_back(&store, &archive, folder)))
            .buffer_unordered(MANIFESTS_AT_ONCE);
        while let Some((folder, came)) = came.try_next().await? {
            bar.inc(1);
            report.take(&came);
            if let Came::Not(reason) = came {
                bar.suspend(|| tell(folder, &reason, args.json))?;
            }
        }
        match page.last() {
            Some(last) if page.len() == KEYS => after = Some(last.key.clone()),
            _ => break,
        }
    }
    bar.finish_and_clear();
    store.close().await;
    if report.manifests == 0 {
        return Err(format!("there is no manifest in {}", archive.describe()).into());
    }
    conclude(&report, args.json)?;
    Ok(report.unread == 0)
}

/// Reads the manifest in a folder, and has the record take it.
async fn bring_back<'a>(
    store: &SharedStore,
    archive: &SharedArchive,
    folder: &'a str,
) -> Result<(&'a str, Came), Failure> {
    let manifest = match archive::fetch(archive.as_ref(), &manifest_key(folder), MOST_MANIFEST_BYTES).await {
        Ok(body) => Manifest::read(&body).map_err(|error| error.to_string()),
        Err(error @ ArchiveError::Unavailable(_)) => {
            // Is it the archive, or this manifest alone?
            archive.ping().await?;
            Err(error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    Ok((
        folder,
        match manifest.and_then(|manifest| at_home(folder, manifest)) {
            Ok(manifest) => Came::Back(store.restore(folder, &manifest).await?),
            Err(reason) => Came::Not(reason),
        },
    ))
}

/// A manifest that was copied elsewhere speaks of objects that are not beside it: it would send the next files of its
/// recording there.
fn at_home(folder: &str, manifest: Manifest) -> Result<Manifest, String> {
    let is_beside = |key: &str| key.rsplit_once('/').is_some_and(|(beside, _)| beside == folder);
    let mut keys = manifest.files.iter().filter_map(|file| file.object.as_ref()).map(|object| &object.key);
    match keys.find(|key| !is_beside(key)) {
        Some(key) => Err(format!("it speaks of {key}, which does not lie beside it: it is a copy")),
        None => Ok(manifest),
    }
}

impl Report {
    fn take(&mut self, came: &Came) {
        self.manifests += 1;
        match came {
            Came::Back(restored) => {
                self.recordings += restored.recordings;
                self.files += restored.files;
            }
            Came::Not(_) => self.unread += 1,
        }
    }
}

fn bar(as_json: bool) -> ProgressBar {
    if as_json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} manifests read, {elapsed}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn tell(folder: &str, reason: &str, as_json: bool) -> io::Result<()> {
    let (mut out, key) = (terminal::stdout(), manifest_key(folder));
    if as_json {
        return writeln!(out, "{}", json!({ "unread": key, "reason": reason }));
    }
    writeln!(out, "{key}: {reason}")
}

fn conclude(report: &Report, as_json: bool) -> io::Result<()> {
    let Report { manifests, recordings, files, unread } = report;
    let mut out = terminal::stdout();
    if as_json {
        let told =
            json!({ "manifests": manifests, "recordings": recordings, "files": files, "unread": unread });
        return writeln!(out, "{}", json!({ "report": told }));
    }
    let [manifests, recordings, files, unread] =
        [manifests, recordings, files, unread].map(|it| HumanCount(*it));
    writeln!(
        out,
        "{manifests} manifests: {recordings} recordings with {files} files are back; {unread} unread."
    )?;
    writeln!(out, "What the manifests say was not compared with the objects: zoom-archiver verify does that.")
}
