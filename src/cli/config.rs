//! `config show|check`: what the settings are, whether they make sense, and what they would do with an event.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Common, explain, failed};
use crate::app::Role;
use crate::app::check::problems;
use crate::config::{DEFAULT_TOML, Secrets};

/// Options of `config`.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the settings in force, without secrets.
    Show {
        /// Prints the reference instead: every key with its default and its meaning.
        #[arg(long)]
        default: bool,
    },
    /// Checks settings and environment, and says what is missing.
    Check {
        /// Says what would become of the event in this file (`-`: standard input): which files would be taken, under
        /// which key, and why others would not. Needs no signature, and records nothing.
        #[arg(long, value_name = "EVENT.json")]
        explain: Option<PathBuf>,
        /// The explanation as one JSON object a line, for each file.
        #[arg(long, requires = "explain")]
        json: bool,
    },
}

#[allow(clippy::print_stdout, reason = "the command's output")]
pub(super) fn run(common: &Common, args: &ConfigArgs) -> ExitCode {
    if let Action::Show { default: true } = args.action {
        print!("{DEFAULT_TOML}");
        return ExitCode::SUCCESS;
    }
    let (config, secrets) = match common.load() {
        Ok(loaded) => loaded,
        Err(error) => return failed(&error.to_string()),
    };
    match &args.action {
        Action::Show { .. } => match toml::to_string_pretty(&config) {
            Ok(text) => print!("{text}"),
            Err(error) => return failed(&error.to_string()),
        },
        Action::Check { explain: Some(path), json } => {
            if let Err(error) = explain::explain(&config, secrets.account_names(), path, *json) {
                return failed(&error.to_string());
            }
        }
        Action::Check { explain: None, .. } => {
            println!("{}", summary(&secrets));
            let problems: Vec<_> =
                problems(&config, &secrets, &Role::ALL).iter().map(ToString::to_string).collect();
            if !problems.is_empty() {
                return failed(&problems.join("\n"));
            }
            println!("settings: ok");
        }
    }
    ExitCode::SUCCESS
}

fn summary(secrets: &Secrets) -> String {
    let mut summary = of_environment(secrets);
    for account in &secrets.accounts {
        summary.push_str(&format!(
            "\nzoom.accounts `{}` ({}): {} webhook token(s), Video SDK credentials {}, OAuth credentials {}",
            account.name,
            account.account_id.as_deref().unwrap_or("no account_id"),
            account.webhook_secret_tokens.len(),
            set(account.credentials.video_sdk.is_some()),
            set(account.credentials.oauth.is_some()),
        ));
    }
    summary
}

fn set(present: bool) -> &'static str {
    if present { "set" } else { "not set" }
}

fn of_environment(secrets: &Secrets) -> String {
    format!(
        "ZOOM_WEBHOOK_SECRET_TOKEN: {} token(s)\nDATABASE_URL: {}\nARCHIVE_URL: {}\nADMIN_TOKEN: {}\n\
         ZOOM_VIDEO_SDK_API_KEY, ZOOM_VIDEO_SDK_API_SECRET: {}\n\
         ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID, ZOOM_CLIENT_SECRET: {}",
        secrets.webhook_secret_tokens.len(),
        secrets.database_without_password(),
        secrets.archive_without_password(),
        set(secrets.admin_token.is_some()),
        set(secrets.zoom.video_sdk.is_some()),
        set(secrets.zoom.oauth.is_some()),
    )
}
