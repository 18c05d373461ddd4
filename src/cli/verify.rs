//! `verify`: reads objects again and compares them with what was proven of them, with their manifests, and all keys with
//! the rows. What is found is written into the rows; broken off, it goes on from there with `--share` or with what was
//! not looked at for longest. Exit code 1 when something is not as it was proven.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::str::FromStr;

use chrono::NaiveTime;
use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use secrecy::ExposeSecret;
use serde_json::json;

use super::reach::{Day, Failure, Reach};
use super::terminal;
use super::{Common, failed};
use crate::archive;
use crate::archive_identity;
use crate::domain::verification::{ListedObject, Mend};
use crate::jobs::verify::{Looked, MOST_FOREIGN, Verifier};
use crate::store::{Selection, SharedStore};

/// Options of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Only this share of the objects, such as 1/7: those that were not looked at for longest.
    #[arg(long, value_name = "N/M", conflicts_with_all = ["all", "since"])]
    share: Option<Share>,
    /// All objects; the default.
    #[arg(long, conflicts_with = "since")]
    all: bool,
    /// Only what was archived from this day (UTC) on, such as 2026-01-15.
    #[arg(long, value_name = "DATE")]
    since: Option<Day>,
    /// Only this account, by the name that the settings give it, or by Zoom's id.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// One JSON object a line: each finding, each foreign object, and the report at the end.
    #[arg(long)]
    json: bool,
}

/// A part of all objects, as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    parts: u64,
    of: u64,
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "a share is written N/M, such as 1/7, with N from 1 to M".to_owned();
        let (parts, of) = text.split_once('/').ok_or_else(wrong)?;
        let (parts, of) = (parts.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
        if (1..=of).contains(&parts) { Ok(Self { parts, of }) } else { Err(wrong()) }
    }
}

impl Share {
    /// How many of so many files, rounded up.
    fn of(self, files: u64) -> u64 {
        let share = (u128::from(files) * u128::from(self.parts)).div_ceil(u128::from(self.of));
        u64::try_from(share).unwrap_or(files)
    }
}

/// What was found.
#[derive(Debug, Default)]
struct Report {
    files: u64,
    findings: u64,
    /// Objects listed, and those of them that no row knows; `None` when the archive was not listed.
    listing: Option<(u64, u64)>,
    /// Whether anything can be mended by another try.
    can_be_mended: bool,
}

impl Report {
    fn is_clean(&self) -> bool {
        self.findings == 0 && self.listing.is_none_or(|(_, foreign)| foreign == 0)
    }
}

pub(super) async fn run(common: &Common, args: VerifyArgs) -> ExitCode {
    match verify(common, &args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error.to_string()),
    }
}

/// Whether all is as it was proven.
async fn verify(common: &Common, args: &VerifyArgs) -> Result<bool, Failure> {
    // What is found is told to those who want to hear of it.
    let Reach { config, secrets, store, .. } = Reach::open(common, "error").await?;
    let archive = archive::open(secrets.archive_url.expose_secret(), &config.archive).await?;
    archive_identity::check(&store, &archive).await?;
    archive.ping().await?;
    let verifier = Verifier::new(&store, &archive, &config.verify);
    let selection = Selection {
        account_ids: args
            .account
            .as_deref()
            .map(|name| secrets.account_names().ids(name))
            .unwrap_or_default(),
        archived_since: args.since.map(|Day(day)| day.and_time(NaiveTime::MIN).and_utc()),
        file: None,
    };
    let mut report = Report::default();
    let bar = look(&store, &verifier, selection, args, &mut report).await?;
    // What is narrowed by a day or an account says nothing of all the keys.
    if args.since.is_none() && args.account.is_none() {
        list(&verifier, args, &bar, &mut report).await?;
    }
    bar.finish_and_clear();
    conclude(&report, args.json)?;
    Ok(report.is_clean())
}

/// Looks at the files.
async fn look(
    store: &SharedStore,
    verifier: &Verifier,
    selection: Selection,
    args: &VerifyArgs,
    report: &mut Report,
) -> Result<ProgressBar, Failure> {
    let to_verify = store.to_verify(&selection, std::time::Duration::ZERO).await?;
    if let Some(account) = args.account.as_ref().filter(|_| to_verify.files == 0) {
        return Err(format!("nothing is archived of an account `{account}`").into());
    }
    let most = args.share.map_or(to_verify.files, |share| share.of(to_verify.files));
    // Of a share, nobody knows how many bytes it has before it was read.
    let bytes = if most == to_verify.files { Some(to_verify.bytes) } else { None };
    let bar = bar(args.json, bytes);
    let mut broken = None;
    let mut see = |looked: &Looked| {
        report.files += 1;
        bar.set_message(HumanCount(report.files).to_string());
        let Some(found) = &looked.found else { return };
        report.findings += 1;
        report.can_be_mended |= found.finding.mend().is_some();
        if broken.is_none() {
            broken = bar.suspend(|| tell(looked, args.json)).err();
        }
    };
    let mut walk = verifier.walk(selection, to_verify.until, most);
    while walk.next(&|bytes| bar.inc(bytes), &mut see).await? {}
    match broken {
        Some(error) => Err(error.into()),
        None => Ok(bar),
    }
}

/// Goes through the archive's listing.
async fn list(
    verifier: &Verifier,
    args: &VerifyArgs,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), Failure> {
    let (mut listed, mut foreign, mut after) = (0, 0_u64, None);
    loop {
        let room = MOST_FOREIGN.saturating_sub(u32::try_from(foreign).unwrap_or(u32::MAX));
        let sifted = verifier.sift(after.as_deref(), room).await?;
        listed += sifted.listed;
        foreign += sifted.foreign.len() as u64;
        for object in &sifted.foreign {
            bar.suspend(|| tell_foreign(object, args.json))?;
        }
        report.listing = Some((listed, foreign));
        match sifted.last {
            None => return Ok(()),
            last => after = last,
        }
    }
}

fn bar(as_json: bool, bytes: Option<u64>) -> ProgressBar {
    if as_json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match bytes {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{bar:30} {bytes} of {total_bytes}, {msg} files, {bytes_per_sec}, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}, {msg} files, {bytes_per_sec}, {elapsed}"),
    };
    bar.with_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()),
    )
}

/// One file that is not as it was proven.
fn tell(looked: &Looked, as_json: bool) -> io::Result<()> {
    let Looked { file, found: Some(found) } = looked else { return Ok(()) };
    let mut out = terminal::stdout();
    let key = file.object_key.as_deref().unwrap_or_default();
    if as_json {
        let finding = json!({
            "finding": found.finding,
            "detail": found.detail,
            "file_id": file.id,
            "recording_id": file.recording_id,
            "object_key": key,
            "bytes": file.archived.as_ref().map(|archived| archived.bytes),
            "sha256": file.archived.as_ref().map(|archived| archived.sha256),
            "can_be_mended": found.finding.mend().is_some(),
        });
        return writeln!(out, "{finding}");
    }
    writeln!(out, "{}: {key}: {}", found.finding, found.detail)?;
    let advice = match found.finding.mend() {
        Some(Mend::FetchAgain | Mend::FetchAgainBeside) => "has Zoom asked for it again",
        Some(Mend::WriteManifest) => "has the manifest written again",
        None => return Ok(()),
    };
    writeln!(out, "    → zoom-archiver findings retry {}   {advice}", file.id)
}

fn tell_foreign(object: &ListedObject, as_json: bool) -> io::Result<()> {
    let mut out = terminal::stdout();
    if as_json {
        return writeln!(out, "{}", json!({ "foreign": object.key, "bytes": object.bytes }));
    }
    writeln!(
        out,
        "foreign: {}: no file and no recording knows this object of {} bytes",
        object.key, object.bytes
    )
}

fn conclude(report: &Report, as_json: bool) -> io::Result<()> {
    let mut out = terminal::stdout();
    if as_json {
        let told = json!({
            "clean": report.is_clean(),
            "files": report.files,
            "findings": report.findings,
            "listed": report.listing.map(|(listed, _)| listed),
            "foreign": report.listing.map(|(_, foreign)| foreign),
        });
        return writeln!(out, "{}", json!({ "report": told }));
    }
    let right = report.files - report.findings;
    writeln!(out, "{} of {} files are as they were proven.", HumanCount(right), HumanCount(report.files))?;
    if let Some((listed, foreign)) = report.listing {
        let (foreign, listed) = (HumanCount(foreign), HumanCount(listed));
        writeln!(out, "{foreign} of {listed} objects in the archive are foreign.")?;
    }
    if report.findings > 0 {
        writeln!(out, "The findings stand in the record: zoom-archiver findings list")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up_and_never_more_than_all() {
        let share = |text: &str| text.parse::<Share>();
        for (text, files, expected) in [("1/7", 0, 0), ("1/7", 1, 1), ("1/7", 15, 3), ("7/7", 15, 15)] {
            assert_eq!(share(text).unwrap().of(files), expected, "{text} of {files}");
        }
        assert_eq!(share("1/1").unwrap().of(u64::MAX), u64::MAX);
        for wrong in ["", "1", "0/7", "8/7", "1/0", "a/7", "1/-7", "1/7/2"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
