//! `doctor`: looks at the database, the archive and Zoom's API from all sides, says what it found, which modes follow
//! from that, and how to mend the rest. Exit code 1 when something is wrong.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::{Common, failed};
use crate::archive;
use crate::clock::Clock;
use crate::config::{Config, Secrets};
use crate::domain::finding::{Finding, Subject, Verdict};
use crate::domain::recording::RecordingKind;
use crate::store::{self, StoreError};
use crate::telemetry::{self, LogTarget};
use crate::zoom::accounts::{Account, Accounts};
use crate::zoom::api::days::Days;
use crate::zoom::api::list::{ListOf, Within};

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
    let wrong = |error: &StoreError| Finding::wrong(Subject::Database, format!("DATABASE_URL: {error}"));
    let store = match store::open(&secrets.database_url, &config.store).await {
        Ok(store) => store,
        Err(error) => return vec![wrong(&error)],
    };
    let began = Instant::now();
    let answered = store.ping().await;
    let millis = began.elapsed().as_millis();
    let words = format!("{} answers within {millis} ms, with the schema of this version", store.describe());
    let mut findings = vec![match answered {
        Ok(()) => Finding::well(Subject::Database, words),
        Err(error) => wrong(&error),
    }];
    match store.examine().await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(wrong(&error)),
    }
    store.close().await;
    findings
}

async fn archive(config: &Config, secrets: &Secrets) -> Vec<Finding> {
    match archive::open(&secrets.archive_url, &config.archive).await {
        Ok(archive) => archive.examine().await,
        Err(error) => vec![Finding::wrong(Subject::Archive, error.to_string())],
    }
}

/// Of each account, whether its credentials are taken for what they are, and may do what we ask of them.
async fn zoom(config: &Config, secrets: &Secrets) -> Vec<Finding> {
    let accounts = match Accounts::new(&config.zoom, secrets.zoom_accounts(), Clock::System) {
        Ok(accounts) => accounts,
        Err(error) => return vec![Finding::wrong(Subject::Zoom, error.to_string())],
    };
    let mut findings = Vec::new();
    for account in accounts.iter() {
        let lists = [
            (RecordingKind::VideoSdk, ListOf::Sessions { account_id: account.name.clone() }),
            (RecordingKind::Meeting, ListOf::Meetings),
        ];
        let asked = lists.into_iter().filter(|(kind, _)| account.api.knows(*kind));
        let before = findings.len();
        for (kind, of) in asked {
            findings.push(may_list(account, kind, of).await);
        }
        if findings.len() == before {
            findings.push(Finding::note(
                Subject::Zoom,
                format!(
                    "account {}: no credentials for Zoom's API: tokens that expire are not renewed, and what no \
                     webhook announced is not found",
                    account.name
                ),
                "set ZOOM_VIDEO_SDK_API_KEY and _SECRET, or ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID and _SECRET",
            ));
        }
    }
    findings
}

async fn may_list(account: &Account, kind: RecordingKind, of: ListOf) -> Finding {
    let today = Days::last(1, Clock::System.now());
    match account.api.recordings(of, Within::Days(today)).next().await {
        Ok(_) => Finding::well(
            Subject::Zoom,
            format!(
                "account {}: its credentials for {} are taken and may list recordings",
                account.name, kind
            ),
        ),
        Err(error) => Finding::wrong(Subject::Zoom, format!("account {}: {error}", account.name)),
    }
}

fn print(findings: &[Finding], as_json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
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
        let subject = match found.subject {
            Subject::Database => "database",
            Subject::Archive => "archive ",
            Subject::Zoom => "zoom    ",
        };
        writeln!(out, "{sign}  {subject}  {}", found.words)?;
        if let Some(mend) = &found.mend {
            writeln!(out, "                 → {mend}")?;
        }
    }
    Ok(())
}
