//! `recordings recover`: takes a recording out of Zoom's trash.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::reach::{Failure, Reach};
use super::{Common, failed};
use crate::clock::Clock;
use crate::domain::file::FileRow;
use crate::domain::ids::RecordingId;
use crate::domain::recording::{RecordingIdentity, RecordingState};
use crate::jobs::remove::tell;
use crate::zoom::accounts::Account;
use crate::zoom::api::ApiError;

/// Options of `recordings`.
#[derive(Debug, Args)]
pub(super) struct RecordingsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Takes recordings out of Zoom's trash, where they lie for thirty days. They stay at Zoom from then on, whatever
    /// `after_archive` says.
    Recover {
        /// Which ones: `recording_id` in `files list --json`.
        #[arg(value_name = "RECORDING_ID", required = true)]
        recordings: Vec<RecordingId>,
    },
}

pub(super) async fn run(common: &Common, args: RecordingsArgs) -> ExitCode {
    let Action::Recover { recordings } = args.action;
    match recover(common, &recordings).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error.to_string()),
    }
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
