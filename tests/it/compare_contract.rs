//! What the record is asked when it is compared with Zoom, on both databases.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::event::{Event, EventContent};
use zoom_archiver::domain::job::{JobState, Settlement, Task};
use zoom_archiver::store::SharedStore;

use crate::support::announce::{event, session};
use crate::support::database::{Database, on_each_database};

const LEASE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

on_each_database![
    a_recording_is_found_by_what_makes_it_the_same,
    recordings_are_found_by_the_day_on_which_they_began,
    files_that_wait_with_a_token_that_ends_soon_are_told_and_no_others,
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

async fn files_that_wait_with_a_token_that_ends_soon_are_told_and_no_others(database: Database) {
    let store = database.store().await;
    let now = Clock::System.now();
    for (session, hours) in [("soon", 1), ("late", 20)] {
        store.record(&with_token(session, now + TimeDelta::hours(hours))).await.unwrap();
    }
    // One that is gone needs none any more.
    let job = store.claim("test", 1, LEASE, &[]).await.unwrap().remove(0);
    let gone = Settlement::Gone { reason: "Zoom says so".to_owned(), next: Vec::new() };
    store.settle(&job.lease, gone).await.unwrap();
    let before = |hours| now + TimeDelta::hours(hours);
    let soon = store.ending_tokens(before(6), None, 10).await.unwrap();
    let sessions: Vec<_> = soon.iter().map(|ending| ending.recording.instance_id.as_str()).collect();
    let is_of_soon = soon.iter().all(|ending| Task::Transfer(ending.file) != job.task);
    assert!(is_of_soon && sessions.iter().all(|session| *session == "soon"), "{sessions:?}");
    let all = store.ending_tokens(before(48), None, 10).await.unwrap();
    assert_eq!(all.len(), 3, "of four files, one is gone");
    let rest = store.ending_tokens(before(48), Some(all[0].file), 10).await.unwrap();
    assert_eq!(rest.len(), 2);
    assert!(store.ending_tokens(now, None, 10).await.unwrap().is_empty());
}

/// A session of two files, with a token that says when it ends.
fn with_token(session: &str, ends: DateTime<Utc>) -> Event {
    let claims = json!({ "exp": ends.timestamp() }).to_string();
    let token = format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(claims.as_bytes()));
    let file = |id: &str| json!({ "id": id, "file_type": "MP4", "download_url": "https://zoom.us/x" });
    event(
        &json!({ "event": "session.recording_completed", "download_token": token,
            "payload": { "account_id": "acc", "object": {
                "session_id": session, "recording_files": [file("a"), file("b")] } } })
        .to_string(),
    )
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
    store.settle(&job.lease, Settlement::Done(Box::default())).await.unwrap();
    assert!(!store.repeat(Task::Reconcile, HOUR).await.unwrap(), "it has just run");
    assert_eq!(jobs_in(&store, JobState::Done).await, 1);
}

async fn a_job_by_period_comes_again_when_its_time_is_over(database: Database) {
    let store = database.store().await;
    let dead = Settlement::Dead { reason: "why".to_owned() };
    for ended in [Settlement::Done(Box::default()), dead] {
        assert!(store.repeat(Task::Reconcile, Duration::ZERO).await.unwrap());
        let job = store.claim("test", 1, LEASE, &[]).await.unwrap().remove(0);
        assert_eq!(job.attempts, 0);
        store.settle(&job.lease, ended).await.unwrap();
    }
    assert!(store.repeat(Task::Reconcile, Duration::ZERO).await.unwrap(), "although it was dead");
}
