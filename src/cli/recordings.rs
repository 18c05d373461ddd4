//! `recordings list|show|recover`: what there is, how its files stand, and what is taken out of Zoom's trash.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Common;
use super::ask::{Archive, ListArgs, Office, Whom, ended, moment, print_list, print_one, said};
use super::reach::{Day, Failure, Reach};
use crate::clock::Clock;
use crate::domain::file::FileRow;
use crate::domain::ids::RecordingId;
use crate::domain::recording::{RecordingIdentity, RecordingKind, RecordingState};
use crate::http::api::words::{Recording, RecordingShown};
use crate::jobs::remove::tell;
use crate::zoom::accounts::Account;
use crate::zoom::api::ApiError;

/// Options of `recordings`.
#[derive(Debug, Args)]
pub(super) struct RecordingsArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    whom: Whom,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists recordings, and how their files stand.
    List {
        /// Only those of this account, by Zoom's id.
        #[arg(long, value_name = "ACCOUNT_ID")]
        account: Option<String>,
        /// Only those of this kind: video_sdk, meeting, webinar, phone.
        #[arg(long, value_name = "KIND")]
        kind: Option<RecordingKind>,
        /// Only the one that Zoom calls so: its `session_id` or `uuid`.
        #[arg(long, value_name = "ID")]
        instance: Option<String>,
        /// Only those that stand so at Zoom: started, paused, stopped, completed, trashed, deleted, recovered.
        #[arg(long, value_name = "STATE")]
        state: Option<RecordingState>,
        /// Only those that began on this day (UTC) or later.
        #[arg(long, value_name = "DAY")]
        from: Option<Day>,
        /// Only those that began before this day (UTC).
        #[arg(long, value_name = "DAY")]
        until: Option<Day>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Shows a recording with all its files.
    Show {
        /// Which one; `recordings list` names them.
        #[arg(value_name = "RECORDING_ID")]
        recording: RecordingId,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Takes recordings out of Zoom's trash, where they lie for thirty days. They stay at Zoom from then on, whatever
    /// `after_archive` says.
    Recover {
        /// Which ones; `recordings list` names them.
        #[arg(value_name = "RECORDING_ID", required = true)]
        recordings: Vec<RecordingId>,
    },
}

pub(super) async fn run(common: &Common, args: RecordingsArgs) -> ExitCode {
    ended(act(common, args).await)
}

async fn act(common: &Common, args: RecordingsArgs) -> Result<ExitCode, Failure> {
    match args.action {
        Action::List { account, kind, instance, state, from, until, list } => {
            let office = Office::open(common, &args.whom, Archive::Unused).await?;
            let midnight = |day: Day| format!("{}T00:00:00Z", day.0);
            let query: Vec<_> = said("account_id", account.as_ref())
                .into_iter()
                .chain(said("kind", kind.as_ref()))
                .chain(said("instance_id", instance.as_ref()))
                .chain(said("state", state.as_ref()))
                .chain(said("from", from.map(midnight).as_ref()))
                .chain(said("until", until.map(midnight).as_ref()))
                .collect();
            let header = ["id", "kind", "began", "at Zoom", "archived", "not yet", "stopped", "topic"];
            print_list(&office, "/recordings", &query, &list, (header, in_words)).await
        }
        Action::Show { recording, json } => {
            let office = Office::open(common, &args.whom, Archive::Unused).await?;
            print_one(&office.get::<RecordingShown>(&format!("/recordings/{recording}"), &[]).await?, json)
        }
        Action::Recover { .. } if args.whom.is_a_service() => {
            Err("recover asks Zoom itself, and the database: it cannot be asked of a service (--url)".into())
        }
        Action::Recover { recordings } => {
            let all = recover(common, &recordings).await?;
            Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn in_words(recording: &Recording) -> [String; 8] {
    let files = recording.file_counts;
    [
        recording.id.to_string(),
        recording.kind.to_string(),
        moment(recording.start_time),
        recording.state.map(|state| state.to_string()).unwrap_or_default(),
        files.archived.to_string(),
        files.pending.to_string(),
        (files.parked + files.dead + files.gone).to_string(),
        recording.topic.clone().unwrap_or_default(),
    ]
}

/// Whether all of them could be recovered.
async fn recover(common: &Common, recordings: &[RecordingId]) -> Result<bool, Failure> {
    let reach = Reach::open(common, "warn").await?;
    let mut recovered = 0;
    for id in recordings {
        let words = match recover_one(&reach, *id).await {
            Ok(()) => {
                recovered += 1;
                format!("{id} is recovered")
            }
            Err(error) => format!("{id} is not recovered: {error}"),
        };
        writeln!(std::io::stdout().lock(), "{words}")?;
    }
    Ok(recovered == recordings.len())
}

async fn recover_one(reach: &Reach, id: RecordingId) -> Result<(), Failure> {
    let (recording, files) = reach.store.recording(id).await?.ok_or("there is no such recording here")?;
    let identity = &recording.identity;
    let account = reach.accounts.for_recordings(&identity.account_id, identity.kind);
    let account = account.ok_or("there are no credentials for its account")?;
    match account.api.recover(identity, None).await {
        // Where files of it have gone one by one, it is not in the trash as a whole.
        Err(error @ ApiError::NotFound(_)) => recover_files(account, identity, &files, error).await?,
        recovered => recovered?,
    }
    reach.store.record(&tell(Clock::System.now(), &recording, RecordingState::Recovered)).await?;
    Ok(())
}

/// Takes out of the trash what of it is there. `otherwise` is why it failed as a whole, when there is nothing.
async fn recover_files(
    account: &Account,
    recording: &RecordingIdentity,
    files: &[FileRow],
    otherwise: ApiError,
) -> Result<(), ApiError> {
    let mut is_any = false;
    let mut refused = None;
    for file in files.iter().filter(|file| file.archived.is_some() && file.metadata.contains_key("id")) {
        match account.api.recover(recording, Some(&file.identity.name)).await {
            Ok(()) => is_any = true,
            Err(ApiError::NotFound(_)) => {}
            // One of them must not keep the others in the trash.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    if is_any { Ok(()) } else { Err(refused.unwrap_or(otherwise)) }
}
