//! The command line: one file per command. Exit codes: 0 ok, 1 failed, 2 wrong usage.

mod archive;
mod ask;
mod backfill;
mod config;
mod deeds;
mod demo;
mod doctor;
mod events;
mod explain;
mod files;
mod findings;
mod healthcheck;
mod jobs;
mod migrate;
mod notify;
mod package;
mod reach;
mod rebuild;
mod reconcile;
mod recording;
mod recordings;
mod serve;
mod session_token;
mod simulate;
mod status;
mod terminal;
mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio::runtime::Builder;

use crate::app::answering_threads;
use crate::config::{self as settings, Config, ConfigError, Secrets};

/// Archives Zoom cloud recordings into storage that you own: verified webhook in, proven objects out.
#[derive(Debug, Parser)]
#[command(name = "zoom-archiver", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
struct Common {
    /// Settings that differ from the defaults (TOML).
    #[arg(long, global = true, env = "ZOOM_ARCHIVER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the embedded database and archive live.
    #[arg(long, global = true, env = "ZOOM_ARCHIVER_DATA_DIR", value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
    /// Shape of log lines.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<settings::log::LogFormat>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the service: receiver, workers, scheduler.
    Serve(serve::ServeArgs),
    /// Shows the whole way from signed event to proven object, with a fake Zoom; needs nothing.
    Demo(demo::DemoArgs),
    /// Rehearses against a running receiver: a fake Zoom that misbehaves on command.
    Simulate(Box<simulate::SimulateArgs>),
    /// Shows files and why they stand where they stand; tries them again, leaves them out, takes them after all.
    Files(files::FilesArgs),
    /// Shows what the queue holds, and why; tries jobs again, withdraws them.
    Jobs(jobs::JobsArgs),
    /// Shows what Zoom has told, and records it once more.
    Events(events::EventsArgs),
    /// One screen: what waits, runs, is parked or dead, what is nearest to being lost.
    Status(status::StatusArgs),
    /// Starts, stops, pauses or resumes the cloud recording of a live Video SDK session.
    Recording(recording::RecordingArgs),
    /// Makes a token to join a Video SDK session with, for those who test their set-up.
    SessionToken(session_token::SessionTokenArgs),
    /// Takes what Zoom has of some days and what is missing here.
    Backfill(backfill::BackfillArgs),
    /// Compares Zoom, database and archive, file by file; exit code 1 when something is missing.
    Reconcile(reconcile::ReconcileArgs),
    /// Shows recordings and how their files stand; takes them out of Zoom's trash.
    Recordings(recordings::RecordingsArgs),
    /// Reads objects again and compares them with what was proven of them; exit code 1 when one is not as it was.
    Verify(verify::VerifyArgs),
    /// Shows what verifications have found, and mends what can be mended.
    Findings(findings::FindingsArgs),
    /// Fills an empty database from the manifests in the archive.
    Rebuild(rebuild::RebuildArgs),
    /// Looks at database, archive and Zoom's API from all sides, and says how to mend what is wrong.
    Doctor(doctor::DoctorArgs),
    /// Sends a sample to the receivers of notifications, and says what comes back.
    Notify(notify::NotifyArgs),
    /// Shows which archive the database knows, or takes another one after a deliberate move.
    Archive(archive::ArchiveArgs),
    /// Brings the database schema up to date.
    Migrate,
    /// Shows or checks the settings.
    Config(config::ConfigArgs),
    /// Prints a script by which a shell completes these commands.
    Completions(package::CompletionsArgs),
    /// Writes the manual pages of these commands into a directory.
    Man(package::ManArgs),
    /// Asks the service on this machine whether it is ready; for container health checks.
    Healthcheck,
}

/// Reads the command line and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let roles = match &cli.command {
        Command::Serve(args) => args.roles(),
        _ => &[],
    };
    let threads = answering_threads(roles);
    let runtime = match Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start the runtime: {error}")),
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(&cli.common, args).await,
            Command::Demo(args) => demo::run(&cli.common, args).await,
            Command::Simulate(args) => simulate::run(*args).await,
            Command::Files(args) => files::run(&cli.common, args).await,
            Command::Jobs(args) => jobs::run(&cli.common, args).await,
            Command::Events(args) => events::run(&cli.common, args).await,
            Command::Status(args) => status::run(&cli.common, &args).await,
            Command::Recording(args) => recording::run(&cli.common, args).await,
            Command::SessionToken(args) => session_token::run(&cli.common, args),
            Command::Backfill(args) => backfill::run(&cli.common, args).await,
            Command::Reconcile(args) => reconcile::run(&cli.common, args).await,
            Command::Recordings(args) => recordings::run(&cli.common, args).await,
            Command::Verify(args) => verify::run(&cli.common, args).await,
            Command::Findings(args) => findings::run(&cli.common, args).await,
            Command::Rebuild(args) => rebuild::run(&cli.common, &args).await,
            Command::Doctor(args) => doctor::run(&cli.common, &args).await,
            Command::Notify(args) => notify::run(&cli.common, args).await,
            Command::Archive(args) => archive::run(&cli.common, args).await,
            Command::Migrate => migrate::run(&cli.common).await,
            Command::Config(args) => config::run(&cli.common, &args),
            Command::Completions(args) => package::completions(&args),
            Command::Man(args) => package::man(&args),
            Command::Healthcheck => healthcheck::run(&cli.common).await,
        }
    });
    // A thread that still writes to a slow disk must not keep the program from ending.
    runtime.shutdown_background();
    code
}

impl Common {
    fn load(&self) -> Result<(Config, Secrets), ConfigError> {
        let environment = settings::load::environment()?;
        let mut config = settings::load::load(self.config.as_deref(), &environment)?;
        if let Some(format) = self.log_format {
            config.log.format = format;
        }
        let secrets = Secrets::read(&environment, &self.data_dir)?.with_accounts(&config.zoom)?;
        let secrets = secrets.with_targets(&config.notify)?;
        Ok((config, secrets))
    }
}

/// Says what is wrong with how the command was called, and gives the exit code for it.
fn misused(message: &str) -> ExitCode {
    failed(message);
    ExitCode::from(2)
}

/// Says what went wrong, and gives the exit code for it.
fn failed(message: &str) -> ExitCode {
    let mut stderr = terminal::stderr();
    for line in message.lines() {
        // Whoever has closed it does not want to know.
        let _ = writeln!(stderr, "error: {line}");
    }
    ExitCode::FAILURE
}
