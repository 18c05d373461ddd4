//! `notify test`: sends a sample to the receivers of notifications, and says what came back. Needs no database.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::reach::Failure;
use super::terminal;
use super::{Common, failed, misused};
use crate::clock::Clock;
use crate::config::notify::Target;
use crate::notify::message::sample;
use crate::notify::{Notifier, SendError};
use crate::telemetry::{self, LogTarget};

/// Options of `notify`.
#[derive(Debug, Args)]
pub(super) struct NotifyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Sends a sample, signed like any notification; exit code 1 when one is not taken.
    Test {
        /// Only to these, by their names in notify.targets; without any, to all.
        #[arg(value_name = "TARGET")]
        targets: Vec<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(common: &Common, args: NotifyArgs) -> ExitCode {
    let Action::Test { targets, json } = args.action;
    let (config, secrets) = match common.load() {
        Ok(loaded) => loaded,
        Err(error) => return failed(&error.to_string()),
    };
    telemetry::init_log(config.log.format, LogTarget::Stderr, Some("warn"));
    if let Some(unknown) = targets.iter().find(|name| !secrets.targets.iter().any(|it| it.name == **name)) {
        return misused(&format!("notify.targets names no `{unknown}`"));
    }
    if secrets.targets.is_empty() {
        return misused("notify.targets is empty: there is nobody to be told");
    }
    let is_meant = |target: &&Target| targets.is_empty() || targets.contains(&target.name);
    let chosen: Vec<&Target> = secrets.targets.iter().filter(is_meant).collect();
    let tested = async {
        let notifier = Notifier::new(&config.notify, secrets.targets.clone(), Clock::System)?;
        test(&notifier, &chosen, json).await
    };
    match tested.await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error.to_string()),
    }
}

/// Whether all of them took it.
async fn test(notifier: &Notifier, targets: &[&Target], as_json: bool) -> Result<bool, Failure> {
    let mut taken = 0;
    for target in targets {
        let report = try_one(notifier, target).await;
        taken += usize::from(report.is_taken);
        let mut out = terminal::stdout();
        if as_json {
            writeln!(out, "{}", report.in_json(target))?;
        } else {
            writeln!(out, "{}", report.in_words(target))?;
        }
    }
    Ok(taken == targets.len())
}

/// What became of one sample.
struct Report {
    is_taken: bool,
    status: Option<u16>,
    millis: u64,
    error: Option<String>,
    said: String,
}

async fn try_one(notifier: &Notifier, target: &Target) -> Report {
    let message = sample(target.template, Clock::System.now());
    let began = Instant::now();
    let answered = notifier.ask(target, &message).await;
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (status, taken, said) = match answered {
        Ok(answer) => (Some(answer.status()), answer.check(), answer.words().await),
        Err(error) => (None, Err(error), String::new()),
    };
    let error = taken.err().as_ref().map(SendError::to_string);
    Report { is_taken: error.is_none(), status, millis, error, said: without_path(said, target) }
}

/// What a receiver says may name where it is, which is a secret of its own.
fn without_path(said: String, target: &Target) -> String {
    match target.url.path() {
        "/" => said,
        path => said.replace(path, "…"),
    }
}

impl Report {
    fn in_words(&self, target: &Target) -> String {
        let Self { status, millis, error, said, .. } = self;
        let verdict = match (status, error) {
            (Some(status), None) => format!("taken ({status})"),
            (_, Some(error)) => format!("not taken: {error}"),
            (None, None) => "taken".to_owned(),
        };
        let said = if said.is_empty() { String::new() } else { format!("; it says: {said}") };
        format!("{}: {verdict}, after {millis} ms{said}", target.name)
    }

    fn in_json(&self, target: &Target) -> Value {
        json!({
            "target": target.name,
            "taken": self.is_taken,
            "status": self.status,
            "millis": self.millis,
            "error": self.error,
            "said": self.said,
        })
    }
}
