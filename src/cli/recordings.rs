//! `recordings list|show|recover`: what there is, how its files stand, and what is taken out of Zoom's trash.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Common;
use super::ask::{Archive, ListArgs, Office, Unanswered, Whom, ended, moment, print_list, print_one, said};
use super::deeds::{Deeds, Telling};
use super::reach::{Day, Failure};
use crate::domain::ids::RecordingId;
use crate::domain::recording::{RecordingKind, RecordingState};
use crate::http::api::words::{Recording, RecordingShown};

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
    /// `after_archive` says, and what of them is not archived is fetched.
    Recover {
        /// Which ones; `recordings list` names them.
        #[arg(value_name = "RECORDING_ID", required = true)]
        recordings: Vec<RecordingId>,
        #[command(flatten)]
        telling: Telling,
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
        Action::Recover { recordings, telling } => {
            let office = Office::open(common, &args.whom, Archive::Unused).await?;
            recover(&office, &recordings, telling).await
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

/// Takes recordings out of the trash. One that cannot be keeps no other in it; but where nobody answers, it ends.
async fn recover(office: &Office, recordings: &[RecordingId], telling: Telling) -> Result<ExitCode, Failure> {
    let mut deeds = Deeds::of(recordings.len() as u64, "recordings are recovered", telling);
    for id in recordings {
        let done = office.post::<RecordingShown>(&format!("/recordings/{id}/recover"), &json!({})).await;
        match done {
            Ok(_) => {
                deeds.say(format_args!("{id} is recovered"))?;
                deeds.did(id);
            }
            Err(error @ Unanswered::Refused(_)) => {
                deeds.say(format_args!("{id} is not recovered: {error}"))?;
                deeds.leave(id, error);
            }
            Err(error) => return deeds.broken_off(error),
        }
    }
    deeds.end()
}
