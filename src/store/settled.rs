//! What a settlement does to a job and to its file: one table of decisions, the same for both databases.

use std::collections::BTreeMap;
use std::time::Duration;

use super::announcement::clean;
use super::rows::millis;
use crate::domain::file::ArchivedFile;
use crate::domain::ids::FileId;
use crate::domain::job::{Cost, JobState, Settlement, Task, WaitsFor};
use crate::domain::notice::{News, NoticeKind};

/// Why the sweeper parks a job.
pub(super) const LOST_TOO_OFTEN: &str =
    "its workers died, or lost touch with the database, too many times in a row: it may be what kills them";

/// Whether a checkpoint says that the job came further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Headway {
    /// It did: what went wrong before is forgotten.
    Made,
    /// It did not.
    None,
}

/// How a run is written down.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// The job's new state, unless it was wanted again and goes again.
    pub(super) state: JobState,
    /// Whether it waits again at once, in place of `state`, when it was wanted again while it ran.
    pub(super) goes_again: bool,
    /// Whether this is an end without a failure: the checkpoint, the reason and the counts are forgotten.
    pub(super) finishes: bool,
    /// How long it rests when it waits, in milliseconds.
    pub(super) rest_ms: i64,
    /// Attempts that this run cost.
    pub(super) attempts: i64,
    /// Snoozes that this run cost.
    pub(super) snoozes: i64,
    /// What it waits for when it is parked.
    pub(super) waits_for: Option<WaitsFor>,
    /// Why it waits, is parked or dead; where there is nothing to say, what was said before stands.
    pub(super) reason: Option<String>,
    /// Why the transfer's file is gone, when it is.
    pub(super) gone: Option<String>,
    /// The file that is archived with it.
    pub(super) archived: Option<(FileId, ArchivedFile)>,
    /// The jobs that follow, each once, in one order for all writers, with their rest in milliseconds.
    pub(super) next: Vec<(Task, i64)>,
    /// What receivers are told of the job's subject, unless the job goes again.
    pub(super) news: Option<News>,
}

impl Settled {
    pub(super) fn new(settlement: Settlement) -> Self {
        match settlement {
            Settlement::Done(completion) => Self {
                // Nothing more can be wanted of a transfer whose file is archived.
                goes_again: completion.archived.is_none(),
                finishes: true,
                archived: completion.archived,
                next: each_once(completion.next),
                news: completion.news,
                ..Self::plain(JobState::Done)
            },
            Settlement::Gone { reason, next } => Self {
                // A file that was announced anew while Zoom was asked is not gone.
                goes_again: true,
                finishes: true,
                news: Some(News::with_reason(NoticeKind::FileGone, &clean(&reason))),
                gone: Some(clean(&reason)),
                next: each_once(next),
                ..Self::plain(JobState::Done)
            },
            Settlement::Wait { after, reason, cost } => Self {
                rest_ms: millis(after),
                attempts: (cost == Cost::Attempt).into(),
                snoozes: (cost == Cost::Snooze).into(),
                reason: reason.as_deref().map(clean),
                ..Self::plain(JobState::Waiting)
            },
            Settlement::Park { waits_for, reason } => Self {
                // The token that it would wait for came while it ran.
                goes_again: waits_for == WaitsFor::Token,
                waits_for: Some(waits_for),
                // A token may come by itself; that it does not in time is told as a loss that is near.
                news: (waits_for == WaitsFor::Person)
                    .then(|| News::with_reason(NoticeKind::FileParked, &clean(&reason))),
                reason: Some(clean(&reason)),
                ..Self::plain(JobState::Parked)
            },
            Settlement::Dead { reason } => Self {
                attempts: 1,
                news: Some(News::with_reason(NoticeKind::FileDead, &clean(&reason))),
                reason: Some(clean(&reason)),
                ..Self::plain(JobState::Dead)
            },
        }
    }

    fn plain(state: JobState) -> Self {
        Self {
            state,
            goes_again: false,
            finishes: false,
            rest_ms: 0,
            attempts: 0,
            snoozes: 0,
            waits_for: None,
            reason: None,
            gone: None,
            archived: None,
            next: Vec::new(),
            news: None,
        }
    }
}

fn each_once(next: Vec<(Task, Duration)>) -> Vec<(Task, i64)> {
    let mut tasks = BTreeMap::new();
    for (task, rest) in next {
        let rest = millis(rest);
        tasks.entry(task).and_modify(|known: &mut i64| *known = rest.min(*known)).or_insert(rest);
    }
    tasks.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::RecordingId;
    use crate::domain::job::Completion;

    #[test]
    fn a_job_that_follows_twice_follows_once_at_the_earlier_time() {
        let task = Task::Manifest(RecordingId::new());
        let next = vec![(task, Duration::from_secs(5)), (task, Duration::from_secs(1))];
        let settled = Settled::new(Settlement::Done(Box::new(Completion { next, ..Completion::default() })));
        assert_eq!(settled.next, [(task, 1000)]);
    }

    #[test]
    fn only_a_wait_for_a_token_gives_way_to_a_token_that_came_meanwhile() {
        let parked = |waits_for| Settled::new(Settlement::Park { waits_for, reason: "why".into() });
        assert!(parked(WaitsFor::Token).goes_again);
        assert!(!parked(WaitsFor::Person).goes_again);
    }

    #[test]
    fn each_way_of_waiting_costs_what_it_says() {
        let costs = |cost| {
            let settled = Settled::new(Settlement::Wait { after: Duration::ZERO, reason: None, cost });
            (settled.attempts, settled.snoozes)
        };
        assert_eq!(costs(Cost::Attempt), (1, 0));
        assert_eq!(costs(Cost::Snooze), (0, 1));
        assert_eq!(costs(Cost::Nothing), (0, 0));
    }
}
