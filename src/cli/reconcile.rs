//! `reconcile`: Zoom, database and archive against each other. Reads only; exit code 1 when something is missing or
//! differs.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::ExposeSecret;
use serde_json::json;

use super::reach::{Day, Failure, Reach, days, last};
use super::terminal;
use super::{Common, failed};
use crate::archive;
use crate::archive_identity;
use crate::clock::Clock;
use crate::reconcile::report::{Counts, Finding, Report, Standing};
use crate::reconcile::source::sources;
use crate::zoom::api::days::Days;

/// Options of `reconcile`.
#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    /// First day (UTC), such as 2026-01-15; without it, the last `reconcile.days` days.
    #[arg(long, value_name = "DATE", requires = "to")]
    from: Option<Day>,
    /// Last day (UTC), included.
    #[arg(long, value_name = "DATE", requires = "from")]
    to: Option<Day>,
    /// Only this account, by the name that the settings give it.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// One JSON object a line: each file that is not everywhere, and the report at the end.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(common: &Common, args: ReconcileArgs) -> ExitCode {
    let span = match (args.from, args.to) {
        (Some(from), Some(to)) => days(from, to).map(Some),
        _ => Ok(None),
    };
    let span = match span {
        Ok(span) => span,
        Err(message) => return super::misused(&message),
    };
    match reconcile(common, &args, span).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error.to_string()),
    }
}

/// Whether all is well.
async fn reconcile(common: &Common, args: &ReconcileArgs, span: Option<Days>) -> Result<bool, Failure> {
    let reach = Reach::open(common, "warn").await?;
    let archive = archive::open(reach.secrets.archive_url.expose_secret(), &reach.config.archive).await?;
    archive_identity::check(&reach.store, &archive).await?;
    let days = span.unwrap_or_else(|| Days::last(reach.config.reconcile.days, Clock::System.now()));
    let sources = sources(&reach.accounts, args.account.as_deref(), None)?;
    let mut report = Report::new(&reach.store, &archive, reach.config.reconcile.objects_at_once);
    let bar = bar(args.json);
    let mut broken = None;
    let mut see = |finding: &Finding| {
        bar.inc(1);
        if finding.standing != Standing::Everywhere && broken.is_none() {
            broken = bar.suspend(|| tell(finding, args.json)).err();
        }
    };
    for source in &sources.lists {
        report.read(source, days, &mut see).await?;
    }
    // Of one account only what its lists would have had; of all accounts everything that the record has.
    let only = args.account.as_ref().map(|_| sources.lists.as_slice());
    report.read_record(only, days, &mut see).await?;
    bar.finish_and_clear();
    if let Some(error) = broken {
        return Err(error.into());
    }
    let unlisted: Vec<String> = sources.unlisted.iter().chain(&report.unlisted).cloned().collect();
    for words in report.odd.iter().chain(&unlisted) {
        // Whoever has closed it does not want to know.
        let _ = writeln!(terminal::stderr(), "note: {words}");
    }
    // What could not be listed or read may be missing.
    let is_clean = report.counts.is_clean() && report.odd.is_empty() && unlisted.is_empty();
    conclude(&report, days, args.json, &unlisted, is_clean)?;
    Ok(is_clean)
}

fn bar(as_json: bool) -> ProgressBar {
    if as_json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} files compared, {elapsed}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// One file that is not everywhere. For people only those about which something is to be done.
fn tell(finding: &Finding, as_json: bool) -> io::Result<()> {
    let mut out = terminal::stdout();
    if as_json {
        return writeln!(out, "{}", serde_json::to_string(finding)?);
    }
    if finding.standing.is_clean() {
        return Ok(());
    }
    let start = finding.start_time.map(|start| start.format("%Y-%m-%d %H:%M").to_string());
    let mut line = format!(
        "{}: {} {} \"{}\" {} {}",
        finding.standing.as_str(),
        finding.recording.kind,
        start.as_deref().unwrap_or("-"),
        finding.topic.as_deref().unwrap_or_default(),
        finding.file_type,
        finding.file.recording_type,
    );
    if let Some(state) = finding.state {
        line.push_str(&format!(", {state}"));
    }
    for (what, bytes) in [
        ("at Zoom", finding.zoom_bytes),
        ("proven", finding.archived_bytes),
        ("in the archive", finding.object_bytes),
    ] {
        if let (Some(bytes), Standing::Differs) = (bytes, finding.standing) {
            line.push_str(&format!(", {bytes} bytes {what}"));
        }
    }
    for words in [&finding.object_key, &finding.reason].into_iter().flatten() {
        line.push_str(&format!(", {words}"));
    }
    writeln!(out, "{line}")
}

fn conclude(
    report: &Report<'_>,
    days: Days,
    as_json: bool,
    unlisted: &[String],
    is_clean: bool,
) -> io::Result<()> {
    let mut out = terminal::stdout();
    let (from, to) = (days.from, last(days));
    if as_json {
        let report = json!({
            "from": from.to_string(),
            "to": to.to_string(),
            "clean": is_clean,
            "files": report.counts,
            "odd": report.odd,
            "unlisted": unlisted,
        });
        return writeln!(out, "{}", json!({ "report": report }));
    }
    writeln!(out, "From {from} to {to}:\n{}", table(&report.counts))?;
    let warnings = report.counts.of(Standing::Warning);
    let only_warnings = Standing::ALL
        .iter()
        .all(|it| it.is_clean() || *it == Standing::Warning || report.counts.of(*it) == 0);
    let verdict = match (report.counts.is_clean(), is_clean) {
        (true, true) => "Nothing is missing.",
        (false, _) if only_warnings && warnings > 0 => {
            "Nothing is missing; some files were archived with a warning."
        }
        (true, false) => "Of what could be read nothing is missing; see the notes.",
        (false, _) => "Something is missing.",
    };
    writeln!(out, "{verdict}")
}

fn table(counts: &Counts) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["files", "", ""]);
    for standing in Standing::ALL {
        table.add_row([
            counts.of(standing).to_string(),
            standing.as_str().to_owned(),
            standing.words().to_owned(),
        ]);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
