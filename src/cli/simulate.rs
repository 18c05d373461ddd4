//! `simulate`: a rehearsal against a running receiver, with a fake Zoom that misbehaves on command.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::SecretString;
use serde_json::json;
use url::Url;

use super::terminal;
use crate::simulator::rehearsal::{Misbehaviour, Rehearsal, Report};
use crate::simulator::{FakeRecording, FakeZoom, Options, Sender};

/// Time for the last bytes to leave at the end.
const GRACE: Duration = Duration::from_secs(10);

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Video SDK sessions.
    VideoSdk,
    /// Meetings.
    Meeting,
}

/// Sends signed events to a receiver and serves the files that they announce, until all have been fetched.
///
/// The receiver must be allowed to fetch from the fake Zoom: set what is printed first in its environment (and
/// choose a fixed port with --listen, to know it beforehand). Downloads refused by the faults `html` and
/// `expired` are announced anew, as a later event of Zoom's would.
#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// The receiver's webhook URL, such as http://127.0.0.1:8080/webhooks/zoom.
    #[arg(long, value_name = "URL")]
    target: Url,
    /// The Secret Token that events are signed with; the first, when there are several.
    #[arg(long, env = "ZOOM_WEBHOOK_SECRET_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    secret: String,
    /// How many sessions or meetings have been recorded.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    sessions: u32,
    /// What has been recorded.
    #[arg(long, value_enum, default_value = "video-sdk")]
    kind: Kind,
    /// What goes wrong: duplicate, reorder, delay, cut, stall, html, expired, wrong-length. Repeat it or
    /// separate by commas.
    #[arg(long = "fault", value_delimiter = ',', value_name = "FAULT")]
    faults: Vec<Misbehaviour>,
    /// Where the files are served.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddr,
    /// What download URLs begin with, when the receiver reaches this machine by another name.
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,
    /// Bytes in each file, generated (a text is never shorter than its words); without it the files are short real media.
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// Which recordings: the same seed, the same recordings. Every run makes new ones when it is not given.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Seconds until the rehearsal is given up.
    #[arg(long, default_value_t = 120, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Seconds after which an event is sent again that brought a 5xx or no answer. Zoom's own: 300,1200,3600.
    #[arg(long, value_delimiter = ',', default_value = "1,4,12", value_name = "SECS")]
    retry: Vec<u32>,
    /// For programs: JSON, one object a line; the last is the report.
    #[arg(long)]
    json: bool,
}

/// Runs the rehearsal. 0: every event accepted and every file fetched whole; 1: not so; 2: wrong usage.
pub(super) async fn run(args: SimulateArgs) -> ExitCode {
    let Some(secret) = args.secret.split(',').map(str::trim).find(|secret| !secret.is_empty()) else {
        return complain("--secret is empty", ExitCode::from(2));
    };
    for url in [Some(&args.target), args.public_url.as_ref()].into_iter().flatten() {
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return complain(&format!("{url} is not an http or https URL"), ExitCode::from(2));
        }
    }
    match rehearse(&args, SecretString::from(secret)).await {
        Ok(report) if report.is_good() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => complain(&error.to_string(), ExitCode::FAILURE),
    }
}

async fn rehearse(args: &SimulateArgs, secret: SecretString) -> Result<Report, Box<dyn std::error::Error>> {
    let seed = args.seed.unwrap_or_else(rand::random);
    let options =
        Options { listen: args.listen, public_url: args.public_url.clone(), seed, ..Options::default() };
    let zoom = FakeZoom::start(options)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    introduce(&zoom, seed, args.json)?;
    let retries = args.retry.iter().map(|&secs| Duration::from_secs(secs.into())).collect();
    let sender = Sender::new(args.target.clone(), secret, retries)?;
    let rehearsal = Rehearsal {
        zoom: &zoom,
        sender: &sender,
        recordings: recordings(args, seed),
        misbehaviours: args.faults.clone(),
        timeout: Duration::from_secs(args.timeout),
    };
    let bar = progress_bar(args.json);
    let report = rehearsal
        .run(|done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        })
        .await;
    bar.finish_and_clear();
    zoom.finish(GRACE).await;
    let report = report?;
    if args.json {
        print_json(&report)?
    } else {
        print_table(&report)?
    }
    Ok(report)
}

fn recordings(args: &SimulateArgs, seed: u64) -> Vec<FakeRecording> {
    (0..u64::from(args.sessions))
        .map(|index| {
            let seed = seed.wrapping_add(index);
            let recording = match args.kind {
                Kind::VideoSdk => FakeRecording::video_sdk(seed),
                Kind::Meeting => FakeRecording::meeting(seed),
            };
            match args.size {
                Some(bytes) => recording.generated(bytes),
                None => recording,
            }
        })
        .collect()
}

/// Says what the receiver needs before it can fetch anything.
fn introduce(zoom: &FakeZoom, seed: u64, as_json: bool) -> io::Result<()> {
    let mut out = terminal::stdout();
    let origin = zoom.origin();
    if as_json {
        writeln!(out, "{}", json!({ "download_hosts": origin, "seed": seed }))?;
    } else {
        writeln!(out, "The receiver must be allowed to fetch from here; set in its environment:")?;
        writeln!(out, "ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS={origin}")?;
        writeln!(out, "(seed {seed})")?;
    }
    out.flush()
}

/// Seen on a terminal only.
fn progress_bar(as_json: bool) -> ProgressBar {
    if as_json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} files fetched, {elapsed}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print_json(report: &Report) -> io::Result<()> {
    let mut out = terminal::stdout();
    writeln!(out, "{}", json!({ "ok": report.is_good(), "report": report }))?;
    out.flush()
}

fn print_table(report: &Report) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["recording", "file", "announced", "requests", "served", "fault", "fetched whole"]);
    for file in &report.files {
        table.add_row([
            file.recording.clone(),
            file.file.clone(),
            file.announced_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
            file.requests.to_string(),
            file.bytes_served.to_string(),
            file.fault.map_or_else(|| "-".to_owned(), |fault| fault.to_string()),
            if file.fetched_whole { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    for index in 2..5 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = terminal::stdout();
    writeln!(out, "{table}")?;
    let fetched = report.files.iter().filter(|file| file.fetched_whole).count();
    writeln!(
        out,
        "{fetched} of {} files fetched whole; {} events accepted, {} failed, {} tries repeated, {} recordings \
         announced anew",
        report.files.len(),
        report.events_accepted,
        report.events_failed.len(),
        report.events_repeated,
        report.renewals,
    )?;
    for line in report.events_failed.iter().chain(&report.violations) {
        writeln!(out, "wrong: {line}")?;
    }
    if report.timed_out {
        writeln!(out, "the time was up")?;
    }
    out.flush()
}

fn complain(message: &str, code: ExitCode) -> ExitCode {
    // Nobody is left to tell when even this fails.
    let _ = writeln!(terminal::stderr(), "error: {message}");
    code
}
