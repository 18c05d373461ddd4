//! `status`: one screen that says how the installation stands, and which command goes on from there. Exit code 1 when the
//! database or the archive does not answer; that is told as all else is, in words or as JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use indicatif::DecimalBytes;
use serde::Serialize;

use super::Common;
use super::ask::{Archive, Office, Whom, ended, moment, print_one, span_in_words};
use super::reach::Failure;
use super::terminal;
use crate::domain::job::JobState;
use crate::domain::loss::IN_TRASH;
use crate::http::api::words::{Holdup, LosingFile, Status};
use crate::store::StoreError;

/// Less room in the archive than this is pointed out, in bytes.
const LITTLE_ROOM: u64 = 10_000_000_000;

/// Options of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// As one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: Whom,
}

pub(super) async fn run(common: &Common, args: &StatusArgs) -> ExitCode {
    ended(look(common, args).await)
}

async fn look(common: &Common, args: &StatusArgs) -> Result<ExitCode, Failure> {
    let office = match Office::open(common, &args.whom, Archive::Needed).await {
        Err(error) if is_away(error.as_ref()) => {
            let (_, secrets) = common.load()?;
            let away = Away::new(Some(secrets.database_without_password()), error.to_string());
            return away.tell(args.json);
        }
        office => office?,
    };
    let status: Status = match office.get("/status", &[]).await {
        Err(error) if error.is_for_now() => return Away::new(None, error.to_string()).tell(args.json),
        status => status?,
    };
    if args.json {
        print_one(&status, true)?;
    } else {
        print(&mut terminal::stdout(), &status)?;
    }
    Ok(if status.archive_trouble.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether it is the database that fails, and not what is said of it.
fn is_away(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<StoreError>().is_some_and(|error| !matches!(error, StoreError::Url(_)))
}

/// All that can be said when the database does not answer.
#[derive(Debug, Serialize)]
struct Away {
    /// Where it is, where that is known here.
    database: Option<String>,
    /// Why it does not.
    database_trouble: String,
    /// The command of `zoom-archiver` that goes on from here.
    command: &'static str,
}

impl Away {
    fn new(database: Option<String>, database_trouble: String) -> Self {
        Self { database, database_trouble, command: "doctor" }
    }

    fn tell(&self, json: bool) -> Result<ExitCode, Failure> {
        if json {
            print_one(self, true)?;
            return Ok(ExitCode::FAILURE);
        }
        let mut out = terminal::stdout();
        let place = self.database.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        writeln!(out, "database      {place}{}", self.database_trouble)?;
        writeln!(out, "              → zoom-archiver {}", self.command)?;
        Ok(ExitCode::FAILURE)
    }
}

fn print(out: &mut impl Write, status: &Status) -> io::Result<()> {
    writeln!(out, "database      {}, answers in {} ms", status.database, status.database_millis)?;
    match &status.archive_trouble {
        None => {
            let millis = status.archive_millis.map(|millis| format!(" in {millis} ms")).unwrap_or_default();
            writeln!(out, "archive       {}, answers{millis}", status.archive)?;
        }
        Some(trouble) => {
            writeln!(out, "archive       {}: {trouble}", status.archive)?;
            writeln!(out, "              → zoom-archiver doctor")?;
        }
    }
    if let Some(room) = status.archive_room_bytes {
        let words = if room < LITTLE_ROOM { ": make room, or move it to a larger disk" } else { "" };
        writeln!(out, "room          {} may be written to the archive{words}", DecimalBytes(room))?;
    }
    print_transfers(out, status)?;
    print_others(out, status)?;
    print_losses(out, status)?;
    if status.unreadable_events > 0 {
        writeln!(
            out,
            "unreadable    {} events could not be read, whatever they announced",
            status.unreadable_events
        )?;
        writeln!(out, "              → zoom-archiver events list --unreadable    says why")?;
        writeln!(
            out,
            "              → zoom-archiver events replay --unreadable  reads them, if this version can"
        )?;
    }
    if status.twins > 0 {
        writeln!(
            out,
            "twins         {} files are known under another account, too, and archived for both",
            status.twins
        )?;
        writeln!(
            out,
            "              → are the account ids in your settings those that Zoom names? The log names them"
        )?;
    }
    if status.warnings > 0 {
        writeln!(out, "warnings      {} archived files look wrong or have another size", status.warnings)?;
        writeln!(out, "              → zoom-archiver files list --marked    says what is odd")?;
        writeln!(
            out,
            "              → zoom-archiver files retry FILE_ID …  fetches them again, while Zoom has them"
        )?;
    }
    print_verification(out, status)?;
    print_pruned(out, status)
}

fn print_losses(out: &mut impl Write, status: &Status) -> io::Result<()> {
    match status.nearest_loss_secs {
        Some(nearest) => writeln!(out, "nearest loss  in {}", span_in_words(nearest))?,
        None => writeln!(out, "nearest loss  none known")?,
    }
    if let Some(file) = &status.nearest_loss {
        print_losing(out, file)?;
    }
    if status.overdue > 0 {
        writeln!(out, "overdue       {} cannot be had any more, as far as is known", status.overdue)?;
    }
    if let Some(file) = &status.first_overdue {
        print_losing(out, file)?;
        writeln!(out, "              → zoom-archiver files list --lost-within 0s  names all of them")?;
    }
    Ok(())
}

/// A file that is to be lost, and what to type.
fn print_losing(out: &mut impl Write, file: &LosingFile) -> io::Result<()> {
    let reason = file.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let kind = Some(file.file_type.as_str()).filter(|kind| !kind.is_empty()).unwrap_or("of no type");
    writeln!(
        out,
        "              file {} ({kind}) of recording {}, until {}",
        file.id,
        file.recording_id,
        moment(Some(file.loses_at))
    )?;
    writeln!(out, "              {}{reason}", file.state)?;
    writeln!(out, "              → zoom-archiver {}", file.command)
}

/// Why most of those stand there that are in this state.
fn print_holdups(out: &mut impl Write, status: &Status, state: JobState) -> io::Result<()> {
    for holdup in status.holdups.iter().filter(|holdup| holdup.state == state) {
        writeln!(out, "              {}: {}", holdup.files, holdup.reason)?;
    }
    Ok(())
}

fn print_resting(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let resting = status.resting;
    if resting.files > 0 {
        let next = resting.next_secs.map(|secs| format!(", the first is due in {}", span_in_words(secs)));
        writeln!(out, "resting       {} of them{}", resting.files, next.unwrap_or_default())?;
    }
    if resting.put_back > 0 {
        writeln!(
            out,
            "              {} were put back: archive or database was away, and is tried one file at a time",
            resting.put_back
        )?;
    }
    print_holdups(out, status, JobState::Waiting)?;
    if resting.files > 0 {
        writeln!(out, "              → zoom-archiver files retry FILE_ID  lets one rest no longer")?;
    }
    Ok(())
}

fn print_verification(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let verification = &status.verification;
    if let Some(oldest) = verification.oldest_unverified_secs {
        writeln!(out, "verified      all that is archived, within the last {}", span_in_words(oldest))?;
    }
    if !verification.findings.is_empty() {
        let counts = verification.findings.iter().map(|it| format!("{} {}", it.files, it.finding));
        let counts = counts.collect::<Vec<_>>().join(", ");
        writeln!(out, "findings      {counts}: archived, and not as it was proven")?;
        writeln!(out, "              → zoom-archiver findings list           says what was found")?;
        writeln!(out, "              → zoom-archiver findings retry FILE_ID  mends it, where that can be")?;
    }
    if verification.foreign_objects > 0 {
        writeln!(out, "foreign       {} objects in the archive are nobody's", verification.foreign_objects)?;
        writeln!(out, "              → zoom-archiver findings foreign")?;
    }
    Ok(())
}

/// What lists do not show any more.
fn print_pruned(out: &mut impl Write, status: &Status) -> io::Result<()> {
    for (table, words) in [("events", "events"), ("jobs", "finished jobs")] {
        let of_table = || status.pruned.iter().filter(|pruned| pruned.table == table);
        if let Some(until) = of_table().map(|pruned| pruned.until).max() {
            let rows: u64 = of_table().map(|pruned| pruned.rows).sum();
            writeln!(out, "pruned        {rows} {words}, none later than {}", moment(Some(until)))?;
        }
    }
    Ok(())
}

fn print_transfers(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let transfers = status.transfers;
    match status.oldest_waiting_secs {
        Some(due) => {
            writeln!(out, "waiting       {}, the longest for {}", transfers.waiting, span_in_words(due))?
        }
        None => writeln!(out, "waiting       {}", transfers.waiting)?,
    }
    print_resting(out, status)?;
    print_running(out, status)?;
    let rate = status.rate;
    writeln!(
        out,
        "rate          {}/s: {} files, {}, in the last {}",
        DecimalBytes(rate.bytes_per_sec),
        rate.files,
        DecimalBytes(rate.bytes),
        span_in_words(rate.window_secs)
    )?;
    let left = status.left;
    if left.files > 0 {
        let time = left.secs.map(|secs| format!(", about {} at this rate", span_in_words(secs)));
        let unknown = Some(left.files_of_unknown_size).filter(|files| *files > 0);
        let unknown = unknown.map(|files| format!(", and {files} of unknown size"));
        writeln!(
            out,
            "left          {} files, {}{}{}",
            left.files,
            DecimalBytes(left.bytes),
            unknown.unwrap_or_default(),
            time.unwrap_or_default()
        )?;
    }
    for (files, state) in [(transfers.parked, JobState::Parked), (transfers.dead, JobState::Dead)] {
        let word = state.as_str();
        writeln!(out, "{word:<14}{files}")?;
        print_holdups(out, status, state)?;
        if files > 0 {
            print_ways_out(out, files, in_trash(status, state), word)?;
        }
    }
    Ok(())
}

/// How many of those that are in this state lie in Zoom's trash.
fn in_trash(status: &Status, state: JobState) -> u64 {
    let lies_there = |holdup: &&Holdup| holdup.state == state && holdup.reason == IN_TRASH;
    status.holdups.iter().filter(lies_there).map(|holdup| holdup.files).sum()
}

/// What is typed about files that stand still: a retry finds those in the trash there once more.
fn print_ways_out(out: &mut impl Write, files: u64, in_trash: u64, word: &str) -> io::Result<()> {
    writeln!(out, "              → zoom-archiver files list --state {word}   says why")?;
    if in_trash > 0 {
        writeln!(
            out,
            "              → zoom-archiver recordings list --state trashed  says which are in the trash"
        )?;
        writeln!(out, "              → zoom-archiver recordings recover RECORDING_ID  takes one out of it")?;
    }
    if files > in_trash {
        writeln!(out, "              → zoom-archiver files retry --state {word}  tries again")?;
    }
    Ok(())
}

/// How far what runs has come, and how long the rest of it takes.
fn print_running(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let running = status.running;
    write!(out, "running       {}", status.transfers.running)?;
    if running.bytes_per_sec > 0 {
        let time = running.secs.filter(|_| running.bytes > 0);
        let time = time.map(|secs| format!(", about {} left", span_in_words(secs)));
        write!(
            out,
            ": {} of {} carried, {}/s{}",
            DecimalBytes(running.carried),
            DecimalBytes(running.bytes),
            DecimalBytes(running.bytes_per_sec),
            time.unwrap_or_default()
        )?;
    }
    writeln!(out)
}

/// What stands still and carries no file, so that no list of files shows it.
fn print_others(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let mut is_any = false;
    for other in &status.others {
        for (jobs, word) in [(other.jobs.parked, "parked"), (other.jobs.dead, "dead")] {
            if jobs > 0 {
                is_any = true;
                writeln!(out, "{word:<14}{jobs} of kind {}", other.kind)?;
            }
        }
    }
    if is_any {
        writeln!(out, "              → zoom-archiver jobs list --state parked,dead   says why")?;
        writeln!(out, "              → zoom-archiver jobs retry JOB_ID               tries again")?;
    }
    Ok(())
}
