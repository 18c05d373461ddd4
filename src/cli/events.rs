//! `events list|show|replay`: what Zoom has told, as it is kept, and how it is recorded once more.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Common;
use super::ask::{Archive, ListArgs, Office, Whom, ended, moment, print_list, print_one, said};
use super::reach::Failure;
use super::terminal;
use crate::domain::ids::{EventId, RecordingId};
use crate::http::api::words::{Event, EventShown, Replayed};

/// Options of `events`.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    whom: Whom,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists events.
    List {
        /// Only those of this kind, by Zoom's name for it.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Only those about this recording.
        #[arg(long, value_name = "RECORDING_ID")]
        recording: Option<RecordingId>,
        /// Only those that could not be read.
        #[arg(long)]
        unreadable: bool,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Shows an event with its body, without tokens.
    Show {
        /// Which one; `events list` names them.
        #[arg(value_name = "EVENT_ID")]
        event: EventId,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Records events once more, as if Zoom had sent them again; what is recorded already stays as it is. After an upgrade,
    /// what could not be read may be readable.
    Replay {
        /// Which ones; `events list` names them.
        #[arg(
            value_name = "EVENT_ID",
            required_unless_present = "unreadable",
            conflicts_with = "unreadable"
        )]
        events: Vec<EventId>,
        /// All that could not be read.
        #[arg(long)]
        unreadable: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(common: &Common, args: EventsArgs) -> ExitCode {
    ended(act(common, args).await)
}

async fn act(common: &Common, args: EventsArgs) -> Result<ExitCode, Failure> {
    let office = Office::open(common, &args.whom, Archive::Unused).await?;
    match args.action {
        Action::List { name, recording, unreadable, list } => {
            let query: Vec<_> = said("name", name.as_ref())
                .into_iter()
                .chain(said("recording_id", recording.as_ref()))
                .chain(unreadable.then(|| ("unreadable", "true".to_owned())))
                .collect();
            let header = ["id", "received", "name", "bytes", "recording or trouble"];
            print_list(&office, "/events", &query, &list, (header, in_words)).await
        }
        Action::Show { event, json } => {
            print_one(&office.get::<EventShown>(&format!("/events/{event}"), &[]).await?, json)
        }
        Action::Replay { events, unreadable, json } => {
            let events = if unreadable { unread(&office).await? } else { events };
            replay(&office, events, json).await
        }
    }
}

/// Exit code 1 when one of them cannot be read.
async fn replay(office: &Office, events: Vec<EventId>, json: bool) -> Result<ExitCode, Failure> {
    let mut all_read = true;
    for event in events {
        let told: Replayed = office.post(&format!("/events/{event}/replay"), &json!({})).await?;
        all_read &= told.readable;
        if json {
            print_one(&told, true)?;
            continue;
        }
        let words = match &told.reason {
            Some(reason) => format!("cannot be read: {reason}"),
            None => format!("{} new files, {} known, {} woken", told.new_files, told.known_files, told.woken),
        };
        writeln!(terminal::stdout(), "{event}: {words}")?;
    }
    Ok(if all_read { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn unread(office: &Office) -> Result<Vec<EventId>, Failure> {
    let mut events = Vec::new();
    let query = [("unreadable", "true".to_owned())];
    office
        .each("/events", &query, &ListArgs::everything(), |page: Vec<Event>| {
            events.extend(page.into_iter().map(|event| event.id));
            Ok(())
        })
        .await?;
    Ok(events)
}

fn in_words(event: &Event) -> [String; 5] {
    let recording = event.recording_id.map(|recording| recording.to_string());
    [
        event.id.to_string(),
        moment(Some(event.received_at)),
        event.name.clone(),
        event.bytes.to_string(),
        event.unreadable.clone().or(recording).unwrap_or_default(),
    ]
}
