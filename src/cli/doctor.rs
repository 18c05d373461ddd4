//! `doctor`: looks at the database, the archive and Zoom's API from all sides, says what it found, which modes follow
//! from that, and how to mend the rest. Exit code 1 when something is wrong.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;

use super::terminal;
use super::{Common, failed};
use crate::clock::Clock;
use crate::config::{Config, Secrets};
use crate::domain::finding::{Finding, Look, Subject, Verdict};
use crate::telemetry::{self, LogTarget};
use crate::zoom::accounts::Accounts;
use crate::{archive, doctor, store};

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// One JSON object a finding.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(common: &Common, args: &DoctorArgs) -> ExitCode {
    let (config, secrets) = match common.load() {
        Ok(loaded) => loaded,
        Err(error) => return failed(&error.to_string()),
    };
    telemetry::init_log(config.log.format, LogTarget::Stderr, Some("error"));
    let mut findings = database(&config, &secrets).await;
    findings.extend(archive(&config, &secrets).await);
    findings.extend(zoom(&config, &secrets).await);
    match print(&findings, args.json) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(&error.to_string()),
        _ if findings.iter().any(|found| found.verdict == Verdict::Wrong) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

async fn database(config: &Config, secrets: &Secrets) -> Vec<Finding> {
    match store::open(&secrets.database_url, &config.store).await {
        Ok(store) => {
            let findings = doctor::database(store.as_ref(), Look::Whole).await;
            store.close().await;
            findings
        }
        Err(error) => vec![doctor::database_is_wrong(&error)],
    }
}

async fn archive(config: &Config, secrets: &Secrets) -> Vec<Finding> {
    match archive::open(secrets.archive_url.expose_secret(), &config.archive).await {
        Ok(archive) => archive.examine(Look::Whole).await,
        Err(error) => vec![Finding::wrong(Subject::Archive, error.to_string())],
    }
}

async fn zoom(config: &Config, secrets: &Secrets) -> Vec<Finding> {
    match Accounts::new(&config.zoom, secrets.zoom_accounts(), Clock::System) {
        Ok(accounts) => doctor::zoom(&accounts, &config.after_archive).await,
        Err(error) => vec![Finding::wrong(Subject::Zoom, error.to_string())],
    }
}

fn print(findings: &[Finding], as_json: bool) -> io::Result<()> {
    let mut out = terminal::stdout();
    for found in findings {
        if as_json {
            writeln!(out, "{}", json!(found))?;
            continue;
        }
        let sign = match found.verdict {
            Verdict::Well => "ok   ",
            Verdict::Note => "note ",
            Verdict::Wrong => "WRONG",
        };
        writeln!(out, "{sign}  {:<8}  {}", found.subject.as_str(), found.words)?;
        if let Some(mend) = &found.mend {
            writeln!(out, "                 → {mend}")?;
        }
    }
    Ok(())
}
