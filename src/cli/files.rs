//! `files list|show|retry|skip|unskip`: what stands where, another try for what is parked, dead or gone, and what is to be
//! left out or taken after all.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Common;
use super::ask::{Archive, ListArgs, Office, Whom, ended, list_of, moment, print_list, print_one, said};
use super::deeds::{Deeds, Telling, each_deed};
use super::reach::Failure;
use crate::domain::file::FileState;
use crate::domain::ids::{FileId, RecordingId};
use crate::domain::span::Span;
use crate::http::api::words::{File, FileShown, Retriable, Retried, RetryFiles, Why};

/// Options of `files`.
#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    whom: Whom,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists files with their state, and why they are in it.
    List {
        /// Only these states: pending, parked, archived, skipped, gone, dead.
        #[arg(long, value_delimiter = ',', value_name = "STATE")]
        state: Vec<FileState>,
        #[command(flatten)]
        of: Of,
        /// Only those that bear a mark: archived, although something about them is odd.
        #[arg(long, visible_alias = "suspect")]
        marked: bool,
        /// Only those that are not archived and cannot be had any more after so long (90s, 30m, 6h, 2d), or are past that
        /// moment. The nearest loss comes first.
        #[arg(long, value_name = "TIME", conflicts_with = "oldest_first")]
        lost_within: Option<Span>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Shows a file with everything that is known of it, and its transfer.
    Show {
        /// Which one; `files list` names them.
        #[arg(value_name = "FILE_ID")]
        file: FileId,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Tries files that are parked, dead or gone again, with all their attempts. One that is pending and rests after a failure
    /// is due at once. An archived file with a warning is fetched again: what it had stays beside what is new.
    Retry {
        /// Which ones; `files list` names them.
        #[arg(value_name = "FILE_ID", required_unless_present = "state", conflicts_with = "state")]
        files: Vec<FileId>,
        /// All that are in one of these states.
        #[arg(long, value_enum, value_delimiter = ',', value_name = "STATE")]
        state: Vec<Retriable>,
        #[command(flatten)]
        of: Of,
        /// Only says how many that are.
        #[arg(long, requires = "state")]
        dry_run: bool,
        #[command(flatten)]
        telling: Telling,
    },
    /// Leaves out files that are pending, parked or dead: nothing fetches them any more.
    Skip {
        /// Which ones; `files list` names them.
        #[arg(value_name = "FILE_ID", required = true)]
        files: Vec<FileId>,
        /// Why, for whoever wonders later.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        telling: Telling,
    },
    /// Takes files that were skipped, by a person or by a filter, after all.
    Unskip {
        /// Which ones; `files list --state skipped` names them.
        #[arg(value_name = "FILE_ID", required_unless_present = "all", conflicts_with = "all")]
        files: Vec<FileId>,
        /// All that are skipped.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        telling: Telling,
    },
}

/// Of what they are files.
#[derive(Debug, Args)]
struct Of {
    /// Only those of this recording.
    #[arg(long, value_name = "RECORDING_ID")]
    recording: Option<RecordingId>,
    /// Only those of this account, by Zoom's id.
    #[arg(long, value_name = "ACCOUNT_ID")]
    account: Option<String>,
    /// Only those of this type, as announced: MP4, M4A, CHAT…
    #[arg(long, value_name = "FILE_TYPE")]
    file_type: Option<String>,
}

pub(super) async fn run(common: &Common, args: FilesArgs) -> ExitCode {
    ended(act(common, args).await)
}

async fn act(common: &Common, args: FilesArgs) -> Result<ExitCode, Failure> {
    let office = Office::open(common, &args.whom, Archive::Unused).await?;
    let deed = |deed: &'static str| move |file: &FileId| format!("/files/{file}/{deed}");
    match args.action {
        Action::List { state, of, marked, lost_within, list } => {
            let query: Vec<_> = list_of("state", &state)
                .into_iter()
                .chain(said("recording_id", of.recording.as_ref()))
                .chain(said("account_id", of.account.as_ref()))
                .chain(said("file_type", of.file_type.as_ref()))
                .chain(marked.then(|| ("marked", "true".to_owned())))
                .chain(said("lost_within", lost_within.as_ref()))
                .collect();
            let header = ["id", "state", "type", "bytes", "lost after", "object or reason"];
            print_list(&office, "/files", &query, &list, (header, in_words)).await
        }
        Action::Show { file, json } => {
            print_one(&office.get::<FileShown>(&format!("/files/{file}"), &[]).await?, json)
        }
        Action::Retry { state, of, dry_run, telling, .. } if !state.is_empty() => {
            retry_all(&office, state, of, dry_run, telling).await
        }
        Action::Retry { files, telling, .. } => {
            each_deed::<_, File>(&office, files, deed("retry"), &Why::default(), (WAIT, telling)).await
        }
        Action::Skip { files, reason, telling } => {
            let done = ("files are left out", telling);
            each_deed::<_, File>(&office, files, deed("skip"), &Why { reason }, done).await
        }
        Action::Unskip { files, all, telling } => {
            let files = if all { skipped(&office).await? } else { files };
            let done = ("files are taken after all", telling);
            each_deed::<_, File>(&office, files, deed("unskip"), &Why::default(), done).await
        }
    }
}

/// What files are that were tried again.
const WAIT: &str = "files wait for another try";

/// All that fit, as many calls as it takes.
async fn retry_all(
    office: &Office,
    state: Vec<Retriable>,
    of: Of,
    dry_run: bool,
    telling: Telling,
) -> Result<ExitCode, Failure> {
    let wanted = RetryFiles {
        state,
        recording_id: of.recording,
        account_id: of.account,
        file_type: of.file_type,
        dry_run,
    };
    let mut told: Retried = office.post("/files/retry", &wanted).await?;
    let words = if dry_run { "files would wait for another try" } else { WAIT };
    let mut deeds = Deeds::of(told.matched, words, telling);
    if dry_run {
        deeds.tell_count()?;
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        told.files.iter().for_each(|file| deeds.did(file));
        if told.retried == 0 || told.retried >= told.matched {
            break;
        }
        told = match office.post("/files/retry", &wanted).await {
            Ok(told) => told,
            Err(error) => return deeds.broken_off(error),
        };
    }
    // What went on meanwhile needs no retry: that is no failure.
    deeds.tell()?;
    Ok(ExitCode::SUCCESS)
}

async fn skipped(office: &Office) -> Result<Vec<FileId>, Failure> {
    let mut files = Vec::new();
    let query = [("state", FileState::Skipped.to_string())];
    office
        .each("/files", &query, &ListArgs::everything(), |page: Vec<File>| {
            files.extend(page.into_iter().map(|file| file.id));
            Ok(())
        })
        .await?;
    Ok(files)
}

fn in_words(file: &File) -> [String; 6] {
    let place = match file.state {
        FileState::Archived => {
            let found = file.finding.map(|finding| format!(" (found: {finding})")).unwrap_or_default();
            let marked = file.mark.as_ref().map(|mark| format!(" (marked: {mark})")).unwrap_or_default();
            format!("{}{found}{marked}", file.object_key.as_deref().unwrap_or_default())
        }
        _ => file.reason.clone().unwrap_or_default(),
    };
    [
        file.id.to_string(),
        file.state.to_string(),
        file.file_type.clone(),
        file.bytes.or(file.announced_bytes).map(|bytes| bytes.to_string()).unwrap_or_default(),
        moment(file.loses_at),
        place,
    ]
}
