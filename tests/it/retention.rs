//! Rows of our own are forgotten when they are old, and counted; nothing that proves anything is, and whatever can be woken
//! can be woken still.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use uuid::{NoContext, Timestamp, Uuid};
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::account::AccountNames;
use zoom_archiver::domain::event::Event;
use zoom_archiver::domain::file::{ArchivedFile, FileRow, FileState, Sha256Digest};
use zoom_archiver::domain::ids::{EventId, FileId, RecordingId};
use zoom_archiver::domain::job::{Completion, Job, JobState, Settlement, Task, WaitsFor};
use zoom_archiver::domain::manifest::Manifest;
use zoom_archiver::domain::notice::{NoticeKind, Subscription, Subscriptions};
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::domain::verification::{FileFinding, Found};
use zoom_archiver::scheduler::retention::forget;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::{FakeFile, FakeRecording, Options};
use zoom_archiver::store::{
    EventFilter, Intake, JobFilter, Order, Page, Prunable, Pruned, PrunedCount, SharedStore,
};

use crate::support::announce::{event, session};
use crate::support::database::{Database, on_each_database};
use crate::support::delivery::status_of;
use crate::support::scene::{Ground, Scene, on_each_ground, sender_to};
use crate::support::service::eventually;

const LEASE: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(24 * 3600);

on_each_database![
    old_events_are_forgotten_batch_by_batch_and_counted_by_name,
    what_could_not_be_read_is_kept_until_it_is,
    nothing_of_a_recording_goes_with_its_events,
    an_event_that_comes_again_after_it_was_forgotten_makes_no_work,
    finished_jobs_are_forgotten_and_what_can_be_woken_is_not,
    a_job_is_as_old_as_its_end,
    what_was_skipped_gone_parked_or_dead_can_be_had_after_all,
    an_archived_file_is_fetched_again_although_its_job_is_forgotten,
    news_of_a_file_whose_job_was_forgotten_is_told,
    what_follows_a_forgotten_job_is_wanted_anew,
    two_that_forget_at_once_count_each_row_once,
];

on_each_ground![what_is_old_goes_and_what_proves_anything_stays];

// ---------------------------------------------------------------------------------------------------------
// Words for the tests

/// The same event, come so many days ago.
fn days_ago(days: i64, event: Event) -> Event {
    let received_at = Clock::System.now() - TimeDelta::days(days);
    let seconds = u64::try_from(received_at.timestamp()).unwrap();
    let id = EventId(Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0)));
    Event { id, received_at, ..event }
}

fn unreadable() -> Event {
    event(r#"{"event":"session.recording_completed","payload":{}}"#)
}

async fn record(store: &SharedStore, event: &Event) {
    store.record(event).await.expect("the event is recorded");
}

/// Forgets all that is older than thirty days; how many rows that was.
async fn forget_old(store: &SharedStore, what: Prunable) -> u64 {
    forget(store, what, 30 * DAY).await.expect("old rows are forgotten")
}

async fn events(store: &SharedStore) -> BTreeSet<EventId> {
    let page = Page { after: None, order: Order::Oldest, limit: 500 };
    let events = store.list_events(&EventFilter::default(), page).await.expect("events are listed");
    events.into_iter().map(|event| event.id).collect()
}

/// How many jobs there are, by kind and state.
async fn jobs(store: &SharedStore) -> BTreeMap<(String, JobState), u64> {
    let depth = store.depth().await.expect("depth is read");
    depth.into_iter().map(|depth| ((depth.kind, depth.state), depth.jobs)).collect()
}

fn stand(counts: &[(&str, JobState, u64)]) -> BTreeMap<(String, JobState), u64> {
    counts.iter().map(|(kind, state, jobs)| (((*kind).to_owned(), *state), *jobs)).collect()
}

/// What has been forgotten so far, by table and kind.
async fn pruned(store: &SharedStore) -> BTreeMap<(String, String), u64> {
    let counts: Vec<PrunedCount> = store.pruned().await.expect("the counts are read");
    counts.into_iter().map(|count| ((count.table, count.kind), count.rows)).collect()
}

fn counts(counts: &[(&str, &str, u64)]) -> BTreeMap<(String, String), u64> {
    counts.iter().map(|(table, kind, rows)| (((*table).to_owned(), (*kind).to_owned()), *rows)).collect()
}

async fn all_files(store: &SharedStore) -> Vec<FileRow> {
    store.files(&[], None, 1000).await.expect("files are listed")
}

async fn row(store: &SharedStore, file: FileId) -> FileRow {
    store.file(file).await.expect("the file is read").expect("it is known")
}

/// Makes everything that is finished so many days older.
async fn grow_older(database: &Database, days: u32) {
    let earlier = match database.kind() {
        "postgres" => format!("finished_at - interval '{days} days'"),
        _ => format!("finished_at - {days} * 86400000"),
    };
    let grow = format!("UPDATE jobs SET finished_at = {earlier} WHERE finished_at IS NOT NULL");
    database.execute(&grow).await.expect("the jobs grow older");
}

async fn claim(store: &SharedStore) -> Option<Job> {
    store.claim("test", 1, LEASE, &[]).await.expect("a claim is answered").pop()
}

async fn settle(store: &SharedStore, job: &Job, settlement: Settlement) {
    store.settle(&job.lease, settlement).await.expect("the run is settled");
}

fn file_of(job: &Job) -> FileId {
    let Task::Transfer(file) = job.task else { panic!("is no transfer: {job:?}") };
    file
}

fn archived(file: FileId) -> Settlement {
    let archived = ArchivedFile {
        object_key: format!("folder/{file}.mp4"),
        bytes: 3,
        sha256: Sha256Digest([7; 32]),
        content_type: "video/mp4".into(),
        store_checksum: None,
        etag: None,
        version_id: None,
        mark: None,
    };
    Settlement::Done(Box::new(Completion { archived: Some((file, archived)), ..Completion::default() }))
}

fn gone() -> Settlement {
    Settlement::Gone { reason: "Zoom does not know it".into(), next: Vec::new() }
}

fn dead() -> Settlement {
    Settlement::Dead { reason: "too many attempts".into() }
}

fn parked() -> Settlement {
    Settlement::Park { waits_for: WaitsFor::Token, reason: "the token has expired".into() }
}

/// Announces a session of one file and claims its transfer.
async fn claimed(store: &SharedStore, session_id: &str) -> Job {
    record(store, &session(session_id, 1)).await;
    claim(store).await.expect("its transfer waits")
}

/// A session of one file, which is archived.
async fn archived_one(store: &SharedStore, session_id: &str) -> FileId {
    let job = claimed(store, session_id).await;
    settle(store, &job, archived(file_of(&job))).await;
    file_of(&job)
}

/// A session of one file, whose transfer ended like this.
async fn ended(store: &SharedStore, session_id: &str, settlement: Settlement) -> FileId {
    let job = claimed(store, session_id).await;
    settle(store, &job, settlement).await;
    file_of(&job)
}

/// Has a verification find something wrong with a file.
async fn find(store: &SharedStore, file: FileId, finding: FileFinding) {
    let found = Found { finding, detail: "why".to_owned() };
    assert!(store.verified(&row(store, file).await, Some(&found)).await.unwrap());
}

// ---------------------------------------------------------------------------------------------------------
// Events

async fn old_events_are_forgotten_batch_by_batch_and_counted_by_name(database: Database) {
    let store = database.store().await;
    let mut started = session("d", 0);
    started.name = "session.recording_started".into();
    let old = [session("a", 1), session("b", 1), session("c", 1), started].map(|event| days_ago(31, event));
    let young = [days_ago(29, session("a", 2)), session("b", 2)];
    for event in old.iter().chain(&young) {
        record(&store, event).await;
    }
    assert_eq!(store.pruned().await.unwrap(), []);

    // The oldest first, and each batch where the last one ended.
    let (mut after, mut batches) = (None, Vec::new());
    loop {
        let Pruned { rows, last } =
            store.prune(Prunable::Events, 30 * DAY, after, 3).await.expect("a batch is forgotten");
        batches.push(rows);
        if last.is_none() {
            break;
        }
        after = last;
    }
    assert_eq!(batches, [3, 1, 0]);
    assert_eq!(events(&store).await, young.iter().map(|event| event.id).collect());
    let expected = [("events", "session.recording_completed", 3), ("events", "session.recording_started", 1)];
    assert_eq!(pruned(&store).await, counts(&expected));

    // Later counts are added to earlier ones, and the newest is told.
    let newest = days_ago(30, session("e", 0));
    record(&store, &newest).await;
    assert_eq!(forget_old(&store, Prunable::Events).await, 1);
    let count = store.pruned().await.unwrap().remove(0);
    assert_eq!((count.rows, millis(count.until)), (4, millis(newest.received_at)));
    assert_eq!(forget_old(&store, Prunable::Events).await, 0);
}

/// As exactly as either database keeps it.
fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

async fn what_could_not_be_read_is_kept_until_it_is(database: Database) {
    let store = database.store().await;
    let kept = days_ago(4000, unreadable());
    record(&store, &kept).await;
    assert_eq!(forget_old(&store, Prunable::Events).await, 0);
    assert_eq!(events(&store).await, BTreeSet::from([kept.id]));

    // A later version reads it: from then on it is as old as any.
    let read = Event { id: kept.id, received_at: kept.received_at, ..session("s", 1) };
    record(&store, &read).await;
    assert_eq!(forget_old(&store, Prunable::Events).await, 1);
    assert_eq!(all_files(&store).await.len(), 1);
}

async fn nothing_of_a_recording_goes_with_its_events(database: Database) {
    let store = database.store().await;
    let first = days_ago(31, session("s", 2));
    record(&store, &first).await;
    let job = claim(&store).await.unwrap();
    settle(&store, &job, archived(file_of(&job))).await;
    let told = async || {
        let files = all_files(&store).await;
        let (recording, files) = store.recording(files[0].recording_id).await.unwrap().unwrap();
        Manifest::new(&recording, &files).to_json().unwrap()
    };
    let before = told().await;
    assert!(String::from_utf8(before.clone()).unwrap().contains(&first.id.to_string()));
    assert_eq!(forget_old(&store, Prunable::Events).await, 1);
    assert_eq!(told().await, before, "its files still name the event that announced them");
    assert!(store.event(first.id).await.unwrap().is_none());
    let job = claim(&store).await.expect("the other file waits");
    settle(&store, &job, archived(file_of(&job))).await;
}

async fn an_event_that_comes_again_after_it_was_forgotten_makes_no_work(database: Database) {
    let store = database.store().await;
    let first = days_ago(31, session("s", 1));
    record(&store, &first).await;
    let job = claim(&store).await.unwrap();
    settle(&store, &job, archived(file_of(&job))).await;
    grow_older(&database, 31).await;
    for what in [Prunable::Events, Prunable::Jobs] {
        assert_eq!(forget_old(&store, what).await, 1);
    }
    let before = row(&store, file_of(&job)).await;

    let recorded = store.record(&first).await.unwrap();
    assert_eq!((recorded.new_files, recorded.known_files, recorded.woken), (0, 1, 0));
    let after = row(&store, file_of(&job)).await;
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    assert_eq!(jobs(&store).await, BTreeMap::new());
    assert_eq!(events(&store).await, BTreeSet::from([first.id]));
}

// ---------------------------------------------------------------------------------------------------------
// Jobs

/// A file in each state, and a job of each kind that is done.
async fn one_of_each(store: &SharedStore) {
    let file = archived_one(store, "archived").await;
    let recording = row(store, file).await.recording_id;
    for (session_id, settlement) in [("gone", gone()), ("dead", dead()), ("parked", parked())] {
        ended(store, session_id, settlement).await;
    }
    let skipped = file_of(&claimed(store, "skipped").await);
    assert!(store.skip(skipped, "nobody wants it").await.unwrap());
    for task in [Task::Manifest(recording), Task::Remove(recording), Task::Reconcile, Task::Verify] {
        assert!(store.repeat(task, Duration::ZERO).await.unwrap());
        let job = claim(store).await.unwrap();
        settle(store, &job, Settlement::Done(Box::default())).await;
    }
    claimed(store, "running").await;
    record(store, &session("waiting", 1)).await;
}

async fn finished_jobs_are_forgotten_and_what_can_be_woken_is_not(database: Database) {
    let store = database.store().await;
    one_of_each(&store).await;
    grow_older(&database, 31).await;
    assert_eq!(forget_old(&store, Prunable::Jobs).await, 3);
    assert_eq!(
        jobs(&store).await,
        stand(&[
            ("reconcile", JobState::Done, 1),
            ("transfer", JobState::Cancelled, 1),
            ("transfer", JobState::Dead, 1),
            ("transfer", JobState::Done, 1),
            ("transfer", JobState::Parked, 1),
            ("transfer", JobState::Running, 1),
            ("transfer", JobState::Waiting, 1),
            ("verify", JobState::Done, 1),
        ])
    );
    assert_eq!(
        pruned(&store).await,
        counts(&[("jobs", "manifest", 1), ("jobs", "remove", 1), ("jobs", "transfer", 1)])
    );
    assert_eq!(all_files(&store).await.len(), 7, "every file is there");
}

async fn a_job_is_as_old_as_its_end(database: Database) {
    let store = database.store().await;
    archived_one(&store, "old").await;
    grow_older(&database, 31).await;
    let young = archived_one(&store, "young").await;
    grow_older(&database, 29).await;
    assert_eq!(forget_old(&store, Prunable::Jobs).await, 1);
    let page = Page { after: None, order: Order::Oldest, limit: 10 };
    let left = store.list_jobs(&JobFilter::default(), page).await.unwrap();
    assert_eq!(left.iter().map(|job| job.subject).collect::<Vec<_>>(), [young.0]);
}

async fn what_was_skipped_gone_parked_or_dead_can_be_had_after_all(database: Database) {
    let store = database.store().await;
    one_of_each(&store).await;
    grow_older(&database, 4000).await;
    forget_old(&store, Prunable::Jobs).await;
    for file in all_files(&store).await {
        let had = match file.state {
            FileState::Skipped => store.unskip(file.id).await.unwrap(),
            FileState::Dead | FileState::Parked => store.retry(file.id).await.unwrap(),
            // An event that brings a URL, as for any file that is gone.
            FileState::Gone => store.record(&session("gone", 1)).await.unwrap().woken == 1,
            FileState::Archived | FileState::Pending => continue,
        };
        assert!(had, "{file:?}");
        assert_eq!(row(&store, file.id).await.state, FileState::Pending);
    }
    let mut fetched = 0;
    while let Some(job) = claim(&store).await {
        settle(&store, &job, archived(file_of(&job))).await;
        fetched += 1;
    }
    assert_eq!(fetched, 5, "these four, and what had waited");
}

async fn an_archived_file_is_fetched_again_although_its_job_is_forgotten(database: Database) {
    let store = database.store().await;
    let file = archived_one(&store, "s").await;
    grow_older(&database, 31).await;
    assert_eq!(forget_old(&store, Prunable::Jobs).await, 1);
    assert!(!store.retry(file).await.unwrap(), "nothing is wrong with it");

    find(&store, file, FileFinding::NoManifest).await;
    assert!(store.retry(file).await.unwrap());
    let job = claim(&store).await.unwrap();
    assert_eq!(job.task, Task::Manifest(row(&store, file).await.recording_id));
    settle(&store, &job, Settlement::Done(Box::default())).await;

    find(&store, file, FileFinding::Missing).await;
    assert!(store.retry(file).await.unwrap());
    let job = claim(&store).await.unwrap();
    assert_eq!((job.task, job.account.as_deref()), (Task::Transfer(file), Some("acc")));
    settle(&store, &job, archived(file)).await;
    assert_eq!(row(&store, file).await.state, FileState::Archived);
}

async fn news_of_a_file_whose_job_was_forgotten_is_told(database: Database) {
    let ops = Subscription {
        name: "ops".to_owned(),
        kinds: BTreeSet::from([NoticeKind::FileDead]),
        accounts: AccountNames::default().choose(&[]),
    };
    let store = database.store_with(Intake::everything().telling(Subscriptions::new(vec![ops]))).await;
    // The first lease is an occasion of news.
    let file = ended(&store, "s", dead()).await;
    assert!(store.retry(file).await.unwrap());
    let job = claim(&store).await.unwrap();
    settle(&store, &job, archived(file)).await;
    for notice in store.claim_notices("test", 10, LEASE, &[]).await.unwrap() {
        settle(&store, &notice, Settlement::Done(Box::default())).await;
    }
    grow_older(&database, 31).await;
    assert_eq!(forget_old(&store, Prunable::Jobs).await, 2, "the transfer and the notice");

    find(&store, file, FileFinding::Missing).await;
    assert!(store.retry(file).await.unwrap());
    let job = claim(&store).await.unwrap();
    settle(&store, &job, dead()).await;
    let notices = store.claim_notices("test", 10, LEASE, &[]).await.unwrap();
    assert_eq!(notices.len(), 1, "it is dead once more");
}

async fn what_follows_a_forgotten_job_is_wanted_anew(database: Database) {
    let store = database.store().await;
    let mut known = RecordingId::new();
    for round in 1..=2 {
        record(&store, &session("s", round)).await;
        let job = claim(&store).await.unwrap();
        known = row(&store, file_of(&job)).await.recording_id;
        let Settlement::Done(mut completion) = archived(file_of(&job)) else { unreachable!() };
        completion.next = vec![(Task::Manifest(known), Duration::ZERO)];
        settle(&store, &job, Settlement::Done(completion)).await;
        let manifest = claim(&store).await.expect("the manifest is written");
        assert_eq!(manifest.task, Task::Manifest(known));
        settle(&store, &manifest, Settlement::Done(Box::default())).await;
        grow_older(&database, 31).await;
        assert_eq!(forget_old(&store, Prunable::Jobs).await, 2);
    }
    assert_eq!(pruned(&store).await, counts(&[("jobs", "manifest", 2), ("jobs", "transfer", 2)]));
    let (_, files) = store.recording(known).await.unwrap().unwrap();
    assert_eq!(files.len(), 2);
}

/// Fills the queue with manifests that were written just now.
async fn fill_with_manifests(database: &Database, rows: u32) {
    let fill = match database.kind() {
        "postgres" => format!(
            "INSERT INTO jobs (id, kind, subject, state, run_at, finished_at)
             SELECT gen_random_uuid(), 'manifest', gen_random_uuid(), 'done', now(), now()
             FROM generate_series(1, {rows})"
        ),
        _ => format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
             INSERT INTO jobs (id, kind, subject, state, run_at, finished_at, created_at, updated_at)
             SELECT randomblob(16), 'manifest', randomblob(16), 'done', t, t, t, t
             FROM n, (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS t)"
        ),
    };
    database.execute(&fill).await.expect("much is finished");
}

async fn two_that_forget_at_once_count_each_row_once(database: Database) {
    const ROWS: u32 = 5000;
    let (one, two) = (database.store().await, database.open().await);
    fill_with_manifests(&database, ROWS).await;
    grow_older(&database, 31).await;
    let batch = async |store: &SharedStore| {
        let (mut rows, mut after) = (0, None);
        while let Pruned { rows: taken, last: Some(last) } =
            store.prune(Prunable::Jobs, 30 * DAY, after, 50).await.unwrap()
        {
            (rows, after) = (rows + taken, Some(last));
        }
        rows
    };
    let (by_one, by_two) = tokio::join!(batch(&one), batch(&two));
    let rest = forget_old(&one, Prunable::Jobs).await;
    assert_eq!(by_one + by_two + rest, u64::from(ROWS));
    assert_eq!(pruned(&one).await, counts(&[("jobs", "manifest", u64::from(ROWS))]));
    assert_eq!(jobs(&one).await, BTreeMap::new());
}

// ---------------------------------------------------------------------------------------------------------
// PostgreSQL alone: what others do at that very moment, and what is read

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_job_that_is_woken_at_the_very_moment_it_would_be_forgotten_stays() {
    let database = Database::postgres().await;
    let store = database.store().await;
    archived_one(&store, "s").await;
    grow_older(&database, 31).await;
    let mut waking = database.postgres_pool().begin().await.expect("a transaction begins");
    waking.execute("UPDATE jobs SET state = 'waiting', finished_at = NULL").await.expect("it is woken");
    // It does not wait for the row.
    assert_eq!(forget_old(&store, Prunable::Jobs).await, 0);
    waking.commit().await.expect("it commits");
    assert_eq!(forget_old(&store, Prunable::Jobs).await, 0);
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Waiting, 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_file_that_is_fetched_again_at_the_very_moment_its_job_is_forgotten_has_a_new_one() {
    let database = Database::postgres().await;
    let store = database.store().await;
    let file = archived_one(&store, "s").await;
    find(&store, file, FileFinding::Missing).await;
    let mut forgetting = database.postgres_pool().begin().await.expect("a transaction begins");
    forgetting.execute("DELETE FROM jobs").await.expect("it is forgotten");
    let fetcher = store.clone();
    let fetched = tokio::spawn(async move { fetcher.retry(file).await.expect("it is answered") });
    let blocked = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("it waits for the row", || async { (database.number(blocked).await > 0).then_some(()) }).await;
    forgetting.commit().await.expect("it commits");
    assert!(fetched.await.expect("it ends"));
    let job = claim(&store).await.expect("the file is fetched");
    assert_eq!(job.task, Task::Transfer(file));
}

/// What the server has counted of a table: rows read by walking through it, and entries read of its indexes, by name.
async fn read_of(database: &Database, table: &str) -> (i64, BTreeMap<String, i64>) {
    let walked = format!("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = '{table}'");
    let read = format!(
        "SELECT indexrelname || ' ' || idx_tup_read FROM pg_stat_user_indexes WHERE relname = '{table}'"
    );
    let by_index = database.texts(&read).await.into_iter().map(|line| {
        let (index, rows) = line.split_once(' ').expect("two words");
        (index.to_owned(), rows.parse().expect("a number"))
    });
    (database.number(&walked).await, by_index.collect())
}

/// How much something reads of a table: of the table itself, and of its indexes.
async fn reading<F: Future<Output = ()>>(
    database: &Database,
    table: &str,
    does: impl FnOnce(SharedStore) -> F,
) -> (i64, BTreeMap<String, i64>) {
    let (walked_before, before) = read_of(database, table).await;
    let store = database.open().await;
    does(store.clone()).await;
    // A connection says what it has read when it ends.
    store.close().await;
    eventually("what was read is counted", || async {
        let (walked, now) = read_of(database, table).await;
        let read: BTreeMap<_, _> =
            now.into_iter().map(|(index, rows)| (index.clone(), rows - before[&index])).collect();
        read.values().any(|rows| *rows > 0).then_some((walked - walked_before, read))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_claim_reads_nothing_of_what_is_finished() {
    const FINISHED: u32 = 50_000;
    let database = Database::postgres().await;
    let store = database.store().await;
    fill_with_manifests(&database, FINISHED).await;
    database.execute("ANALYZE jobs").await.unwrap();
    for number in 0..5 {
        record(&store, &session(&format!("s{number}"), 4)).await;
    }
    store.close().await;
    let claims = async |store: SharedStore| {
        for _ in 0..5 {
            assert_eq!(store.claim("test", 4, LEASE, &[]).await.unwrap().len(), 4);
        }
    };
    let (walked, read) = reading(&database, "jobs", claims).await;
    assert_eq!((walked, read["jobs_finished"]), (0, 0), "{read:?}");
    assert!(read.values().sum::<i64>() < i64::from(FINISHED) / 20, "{read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn what_is_forgotten_is_found_without_walking_through_what_stays() {
    const ROWS: u32 = 50_000;
    let database = Database::postgres().await;
    let store = database.store().await;
    archived_one(&store, "old").await;
    grow_older(&database, 31).await;
    fill_with_manifests(&database, ROWS).await;
    let event = days_ago(31, session("old", 1));
    record(&store, &event).await;
    let many = format!(
        "INSERT INTO events (id, received_at, name, body, recording_id)
         SELECT ('ffffff' || substr(gen_random_uuid()::text, 7))::uuid, now(), name, body, recording_id
         FROM events, generate_series(1, {ROWS}) LIMIT {ROWS}"
    );
    database.execute(&many).await.unwrap();
    for table in ["jobs", "events"] {
        database.execute(&format!("ANALYZE {table}")).await.unwrap();
    }
    store.close().await;
    for what in [Prunable::Jobs, Prunable::Events] {
        let forgets = async |store: SharedStore| {
            assert_eq!(forget_old(&store, what).await, 1, "{what:?}");
            for _ in 0..10 {
                assert_eq!(forget_old(&store, what).await, 0, "{what:?}");
            }
        };
        let (walked, read) = reading(&database, what.as_str(), forgets).await;
        assert_eq!(walked, 0, "{what:?}: {read:?}");
        assert!(read.values().sum::<i64>() < 500, "{what:?}: {read:?}");
    }
}

// ---------------------------------------------------------------------------------------------------------
// The whole program

/// Makes all that has happened so far many years older: what is finished, and events with their ids.
async fn make_old(url: &str) {
    if url.starts_with("postgres") {
        let mut sql = PgConnection::connect(url).await.unwrap();
        for older in [
            "UPDATE jobs SET finished_at = finished_at - interval '20 years' WHERE finished_at IS NOT NULL",
            "UPDATE events SET received_at = received_at - interval '20 years',
                id = ('01000000' || substr(id::text, 9))::uuid",
        ] {
            sql.execute(AssertSqlSafe(older)).await.unwrap();
        }
        sql.close().await.unwrap();
    } else {
        let mut sql = SqliteConnection::connect(url).await.unwrap();
        for older in [
            "UPDATE jobs SET finished_at = finished_at - 20 * 365 * 86400000 WHERE finished_at IS NOT NULL",
            "UPDATE events SET received_at = received_at - 20 * 365 * 86400000,
                id = unhex('01000000' || substr(hex(id), 9))",
        ] {
            sql.execute(AssertSqlSafe(older)).await.unwrap();
        }
        sql.close().await.unwrap();
    }
}

fn recording(seed: u64) -> FakeRecording {
    let files = [FakeFile::generated(seed, 2000), FakeFile::generated(seed + 1, 3000)];
    FakeRecording::new(RecordingKind::VideoSdk, seed).with(files)
}

async fn json_of(scene: &Scene, arguments: &[&str]) -> Value {
    let output = scene.setup.run(arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

async fn what_is_old_goes_and_what_proves_anything_stays(ground: Ground) {
    let mut scene = Scene::staged_on(ground, Options::default(), |setup, _| {
        setup
            .env("ZOOM_ARCHIVER_RETENTION__EVENTS_DAYS", "3650")
            .env("ZOOM_ARCHIVER_RETENTION__JOBS_DAYS", "3650")
    })
    .await;
    let (old, young) = (recording(10), recording(20));
    scene.announce(&old, EventKind::Recording).await;
    assert_eq!(status_of(&scene.service.webhook(), "not json").await, 200);
    scene.settled().await;
    make_old(&scene.database_url()).await;
    scene.announce(&young, EventKind::Recording).await;
    scene.settled().await;
    let before = scene.files().await;
    assert_eq!(before.len(), 4);
    let mut manifests = Vec::new();
    for file in &before {
        manifests.push(scene.manifest(file).await);
    }

    // The next process to start looks at once.
    let next = scene.setup.start().await;
    scene.sender = sender_to(&next);
    let (code, _) = std::mem::replace(&mut scene.service, next).stop().await;
    assert_eq!(code, Some(0));
    let counted = async |table: &str| scene.service.metric("zoom_archiver_pruned_rows_total", table).await;
    eventually("what is old is forgotten", || async {
        (counted("events").await > 0.0 && counted("jobs").await > 0.0).then_some(())
    })
    .await;
    assert_eq!((counted("events").await, counted("jobs").await), (1.0, 3.0));

    // The counts are kept, and told.
    let status = json_of(&scene, &["status", "--json"]).await;
    let told: Vec<_> = status["pruned"].as_array().unwrap().iter().collect();
    let rows = |table: &str, kind: &str| {
        let count = told.iter().find(|count| count["table"] == table && count["kind"] == kind);
        count.map(|count| count["rows"].as_u64().unwrap())
    };
    assert_eq!(told.len(), 3, "{status}");
    assert_eq!(rows("events", "session.recording_completed"), Some(1), "{status}");
    assert_eq!((rows("jobs", "transfer"), rows("jobs", "manifest")), (Some(2), Some(1)), "{status}");
    assert_eq!(status["transfers"]["done"], 2, "{status}");
    let words = scene.setup.run(&["status"]).await;
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.contains("1 events, none later than") && words.contains("3 finished jobs"), "{words}");

    // What is left: what could not be read, whatever its age, and what is young.
    let page = Page { after: None, order: Order::Oldest, limit: 10 };
    let left = scene.store.list_events(&EventFilter::default(), page).await.unwrap();
    let years = |age: i64| TimeDelta::days(365 * age);
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].unreadable.is_some() && left[0].received_at < Clock::System.now() - years(10));

    // Nothing of the proof has gone.
    let after = scene.files().await;
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    for ((file, manifest), content) in after.iter().zip(&manifests).zip(old.files.iter().chain(&young.files))
    {
        scene.assert_archived(file, content.content).await;
        assert_eq!(&scene.manifest(file).await, manifest);
    }
    let shown = json_of(&scene, &["files", "show", &before[0].id.to_string(), "--json"]).await;
    assert_eq!((&shown["state"], &shown["transfer"]), (&"archived".into(), &Value::Null), "{shown}");

    // What is announced once more is known; what is lost is fetched again.
    let served = scene.zoom.library().bytes_served(None);
    scene.announce(&old, EventKind::Recording).await;
    scene.settled().await;
    assert_eq!(scene.zoom.library().bytes_served(None), served);
    scene.spoil(&after[0], None).await;
    let verified = scene.setup.run(&["verify", "--all"]).await;
    assert_eq!(verified.status.code(), Some(1));
    let retried = scene.setup.run(&["findings", "retry", "--finding", "missing"]).await;
    assert!(retried.status.success(), "{retried:?}");
    scene.announce(&old, EventKind::Recording).await;
    scene.settled().await;
    let again = scene.store.file(before[0].id).await.unwrap().unwrap();
    scene.assert_archived(&again, old.files[0].content).await;
    assert!(again.archived_at > before[0].archived_at);
    scene.close().await;
}
