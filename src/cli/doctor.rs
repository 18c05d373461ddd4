//! `doctor`: looks at the database, the archive and Zoom's API from all sides, says what it found, which modes follow
//! from that, and how to mend the rest. Exit code 1 when something is wrong.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::{Common, failed};
use crate::archive;
use crate::config::{Config, Secrets};
use crate::domain::finding::{Finding, Subject, Verdict};
use crate::store::{self, StoreError};
use crate::telemetry::{self, LogTarget};

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
