//! `recording start|stop|pause|resume`: controls the cloud recording of a Video SDK session that goes on.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::terminal;
use super::{Common, failed};
use crate::clock::Clock;
use crate::telemetry::{self, LogTarget};
use crate::zoom::accounts::Accounts;
use crate::zoom::api::live::Control;

/// Options of `recording`.
#[derive(Debug, Args)]
pub(super) struct RecordingArgs {
    /// What is done to the recording.
    #[arg(value_enum)]
    control: Control,
    /// Zoom's id of the session, as its events name it: `session_id`, not its name.
    #[arg(value_name = "SESSION_ID")]
    session: String,
    /// Whose session it is, where several accounts have Video SDK credentials: a name from zoom.accounts.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Says it as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(common: &Common, args: RecordingArgs) -> ExitCode {
    match act(common, &args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

async fn act(common: &Common, args: &RecordingArgs) -> Result<(), Box<dyn std::error::Error>> {
    let (config, secrets) = common.load()?;
    telemetry::init_log(config.log.format, LogTarget::Stderr, Some("warn"));
    let accounts = Accounts::new(&config.zoom, secrets.zoom_accounts(), Clock::System)?;
    let account = accounts.for_sessions(args.account.as_deref())?;
    account.api.control(&args.session, args.control).await?;
    let mut out = terminal::stdout();
    if args.json {
        let told =
            json!({ "session_id": args.session, "control": args.control.as_str(), "account": account.name });
        writeln!(out, "{told}")?;
    } else {
        writeln!(
            out,
            "Zoom will {} the recording of session {}; its event tells when it is so",
            args.control, args.session
        )?;
    }
    Ok(())
}
