//! `status`: one screen that says how the installation stands, and which command goes on from there. Works on the
//! database itself, so it does not matter whether a service runs. Exit code 1 when the database or the archive does
//! not answer.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{Common, failed};
use crate::archive;
use crate::config::{Config, Secrets};
use crate::domain::job::JobState;
use crate::store::{self, Depth, Losses, StoreError, Verification};
use crate::telemetry::{self, LogTarget};

/// The kind of job that stands for a file.
const TRANSFER: &str = "transfer";
/// Time for the archive to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// How it stands.
struct Status {
    database: String,
    /// What the archive is, and why it does not answer, if so.
    archive: (String, Option<String>),
    transfers: Vec<Depth>,
    losses: Losses,
    verification: Verification,
    /// Files left out because another account has them.
    twins: u64,
}

pub(super) async fn run(common: &Common, args: &StatusArgs) -> ExitCode {
    let (config, secrets) = match common.load() {
        Ok(loaded) => loaded,
        Err(error) => return failed(&error.to_string()),
    };
    telemetry::init_log(config.log.format, LogTarget::Stderr, Some("error"));
    let status = match look(&config, &secrets).await {
        Ok(status) => status,
        Err(error) => return failed(&format!("DATABASE_URL: {error}")),
    };
    let printed = if args.json { print_json(&status) } else { print(&status) };
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(&error.to_string()),
        _ if status.archive.1.is_some() => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

async fn look(config: &Config, secrets: &Secrets) -> Result<Status, StoreError> {
    let store = store::open(&secrets.database_url, &config.store).await?;
    let (depths, losses, verification, twins) =
        tokio::try_join!(store.depth(), store.losses(), store.verification(), store.twins())?;
    let status = Status {
        database: store.describe().to_owned(),
        archive: archive(config, secrets).await,
        transfers: depths.into_iter().filter(|depth| depth.kind == TRANSFER).collect(),
        losses,
        verification,
        twins,
    };
    store.close().await;
    Ok(status)
}

async fn archive(config: &Config, secrets: &Secrets) -> (String, Option<String>) {
    let asked = async {
        let archive = archive::open(&secrets.archive_url, &config.archive).await?;
        archive.ping().await
    };
    let trouble = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    (secrets.archive_url.clone(), trouble)
}

impl Status {
    fn files(&self, state: JobState) -> u64 {
        self.transfers.iter().filter(|depth| depth.state == state).map(|depth| depth.jobs).sum()
    }

    fn oldest_due(&self) -> Option<Duration> {
        self.transfers.iter().filter_map(|depth| depth.oldest_due).max()
    }
}

fn print(status: &Status) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "database      {}", status.database)?;
    match &status.archive {
        (archive, None) => writeln!(out, "archive       {archive}, answers")?,
        (archive, Some(trouble)) => {
            writeln!(out, "archive       {archive}: {trouble}")?;
            writeln!(out, "              → zoom-archiver doctor")?;
        }
    }
    let waiting = match status.oldest_due() {
        Some(due) => format!("{}, the longest for {}", status.files(JobState::Waiting), in_words(due)),
        None => status.files(JobState::Waiting).to_string(),
    };
    writeln!(out, "waiting       {waiting}")?;
    writeln!(out, "running       {}", status.files(JobState::Running))?;
    for (state, word) in [(JobState::Parked, "parked"), (JobState::Dead, "dead")] {
        let files = status.files(state);
        writeln!(out, "{word:<14}{files}")?;
        if files > 0 {
            writeln!(out, "              → zoom-archiver files list --state {word}   says why")?;
            writeln!(out, "              → zoom-archiver files retry --state {word}  tries again")?;
        }
    }
    match status.losses.nearest {
        Some(nearest) => writeln!(out, "nearest loss  in {}", in_words(nearest))?,
        None => writeln!(out, "nearest loss  none known")?,
    }
    if status.losses.overdue > 0 {
        writeln!(out, "overdue       {} cannot be had any more, as far as is known", status.losses.overdue)?;
    }
    if status.twins > 0 {
        writeln!(
            out,
            "twins         {} are left out: they are known under another account, too",
            status.twins
        )?;
        writeln!(out, "              → zoom-archiver files list --state skipped  says under which")?;
        writeln!(
            out,
            "              → mend the account ids in your settings, or zoom-archiver files unskip FILE_ID …"
        )?;
    }
    print_verification(&mut out, &status.verification)
}

fn print_verification(out: &mut impl Write, verification: &Verification) -> io::Result<()> {
    if let Some(oldest) = verification.oldest {
        writeln!(out, "verified      every object within the last {}", in_words(oldest))?;
    }
    let found: Vec<String> =
        verification.findings.iter().map(|(finding, files)| format!("{files} {finding}")).collect();
    if !found.is_empty() {
        writeln!(out, "findings      {}", found.join(", "))?;
        writeln!(out, "              → zoom-archiver files list --finding           says what was found")?;
        writeln!(
            out,
            "              → zoom-archiver files retry --finding FINDING  mends what can be mended"
        )?;
    }
    if verification.foreign > 0 {
        writeln!(out, "foreign       {} objects that no file knows", verification.foreign)?;
        writeln!(out, "              → zoom-archiver files foreign                  names them")?;
    }
    Ok(())
}

fn print_json(status: &Status) -> io::Result<()> {
    let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs());
    let files: serde_json::Map<String, Value> =
        JobState::ALL.iter().map(|state| (state.as_str().to_owned(), json!(status.files(*state)))).collect();
    let findings: serde_json::Map<String, Value> = status
        .verification
        .findings
        .iter()
        .map(|(finding, files)| (finding.as_str().to_owned(), json!(files)))
        .collect();
    let object = json!({
        "database": status.database,
        "archive": status.archive.0,
        "archive_trouble": status.archive.1,
        "transfers": files,
        "oldest_waiting_secs": seconds(status.oldest_due()),
        "nearest_loss_secs": seconds(status.losses.nearest),
        "overdue": status.losses.overdue,
        "oldest_unverified_secs": seconds(status.verification.oldest),
        "findings": findings,
        "foreign_objects": status.verification.foreign,
        "twins": status.twins,
    });
    writeln!(io::stdout().lock(), "{object}")
}

/// A span of time in its largest unit, rounded down.
fn in_words(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs / 60),
        7200..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_is_told_in_its_largest_unit() {
        for (secs, words) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(in_words(Duration::from_secs(secs)), words);
        }
    }
}
