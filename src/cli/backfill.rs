//! `backfill`: lists what Zoom has of some days, says how much of it is missing here, and records that. Works on the
//! database itself; the workers of whatever service runs on it carry the files. Idempotent: broken off and run again, it
//! goes on where it was. Exit code 1 when something could not be listed.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use serde_json::json;
use tracing::info;

use super::reach::{Day, Failure, Reach, days, last};
use super::terminal;
use super::{Common, failed};
use crate::reconcile::ReconcileError;
use crate::reconcile::compare::{Tally, compare};
use crate::reconcile::source::{Sources, sources};
use crate::store::{Recorded, SharedStore};
use crate::zoom::api::days::Days;

/// Options of `backfill`.
#[derive(Debug, Args)]
pub(super) struct BackfillArgs {
    /// First day (UTC), such as 2026-01-15: sessions and meetings that began on it or later.
    #[arg(long, value_name = "DATE")]
    from: Day,
    /// Last day (UTC), included.
    #[arg(long, value_name = "DATE")]
    to: Day,
    /// Only this account, by the name that the settings give it.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only the meetings that this user hosted: Zoom's id of the user, or an e-mail address. Where several accounts have
    /// credentials for meetings, with --account: a user is one account's.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Says what would be taken, and takes nothing.
    #[arg(long)]
    dry_run: bool,
    /// One JSON object at the end.
    #[arg(long)]
    json: bool,
}

/// Log lines take the place of the bar where there is none.
const LOG: &str = "warn,zoom_archiver::cli=info";
/// Beside the bar they would only tear it.
const LOG_BESIDE_A_BAR: &str = "warn";

pub(super) async fn run(common: &Common, args: BackfillArgs) -> ExitCode {
    let days = match days(args.from, args.to) {
        Ok(days) => days,
        Err(message) => return super::misused(&message),
    };
    match backfill(common, &args, days).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error.to_string()),
    }
}

/// Whether everything could be listed.
async fn backfill(common: &Common, args: &BackfillArgs, days: Days) -> Result<bool, Failure> {
    let shows_bar = !args.json && io::stderr().is_terminal();
    let reach = Reach::open(common, if shows_bar { LOG_BESIDE_A_BAR } else { LOG }).await?;
    let sources = sources(&reach.accounts, args.account.as_deref(), args.user.as_deref())?;
    let say = Words { json: args.json };
    let walk = Walk { sources: &sources, store: &reach.store, days, shows_bar };
    let found = walk.survey().await?;
    let unlisted: Vec<String> = sources.unlisted.iter().chain(&found.unlisted).cloned().collect();
    for words in unlisted.iter().chain(&found.odd) {
        say.beside(words);
    }
    say.found(days, &found.tally)?;
    let recorded = if args.dry_run { Recorded::default() } else { walk.take(found.tally.recordings).await? };
    say.recorded(args, days, &found, recorded, &unlisted)?;
    if recorded.twins > 0 {
        say.beside(&format!(
            "{} files are known under another account, too, and archived for both: are the account ids in your settings right?",
            recorded.twins
        ));
    }
    Ok(unlisted.is_empty())
}

/// What a survey found.
#[derive(Default)]
struct Found {
    tally: Tally,
    odd: Vec<String>,
    /// What Zoom does not list, in words.
    unlisted: Vec<String>,
}

/// One way through all the lists.
struct Walk<'a> {
    sources: &'a Sources<'a>,
    store: &'a SharedStore,
    days: Days,
    shows_bar: bool,
}

impl Walk<'_> {
    /// Counts, and changes nothing.
    async fn survey(&self) -> Result<Found, ReconcileError> {
        let mut found = Found::default();
        let bar = self.bar("{spinner} {pos} recordings listed, {elapsed}", None);
        for source in &self.sources.lists {
            let mut listing = source.read(self.days);
            while let Some(page) = listing.next().await? {
                for event in &page.events {
                    found.tally.add(&compare(self.store, event).await?.tally);
                }
                found.odd.extend(page.odd);
                found.unlisted.extend(page.unlisted.into_iter().map(|days| source.unlisted(days)));
                bar.set_position(found.tally.recordings);
                info!(list = %source, recordings = found.tally.recordings, files = found.tally.files, "listed");
            }
        }
        bar.finish_and_clear();
        Ok(found)
    }

    /// Lists again, and records what is missing: so no more than a page is ever in memory.
    async fn take(&self, recordings: u64) -> Result<Recorded, ReconcileError> {
        let mut all = Recorded::default();
        let bar = self.bar("{bar:30} {pos} of {len} recordings, {eta} left", Some(recordings));
        for source in &self.sources.lists {
            let mut listing = source.read(self.days);
            while let Some(page) = listing.next().await? {
                for event in &page.events {
                    if compare(self.store, event).await?.is_wanted() {
                        let recorded = self.store.record(event).await?;
                        all.twins += recorded.twins;
                        all.new_files += recorded.new_files;
                        all.woken += recorded.woken;
                    }
                    bar.inc(1);
                }
                info!(list = %source, of = recordings, new_files = all.new_files, "recorded");
            }
        }
        bar.finish_and_clear();
        Ok(all)
    }

    fn bar(&self, template: &str, length: Option<u64>) -> ProgressBar {
        if !self.shows_bar {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        length.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style)
    }
}

/// What is printed.
struct Words {
    json: bool,
}

impl Words {
    /// What a person should know, and no program waits for.
    fn beside(&self, words: &str) {
        // Whoever has closed it does not want to know.
        let _ = writeln!(terminal::stderr(), "note: {words}");
    }

    fn found(&self, days: Days, found: &Tally) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let mut out = terminal::stdout();
        let (from, to) = (days.from, last(days));
        writeln!(
            out,
            "From {from} to {to} Zoom has {} recordings with {} files, {}.",
            HumanCount(found.recordings),
            HumanCount(found.files),
            HumanBytes(found.bytes),
        )?;
        writeln!(
            out,
            "{} files are known here; {} are missing, {}.",
            HumanCount(found.known_files),
            HumanCount(found.missing_files),
            HumanBytes(found.missing_bytes),
        )?;
        if found.waiting_files > 0 {
            writeln!(
                out,
                "{} known files wait for fresh access and get it.",
                HumanCount(found.waiting_files)
            )?;
        }
        Ok(())
    }

    fn recorded(
        &self,
        args: &BackfillArgs,
        days: Days,
        found: &Found,
        recorded: Recorded,
        unlisted: &[String],
    ) -> io::Result<()> {
        let mut out = terminal::stdout();
        if self.json {
            let mut told = json!({
                "from": days.from.to_string(),
                "to": last(days).to_string(),
                "dry_run": args.dry_run,
                "recorded_files": recorded.new_files,
                "woken_files": recorded.woken,
                "twin_files": recorded.twins,
                "odd": found.odd,
                "unlisted": unlisted,
            });
            if let (Some(told), Ok(serde_json::Value::Object(tally))) =
                (told.as_object_mut(), serde_json::to_value(found.tally))
            {
                told.extend(tally);
            }
            return writeln!(out, "{told}");
        }
        if args.dry_run {
            return writeln!(out, "Nothing was taken: this was a dry run.");
        }
        writeln!(
            out,
            "{} files are recorded. They wait for a worker now, unless your filters leave them out; `zoom-archiver files \
             list` shows them.",
            HumanCount(recorded.new_files + recorded.woken)
        )
    }
}
