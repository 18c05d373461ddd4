//! What the record is asked when it is compared with Zoom, on both databases.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use zoom_archiver::domain::event::EventContent;
use zoom_archiver::domain::job::{Completion, JobState, Settlement, Task};
use zoom_archiver::store::SharedStore;

use crate::support::announce::{event, session};
use crate::support::database::{Database, on_each_database};

const LEASE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

on_each_database![
    a_recording_is_found_by_what_makes_it_the_same,
    recordings_are_found_by_the_day_on_which_they_began,
    tokens_of_files_that_wait_are_told_and_no_others,
    a_job_by_period_waits_once_however_many_ask_for_it,
    a_job_by_period_comes_again_when_its_time_is_over,
];

async fn a_recording_is_found_by_what_makes_it_the_same(database: Database) {
    let store = database.store().await;
    let told = session("s/1+==", 2);
    store.record(&told).await.unwrap();
    let EventContent::Announcement(announcement) = &told.content else { panic!("an announcement") };
    let identity = announcement.recording.identity.clone();
    let (recording, files) = store.find(&identity).await.unwrap().unwrap();
    assert_eq!((recording.identity, files.len()), (identity.clone(), 2));
    for other in ["s/1+=", "S/1+=="] {
        let other = zoom_archiver::domain::recording::RecordingIdentity {
            instance_id: other.to_owned(),
            ..identity.clone()
        };
        assert!(store.find(&other).await.unwrap().is_none());
    }
}

async fn recordings_are_found_by_the_day_on_which_they_began(database: Database) {
    let store = database.store().await;
    let begin = |id: &str, start: Value| {
        event(
            &json!({ "event": "session.recording_completed", "payload": { "account_id": "acc", "object": {
                "session_id": id, "start_time": start, "recording_files": [] } } })
            .to_string(),
        )
    };
    for (id, start) in [
        ("before", json!("2026-01-31T23:59:59Z")),
        ("first", json!("2026-02-01T00:00:00Z")),
        ("last", json!("2026-02-28T23:59:59Z")),
        ("after", json!("2026-03-01T00:00:00Z")),
        ("unsaid", Value::Null),
    ] {
        store.record(&begin(id, start)).await.unwrap();
    }
    let moment = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let (from, until) = (moment("2026-02-01T00:00:00Z"), moment("2026-03-01T00:00:00Z"));
    let first = store.began_between(from, until, None, 1).await.unwrap().remove(0);
    let rest = store.began_between(from, until, Some(first.id), 10).await.unwrap();
    let found: Vec<_> = std::iter::once(first).chain(rest).map(|row| row.identity.instance_id).collect();
    assert_eq!(found, ["first", "last"]);
}

async fn tokens_of_files_that_wait_are_told_and_no_others(database: Database) {
    use secrecy::ExposeSecret;
    let store = database.store().await;
    store.record(&session("s", 3)).await.unwrap();
    // One that is gone has none any more.
    let job = store.claim("test", 1, LEASE, &[]).await.unwrap().remove(0);
    let gone = Settlement::Gone { reason: "Zoom says so".to_owned(), next: Vec::new() };
    store.settle(&job.lease, gone).await.unwrap();
    let first = store.held_tokens(None, 1).await.unwrap().remove(0);
    let rest = store.held_tokens(Some(first.file), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    for held in [&first, &rest[0]] {
        assert_eq!((held.token.expose_secret(), held.recording.instance_id.as_str()), ("token", "s"));
        assert_ne!(Task::Transfer(held.file), job.task);
    }
}

async fn jobs_in(store: &SharedStore, state: JobState) -> u64 {
    let depths = store.depth().await.unwrap();
    depths.iter().filter(|depth| depth.state == state).map(|depth| depth.jobs).sum()
}

async fn a_job_by_period_waits_once_however_many_ask_for_it(database: Database) {
    let store = database.store().await;
    let asks = (0..8).map(|_| store.repeat(Task::Reconcile, HOUR));
    let woken = futures_util::future::try_join_all(asks).await.unwrap();
    assert_eq!(woken.into_iter().filter(|woken| *woken).count(), 1);
    assert_eq!(jobs_in(&store, JobState::Waiting).await, 1);
    let job = store.claim("test", 10, LEASE, &[]).await.unwrap().remove(0);
    assert_eq!(job.task, Task::Reconcile);
    assert!(!store.repeat(Task::Reconcile, Duration::ZERO).await.unwrap(), "it runs");
    store.settle(&job.lease, Settlement::Done(Box::new(Completion::default()))).await.unwrap();
    assert!(!store.repeat(Task::Reconcile, HOUR).await.unwrap(), "it has just run");
    assert_eq!(jobs_in(&store, JobState::Done).await, 1);
}

async fn a_job_by_period_comes_again_when_its_time_is_over(database: Database) {
    let store = database.store().await;
    let dead = Settlement::Dead { reason: "why".to_owned() };
    for ended in [Settlement::Done(Box::new(Completion::default())), dead] {
        assert!(store.repeat(Task::Reconcile, Duration::ZERO).await.unwrap());
        let job = store.claim("test", 1, LEASE, &[]).await.unwrap().remove(0);
        assert_eq!(job.attempts, 0);
        store.settle(&job.lease, ended).await.unwrap();
    }
    assert!(store.repeat(Task::Reconcile, Duration::ZERO).await.unwrap(), "although it was dead");
}
