//! One round of verifying: the share of the archive that was not looked at for longest, so that all of it is looked at
//! within `verify.period_days`; what is late beyond that; and then the archive's listing, for objects that no row knows.
//!
//! How far a round has come is in its checkpoint, so a worker that ends leaves the rest to another one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::super::Jobs;
use super::super::transfer::alive_while;
use super::{Looked, MOST_FOREIGN, VerifyError};
use crate::archive::ArchiveError;
use crate::domain::job::{Job, Outcome};
use crate::store::{Selection, ToVerify};
use crate::worker::JobContext;

/// How far a round has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Round {
    /// When it began, by the database's clock: what was looked at since is not looked at again.
    until: DateTime<Utc>,
    /// Files that it has still to look at.
    left: u64,
    /// Files that it has looked at, and those of them that are not as they were proven.
    files: u64,
    findings: u64,
    /// The key up to which it has listed the archive.
    listed_to: Option<String>,
    /// Foreign objects found until there.
    foreign: u64,
}

impl Round {
    fn new(to_verify: ToVerify, period_days: u32) -> Self {
        let share = to_verify.files.div_ceil(u64::from(period_days.max(1)));
        Self {
            until: to_verify.until,
            left: share.max(to_verify.overdue),
            files: 0,
            findings: 0,
            listed_to: None,
            foreign: 0,
        }
    }
}

/// Runs the job.
pub async fn run(jobs: &Jobs, job: &Job, context: &JobContext) -> Outcome {
    tokio::select! {
        biased;
        () = context.stopped() => Outcome::Stopped,
        ended = round(jobs, job, context) => match ended {
            Ok(()) => Outcome::Done(Box::default()),
            Err(error) => error.into(),
        },
    }
}

async fn round(jobs: &Jobs, job: &Job, context: &JobContext) -> Result<(), VerifyError> {
    let begun = job.checkpoint.clone().and_then(|checkpoint| serde_json::from_value(checkpoint).ok());
    let mut round = match begun {
        Some(round) => round,
        None => {
            let to_verify = jobs.store.to_verify(&Selection::default(), jobs.verify.period()).await?;
            Round::new(to_verify, jobs.verify.period_days)
        }
    };
    files(jobs, context, &mut round).await?;
    match listing(jobs, context, &mut round).await {
        // Not a reason to look at the files again, and again.
        Err(VerifyError::Archive(error)) if is_there(jobs).await => {
            warn!(%error, "the archive cannot be listed: foreign objects are not found");
        }
        listed => listed?,
    }
    info!(round.files, round.findings, round.foreign, "verified a share of the archive");
    Ok(())
}

async fn files(jobs: &Jobs, context: &JobContext, round: &mut Round) -> Result<(), VerifyError> {
    let mut walk = jobs.verifier.walk(Selection::default(), round.until, round.left);
    loop {
        let (mut files, mut findings) = (0, 0);
        let mut see = |looked: &Looked| {
            files += 1;
            findings += u64::from(looked.found.is_some());
        };
        let read = |bytes| context.advance(bytes);
        let more = alive_while(context, walk.next(&read, &mut see)).await?;
        round.files += files;
        round.findings += findings;
        round.left = if more { walk.left() } else { 0 };
        context.checkpoint(&as_checkpoint(round)).await?;
        if !more {
            return Ok(());
        }
    }
}

async fn listing(jobs: &Jobs, context: &JobContext, round: &mut Round) -> Result<(), VerifyError> {
    loop {
        let room = MOST_FOREIGN.saturating_sub(u32::try_from(round.foreign).unwrap_or(u32::MAX));
        let sifted = alive_while(context, jobs.verifier.sift(round.listed_to.as_deref(), room)).await?;
        round.foreign += sifted.foreign.len() as u64;
        if sifted.last.is_none() {
            return Ok(());
        }
        round.listed_to = sifted.last;
        context.checkpoint(&as_checkpoint(round)).await?;
    }
}

async fn is_there(jobs: &Jobs) -> bool {
    !matches!(jobs.archive.ping().await, Err(ArchiveError::Unavailable(_)))
}

fn as_checkpoint(round: &Round) -> serde_json::Value {
    serde_json::to_value(round).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(files: u64, overdue: u64, period_days: u32) -> u64 {
        let until = DateTime::UNIX_EPOCH;
        Round::new(ToVerify { until, files, bytes: 0, overdue }, period_days).left
    }

    #[test]
    fn a_share_is_large_enough_for_all_to_have_their_turn_and_for_what_is_late() {
        for (files, overdue, days, share) in
            [(0, 0, 30, 0), (1, 0, 30, 1), (30, 0, 30, 1), (31, 0, 30, 2), (31, 9, 30, 9), (5, 5, 1, 5)]
        {
            assert_eq!(round(files, overdue, days), share);
        }
        // Without arrivals, a period of rounds goes through all of it.
        assert!((0..30).map(|_| round(1001, 0, 30)).sum::<u64>() >= 1001);
    }
}
