//! `jobs list|show|retry|cancel`: what the queue holds, also what carries no file: manifests, removals, notifications,
//! rounds of reconciling and of verifying.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::DecimalBytes;
use uuid::Uuid;

use super::Common;
use super::ask::{
    Archive, ListArgs, Office, Whom, ended, list_of, moment, print_list, print_one, said, span_in_words,
};
use super::deeds::{Telling, each_deed};
use super::reach::Failure;
use crate::domain::ids::JobId;
use crate::domain::job::JobState;
use crate::http::api::words::{Headway, Job, Why};

/// Options of `jobs`.
#[derive(Debug, Args)]
pub(super) struct JobsArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    whom: Whom,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists jobs with their state, and why they are in it.
    List {
        /// Only these states: waiting, running, parked, done, dead, cancelled.
        #[arg(long, value_delimiter = ',', value_name = "STATE")]
        state: Vec<JobState>,
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Shows a job.
    Show {
        /// Which one; `jobs list` names them.
        #[arg(value_name = "JOB_ID")]
        job: JobId,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Tries jobs that are parked, dead or cancelled again, with all their attempts. One that waits and rests is due at once.
    Retry {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        telling: Telling,
    },
    /// Withdraws jobs that have not ended, also while they run. The file of a transfer is skipped by that; all others
    /// wait again when something wants them again.
    Cancel {
        #[command(flatten)]
        which: Which,
        /// Why, for whoever wonders later.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        telling: Telling,
    },
}

/// Of what they are jobs.
#[derive(Debug, Args)]
struct Of {
    /// Only this kind: transfer, manifest, remove, notify, reconcile, verify…
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only those that ask this account, by Zoom's id; of notifications those to this receiver.
    #[arg(long, value_name = "ACCOUNT_ID")]
    account: Option<String>,
    /// Only those about this file or recording.
    #[arg(long, value_name = "ID")]
    subject: Option<Uuid>,
}

/// Some by name, or all of a kind that stand somewhere.
#[derive(Debug, Args)]
struct Which {
    /// Which ones; `jobs list` names them.
    #[arg(
        value_name = "JOB_ID",
        required_unless_present = "state",
        conflicts_with_all = ["state", "kind", "account", "subject"]
    )]
    jobs: Vec<JobId>,
    /// All that are in one of these states, of the kind that --kind names.
    #[arg(long, value_delimiter = ',', value_name = "STATE", requires = "kind")]
    state: Vec<JobState>,
    #[command(flatten)]
    of: Of,
}

pub(super) async fn run(common: &Common, args: JobsArgs) -> ExitCode {
    ended(act(common, args).await)
}

async fn act(common: &Common, args: JobsArgs) -> Result<ExitCode, Failure> {
    let office = Office::open(common, &args.whom, Archive::Unused).await?;
    match args.action {
        Action::List { state, of, list } => {
            let query = of.query(&state);
            let header =
                ["id", "kind", "state", "due", "attempts", "subject", "reason, or owner and headway"];
            print_list(&office, "/jobs", &query, &list, (header, in_words)).await
        }
        Action::Show { job, json } => {
            print_one(&office.get::<Job>(&format!("/jobs/{job}"), &[]).await?, json)
        }
        Action::Retry { which, telling } => {
            let jobs = which.named(&office).await?;
            let path = |job: &JobId| format!("/jobs/{job}/retry");
            let done = ("jobs wait for another try", telling);
            each_deed::<_, Job>(&office, jobs, path, &Why::default(), done).await
        }
        Action::Cancel { which, reason, telling } => {
            let jobs = which.named(&office).await?;
            let path = |job: &JobId| format!("/jobs/{job}/cancel");
            let done = ("jobs are withdrawn", telling);
            each_deed::<_, Job>(&office, jobs, path, &Why { reason }, done).await
        }
    }
}

impl Of {
    /// What is asked of the list.
    fn query(&self, state: &[JobState]) -> Vec<(&'static str, String)> {
        list_of("state", state)
            .into_iter()
            .chain(said("kind", self.kind.as_ref()))
            .chain(said("account_id", self.account.as_ref()))
            .chain(said("subject", self.subject.as_ref()))
            .collect()
    }
}

impl Which {
    /// Their ids.
    async fn named(self, office: &Office) -> Result<Vec<JobId>, Failure> {
        if self.state.is_empty() {
            return Ok(self.jobs);
        }
        let mut jobs = Vec::new();
        let query = self.of.query(&self.state);
        office
            .each("/jobs", &query, &ListArgs::everything(), |page: Vec<Job>| {
                jobs.extend(page.into_iter().map(|job| job.id));
                Ok(())
            })
            .await?;
        Ok(jobs)
    }
}

fn in_words(job: &Job) -> [String; 7] {
    [
        job.id.to_string(),
        job.kind.clone(),
        job.state.to_string(),
        moment(Some(job.run_at)),
        job.attempts.to_string(),
        job.subject.map(|subject| subject.to_string()).unwrap_or_default(),
        match &job.lease_owner {
            Some(owner) => format!("{owner}{}", job.headway.map(headway).unwrap_or_default()),
            None => job.reason.clone().unwrap_or_default(),
        },
    ]
}

fn headway(of: Headway) -> String {
    let Headway { bytes, carried, bytes_per_sec, secs } = of;
    let all = bytes.map(|bytes| format!(" of {}", DecimalBytes(bytes))).unwrap_or_default();
    let left = secs.map(|secs| format!(", about {} left", span_in_words(secs))).unwrap_or_default();
    format!(": {}{all} carried, {}/s{left}", DecimalBytes(carried), DecimalBytes(bytes_per_sec))
}
