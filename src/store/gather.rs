//! Events that wait at the same moment are recorded together: one commit, one wait for the disk, for all of them.
//!
//! Nobody waits for company. Whoever finds a turn free takes all that stands in line, its own event or not, and records
//! it; whoever comes meanwhile stands in line for the next turn. So an event that is alone goes alone and at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use super::{Recorded, StoreError};
use crate::domain::event::Event;

/// Events of one turn: beyond some dozens the wait for the disk is shared well enough, and all of them wait for the last.
const MOST_TOGETHER: usize = 64;

/// The line, and how many turns may be taken at once.
#[derive(Debug, Clone)]
pub(super) struct Gather(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    line: Mutex<VecDeque<Waiting>>,
    turns: Semaphore,
}

#[derive(Debug)]
struct Waiting {
    event: Event,
    told: Told,
}

/// Where the one who waits is told.
type Told = oneshot::Sender<Result<Recorded, StoreError>>;

impl Gather {
    pub(super) fn new(turns: usize) -> Self {
        Self(Arc::new(Inner { line: Mutex::default(), turns: Semaphore::new(turns) }))
    }

    /// Has an event recorded by `write`, which records events in the order of their coming, all or none. Where one of
    /// several spoils that for the others, each is recorded by itself.
    pub(super) async fn record<T>(
        &self,
        event: Event,
        write: impl Fn(Arc<[Event]>) -> T,
    ) -> Result<Recorded, StoreError>
    where
        T: Future<Output = Result<Vec<Recorded>, StoreError>>,
    {
        let (told, mut outcome) = oneshot::channel();
        self.line().push_back(Waiting { event, told });
        loop {
            let _turn = tokio::select! {
                biased;
                outcome = &mut outcome => return outcome.unwrap_or_else(|_| Err(crashed())),
                turn = self.0.turns.acquire() => turn.map_err(|_| crashed())?,
            };
            let (events, waiting) = self.take();
            if events.is_empty() {
                // Its event is in somebody else's turn.
                return outcome.await.unwrap_or_else(|_| Err(crashed()));
            }
            for (told, outcome) in waiting.into_iter().zip(record_all(events, &write).await) {
                // Whoever has gone does not want to know.
                let _ = told.send(outcome);
            }
        }
    }

    fn take(&self) -> (Arc<[Event]>, Vec<Told>) {
        let mut line = self.line();
        let together = line.len().min(MOST_TOGETHER);
        let (events, waiting): (Vec<_>, _) =
            line.drain(..together).map(|waiting| (waiting.event, waiting.told)).unzip();
        (events.into(), waiting)
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn record_all<T>(
    events: Arc<[Event]>,
    write: &impl Fn(Arc<[Event]>) -> T,
) -> Vec<Result<Recorded, StoreError>>
where
    T: Future<Output = Result<Vec<Recorded>, StoreError>>,
{
    match write(Arc::clone(&events)).await {
        Ok(recorded) => recorded.into_iter().map(Ok).collect(),
        Err(failure) if events.len() == 1 => vec![Err(failure)],
        // What is away is away for all of them.
        Err(StoreError::Unavailable(error)) => {
            let again = || StoreError::Unavailable(sqlx::Error::Protocol(error.to_string()));
            events.iter().map(|_| Err(again())).collect()
        }
        Err(_) => {
            let mut outcomes = Vec::with_capacity(events.len());
            for event in events.iter() {
                let alone = write([event.clone()].into()).await;
                outcomes.push(alone.map(|recorded| recorded.into_iter().next().unwrap_or_default()));
            }
            outcomes
        }
    }
}

/// What those are told whose turn did not live to tell them.
fn crashed() -> StoreError {
    StoreError::Unavailable(sqlx::Error::WorkerCrashed)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;
    use crate::domain::event::EventContent;
    use crate::domain::ids::EventId;

    fn event(name: &str) -> Event {
        Event {
            id: EventId::new(),
            received_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            name: name.to_owned(),
            body: Vec::new(),
            content: EventContent::Unreadable { reason: "a test".to_owned() },
            trace: None,
        }
    }

    /// A database that writes when it is let, refuses what is called `odd`, and remembers what came together.
    struct Database {
        open: Semaphore,
        writes: Mutex<Vec<Vec<String>>>,
    }

    impl Database {
        fn new(open: usize) -> Arc<Self> {
            Arc::new(Self { open: Semaphore::new(open), writes: Mutex::default() })
        }

        async fn write(self: Arc<Self>, events: Arc<[Event]>) -> Result<Vec<Recorded>, StoreError> {
            let names: Vec<String> = events.iter().map(|event| event.name.clone()).collect();
            self.writes.lock().unwrap().push(names.clone());
            self.open.acquire().await.unwrap().forget();
            match names.iter().any(|name| name == "odd") {
                true => Err(StoreError::Unreadable("odd".to_owned())),
                false => {
                    Ok(events.iter().map(|_| Recorded { new_files: 1, ..Recorded::default() }).collect())
                }
            }
        }

        fn writes(&self) -> Vec<Vec<String>> {
            self.writes.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn who_comes_during_a_write_goes_together_with_the_next_one() {
        let (gather, database) = (Gather::new(1), Database::new(0));
        let record = |name| {
            gather.record(event(name), |events| Arc::clone(&database).write(events)).map(Result::unwrap)
        };
        let mut all = pin!(join_all(["first", "second", "third"].map(record)));
        assert!(all.as_mut().now_or_never().is_none());
        assert_eq!(database.writes(), [["first"]]);
        database.open.add_permits(2);
        assert!(all.await.iter().all(|recorded| recorded.new_files == 1));
        assert_eq!(database.writes(), [vec!["first"], vec!["second", "third"]]);
    }

    #[tokio::test]
    async fn one_that_is_refused_spoils_none_of_the_others() {
        let (gather, database) = (Gather::new(1), Database::new(0));
        let record = |name| gather.record(event(name), |events| Arc::clone(&database).write(events));
        let mut all = pin!(join_all(["first", "second", "odd", "third"].map(record)));
        assert!(all.as_mut().now_or_never().is_none());
        database.open.add_permits(5);
        let outcomes = all.await;
        assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true]);
        let expected =
            [vec!["first"], vec!["second", "odd", "third"], vec!["second"], vec!["odd"], vec!["third"]];
        assert_eq!(database.writes(), expected);
    }

    #[tokio::test]
    async fn what_is_away_is_asked_once_for_all() {
        let (gather, writes) = (Gather::new(1), AtomicUsize::new(0));
        let away = |_| async {
            writes.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut))
        };
        let outcomes =
            join_all(["first", "second", "third"].map(|name| gather.record(event(name), away))).await;
        assert!(
            outcomes.iter().all(|outcome| matches!(outcome, Err(StoreError::Unavailable(_)))),
            "{outcomes:?}"
        );
        assert_eq!(writes.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn who_goes_away_holds_up_nobody() {
        let (gather, database) = (Gather::new(1), Database::new(0));
        let record = |name| gather.record(event(name), |events| Arc::clone(&database).write(events));
        let mut stays = {
            let (mut goes, mut stays) = (Box::pin(record("goes")), Box::pin(record("stays")));
            poll_fn(|context| {
                assert!(
                    goes.as_mut().poll(context).is_pending() && stays.as_mut().poll(context).is_pending()
                );
                Poll::Ready(())
            })
            .await;
            stays
        };
        database.open.add_permits(2);
        assert_eq!(stays.as_mut().await.unwrap().new_files, 1);
        assert_eq!(database.writes(), [["goes"], ["stays"]]);
    }
}
