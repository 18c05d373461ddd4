//! What every store promises, tried on each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use sqlx::Executor;
use zoom_archiver::clock::Clock;
use zoom_archiver::config::store::StoreConfig;
use zoom_archiver::domain::event::{Event, EventContent};
use zoom_archiver::domain::file::{
    ArchivedFile, ArchivedObject, FileRow, FileState, RecordingRow, Sha256Digest, StoreChecksum,
};
use zoom_archiver::domain::filter::{Filter, Pattern, Rules};
use zoom_archiver::domain::ids::{EventId, FileId, RecordingId};
use zoom_archiver::domain::job::{Completion, Cost, Job, JobState, Lease, Settlement, Task, WaitsFor};
use zoom_archiver::domain::recording::{
    AnnouncedFile, AnnouncedRecording, Announcement, Change, FileIdentity, RecordingIdentity, RecordingKind,
    RecordingState, Scope, TextState,
};
use zoom_archiver::store::{self, Intake, Losses, Recorded, SharedStore, StoreError, Swept, TransferWork};

use crate::support::database::{Database, NEWEST, config, on_each_database};
use crate::support::service::{PATIENCE, eventually};

const LEASE: Duration = Duration::from_secs(600);
const AN_HOUR: Duration = Duration::from_secs(3600);

// ---------------------------------------------------------------------------------------------------------
// Words for the tests

fn at(second: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap() + TimeDelta::seconds(second)
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().cloned().expect("an object")
}

fn session(id: &str) -> AnnouncedRecording {
    session_of("account", id)
}

fn session_of(account: &str, id: &str) -> AnnouncedRecording {
    AnnouncedRecording {
        identity: RecordingIdentity {
            account_id: account.into(),
            kind: RecordingKind::VideoSdk,
            instance_id: id.into(),
        },
        topic: Some("weekly".into()),
        start_time: Some(at(0)),
        metadata: map(json!({"session_name": "weekly", "duration": 30})),
    }
}

fn file(name: &str) -> AnnouncedFile {
    AnnouncedFile {
        identity: FileIdentity { collection: "recording_files".into(), name: name.into() },
        recording_type: "shared_screen".into(),
        file_type: "MP4".into(),
        extension: "mp4".into(),
        recording_start: Some(at(60)),
        announced_bytes: Some(1000),
        download_url: Some(format!("https://zoom.us/rec/{name}").into()),
        download_token: Some(format!("token-of-{name}").into()),
        token_expires_at: None,
        content: None,
        skip: None,
        metadata: map(json!({"id": name, "status": "completed"})),
    }
}

fn without_access(name: &str) -> AnnouncedFile {
    AnnouncedFile { download_url: None, download_token: None, ..file(name) }
}

fn with_access(name: &str, url: &str, token: &str) -> AnnouncedFile {
    AnnouncedFile {
        download_url: Some(url.to_owned().into()),
        download_token: Some(token.to_owned().into()),
        ..file(name)
    }
}

fn announce(recording: AnnouncedRecording, files: Vec<AnnouncedFile>) -> Event {
    Event {
        id: EventId::new(),
        received_at: at(100),
        name: "session.recording_completed".into(),
        body: br#"{"event":"session.recording_completed"}"#.to_vec(),
        content: EventContent::Announcement(Announcement {
            recording,
            happened_at: None,
            change: Change::default(),
            scope: Scope::Recording,
            files,
            odd: Vec::new(),
        }),
        trace: None,
    }
}

async fn record(store: &SharedStore, event: Event) -> Recorded {
    store.record(&event).await.expect("the event is recorded")
}

async fn all_files(store: &SharedStore) -> Vec<FileRow> {
    store.files(&[], None, 1000).await.expect("files are listed")
}

async fn only_file(store: &SharedStore) -> FileRow {
    let mut files = all_files(store).await;
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

async fn work(store: &SharedStore, file: FileId) -> TransferWork {
    store.transfer_work(file).await.expect("the work is read").expect("the file is known")
}

/// URL and token of a file.
async fn access(store: &SharedStore, file: FileId) -> (Option<String>, Option<String>) {
    let work = work(store, file).await;
    let open = |secret: Option<secrecy::SecretString>| secret.map(|text| text.expose_secret().to_owned());
    (open(work.download_url), open(work.download_token))
}

async fn claim(store: &SharedStore, limit: u32) -> Vec<Job> {
    store.claim("worker", limit, LEASE, &[]).await.expect("a claim is answered")
}

async fn claim_one(store: &SharedStore) -> Job {
    let mut jobs = claim(store, 10).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.remove(0)
}

async fn settle(store: &SharedStore, job: &Job, settlement: Settlement) {
    store.settle(&job.lease, settlement).await.expect("the run is settled");
}

fn park(waits_for: WaitsFor) -> Settlement {
    Settlement::Park { waits_for, reason: "the token has expired".into() }
}

fn wait(after: Duration, cost: Cost) -> Settlement {
    Settlement::Wait { after, reason: Some("connection reset".into()), cost }
}

fn dead() -> Settlement {
    Settlement::Dead { reason: "too many attempts".into() }
}

fn done(next: Vec<(Task, Duration)>) -> Settlement {
    Settlement::Done(Box::new(Completion { next, ..Completion::default() }))
}

fn gone(next: Vec<(Task, Duration)>) -> Settlement {
    Settlement::Gone { reason: "Zoom does not know it".into(), next }
}

fn archived_as(key: &str) -> ArchivedFile {
    ArchivedFile {
        object_key: key.into(),
        bytes: 999,
        sha256: Sha256Digest([7; 32]),
        content_type: "video/mp4".into(),
        store_checksum: Some(StoreChecksum { algorithm: "crc64nvme".into(), value: "AAECAwQFBgc=".into() }),
        etag: Some("\"etag\"".into()),
        version_id: Some("v1".into()),
        mark: Some("announced as 1000 bytes".into()),
    }
}

fn archive(file: FileId, next: Vec<(Task, Duration)>) -> Settlement {
    let archived = Some((file, archived_as(&format!("folder/{file}.mp4"))));
    Settlement::Done(Box::new(Completion { archived, next, news: None }))
}

fn transferred(job: &Job) -> FileId {
    match job.task {
        Task::Transfer(file) => file,
        Task::Manifest(_) | Task::Remove(_) | Task::Reconcile | Task::Verify | Task::Notify(_) => {
            panic!("is no transfer: {job:?}")
        }
    }
}

/// How many jobs stand in each kind and state.
async fn jobs(store: &SharedStore) -> BTreeMap<(String, JobState), u64> {
    let depth = store.depth().await.expect("depth is read");
    depth.into_iter().map(|depth| ((depth.kind, depth.state), depth.jobs)).collect()
}

fn stand(counts: &[(&str, JobState, u64)]) -> BTreeMap<(String, JobState), u64> {
    counts.iter().map(|(kind, state, jobs)| (((*kind).to_owned(), *state), *jobs)).collect()
}

fn lost(result: Result<(), StoreError>, lease: &Lease) -> bool {
    matches!(result, Err(StoreError::LeaseLost(job)) if job == lease.job)
}

/// Archives the file of one new recording, with its manifest as the next job.
async fn archive_one(store: &SharedStore, session_id: &str, rest: Duration) -> RecordingId {
    record(store, announce(session(session_id), vec![file(session_id)])).await;
    let job = claim_one(store).await;
    let recording = work(store, transferred(&job)).await.recording.id;
    settle(store, &job, archive(transferred(&job), vec![(Task::Manifest(recording), rest)])).await;
    recording
}

/// A file that is gone, and nothing to do.
async fn gone_file(store: &SharedStore) -> FileId {
    record(store, announce(session("s"), vec![file("a")])).await;
    let job = claim_one(store).await;
    settle(store, &job, gone(vec![])).await;
    transferred(&job)
}

/// A manifest that waits and is due, and nothing else to do.
async fn due_manifest(store: &SharedStore) -> Task {
    Task::Manifest(archive_one(store, "first", Duration::ZERO).await)
}

/// Has another job ask for `task`.
async fn ask_for(store: &SharedStore, name: &str, task: Task) {
    record(store, announce(session(name), vec![file(name)])).await;
    let job = store
        .claim("worker", 10, LEASE, &[])
        .await
        .expect("a claim is answered")
        .into_iter()
        .find(|job| matches!(job.task, Task::Transfer(_)))
        .expect("the new transfer");
    settle(store, &job, archive(transferred(&job), vec![(task, Duration::ZERO)])).await;
}

// ---------------------------------------------------------------------------------------------------------
// Recording

async fn an_event_makes_its_recording_its_files_and_their_jobs_durable(database: Database) {
    let event = announce(session("s"), vec![file("a"), file("b")]);
    let recorded = record(&database.store().await, event.clone()).await;
    assert_eq!(recorded, Recorded { new_files: 2, known_files: 0, woken: 0, ..Recorded::default() });

    let store = database.open().await;
    let files = all_files(&store).await;
    let a = &files[0];
    let announced = file("a");
    assert_eq!(a.identity, announced.identity);
    assert_eq!((a.file_type.as_str(), a.extension.as_str()), ("MP4", "mp4"));
    assert_eq!((a.recording_start, a.announced_bytes), (announced.recording_start, Some(1000)));
    assert_eq!(a.metadata, announced.metadata);
    assert_eq!((a.state, &a.reason, &a.object_key, &a.archived), (FileState::Pending, &None, &None, &None));
    assert_eq!((a.first_event_id, a.announced_at), (event.id, event.received_at));

    let (recording, files) = store.recording(a.recording_id).await.unwrap().expect("the recording");
    let announced = session("s");
    assert_eq!(recording.identity, announced.identity);
    assert_eq!((recording.topic, recording.start_time), (announced.topic, announced.start_time));
    assert_eq!((recording.metadata, recording.folder), (announced.metadata, None));
    assert_eq!(files.iter().map(|file| file.identity.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);

    let subjects: BTreeSet<_> = claim(&store, 10).await.iter().map(transferred).collect();
    assert_eq!(subjects, files.iter().map(|file| file.id).collect());
    let body = database.number("SELECT count(*) FROM events WHERE octet_length(body) = 39").await;
    assert_eq!(body, 1, "the body is kept");
}

async fn a_known_file_is_refreshed_and_never_doubled(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![with_access("a", "https://zoom.us/1", "t1")])).await;
    let again =
        record(&store, announce(session("s"), vec![with_access("a", "https://zoom.us/2", "t2")])).await;
    assert_eq!(again, Recorded { new_files: 0, known_files: 1, woken: 0, ..Recorded::default() });
    let known = only_file(&store).await;
    assert_eq!(access(&store, known.id).await, (Some("https://zoom.us/2".into()), Some("t2".into())));
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Waiting, 1)]));
    assert_eq!(database.number("SELECT count(*) FROM events").await, 2);
    assert_eq!(database.number("SELECT count(*) FROM recordings").await, 1);
}

async fn facts_that_a_later_event_does_not_give_are_kept(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let mut poorer = without_access("a");
    poorer.file_type = String::new();
    poorer.extension = String::new();
    poorer.recording_start = None;
    poorer.announced_bytes = None;
    poorer.metadata = map(json!({"status": "processing", "play_url": null}));
    let mut recording = session("s");
    recording.topic = None;
    recording.start_time = None;
    recording.metadata = map(json!({"duration": 31, "timezone": "UTC"}));
    record(&store, announce(recording, vec![poorer])).await;

    let known = only_file(&store).await;
    assert_eq!((known.file_type.as_str(), known.extension.as_str()), ("MP4", "mp4"));
    assert_eq!((known.recording_start, known.announced_bytes), (Some(at(60)), Some(1000)));
    assert_eq!(known.metadata, map(json!({"id": "a", "status": "processing", "play_url": null})));
    assert_eq!(
        access(&store, known.id).await,
        (Some("https://zoom.us/rec/a".into()), Some("token-of-a".into()))
    );
    let (recording, _) = store.recording(known.recording_id).await.unwrap().expect("the recording");
    assert_eq!((recording.topic.as_deref(), recording.start_time), (Some("weekly"), Some(at(0))));
    assert_eq!(recording.metadata, map(json!({"session_name": "weekly", "duration": 31, "timezone": "UTC"})));
}

/// An event about a session, or about what else, that says when it happened and what it changes.
fn told(recording: AnnouncedRecording, second: i64, change: Change) -> Event {
    let mut event = announce(recording, Vec::new());
    let EventContent::Announcement(announcement) = &mut event.content else { unreachable!() };
    announcement.happened_at = Some(at(second));
    announcement.change = change;
    event
}

fn stands(state: RecordingState) -> Change {
    Change { state: Some(state), ..Change::default() }
}

async fn only_recording(database: &Database, store: &SharedStore) -> RecordingRow {
    let hex = match database.kind() {
        "postgres" => "SELECT replace(id::text, '-', '') FROM recordings",
        _ => "SELECT lower(hex(id)) FROM recordings",
    };
    let ids = database.texts(hex).await;
    assert_eq!(ids.len(), 1, "{ids:?}");
    let (recording, _) = store.recording(ids[0].parse().unwrap()).await.unwrap().expect("it is known");
    recording
}

async fn what_happened_last_decides_in_whatever_order_the_events_come(database: Database) {
    let store = database.store().await;
    let failed = Change { transcript: Some(TextState::Failed), ..Change::default() };
    let made = Change {
        transcript: Some(TextState::Completed),
        summary: Some(TextState::Completed),
        ..Change::default()
    };
    for (second, change) in [
        (30, stands(RecordingState::Trashed)),
        (10, stands(RecordingState::Started)),
        (20, stands(RecordingState::Completed)),
        (26, made),
        (25, failed),
    ] {
        record(&store, told(session("s"), second, change)).await;
    }
    let row = only_recording(&database, &store).await;
    assert_eq!((row.state, row.state_at), (Some(RecordingState::Trashed), Some(at(30))));
    assert_eq!((row.transcript, row.summary), (Some(TextState::Completed), Some(TextState::Completed)));

    record(&store, told(session("s"), 40, stands(RecordingState::Recovered))).await;
    // An event that brings files and changes nothing leaves it as it is.
    record(&store, announce(session("s"), vec![file("a")])).await;
    let row = only_recording(&database, &store).await;
    assert_eq!((row.state, row.state_at), (Some(RecordingState::Recovered), Some(at(40))));
}

async fn a_time_ahead_of_ours_does_not_keep_later_events_from_counting(database: Database) {
    let store = database.store().await;
    // Received at 100.
    record(&store, told(session("s"), 1_000_000, stands(RecordingState::Started))).await;
    record(&store, told(session("s"), 2_000_000, stands(RecordingState::Stopped))).await;
    let row = only_recording(&database, &store).await;
    assert_eq!((row.state, row.state_at), (Some(RecordingState::Stopped), Some(at(100))));
}

async fn a_name_and_other_facts_are_not_moved_back_by_a_late_event(database: Database) {
    let store = database.store().await;
    let named = |topic: &str, duration: u32| AnnouncedRecording {
        topic: Some(topic.into()),
        metadata: map(json!({"duration": duration})),
        ..session("s")
    };
    record(&store, told(named("old", 1), 10, Change::default())).await;
    record(&store, told(named("new", 2), 30, Change { renamed: true, ..Change::default() })).await;
    record(&store, told(named("old", 1), 20, Change::default())).await;
    let row = only_recording(&database, &store).await;
    assert_eq!(row.topic.as_deref(), Some("new"));
    assert_eq!(row.metadata, map(json!({"duration": 2})));
    // What says nothing of the name does not keep an earlier name from being learnt.
    let nameless = AnnouncedRecording { topic: None, ..session("s") };
    record(&store, told(nameless, 50, Change::default())).await;
    record(&store, told(named("newest", 3), 40, Change::default())).await;
    assert_eq!(only_recording(&database, &store).await.topic.as_deref(), Some("newest"));
}

async fn an_event_that_leaves_the_kind_open_is_about_the_webinar_that_is_known(database: Database) {
    let store = database.store().await;
    let of_kind = |kind| {
        let mut recording = session("u==");
        recording.identity.kind = kind;
        recording
    };
    let open = told(of_kind(RecordingKind::Meeting), 10, stands(RecordingState::Trashed));
    record(&store, announce(of_kind(RecordingKind::Webinar), vec![file("a")])).await;
    assert_eq!(record(&store, open).await.endangered, 1);
    let row = only_recording(&database, &store).await;
    assert_eq!((row.identity.kind, row.state), (RecordingKind::Webinar, Some(RecordingState::Trashed)));
}

async fn what_was_taken_for_a_meeting_turns_out_to_be_a_webinar_and_stays_one_recording(database: Database) {
    let store = database.store().await;
    let of_kind = |kind| {
        let mut recording = session("u==");
        recording.identity.kind = kind;
        recording
    };
    record(&store, announce(of_kind(RecordingKind::Meeting), vec![file("summary")])).await;
    let known = only_file(&store).await;
    record(&store, announce(of_kind(RecordingKind::Webinar), vec![file("a")])).await;
    let row = only_recording(&database, &store).await;
    assert_eq!(row.identity.kind, RecordingKind::Webinar);
    assert!(all_files(&store).await.iter().all(|file| file.recording_id == known.recording_id));
    for kind in [RecordingKind::Meeting, RecordingKind::Webinar] {
        let (found, files) = store.find(&of_kind(kind).identity).await.unwrap().expect("under either word");
        assert_eq!((found.id, files.len()), (row.id, 2));
    }
}

async fn a_recording_that_leaves_has_its_transfers_due_at_once_and_what_is_missing_counted(
    database: Database,
) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a"), file("b"), without_access("c"), file("d")])).await;
    let jobs = claim(&store, 10).await;
    assert_eq!(jobs.len(), 3);
    settle(&store, &jobs[0], archive(transferred(&jobs[0]), vec![])).await;
    settle(&store, &jobs[1], wait(AN_HOUR, Cost::Attempt)).await;
    settle(&store, &jobs[2], dead()).await;
    assert_eq!(claim(&store, 10).await.len(), 0);

    // An older event than the one that decides is no alarm.
    record(&store, told(session("s"), 30, stands(RecordingState::Recovered))).await;
    assert_eq!(record(&store, told(session("s"), 20, stands(RecordingState::Trashed))).await.endangered, 0);
    assert_eq!(claim(&store, 10).await.len(), 0);

    let recorded = record(&store, told(session("s"), 40, stands(RecordingState::Deleted))).await;
    assert_eq!(recorded.endangered, 3);
    assert_eq!(claim_one(&store).await.task, jobs[1].task);
}

async fn what_comes_back_from_the_trash_is_tried_again_where_it_waits_for_access_or_was_gone(
    database: Database,
) {
    let store = database.store().await;
    let names = ["archived", "dead", "gone", "person", "running", "token"];
    record(&store, announce(session("s"), names.map(file).into())).await;
    record(&store, announce(session("another"), vec![file("token")])).await;
    let mut running = None;
    for job in claim(&store, 10).await {
        let work = work(&store, transferred(&job)).await;
        match work.file.identity.name.as_str() {
            "archived" => settle(&store, &job, archive(transferred(&job), vec![])).await,
            "dead" => settle(&store, &job, dead()).await,
            "gone" => settle(&store, &job, gone(vec![])).await,
            "person" => settle(&store, &job, park(WaitsFor::Person)).await,
            "running" => running = Some(job),
            _ => settle(&store, &job, park(WaitsFor::Token)).await,
        }
    }
    let told = |second: i64, state| told(session("s"), second, stands(state));
    record(&store, told(30, RecordingState::Trashed)).await;
    // One that was taken out before it was thrown in is still in.
    assert_eq!(record(&store, told(20, RecordingState::Recovered)).await.woken, 0);
    assert_eq!(claim(&store, 10).await.len(), 0);

    assert_eq!(record(&store, told(40, RecordingState::Recovered)).await.woken, 2);
    let mut woken = BTreeSet::new();
    for job in claim(&store, 10).await {
        let work = work(&store, transferred(&job)).await;
        assert_eq!((work.file.state, work.file.reason), (FileState::Pending, None));
        woken.insert(work.file.identity.name);
    }
    assert_eq!(woken, BTreeSet::from(["gone".to_owned(), "token".to_owned()]));
    // What runs at this moment does not rest when it finds no access.
    settle(&store, &running.expect("it was claimed"), park(WaitsFor::Token)).await;
    let again = claim_one(&store).await;
    assert_eq!(work(&store, transferred(&again)).await.file.identity.name, "running");
}

async fn what_a_manifest_should_tell_has_it_written_again(database: Database) {
    let store = database.store().await;
    let renamed = || Change { renamed: true, ..Change::default() };
    record(&store, announce(session("s"), vec![file("a")])).await;
    // Nothing of it is in the archive yet, so there is no manifest.
    record(&store, told(session("s"), 10, renamed())).await;
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Waiting, 1)]));
    let job = claim_one(&store).await;
    store.place(transferred(&job), "folder", "a.mp4").await.unwrap();
    settle(&store, &job, archive(transferred(&job), vec![])).await;

    record(&store, told(session("s"), 20, stands(RecordingState::Completed))).await;
    assert_eq!(claim(&store, 10).await.len(), 0, "a transfer would tell of that");
    for (second, change) in [(30, renamed()), (40, stands(RecordingState::Trashed)), (50, renamed())] {
        record(&store, told(session("s"), second, change)).await;
        let job = claim_one(&store).await;
        assert!(matches!(job.task, Task::Manifest(_)), "{job:?}");
        settle(&store, &job, done(vec![])).await;
    }
}

async fn a_file_that_is_left_out_is_told_by_the_manifest(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a"), file("b")])).await;
    let [first, second] = claim(&store, 2).await.try_into().expect("two");
    assert!(store.skip(transferred(&second), "nobody wants it").await.unwrap());
    assert_eq!(
        claim(&store, 10).await.len(),
        0,
        "nothing of it is in the archive yet, so there is no manifest"
    );
    assert!(store.unskip(transferred(&second)).await.unwrap());
    store.place(transferred(&first), "folder", "a.mp4").await.unwrap();
    settle(&store, &first, archive(transferred(&first), vec![])).await;
    assert!(store.skip(transferred(&second), "nobody wants it").await.unwrap());
    let job = claim_one(&store).await;
    assert!(matches!(job.task, Task::Manifest(_)), "{job:?}");
    // While it is written another one is left out: it is written again.
    record(&store, announce(session("s"), vec![file("c")])).await;
    let late = all_files(&store).await.into_iter().find(|file| file.identity.name == "c").unwrap().id;
    assert!(store.skip(late, "nobody wants it").await.unwrap());
    settle(&store, &job, done(vec![])).await;
    assert_eq!(claim_one(&store).await.task, job.task);
}

fn with_content(name: &str, content: &[u8]) -> AnnouncedFile {
    AnnouncedFile { content: Some(content.to_vec()), ..without_access(name) }
}

async fn a_file_that_comes_with_its_event_waits_without_a_url_and_is_forgotten_when_archived(
    database: Database,
) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![with_content("a", b"{}")])).await;
    record(&store, announce(session("s"), vec![with_content("a", b"{\"a\":1}")])).await;
    let file = only_file(&store).await;
    assert_eq!(file.state, FileState::Pending);
    let content = work(&store, file.id).await.content;
    assert_eq!(content.as_deref(), Some(&b"{\"a\":1}"[..]));
    let job = claim_one(&store).await;
    settle(&store, &job, archive(file.id, vec![])).await;
    assert_eq!(work(&store, file.id).await.content, None);
    // Announced again, it is not kept again.
    record(&store, announce(session("s"), vec![with_content("a", b"{}")])).await;
    assert_eq!(work(&store, file.id).await.content, None);
}

fn lasting(name: &str, seconds: i64) -> AnnouncedFile {
    AnnouncedFile { token_expires_at: Some(at(seconds)), ..file(name) }
}

/// A day of `at`, as Zoom writes dates.
fn deleted_on(day: u32) -> AnnouncedRecording {
    let date = format!("2026-03-{day:02}");
    AnnouncedRecording {
        metadata: map(json!({"auto_delete": true, "auto_delete_date": date})),
        ..session("s")
    }
}

fn day(day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, day, 0, 0, 0).unwrap()
}

async fn a_filter_decides_where_announcements_are_recorded_whoever_brings_them(database: Database) {
    let exclude = Rules { names: vec![Pattern::new("week*")], ..Rules::default() };
    let filter = Filter { exclude, ..Filter::default() };
    let store = database.store_with(Intake::new(filter, |_| true)).await;
    let other = AnnouncedRecording { topic: Some("monthly".into()), ..session("other") };
    let mut answer = announce(session("s"), vec![file("a"), skipped("b")]);
    answer.name = "api.session_recordings".into();
    assert_eq!(record(&store, answer).await.skipped, 2);
    assert_eq!(record(&store, announce(other, vec![file("c")])).await.skipped, 0);
    let files = all_files(&store).await;
    let reasons: Vec<_> = files.iter().map(|file| file.reason.as_deref()).collect();
    let by_filter = "left out by filters.exclude.names, which names it";
    assert_eq!(reasons, [Some(by_filter), Some("nobody wants it"), None]);
    // What is known is not left out by rules that came later.
    let unfiltered = database.open().await;
    record(&unfiltered, announce(session("s"), vec![file("d")])).await;
    assert_eq!(record(&store, announce(session("s"), vec![file("d")])).await.skipped, 0);
    assert_eq!(claim(&store, 10).await.len(), 2);
}

/// Only what this host has recorded.
fn of_ada() -> Intake {
    let include = Rules { hosts: vec![Pattern::new("ada@*")], ..Rules::default() };
    Intake::new(Filter { include, ..Filter::default() }, |_| true)
}

fn hosted_by(host: &str) -> AnnouncedRecording {
    AnnouncedRecording { metadata: map(json!({"host_email": host})), ..session("s") }
}

async fn a_file_is_judged_by_all_that_was_ever_said_of_its_recording(database: Database) {
    let store = database.store_with(of_ada()).await;
    record(&store, announce(hosted_by("ada@example.com"), vec![file("a")])).await;
    // The answer of the API names no host.
    assert_eq!(record(&store, announce(session("s"), vec![file("b")])).await.skipped, 0);
    assert_eq!(claim(&store, 10).await.len(), 2);
}

async fn a_file_that_was_left_out_for_want_of_a_fact_is_taken_when_the_fact_comes(database: Database) {
    let store = database.store_with(of_ada()).await;
    assert_eq!(record(&store, announce(session("s"), ["a", "b", "c"].map(file).into())).await.skipped, 3);
    let by_name =
        |files: &[FileRow], name: &str| files.iter().find(|it| it.identity.name == name).unwrap().id;
    let unwanted = by_name(&all_files(&store).await, "b");
    assert!(store.unskip(unwanted).await.unwrap() && store.skip(unwanted, "nobody wants it").await.unwrap());
    // Even by an event that names no file of it.
    let recorded = record(&store, announce(hosted_by("ada@example.com"), vec![])).await;
    assert_eq!((recorded.woken, recorded.skipped), (2, 0));
    let states: Vec<_> = all_files(&store).await.iter().map(|file| file.state).collect();
    assert_eq!(
        states,
        [FileState::Pending, FileState::Skipped, FileState::Pending],
        "what a person said stands"
    );
    assert_eq!(claim(&store, 10).await.len(), 2);
}

async fn a_fact_that_has_a_file_left_out_leaves_alone_what_is_archived_or_wanted_by_a_person(
    database: Database,
) {
    let exclude = Rules { hosts: vec![Pattern::new("eve@*")], ..Rules::default() };
    let store = database.store_with(Intake::new(Filter { exclude, ..Filter::default() }, |_| true)).await;
    record(&store, announce(session("s"), ["a", "b", "c"].map(file).into())).await;
    let jobs = claim(&store, 1).await;
    settle(&store, &jobs[0], archive(transferred(&jobs[0]), vec![])).await;
    let wanted = all_files(&store).await.into_iter().find(|it| it.state == FileState::Pending).unwrap().id;
    assert!(store.skip(wanted, "no").await.unwrap() && store.unskip(wanted).await.unwrap());
    record(&store, announce(hosted_by("eve@example.com"), vec![])).await;
    let mut states: Vec<_> = all_files(&store).await.iter().map(|file| file.state).collect();
    states.sort_by_key(|state| state.as_str());
    assert_eq!(states, [FileState::Archived, FileState::Pending, FileState::Skipped]);
    assert_eq!(claim(&store, 10).await.iter().map(transferred).collect::<Vec<_>>(), [wanted]);
}

async fn rules_that_came_later_judge_nothing_anew(database: Database) {
    let store = database.store_with(of_ada()).await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let exclude = Rules { names: vec![Pattern::new("nothing")], ..Rules::default() };
    let others = database.store_with(Intake::new(Filter { exclude, ..Filter::default() }, |_| true)).await;
    assert_eq!(record(&others, announce(hosted_by("ada@example.com"), vec![file("a")])).await.woken, 0);
    assert_eq!(only_file(&store).await.state, FileState::Skipped);
}

async fn announcements_at_once_that_bring_a_fact_each_are_judged_together(database: Database) {
    let include =
        Rules { hosts: vec![Pattern::new("ada@*")], names: vec![Pattern::new("weekly")], ..Rules::default() };
    let store = database.store_with(Intake::new(Filter { include, ..Filter::default() }, |_| true)).await;
    for number in 0..20 {
        let id = format!("s{number}");
        let nameless =
            |metadata: Value| AnnouncedRecording { topic: None, metadata: map(metadata), ..session(&id) };
        record(&store, announce(nameless(json!({})), vec![file(&id)])).await;
        let host = announce(nameless(json!({"host_email": "ada@example.com"})), vec![file(&id)]);
        let name = announce(AnnouncedRecording { metadata: Map::new(), ..session(&id) }, vec![file(&id)]);
        tokio::join!(record(&store, host), record(&store, name));
    }
    assert!(all_files(&store).await.iter().all(|file| file.state == FileState::Pending));
}

async fn a_late_event_takes_no_token_away_that_lasts_longer(database: Database) {
    let store = database.store().await;
    let with = |url: &str, token: &str, second: Option<i64>| AnnouncedFile {
        token_expires_at: second.map(at),
        ..with_access("a", url, token)
    };
    record(&store, announce(session("s"), vec![with("https://zoom.us/new", "new", Some(2000))])).await;
    record(&store, announce(session("s"), vec![with("https://zoom.us/old", "old", Some(1000))])).await;
    let known = only_file(&store).await;
    let of = |url: &str, token: &str| (Some(url.to_owned()), Some(token.to_owned()));
    assert_eq!(access(&store, known.id).await, of("https://zoom.us/new", "new"));
    assert_eq!(known.token_expires_at, Some(at(2000)));
    // One that lasts longer is taken, and so is one that does not say.
    record(&store, announce(session("s"), vec![with("https://zoom.us/newer", "newer", Some(3000))])).await;
    assert_eq!(access(&store, known.id).await, of("https://zoom.us/newer", "newer"));
    // What is parked was not opened by what is known.
    let job = claim_one(&store).await;
    settle(&store, &job, park(WaitsFor::Token)).await;
    let recorded =
        record(&store, announce(session("s"), vec![with("https://zoom.us/b", "b", Some(500))])).await;
    assert_eq!(recorded.woken, 1);
    assert_eq!(access(&store, known.id).await, of("https://zoom.us/b", "b"));
    record(&store, announce(session("s"), vec![with("https://zoom.us/c", "c", None)])).await;
    assert_eq!(access(&store, known.id).await, of("https://zoom.us/c", "c"));
}

async fn a_person_leaves_out_what_is_not_archived_and_takes_it_after_all(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), ["a", "b", "c", "d"].map(file).into())).await;
    let jobs = claim(&store, 3).await;
    settle(&store, &jobs[0], archive(transferred(&jobs[0]), vec![])).await;
    settle(&store, &jobs[1], dead()).await;
    let files = all_files(&store).await;
    let skip = async |file: FileId| store.skip(file, "not\0wanted").await.unwrap();
    assert!(!skip(transferred(&jobs[0])).await, "what is archived stays");
    assert!(!skip(FileId::new()).await && !store.unskip(FileId::new()).await.unwrap());
    let (dead, running) = (transferred(&jobs[1]), transferred(&jobs[2]));
    let waiting = files.iter().find(|it| it.state == FileState::Pending && it.id != running).unwrap().id;
    for file in [dead, running, waiting] {
        assert!(skip(file).await);
        assert!(!skip(file).await, "once is enough");
        assert!(!store.retry(file).await.unwrap(), "that is what unskip is for");
    }
    assert_eq!(jobs_of(&store).await, [(JobState::Done, 1), (JobState::Cancelled, 3)].into());
    let reasons = all_files(&store).await;
    let reasons = reasons.iter().filter(|it| it.state == FileState::Skipped).map(|it| it.reason.as_deref());
    assert_eq!(reasons.collect::<Vec<_>>(), [Some("not\u{FFFD}wanted"); 3]);
    // Who worked on it has lost it.
    let lease = &jobs[2].lease;
    assert!(lost(store.extend(lease, LEASE).await, lease));
    assert!(lost(store.settle(lease, archive(running, vec![])).await, lease));
    assert_eq!(claim(&store, 10).await.len(), 0);

    for file in [dead, running, waiting] {
        assert!(store.unskip(file).await.unwrap());
        assert!(!store.unskip(file).await.unwrap());
    }
    assert_eq!(claim(&store, 10).await.len(), 3);
    assert!(all_files(&store).await.iter().all(|it| it.state != FileState::Skipped && it.reason.is_none()));
}

/// How many jobs stand in each state.
async fn jobs_of(store: &SharedStore) -> BTreeMap<JobState, u64> {
    jobs(store).await.into_iter().map(|((_, state), jobs)| (state, jobs)).collect()
}

async fn the_end_of_a_token_is_kept_with_the_token(database: Database) {
    let store = database.store_with(Intake::new(Filter::default(), |_| false)).await;
    record(&store, announce(session("s"), vec![lasting("a", 1000)])).await;
    let known = only_file(&store).await;
    assert_eq!((known.token_expires_at, known.loses_at), (Some(at(1000)), Some(at(1000))));
    // Without a token there is no end of one; a token that says nothing of its end has none of its forerunner's.
    record(&store, announce(session("s"), vec![without_access("a")])).await;
    assert_eq!(only_file(&store).await.loses_at, Some(at(1000)));
    record(&store, announce(session("s"), vec![file("a")])).await;
    let known = only_file(&store).await;
    assert_eq!((known.token_expires_at, known.loses_at), (None, None));

    record(&store, announce(session("s"), vec![lasting("a", 2000)])).await;
    let job = claim_one(&store).await;
    settle(&store, &job, archive(known.id, vec![])).await;
    let known = only_file(&store).await;
    assert_eq!((known.token_expires_at, known.loses_at), (None, None));
}

async fn the_end_of_a_token_that_can_be_renewed_is_no_loss(database: Database) {
    let store = database.store_with(Intake::new(Filter::default(), |it| it.account_id == "account")).await;
    record(&store, announce(session("s"), vec![lasting("a", 1000)])).await;
    assert_eq!(only_file(&store).await.loses_at, None);
    record(&store, announce(session_of("another", "s2"), vec![lasting("a", 1000)])).await;
    assert_eq!(all_files(&store).await[1].loses_at, Some(at(1000)));
}

async fn trash_deletion_and_the_accounts_rules_say_until_when_a_file_can_be_had(database: Database) {
    let store = database.store().await;
    let loses_at = || async { only_file(&store).await.loses_at };
    let with_file = |mut event: Event, second: i64, change: Change| {
        let EventContent::Announcement(announcement) = &mut event.content else { unreachable!() };
        announcement.happened_at = Some(at(second));
        announcement.change = change;
        event
    };
    record(&store, with_file(announce(session("s"), vec![file("a")]), 0, Change::default())).await;
    assert_eq!(loses_at().await, None);
    record(&store, told(deleted_on(20), 10, Change::default())).await;
    assert_eq!(loses_at().await, Some(day(20)));
    // What says nothing of it changes nothing, nor does what came late.
    record(&store, told(session("s"), 20, Change::default())).await;
    record(&store, told(deleted_on(10), 5, Change::default())).await;
    assert_eq!(loses_at().await, Some(day(20)));
    record(&store, told(session("s"), 30, stands(RecordingState::Trashed))).await;
    assert_eq!(loses_at().await, Some(day(20)));
    let kept = AnnouncedRecording { metadata: map(json!({"auto_delete": false})), ..session("s") };
    record(&store, told(kept, 40, Change::default())).await;
    assert_eq!(loses_at().await, Some(at(30) + TimeDelta::days(30)));
    record(&store, told(session("s"), 50, stands(RecordingState::Recovered))).await;
    assert_eq!(loses_at().await, None);
    record(&store, told(session("s"), 60, stands(RecordingState::Deleted))).await;
    assert_eq!(loses_at().await, Some(at(60)));
    // A file that joins later is lost as soon.
    record(&store, announce(session("s"), vec![file("b")])).await;
    assert_eq!(all_files(&store).await[1].loses_at, Some(at(60)));
    // Gone is gone.
    let job = claim(&store, 1).await.remove(0);
    settle(&store, &job, gone(vec![])).await;
    assert_eq!(database.number("SELECT count(*) FROM files WHERE loses_at IS NOT NULL").await, 1);
}

async fn the_nearest_loss_is_told_and_what_is_past_it_counted(database: Database) {
    let store = database.store_with(Intake::new(Filter::default(), |_| false)).await;
    assert_eq!(store.losses().await.unwrap(), Losses::default());
    let hours = |hours: i64| AnnouncedFile {
        token_expires_at: Some(Clock::System.now() + TimeDelta::hours(hours)),
        ..file(&format!("in {hours} hours"))
    };
    let unhurried = AnnouncedFile { download_token: None, ..file("never") };
    let files = vec![hours(10), hours(3), hours(-1), hours(-2), unhurried];
    record(&store, announce(session("s"), files)).await;
    let losses = store.losses().await.unwrap();
    assert_eq!(losses.overdue, 2);
    let nearest = losses.nearest.unwrap();
    assert!(nearest > AN_HOUR * 2 && nearest <= AN_HOUR * 3, "{nearest:?}");
    for _ in 0..3 {
        let job = claim(&store, 1).await.remove(0);
        settle(&store, &job, archive(transferred(&job), vec![])).await;
    }
    let losses = store.losses().await.unwrap();
    assert!(losses.overdue == 0 && losses.nearest.unwrap() > AN_HOUR * 9, "{losses:?}");
}

/// Names of the files of some transfers, in their order.
async fn names(store: &SharedStore, jobs: &[Job]) -> Vec<String> {
    let mut names = Vec::new();
    for job in jobs {
        names.push(work(store, transferred(job)).await.file.identity.name);
    }
    names
}

async fn what_is_lost_first_is_claimed_first_and_what_is_oldest_next(database: Database) {
    let store = database.store_with(Intake::new(Filter::default(), |_| false)).await;
    record(&store, announce(session("s1"), vec![file("old")])).await;
    record(&store, announce(session("s2"), vec![lasting("late", 3000)])).await;
    record(&store, announce(session("s3"), vec![file("new")])).await;
    record(&store, announce(session("s4"), vec![lasting("soon", 1000), lasting("next", 2000)])).await;
    let mut seen = Vec::new();
    for limit in [1, 2, 10] {
        let jobs = claim(&store, limit).await;
        seen.extend(names(&store, &jobs).await);
    }
    assert_eq!(seen, ["soon", "next", "late", "old", "new"]);
}

async fn what_is_lost_soon_but_not_due_lets_others_pass(database: Database) {
    let store = database.store_with(Intake::new(Filter::default(), |_| false)).await;
    record(&store, announce(session("s1"), vec![lasting("soon", 1000)])).await;
    let job = claim_one(&store).await;
    settle(&store, &job, wait(AN_HOUR, Cost::Attempt)).await;
    record(&store, announce(session("s2"), vec![file("other")])).await;
    let jobs = claim(&store, 10).await;
    assert_eq!(names(&store, &jobs).await, ["other"]);
}

/// How many jobs of each account there are.
fn by_account(jobs: &[Job]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for job in jobs {
        *counts.entry(job.account.as_deref().unwrap_or("none")).or_default() += 1;
    }
    counts
}

async fn an_account_with_ten_thousand_jobs_gets_its_share_while_others_wait(database: Database) {
    let store = database.store_with(Intake::new(Filter::default(), |it| it.account_id != "huge")).await;
    for event in 0..20 {
        // Older than all others, and lost sooner.
        let files = (0..500).map(|number| lasting(&format!("{event}-{number}"), 1000)).collect();
        record(&store, announce(session_of("huge", &format!("h{event}")), files)).await;
    }
    for account in ["one", "two"] {
        let files = (0..5).map(|number| file(&number.to_string())).collect();
        record(&store, announce(session_of(account, account), files)).await;
    }
    let began = Instant::now();
    let mut running = claim(&store, 6).await;
    assert_eq!(by_account(&running), [("huge", 2), ("one", 2), ("two", 2)].into());
    // One slot after the other is as fair as six at once.
    for _ in 0..9 {
        let ended = running.iter().position(|job| job.account.as_deref() == Some("huge")).unwrap();
        let job = running.remove(ended);
        settle(&store, &job, archive(transferred(&job), vec![])).await;
        running.extend(claim(&store, 1).await);
        assert_eq!(by_account(&running), [("huge", 2), ("one", 2), ("two", 2)].into());
    }
    // What others do not need is its.
    running.extend(claim(&store, 12).await);
    assert_eq!(by_account(&running), [("huge", 8), ("one", 5), ("two", 5)].into());
    // A claim costs no walk through all that waits.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

async fn jobs_that_ask_nothing_of_zoom_have_their_turn_too(database: Database) {
    let store = database.store_with(Intake::new(Filter::default(), |_| false)).await;
    due_manifest(&store).await;
    let files = (0..10).map(|number| lasting(&number.to_string(), 1000)).collect();
    record(&store, announce(session("s"), files)).await;
    let jobs = claim(&store, 2).await;
    assert_eq!(by_account(&jobs), [("account", 1), ("none", 1)].into());
}

/// A transfer under `key` whose checkpoint names an upload, and that still runs.
async fn uploading(store: &SharedStore, name: &str, upload: &str) -> Job {
    record(store, announce(session(name), vec![file(name)])).await;
    let job = claim_one(store).await;
    store.place(transferred(&job), "folder", &format!("{name}.mp4")).await.unwrap();
    let checkpoint = json!({"upload": {"upload": {"id": upload, "key": format!("folder/{name}.mp4")}}});
    store.checkpoint(&job.lease, &checkpoint).await.expect("the lease is held");
    job
}

async fn leftovers_are_uploads_under_our_keys_that_no_transfer_goes_on_with(database: Database) {
    let store = database.store().await;
    let running = uploading(&store, "running", "u-running").await;
    let waiting = uploading(&store, "waiting", "u-waiting").await;
    settle(&store, &waiting, wait(AN_HOUR, Cost::Attempt)).await;
    let parked = uploading(&store, "parked", "u-parked").await;
    settle(&store, &parked, park(WaitsFor::Person)).await;
    let died = uploading(&store, "dead", "u-dead").await;
    settle(&store, &died, dead()).await;
    let archived = uploading(&store, "archived", "u-archived").await;
    settle(&store, &archived, archive(transferred(&archived), vec![])).await;
    let archived_key = format!("folder/{}.mp4", transferred(&archived));

    let listed = [
        ("u-running", "folder/running.mp4"),
        // Begun by an earlier run and never written down: a running transfer may just do so.
        ("u-unknown-running", "folder/running.mp4"),
        ("u-waiting", "folder/waiting.mp4"),
        ("u-unknown-waiting", "folder/waiting.mp4"),
        ("u-parked", "folder/parked.mp4"),
        ("u-dead", "folder/dead.mp4"),
        ("u-archived", archived_key.as_str()),
        ("u-foreign", "somebody/else.mp4"),
        ("u-ours-by-the-archive", ""),
    ];
    let listed: Vec<_> = listed.iter().map(|(id, key)| ((*id).to_owned(), (*key).to_owned())).collect();
    let found: BTreeSet<_> = store.leftovers(&listed).await.unwrap().into_iter().collect();
    let expected = ["u-unknown-waiting", "u-dead", "u-archived", "u-ours-by-the-archive"];
    assert_eq!(found, expected.map(str::to_owned).into());
    assert_eq!(store.leftovers(&[]).await.unwrap(), Vec::<String>::new());
    settle(&store, &running, done(vec![])).await;
}

async fn checkpoints_of_what_is_long_dead_are_taken_once_and_no_others(database: Database) {
    let store = database.store().await;
    for name in ["a", "b", "c"] {
        let job = uploading(&store, name, name).await;
        settle(&store, &job, dead()).await;
    }
    let waiting = uploading(&store, "waiting", "waiting").await;
    settle(&store, &waiting, wait(AN_HOUR, Cost::Attempt)).await;
    assert_eq!(store.abandon(AN_HOUR, 10).await.unwrap(), Vec::<Value>::new(), "they died just now");
    let first = store.abandon(Duration::ZERO, 2).await.unwrap();
    let rest = store.abandon(Duration::ZERO, 2).await.unwrap();
    assert_eq!((first.len(), rest.len()), (2, 1));
    let ids = first.iter().chain(&rest).map(|it| it["upload"]["upload"]["id"].as_str().unwrap());
    assert_eq!(ids.collect::<BTreeSet<_>>(), ["a", "b", "c"].into());
    assert_eq!(store.abandon(Duration::ZERO, 2).await.unwrap(), Vec::<Value>::new());
    assert_eq!(database.number("SELECT count(*) FROM jobs WHERE checkpoint IS NOT NULL").await, 1);
}

fn skipped(name: &str) -> AnnouncedFile {
    AnnouncedFile { skip: Some("nobody wants it".into()), ..file(name) }
}

async fn a_skipped_file_says_why_and_nothing_carries_it(database: Database) {
    let store = database.store().await;
    let recorded = record(&store, announce(session("s"), vec![skipped("a")])).await;
    assert_eq!(recorded, Recorded { new_files: 1, skipped: 1, ..Recorded::default() });
    let row = only_file(&store).await;
    assert_eq!((row.state, row.reason.as_deref()), (FileState::Skipped, Some("nobody wants it")));
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Cancelled, 1)]));
    // Announced anew it stays skipped, and has fresh access for the case that somebody wants it.
    let again =
        record(&store, announce(session("s"), vec![with_access("a", "https://zoom.us/2", "t2")])).await;
    assert_eq!(again, Recorded { known_files: 1, ..Recorded::default() });
    assert_eq!(only_file(&store).await.state, FileState::Skipped);
    assert_eq!(access(&store, row.id).await, (Some("https://zoom.us/2".into()), Some("t2".into())));
    assert_eq!(claim(&store, 10).await.len(), 0);
    // It is in no danger either.
    let leaves = told(session("s"), 10, stands(RecordingState::Trashed));
    assert_eq!(record(&store, leaves).await.endangered, 0);
}

async fn the_same_id_in_two_arrays_is_two_files(database: Database) {
    let store = database.store().await;
    let mut twin = file("a");
    twin.identity.collection = "participant_audio_files".into();
    assert_eq!(record(&store, announce(session("s"), vec![file("a"), twin])).await.new_files, 2);
}

async fn files_without_an_id_are_told_apart_by_what_stands_in_for_it(database: Database) {
    let store = database.store().await;
    let nameless = |name: &str, file_type: &str| {
        let mut file = file(name);
        file.recording_type = String::new();
        file.file_type = file_type.into();
        file
    };
    let files = || {
        vec![
            nameless("TIMELINE@2026-03-01T12:01:00Z", "TIMELINE"),
            nameless("TIMELINE@2026-03-01T12:31:00Z", "TIMELINE"),
            nameless("CC@2026-03-01T12:01:00Z", "CC"),
        ]
    };
    assert_eq!(record(&store, announce(session("s"), files())).await.new_files, 3);
    let again = record(&store, announce(session("s"), files())).await;
    assert_eq!((again.new_files, again.known_files), (0, 3));
}

async fn a_file_announced_twice_in_one_event_is_one_file(database: Database) {
    let store = database.store().await;
    let mut later = with_access("a", "https://zoom.us/later", "later");
    later.announced_bytes = None;
    let recorded = record(&store, announce(session("s"), vec![file("a"), later])).await;
    assert_eq!(recorded, Recorded { new_files: 1, known_files: 0, woken: 0, ..Recorded::default() });
    let known = only_file(&store).await;
    assert_eq!(known.announced_bytes, Some(1000));
    assert_eq!(access(&store, known.id).await.1.as_deref(), Some("later"));
}

async fn a_late_file_joins_its_recording(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let late = record(&store, announce(session("s"), vec![file("transcript")])).await;
    assert_eq!(late, Recorded { new_files: 1, known_files: 0, woken: 0, ..Recorded::default() });
    let files = all_files(&store).await;
    assert_eq!(files[0].recording_id, files[1].recording_id);
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Waiting, 2)]));
}

async fn an_instance_of_another_account_or_kind_is_another_recording(database: Database) {
    let store = database.store().await;
    let mut elsewhere = session("s");
    elsewhere.identity.account_id = "another".into();
    let mut meeting = session("s");
    meeting.identity.kind = RecordingKind::Meeting;
    for recording in [session("s"), elsewhere, meeting] {
        assert_eq!(record(&store, announce(recording, vec![file("a")])).await.new_files, 1);
    }
    assert_eq!(database.number("SELECT count(*) FROM recordings").await, 3);
}

async fn what_another_account_has_is_taken_for_both_and_says_so(database: Database) {
    let store = database.store().await;
    let of = |account: &str| session_of(account, "s");
    record(&store, announce(of("true"), vec![file("pending"), file("archived"), file("dead")])).await;
    let jobs = claim(&store, 10).await;
    for job in &jobs {
        let id = transferred(job);
        let name = names(&store, std::slice::from_ref(job)).await.remove(0);
        let settlement = match name.as_str() {
            "archived" => archive(id, vec![]),
            "dead" => dead(),
            _ => wait(Duration::ZERO, Cost::Nothing),
        };
        settle(&store, job, settlement).await;
    }
    let wrong = || announce(of("wrong"), ["pending", "archived", "dead", "new"].map(file).into());
    let recorded = record(&store, wrong()).await;
    assert_eq!((recorded.new_files, recorded.skipped, recorded.twins), (4, 0, 2));
    assert_eq!(store.twins().await.unwrap(), 2);
    assert_eq!(claim(&store, 10).await.len(), 5, "what waited, and all four of the other account");
    let again = record(&store, wrong()).await;
    assert_eq!((again.known_files, again.twins), (4, 0));
    // A person may know better.
    let files = all_files(&store).await;
    let second =
        files.iter().filter(|file| file.identity.name == "archived").max_by_key(|file| file.id).unwrap();
    assert!(store.skip(second.id, "a twin").await.unwrap());
    assert_eq!(store.twins().await.unwrap(), 1);
}

async fn a_recording_without_files_is_recorded(database: Database) {
    let store = database.store().await;
    assert_eq!(record(&store, announce(session("s"), vec![])).await, Recorded::default());
    assert_eq!(database.number("SELECT count(*) FROM recordings").await, 1);
    assert_eq!(database.number("SELECT count(*) FROM events").await, 1);
}

async fn an_unreadable_event_is_kept_raw(database: Database) {
    let store = database.store().await;
    let event = Event {
        name: String::new(),
        body: b"\xff\x00 not json".to_vec(),
        content: EventContent::Unreadable { reason: "no JSON".into() },
        ..announce(session("s"), vec![])
    };
    assert_eq!(record(&store, event).await, Recorded::default());
    let kept = "SELECT count(*) FROM events WHERE octet_length(body) = 11 AND unreadable = 'no JSON'";
    assert_eq!(database.number(kept).await, 1);
    assert_eq!(database.number("SELECT count(*) FROM recordings").await, 0);
}

async fn what_could_not_be_read_in_an_event_is_kept_in_words(database: Database) {
    let store = database.store().await;
    let mut event = announce(session("s"), vec![file("a")]);
    if let EventContent::Announcement(announcement) = &mut event.content {
        announcement.odd = vec!["recording_files[1] is no object".into()];
    }
    record(&store, event).await;
    let odd = database.texts("SELECT CAST(odd AS text) FROM events").await;
    assert!(odd[0].contains("recording_files[1] is no object"), "{odd:?}");
}

async fn an_event_that_is_recorded_twice_is_recorded_once(database: Database) {
    let store = database.store().await;
    let event = announce(session("s"), vec![file("a")]);
    record(&store, event.clone()).await;
    record(&store, event).await;
    assert_eq!(database.number("SELECT count(*) FROM events").await, 1);
    assert_eq!(all_files(&store).await.len(), 1);
}

async fn a_nul_in_a_text_of_zooms_does_not_spoil_the_recording(database: Database) {
    let store = database.store().await;
    let mut recording = session("s\0");
    recording.topic = Some("a\0b".into());
    recording.metadata = map(json!({"topic\0": ["a\0b", {"c": "\0"}]}));
    let mut odd = file("a\0");
    odd.metadata = map(json!({"id": "a\0"}));
    record(&store, announce(recording, vec![odd])).await;
    let known = only_file(&store).await;
    assert_eq!(known.identity.name, "a\u{FFFD}");
    let (recording, _) = store.recording(known.recording_id).await.unwrap().expect("the recording");
    assert_eq!(recording.topic.as_deref(), Some("a\u{FFFD}b"));
    assert_eq!(recording.metadata, map(json!({"topic\u{FFFD}": ["a\u{FFFD}b", {"c": "\u{FFFD}"}]})));
}

async fn a_size_that_no_disk_holds_counts_as_none(database: Database) {
    let store = database.store().await;
    let huge = AnnouncedFile { announced_bytes: Some(u64::MAX), ..file("a") };
    record(&store, announce(session("s"), vec![huge])).await;
    assert_eq!(only_file(&store).await.announced_bytes, None);
}

// ---------------------------------------------------------------------------------------------------------
// Waking

async fn a_file_without_a_url_is_parked_until_an_event_brings_one(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![without_access("a")])).await;
    let parked = only_file(&store).await;
    assert_eq!(parked.state, FileState::Parked);
    assert!(parked.reason.is_some());
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Parked, 1)]));

    let still = record(&store, announce(session("s"), vec![without_access("a")])).await;
    assert_eq!(still, Recorded { new_files: 0, known_files: 1, woken: 0, ..Recorded::default() });
    let woken = record(&store, announce(session("s"), vec![file("a")])).await;
    assert_eq!(woken, Recorded { new_files: 0, known_files: 1, woken: 1, ..Recorded::default() });
    let pending = only_file(&store).await;
    assert_eq!((pending.state, pending.reason), (FileState::Pending, None));
    assert_eq!(transferred(&claim_one(&store).await), pending.id);
}

async fn a_transfer_that_is_parked_for_a_token_is_woken_by_a_fresh_one(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    settle(&store, &claim_one(&store).await, wait(Duration::ZERO, Cost::Snooze)).await;
    let job = claim_one(&store).await;
    store.checkpoint(&job.lease, &json!({"offset": 5})).await.unwrap();
    settle(&store, &job, park(WaitsFor::Token)).await;
    let parked = only_file(&store).await;
    assert_eq!((parked.state, parked.reason.as_deref()), (FileState::Parked, Some("the token has expired")));
    assert!(claim(&store, 10).await.is_empty());

    let fresh = announce(session("s"), vec![with_access("a", "https://zoom.us/fresh", "fresh")]);
    assert_eq!(record(&store, fresh).await.woken, 1);
    let pending = only_file(&store).await;
    assert_eq!((pending.state, pending.reason), (FileState::Pending, None));
    let job = claim_one(&store).await;
    assert_eq!((job.snoozes, job.checkpoint), (0, Some(json!({"offset": 5}))));
    assert_eq!(access(&store, pending.id).await.1.as_deref(), Some("fresh"));
}

async fn a_transfer_that_is_parked_for_a_person_is_not_woken_by_an_event(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    settle(&store, &claim_one(&store).await, park(WaitsFor::Person)).await;
    assert_eq!(record(&store, announce(session("s"), vec![file("a")])).await.woken, 0);
    assert_eq!(only_file(&store).await.state, FileState::Parked);
    assert!(claim(&store, 10).await.is_empty());
}

async fn what_is_parked_or_dead_goes_again_when_a_person_says_so_and_nothing_else_does(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let known = only_file(&store).await.id;
    assert!(!store.retry(known).await.unwrap(), "it waits already");
    let job = claim_one(&store).await;
    assert!(!store.retry(known).await.unwrap(), "it runs");
    settle(&store, &job, park(WaitsFor::Person)).await;
    for settlement in [dead(), park(WaitsFor::Token), dead()] {
        assert!(store.retry(known).await.unwrap());
        let woken = only_file(&store).await;
        assert_eq!((woken.state, woken.reason), (FileState::Pending, None));
        let job = claim_one(&store).await;
        assert_eq!((job.attempts, job.snoozes), (0, 0));
        settle(&store, &job, settlement).await;
    }
    assert!(!store.retry(FileId::new()).await.unwrap(), "nobody knows it");
}

fn put_back(cost: Cost) -> Settlement {
    Settlement::Wait { after: AN_HOUR, reason: Some("not yet".into()), cost }
}

async fn what_rests_is_due_at_once_when_a_person_says_so(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let known = only_file(&store).await.id;
    let mut job = claim_one(&store).await;
    for cost in [Cost::Attempt, Cost::Snooze, Cost::Nothing] {
        store.checkpoint(&job.lease, &json!({ "parts": 3 })).await.unwrap();
        settle(&store, &job, put_back(cost)).await;
        assert!(claim(&store, 1).await.is_empty(), "it rests");
        assert!(store.retry(known).await.unwrap());
        assert!(!store.retry(known).await.unwrap(), "it is due");
        let woken = only_file(&store).await;
        assert_eq!((woken.state, woken.reason), (FileState::Pending, None));
        job = claim_one(&store).await;
        assert_eq!((job.attempts, job.snoozes), (0, 0));
        assert_eq!(job.checkpoint, Some(json!({ "parts": 3 })), "it goes on where it stopped");
        assert!(!store.retry(known).await.unwrap(), "it runs");
    }
    settle(&store, &job, archive(known, vec![])).await;

    assert!(store.repeat(Task::Reconcile, AN_HOUR).await.unwrap());
    let job = claim_one(&store).await;
    settle(&store, &job, put_back(Cost::Attempt)).await;
    assert!(store.retry_job(job.lease.job).await.unwrap());
    assert!(!store.retry_job(job.lease.job).await.unwrap(), "it is due");
    assert_eq!(claim_one(&store).await.attempts, 0);
}

async fn a_gone_file_goes_again_when_a_person_says_so(database: Database) {
    let store = database.store().await;
    let known = gone_file(&store).await;
    assert!(store.retry(known).await.unwrap());
    let woken = only_file(&store).await;
    assert_eq!((woken.state, woken.reason), (FileState::Pending, None));
    let job = claim_one(&store).await;
    assert_eq!((transferred(&job), job.attempts), (known, 0));
    assert!(!store.retry(known).await.unwrap(), "it runs");
    let sound = ArchivedFile { mark: None, ..archived_as("folder/file.mp4") };
    let completion = Completion { archived: Some((known, sound)), next: vec![], news: None };
    settle(&store, &job, Settlement::Done(Box::new(completion))).await;
    assert!(!store.retry(known).await.unwrap(), "it is archived");
}

async fn an_archived_file_with_a_warning_is_fetched_again_beside_its_object(database: Database) {
    let store = database.store().await;
    let known = gone_file(&store).await;
    assert!(store.retry(known).await.unwrap());
    settle(&store, &claim_one(&store).await, archive(known, vec![])).await;
    let before = only_file(&store).await;
    let present = ArchivedObject::new(before.archived.as_ref().unwrap(), before.archived_at);
    assert_eq!(before.replaces(), None);

    assert!(store.retry(known).await.unwrap());
    let pending = only_file(&store).await;
    assert_eq!((pending.state, pending.archived.clone()), (FileState::Pending, None));
    assert_eq!((pending.replaces(), pending.proven_before), (Some(&present), None));
    let new_key = pending.object_key.clone().unwrap();
    assert_ne!(new_key, present.key);
    assert!(!store.skip(known, "no").await.unwrap(), "it has an object");

    // What it had stays in force: when it was archived, too.
    let job = claim_one(&store).await;
    let kept = ArchivedFile { mark: Some("the same bytes".into()), ..present.with_mark(None) };
    let completion = Completion { archived: Some((known, kept)), next: vec![], news: None };
    settle(&store, &job, Settlement::Done(Box::new(completion))).await;
    let kept = only_file(&store).await;
    assert_eq!((&kept.object_key, kept.archived_at), (&before.object_key, before.archived_at));
    assert_eq!((kept.replaces(), &kept.archived.as_ref().unwrap().etag), (None, &present.etag));

    assert!(store.retry(known).await.unwrap());
    assert_eq!(only_file(&store).await.earlier_objects.len(), 1, "once, however often it is tried");
    let completion = Completion { archived: Some((known, archived_as(&new_key))), next: vec![], news: None };
    settle(&store, &claim_one(&store).await, Settlement::Done(Box::new(completion))).await;
    let after = only_file(&store).await;
    assert_eq!(after.object_key.as_deref(), Some(new_key.as_str()));
    assert!(after.archived_at > before.archived_at);
    assert_eq!(after.earlier_objects[0].key, present.key);
}

async fn a_token_without_a_url_joins_no_other_events_url(database: Database) {
    let store = database.store().await;
    let mut token_alone = without_access("a");
    token_alone.download_token = Some("stray".to_owned().into());
    let url_alone = AnnouncedFile { download_token: None, ..with_access("a", "https://zoom.us/1", "") };
    record(&store, announce(session("s"), vec![url_alone])).await;
    let known = only_file(&store).await.id;
    record(&store, announce(session("s"), vec![token_alone.clone()])).await;
    assert_eq!(access(&store, known).await, (Some("https://zoom.us/1".to_owned()), None));

    record(&store, announce(session("s"), vec![with_access("a", "https://zoom.us/2", "second")])).await;
    let second = (Some("https://zoom.us/2".to_owned()), Some("second".to_owned()));
    record(&store, announce(session("s"), vec![token_alone])).await;
    assert_eq!(access(&store, known).await, second);
}

async fn a_gone_file_is_woken_by_a_url_and_by_nothing_less(database: Database) {
    let store = database.store().await;
    let known = gone_file(&store).await;
    let mut token_alone = without_access("a");
    token_alone.download_token = Some("fresh".to_owned().into());
    token_alone.announced_bytes = Some(1234);
    for poor in [without_access("a"), token_alone] {
        let recorded = record(&store, announce(session("s"), vec![poor])).await;
        assert_eq!(recorded, Recorded { new_files: 0, known_files: 1, woken: 0, ..Recorded::default() });
        assert_eq!(only_file(&store).await.state, FileState::Gone);
        assert_eq!(access(&store, known).await, (None, None));
    }

    let fresh = announce(session("s"), vec![with_access("a", "https://zoom.us/fresh", "fresh")]);
    assert_eq!(record(&store, fresh).await.woken, 1);
    let woken = only_file(&store).await;
    assert_eq!((woken.state, woken.reason, woken.announced_bytes), (FileState::Pending, None, Some(1000)));
    assert_eq!(
        access(&store, known).await,
        (Some("https://zoom.us/fresh".to_owned()), Some("fresh".to_owned()))
    );
    let job = claim_one(&store).await;
    assert_eq!((transferred(&job), job.attempts, &job.checkpoint), (known, 0, &None));
    settle(&store, &job, archive(known, vec![])).await;
    assert_eq!(only_file(&store).await.state, FileState::Archived);
}

async fn a_file_that_is_announced_anew_while_it_is_found_gone_is_not_gone(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let job = claim_one(&store).await;
    record(&store, announce(session("s"), vec![with_access("a", "https://zoom.us/fresh", "fresh")])).await;
    settle(&store, &job, gone(vec![])).await;
    assert_eq!(only_file(&store).await.state, FileState::Pending);
    let again = claim_one(&store).await;
    assert_eq!(access(&store, transferred(&again)).await.1.as_deref(), Some("fresh"));
    settle(&store, &again, gone(vec![])).await;
    assert_eq!(only_file(&store).await.state, FileState::Gone, "the wish was for one run");
}

async fn a_dead_transfer_stays_dead_but_its_file_is_refreshed(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    settle(&store, &claim_one(&store).await, dead()).await;
    let fresh = announce(session("s"), vec![with_access("a", "https://zoom.us/fresh", "fresh")]);
    assert_eq!(
        record(&store, fresh).await,
        Recorded { new_files: 0, known_files: 1, woken: 0, ..Recorded::default() }
    );
    let known = only_file(&store).await;
    assert_eq!((known.state, known.reason.as_deref()), (FileState::Dead, Some("too many attempts")));
    assert_eq!(access(&store, known.id).await.1.as_deref(), Some("fresh"));
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Dead, 1)]));
}

async fn a_token_that_comes_while_the_transfer_runs_is_not_slept_through(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let job = claim_one(&store).await;
    record(&store, announce(session("s"), vec![with_access("a", "https://zoom.us/fresh", "fresh")])).await;
    settle(&store, &job, park(WaitsFor::Token)).await;
    assert_eq!(only_file(&store).await.state, FileState::Pending);
    let again = claim_one(&store).await;
    settle(&store, &again, park(WaitsFor::Token)).await;
    assert_eq!(only_file(&store).await.state, FileState::Parked, "the wish was for one run");
}

// ---------------------------------------------------------------------------------------------------------
// Many at once, and callers that go away

async fn the_same_recording_from_sixteen_at_once_is_recorded_once(database: Database) {
    let store = database.store().await;
    for round in 0..5 {
        let id = format!("round {round}");
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..16 {
            let (store, id) = (store.clone(), id.clone());
            callers.spawn(async move {
                let mut files = vec![file("a"), file("b"), without_access("c")];
                // Each in an order of its own; half of them know the URL of `c`.
                files.rotate_left(caller % 3);
                if caller % 2 == 0 {
                    files.push(file("c"));
                }
                record(&store, announce(session(&id), files)).await
            });
        }
        let recorded = callers.join_all().await;
        assert_eq!(recorded.iter().map(|recorded| recorded.new_files).sum::<u64>(), 3);
        assert_eq!(recorded.iter().map(|recorded| recorded.known_files).sum::<u64>(), 15 * 3);
    }
    // Nobody is left behind parked although the URL is there.
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Waiting, 15)]));
    assert!(all_files(&store).await.iter().all(|file| file.state == FileState::Pending));
}

async fn overlapping_announcements_from_sixteen_at_once_leave_each_file_once(database: Database) {
    let store = database.store().await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..16_u32 {
        let store = store.clone();
        callers.spawn(async move {
            for round in 0..8 {
                let names = (0..6).map(|offset| format!("f{}", (caller + round + offset) % 10));
                let id = format!("s{}", (caller + round) % 3);
                record(&store, announce(session(&id), names.map(|name| file(&name)).collect())).await;
            }
        });
    }
    callers.join_all().await;
    let identities: Vec<_> =
        all_files(&store).await.into_iter().map(|file| (file.recording_id, file.identity)).collect();
    assert_eq!(identities.iter().collect::<BTreeSet<_>>().len(), identities.len());
    assert_eq!(identities.len(), 30);
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Waiting, 30)]));
    assert_eq!(database.number("SELECT count(*) FROM events").await, 16 * 8);
}

async fn recording_and_settling_at_once_wakes_or_finishes_every_file(database: Database) {
    let store = database.store().await;
    let names: Vec<String> = (0..12).map(|number| format!("f{number}")).collect();
    let files = |token: &str| -> Vec<AnnouncedFile> {
        names.iter().map(|name| with_access(name, "https://zoom.us/x", token)).collect()
    };
    record(&store, announce(session("s"), files("stale"))).await;
    let mut tasks = tokio::task::JoinSet::new();
    let fresh = files("fresh");
    let recorder = store.clone();
    tasks.spawn(async move {
        record(&recorder, announce(session("s"), fresh)).await;
    });
    for worker in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            while let Some(job) = claim(&store, 1).await.pop() {
                let file = transferred(&job);
                if access(&store, file).await.1.as_deref() == Some("stale") {
                    let ending = if worker % 2 == 0 { park(WaitsFor::Token) } else { gone(vec![]) };
                    settle(&store, &job, ending).await;
                } else {
                    settle(&store, &job, archive(file, vec![])).await;
                }
            }
        });
    }
    tasks.join_all().await;
    // Whoever read the stale token was told of the fresh one, before or after it parked or found the file gone.
    while let Some(job) = claim(&store, 1).await.pop() {
        settle(&store, &job, archive(transferred(&job), vec![])).await;
    }
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Done, 12)]));
    assert!(all_files(&store).await.iter().all(|file| file.state == FileState::Archived));
}

async fn a_caller_that_goes_away_leaves_nothing_half_done(database: Database) {
    const FILES: usize = 20;
    let store = database.store().await;
    for round in 0..60_u32 {
        let store = store.clone();
        let caller = tokio::spawn(async move {
            let files = (0..FILES).map(|number| file(&format!("f{number}"))).collect();
            store.record(&announce(session(&format!("s{round}")), files)).await
        });
        // Dropped at another point each time.
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        tokio::time::timeout(Duration::from_micros(u64::from(round) * 50), std::future::pending::<()>())
            .await
            .unwrap_err();
        caller.abort();
        drop(caller.await);
    }
    // One that is waited for stands behind all the others on SQLite; on Postgres they may still be under way.
    record(&store, announce(session("last"), vec![])).await;
    let partly = format!(
        "SELECT count(*) FROM recordings WHERE instance_id <> 'last' AND {FILES} <>
            (SELECT count(*) FROM files JOIN jobs ON jobs.subject = files.id
             WHERE files.recording_id = recordings.id)"
    );
    assert_eq!(database.number(&partly).await, 0);
    let without_event = "SELECT count(*) FROM recordings WHERE NOT EXISTS
        (SELECT 1 FROM events WHERE events.recording_id = recordings.id)";
    assert_eq!(database.number(without_event).await, 0);
    if database.kind() == "postgres" {
        let open = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        assert_eq!(database.number(open).await, 0);
    }
    store.close().await;
    assert_eq!(database.number(&partly).await, 0);
    // No transaction holds the writer back.
    record(&database.open().await, announce(session("after"), vec![file("a")])).await;
}

async fn a_verb_that_is_dropped_does_not_spoil_its_connection(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let job = claim_one(&store).await;
    for round in 0..100_u64 {
        let checkpoint = json!({"round": round});
        let verb = store.checkpoint(&job.lease, &checkpoint);
        let _dropped_or_not = tokio::time::timeout(Duration::from_micros(round * 20), verb).await;
        store.extend(&job.lease, LEASE).await.expect("the lease is still ours");
    }
    store.checkpoint(&job.lease, &json!("last")).await.unwrap();
    settle(&store, &job, wait(Duration::ZERO, Cost::Nothing)).await;
    assert_eq!(claim_one(&store).await.checkpoint, Some(json!("last")));
}

// ---------------------------------------------------------------------------------------------------------
// Claims and leases

async fn due_jobs_are_claimed_oldest_first(database: Database) {
    let store = database.store().await;
    for name in ["first", "second", "third"] {
        record(&store, announce(session(name), vec![file(name)])).await;
    }
    let mut names = Vec::new();
    for limit in [2, 2] {
        for job in claim(&store, limit).await {
            names.push(work(&store, transferred(&job)).await.file.identity.name);
        }
    }
    assert_eq!(names, ["first", "second", "third"]);
    assert!(claim(&store, 2).await.is_empty());
}

async fn a_transfer_knows_its_account_and_a_manifest_has_none(database: Database) {
    let store = database.store().await;
    record(&store, announce(session_of("its\0account", "s"), vec![file("a")])).await;
    let job = claim_one(&store).await;
    assert_eq!(job.account.as_deref(), Some("its\u{FFFD}account"));
    let recording = work(&store, transferred(&job)).await.recording.id;
    settle(&store, &job, archive(transferred(&job), vec![(Task::Manifest(recording), Duration::ZERO)])).await;
    assert_eq!(claim_one(&store).await.account, None);
}

async fn a_claim_passes_the_accounts_that_are_full(database: Database) {
    let store = database.store().await;
    due_manifest(&store).await;
    // Oldest first: a0 a1, b0 b1, c0 c1, a2 a3, b2 b3, c2 c3.
    for pair in [0, 2] {
        for account in ["a", "b", "c"] {
            for number in [pair, pair + 1] {
                let name = format!("{account}{number}");
                record(&store, announce(session_of(account, &name), vec![file(&name)])).await;
            }
        }
    }
    let claim = |limit, full: &[&str]| {
        let (store, full) = (store.clone(), full.iter().map(ToString::to_string).collect::<Vec<_>>());
        async move {
            let mut names = Vec::new();
            for job in store.claim("worker", limit, LEASE, &full).await.unwrap() {
                names.push(match job.task {
                    Task::Transfer(file) => work(&store, file).await.file.identity.name,
                    other => other.kind().to_owned(),
                });
            }
            names
        }
    };
    assert_eq!(claim(4, &["a", "nobody"]).await, ["manifest", "b0", "b1", "c0"]);
    assert_eq!(claim(3, &["b", "c"]).await, ["a0", "a1", "a2"]);
    assert_eq!(claim(10, &["a", "b", "c"]).await, [""; 0]);
    assert_eq!(claim(10, &["a"]).await, ["c1", "b2", "b3", "c2", "c3"]);
    assert_eq!(claim(10, &[]).await, ["a3"]);
}

async fn a_claim_past_full_accounts_takes_nothing_that_rests(database: Database) {
    let store = database.store().await;
    for name in ["a", "b"] {
        record(&store, announce(session_of(name, name), vec![file(name)])).await;
    }
    settle(&store, &claim(&store, 1).await[0], wait(AN_HOUR, Cost::Nothing)).await;
    let full = ["elsewhere".to_owned()];
    let jobs = store.claim("worker", 10, LEASE, &full).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.account.as_deref()).collect::<Vec<_>>(), [Some("b")]);
}

async fn no_job_is_handed_to_two_claimers(database: Database) {
    const JOBS: usize = 200;
    let store = database.store().await;
    let files = (0..JOBS).map(|number| file(&format!("f{number}"))).collect();
    record(&store, announce(session("s"), files)).await;
    let other = database.open().await;
    let mut claimers = tokio::task::JoinSet::new();
    for claimer in 0..8_u32 {
        let store = if claimer % 2 == 0 { store.clone() } else { other.clone() };
        // Half of them look past accounts that are full, which none of the jobs is of.
        let full = if claimer % 4 < 2 { vec!["another".to_owned()] } else { vec![] };
        claimers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let jobs =
                    store.claim(&format!("worker {claimer}"), 1 + claimer, LEASE, &full).await.unwrap();
                if jobs.is_empty() && store.depth().await.unwrap().iter().all(|d| d.oldest_due.is_none()) {
                    return mine;
                }
                mine.extend(jobs.into_iter().map(|job| job.lease.job));
            }
        });
    }
    let claimed: Vec<_> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), JOBS);
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), JOBS);
}

async fn a_lease_that_is_lost_writes_nothing(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let stale = store.claim("slow", 1, Duration::ZERO, &[]).await.unwrap().remove(0);
    assert_eq!(store.sweep(99).await.unwrap(), Swept { returned: 1, parked: 0 });

    for holder in ["nobody", "another"] {
        let lease = &stale.lease;
        assert!(lost(store.extend(lease, LEASE).await, lease), "{holder} holds it");
        assert!(lost(store.checkpoint(lease, &json!("stale")).await, lease), "{holder} holds it");
        let next = vec![(Task::Manifest(RecordingId::new()), Duration::ZERO)];
        let settlement = archive(transferred(&stale), next.clone());
        assert!(lost(store.settle(lease, settlement).await, lease), "{holder} holds it");
        assert!(lost(store.settle(lease, gone(next)).await, lease), "{holder} holds it");
        assert!(lost(store.settle(lease, dead()).await, lease), "{holder} holds it");
        if holder == "nobody" {
            let held = claim_one(&store).await;
            assert!(held.lease.token > stale.lease.token);
            assert_eq!(held.checkpoint, None);
        }
    }
    assert_eq!(only_file(&store).await.state, FileState::Pending);
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Running, 1)]));
}

async fn a_settled_job_cannot_be_settled_again(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let job = claim_one(&store).await;
    settle(&store, &job, wait(Duration::ZERO, Cost::Attempt)).await;
    assert!(lost(store.settle(&job.lease, dead()).await, &job.lease));
    assert_eq!(claim_one(&store).await.attempts, 1);
}

async fn an_expired_lease_returns_its_job_with_the_checkpoint(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a"), file("b")])).await;
    let mut held = claim(&store, 2).await;
    let (kept, expiring) = (held.remove(0), held.remove(0));
    store.checkpoint(&expiring.lease, &json!({"upload": "u", "parts": [1, 2]})).await.unwrap();
    store.extend(&expiring.lease, Duration::ZERO).await.unwrap();
    assert_eq!(store.sweep(99).await.unwrap(), Swept { returned: 1, parked: 0 });
    assert_eq!(store.sweep(99).await.unwrap(), Swept::default());

    let returned = claim_one(&store).await;
    assert_eq!(returned.lease.job, expiring.lease.job);
    assert_eq!(returned.checkpoint, Some(json!({"upload": "u", "parts": [1, 2]})));
    assert_eq!((returned.attempts, returned.snoozes), (0, 0));
    store.extend(&kept.lease, LEASE).await.expect("the other lease is untouched");
}

async fn a_short_lease_runs_out_by_the_databases_clock(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let job = store.claim("worker", 1, Duration::from_millis(200), &[]).await.unwrap().remove(0);
    let swept = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let swept = store.sweep(99).await.unwrap();
            if swept != Swept::default() {
                return swept;
            }
        }
    });
    assert_eq!(swept.await.expect("the lease runs out"), Swept { returned: 1, parked: 0 });
    assert!(lost(store.extend(&job.lease, LEASE).await, &job.lease));
}

async fn a_job_that_loses_too_many_leases_in_a_row_is_parked_for_a_person(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let lose_one = || async {
        let job = store.claim("dying", 1, Duration::ZERO, &[]).await.unwrap().remove(0);
        (job, store.sweep(3).await.unwrap())
    };
    let returned = Swept { returned: 1, parked: 0 };
    assert_eq!(lose_one().await.1, returned);
    assert_eq!(lose_one().await.1, returned);
    // Headway: the count begins anew.
    let job = claim_one(&store).await;
    store.checkpoint(&job.lease, &json!(1)).await.unwrap();
    settle(&store, &job, wait(Duration::ZERO, Cost::Nothing)).await;
    assert_eq!(lose_one().await.1, returned);
    assert_eq!(lose_one().await.1, returned);
    let (job, swept) = lose_one().await;
    assert_eq!(swept, Swept { returned: 0, parked: 1 });
    assert_eq!(job.attempts, 0);

    let parked = only_file(&store).await;
    assert_eq!(parked.state, FileState::Parked);
    assert!(parked.reason.is_some());
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Parked, 1)]));
    assert_eq!(database.texts("SELECT waits_for FROM jobs").await, ["person"]);
}

// ---------------------------------------------------------------------------------------------------------
// Settlements

async fn a_rest_lasts_as_long_as_it_says_and_costs_what_it_says(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    for (cost, attempts, snoozes) in
        [(Cost::Attempt, 1, 0), (Cost::Snooze, 1, 1), (Cost::Nothing, 1, 1), (Cost::Attempt, 2, 1)]
    {
        settle(&store, &claim_one(&store).await, wait(Duration::ZERO, cost)).await;
        let job = claim_one(&store).await;
        assert_eq!((job.attempts, job.snoozes), (attempts, snoozes), "{cost:?}");
        settle(&store, &job, wait(Duration::ZERO, Cost::Nothing)).await;
    }
    settle(&store, &claim_one(&store).await, wait(AN_HOUR, Cost::Nothing)).await;
    assert!(claim(&store, 1).await.is_empty());
    let resting = only_file(&store).await;
    assert_eq!((resting.state, resting.reason.as_deref()), (FileState::Pending, Some("connection reset")));
}

async fn a_rest_for_ever_is_taken_as_very_long(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    settle(&store, &claim_one(&store).await, wait(Duration::MAX, Cost::Nothing)).await;
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Waiting, 1)]));
}

async fn what_was_said_last_stands_when_a_rest_gives_no_reason(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    settle(&store, &claim_one(&store).await, wait(Duration::ZERO, Cost::Attempt)).await;
    let silent = Settlement::Wait { after: Duration::ZERO, reason: None, cost: Cost::Nothing };
    settle(&store, &claim_one(&store).await, silent).await;
    assert_eq!(only_file(&store).await.reason.as_deref(), Some("connection reset"));
}

async fn a_checkpoint_replaces_the_one_before_and_forgets_what_went_wrong(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    for cost in [Cost::Snooze, Cost::Attempt, Cost::Attempt] {
        settle(&store, &claim_one(&store).await, wait(Duration::ZERO, cost)).await;
    }
    let job = claim_one(&store).await;
    assert_eq!((job.snoozes, job.attempts), (1, 2));
    store.checkpoint(&job.lease, &json!({"a": 1})).await.unwrap();
    store.checkpoint(&job.lease, &json!({"b": "\0"})).await.unwrap();
    settle(&store, &job, wait(Duration::ZERO, Cost::Attempt)).await;
    let job = claim_one(&store).await;
    assert_eq!((job.snoozes, job.attempts), (0, 1));
    assert_eq!(job.checkpoint, Some(json!({"b": "\u{FFFD}"})));
}

async fn a_note_replaces_the_checkpoint_and_forgets_nothing(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    for cost in [Cost::Snooze, Cost::Attempt] {
        settle(&store, &claim_one(&store).await, wait(Duration::ZERO, cost)).await;
    }
    let first = store.claim("dying", 1, Duration::ZERO, &[]).await.unwrap().remove(0);
    store.note(&first.lease, &json!({"a": 1})).await.unwrap();
    assert_eq!(store.sweep(2).await.unwrap(), Swept { returned: 1, parked: 0 });
    let job = store.claim("dying", 1, Duration::ZERO, &[]).await.unwrap().remove(0);
    assert_eq!((job.snoozes, job.attempts, &job.checkpoint), (1, 1, &Some(json!({"a": 1}))));
    store.note(&job.lease, &json!({"b": "\0"})).await.unwrap();
    assert_eq!(store.sweep(2).await.unwrap(), Swept { returned: 0, parked: 1 }, "the second in a row");
    assert!(lost(store.note(&job.lease, &json!(1)).await, &job.lease));
    assert!(store.retry(transferred(&job)).await.unwrap());
    assert_eq!(claim_one(&store).await.checkpoint, Some(json!({"b": "\u{FFFD}"})));
}

async fn a_dead_transfer_says_why_on_its_file(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    settle(&store, &claim_one(&store).await, dead()).await;
    let file = only_file(&store).await;
    assert_eq!((file.state, file.reason.as_deref()), (FileState::Dead, Some("too many attempts")));
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Dead, 1)]));
    assert_eq!(database.number("SELECT attempts FROM jobs").await, 1, "dying costs an attempt");
}

async fn a_gone_file_says_why_and_has_no_secrets_and_its_manifest_follows(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let job = claim_one(&store).await;
    store.checkpoint(&job.lease, &json!({"parts": [1]})).await.unwrap();
    let known = work(&store, transferred(&job)).await;
    let manifest = Task::Manifest(known.recording.id);
    settle(&store, &job, gone(vec![(manifest, Duration::ZERO)])).await;

    let file = only_file(&store).await;
    assert_eq!((file.state, file.reason.as_deref()), (FileState::Gone, Some("Zoom does not know it")));
    assert_eq!(access(&store, file.id).await, (None, None));
    assert_eq!(
        jobs(&store).await,
        stand(&[("manifest", JobState::Waiting, 1), ("transfer", JobState::Done, 1)])
    );
    assert_eq!(database.number("SELECT count(*) FROM jobs WHERE checkpoint IS NOT NULL").await, 0);
    assert_eq!(claim_one(&store).await.task, manifest);
}

async fn an_archived_file_has_its_proof_and_no_secrets(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let job = claim_one(&store).await;
    store.checkpoint(&job.lease, &json!({"parts": [1]})).await.unwrap();
    let id = transferred(&job);
    settle(&store, &job, archive(id, vec![])).await;

    let file = only_file(&store).await;
    assert_eq!((file.state, &file.reason), (FileState::Archived, &None));
    assert_eq!(file.archived, Some(archived_as(&format!("folder/{id}.mp4"))));
    assert_eq!(file.object_key, Some(format!("folder/{id}.mp4")));
    assert!(file.archived_at.is_some());
    assert_eq!(access(&store, id).await, (None, None));
    assert_eq!(database.number("SELECT count(*) FROM jobs WHERE checkpoint IS NOT NULL").await, 0);
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Done, 1)]));
}

async fn an_archived_file_takes_no_secret_again(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let job = claim_one(&store).await;
    settle(&store, &job, archive(transferred(&job), vec![])).await;
    let mut topic = session("s");
    topic.topic = Some("renamed".into());
    let again = record(&store, announce(topic, vec![file("a")])).await;
    assert_eq!(again, Recorded { new_files: 0, known_files: 1, woken: 0, ..Recorded::default() });
    let work = work(&store, transferred(&job)).await;
    assert!(work.download_url.is_none() && work.download_token.is_none());
    assert_eq!(work.file.state, FileState::Archived);
    assert_eq!(work.recording.topic.as_deref(), Some("renamed"));
    assert!(claim(&store, 1).await.is_empty());
}

async fn a_transfer_that_archived_its_file_is_done_whatever_came_meanwhile(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let job = claim_one(&store).await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    settle(&store, &job, archive(transferred(&job), vec![])).await;
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Done, 1)]));
}

async fn a_job_that_follows_waits_for_its_rest(database: Database) {
    let store = database.store().await;
    let recording = archive_one(&store, "s", AN_HOUR).await;
    assert!(claim(&store, 10).await.is_empty());
    assert_eq!(
        jobs(&store).await,
        stand(&[("manifest", JobState::Waiting, 1), ("transfer", JobState::Done, 1)])
    );
    // One that waits keeps its time.
    ask_for(&store, "other", Task::Manifest(recording)).await;
    assert!(claim(&store, 10).await.is_empty());
}

async fn a_job_that_is_wanted_while_it_runs_runs_again(database: Database) {
    let store = database.store().await;
    let manifest = due_manifest(&store).await;
    let running = claim_one(&store).await;
    assert_eq!(running.task, manifest);
    store.checkpoint(&running.lease, &json!("half")).await.unwrap();
    ask_for(&store, "other", manifest).await;
    store.extend(&running.lease, LEASE).await.expect("being wanted does not end a lease");
    settle(&store, &running, done(vec![])).await;
    let again = claim_one(&store).await;
    assert_eq!((again.task, &again.checkpoint), (manifest, &None));
    settle(&store, &again, done(vec![])).await;
    assert!(claim(&store, 10).await.is_empty(), "once is enough");
}

async fn a_job_that_has_ended_is_woken_and_not_doubled(database: Database) {
    let store = database.store().await;
    let manifest = due_manifest(&store).await;
    let endings = [("done", done(vec![])), ("dead", dead()), ("person", park(WaitsFor::Person))];
    for (name, ending) in endings {
        settle(&store, &claim_one(&store).await, wait(Duration::ZERO, Cost::Attempt)).await;
        settle(&store, &claim_one(&store).await, ending).await;
        assert!(claim(&store, 10).await.is_empty());
        ask_for(&store, name, manifest).await;
        let woken = claim_one(&store).await;
        assert_eq!(woken.task, manifest, "{name}");
        // What ended begins anew; what was parked goes on.
        assert_eq!(woken.attempts, u32::from(name == "person"), "{name}");
        settle(&store, &woken, wait(Duration::ZERO, Cost::Nothing)).await;
    }
    assert_eq!(database.number("SELECT count(*) FROM jobs WHERE kind = 'manifest'").await, 1);
}

async fn files_that_finish_at_once_share_one_manifest(database: Database) {
    let store = database.store().await;
    let files = (0..16).map(|number| file(&format!("f{number}"))).collect();
    record(&store, announce(session("s"), files)).await;
    let mut workers = tokio::task::JoinSet::new();
    for job in claim(&store, 16).await {
        let store = store.clone();
        workers.spawn(async move {
            let file = transferred(&job);
            let recording = work(&store, file).await.recording.id;
            settle(&store, &job, archive(file, vec![(Task::Manifest(recording), Duration::ZERO)])).await;
        });
    }
    workers.join_all().await;
    assert_eq!(
        jobs(&store).await,
        stand(&[("manifest", JobState::Waiting, 1), ("transfer", JobState::Done, 16)])
    );
}

async fn a_job_does_not_follow_itself(database: Database) {
    let store = database.store().await;
    let manifest = due_manifest(&store).await;
    settle(&store, &claim_one(&store).await, done(vec![(manifest, Duration::ZERO)])).await;
    assert!(claim(&store, 10).await.is_empty());
}

// ---------------------------------------------------------------------------------------------------------
// Places

async fn the_place_that_was_chosen_first_stands(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a"), file("b")])).await;
    let files = all_files(&store).await;
    assert_eq!(store.place(files[0].id, "folder", "a.mp4").await.unwrap(), "folder/a.mp4");
    assert_eq!(store.place(files[0].id, "other", "x.mp4").await.unwrap(), "folder/a.mp4");
    assert_eq!(store.place(files[1].id, "other", "b.mp4").await.unwrap(), "folder/b.mp4");
    let (recording, files) = store.recording(files[0].recording_id).await.unwrap().expect("known");
    assert_eq!(recording.folder.as_deref(), Some("folder"));
    assert_eq!(files[1].object_key.as_deref(), Some("folder/b.mp4"));
}

async fn files_that_are_placed_at_once_agree_on_their_folder(database: Database) {
    let store = database.store().await;
    let names = (0..12).map(|number| file(&format!("f{number}"))).collect();
    record(&store, announce(session("s"), names)).await;
    let mut placers = tokio::task::JoinSet::new();
    for (number, file) in all_files(&store).await.into_iter().enumerate() {
        for placer in 0..2 {
            let store = store.clone();
            placers.spawn(async move {
                let folder = format!("folder {number} {placer}");
                let key = store.place(file.id, &folder, &format!("{number}-{placer}.mp4")).await.unwrap();
                (number, key)
            });
        }
    }
    let keys: BTreeSet<_> = placers.join_all().await.into_iter().collect();
    assert_eq!(keys.len(), 12, "both placers of a file are told the same: {keys:?}");
    let folders: BTreeSet<_> = keys.iter().map(|(_, key)| key.split_once('/').expect("a folder").0).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
}

async fn a_place_that_is_taken_is_refused_without_quoting_the_row(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a"), file("b")])).await;
    let files = all_files(&store).await;
    store.place(files[0].id, "folder", "same.mp4").await.unwrap();
    let refused = store.place(files[1].id, "folder", "same.mp4").await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused:?}");
    let words = format!("{refused} {refused:?}");
    assert!(!words.contains("same.mp4") && !words.contains("token-of"), "{words}");
    assert!(matches!(store.place(FileId::new(), "folder", "x").await, Err(StoreError::Refused(_))));
}

// ---------------------------------------------------------------------------------------------------------
// Reading

async fn files_come_in_order_of_announcement_page_by_page(database: Database) {
    let store = database.store().await;
    for event in 0..3 {
        let names = ["z", "m", "a"].map(|name| file(&format!("{name}{event}")));
        record(&store, announce(session("s"), names.to_vec())).await;
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = store.files(&[], after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(last.id);
        names.extend(page.into_iter().map(|file| file.identity.name));
    }
    assert_eq!(names, ["z0", "m0", "a0", "z1", "m1", "a1", "z2", "m2", "a2"]);
}

async fn files_are_listed_by_state(database: Database) {
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a"), without_access("b"), file("c")])).await;
    let job = claim(&store, 1).await.remove(0);
    settle(&store, &job, archive(transferred(&job), vec![])).await;
    let names = |states: Vec<FileState>| {
        let store = store.clone();
        async move {
            let files = store.files(&states, None, 10).await.unwrap();
            files.into_iter().map(|file| file.identity.name).collect::<Vec<_>>()
        }
    };
    assert_eq!(names(vec![FileState::Archived]).await, ["a"]);
    assert_eq!(names(vec![FileState::Parked, FileState::Pending]).await, ["b", "c"]);
    assert_eq!(names(vec![FileState::Gone]).await, Vec::<String>::new());
}

async fn a_transfer_knows_when_the_earliest_file_of_its_recording_began(database: Database) {
    let store = database.store().await;
    let starts = |name: &str, second| AnnouncedFile { recording_start: second, ..file(name) };
    let files = vec![starts("a", Some(at(90))), starts("b", Some(at(30))), starts("c", None)];
    record(&store, announce(session("s"), files)).await;
    record(&store, announce(session("other"), vec![starts("d", Some(at(1)))])).await;
    let a = work(&store, all_files(&store).await[0].id).await;
    assert_eq!(a.recording_began, Some(at(30)));
    assert_eq!(a.recording.identity, session("s").identity);
}

async fn what_is_not_known_is_not_there(database: Database) {
    let store = database.store().await;
    assert!(store.transfer_work(FileId::new()).await.unwrap().is_none());
    assert!(store.recording(RecordingId::new()).await.unwrap().is_none());
    assert!(store.files(&[], Some(FileId::new()), 10).await.unwrap().is_empty());
}

async fn depth_counts_jobs_and_says_how_long_the_oldest_is_due(database: Database) {
    let store = database.store().await;
    assert_eq!(store.depth().await.unwrap(), []);
    record(&store, announce(session("s"), vec![file("a"), file("b"), without_access("c")])).await;
    let depth = store.depth().await.unwrap();
    let of = |state| depth.iter().find(|depth| depth.state == state).expect("jobs in that state").clone();
    assert_eq!((of(JobState::Waiting).jobs, of(JobState::Parked).jobs), (2, 1));
    let due = of(JobState::Waiting).oldest_due.expect("something is due");
    assert!(due < AN_HOUR, "{due:?}");
    assert_eq!(of(JobState::Parked).oldest_due, None);
    for job in claim(&store, 2).await {
        settle(&store, &job, wait(AN_HOUR, Cost::Nothing)).await;
    }
    let depth = store.depth().await.unwrap();
    assert!(depth.iter().all(|depth| depth.oldest_due.is_none()), "{depth:?}");
}

async fn secrets_do_not_show_in_debug(database: Database) {
    let store = database.store().await;
    let event = announce(session("s"), vec![with_access("a", "https://zoom.us/secret-url", "secret-token")]);
    assert!(!format!("{event:?}").contains("secret-"));
    record(&store, event).await;
    let file = only_file(&store).await;
    let words = format!("{file:?} {:?} {:?}", work(&store, file.id).await, claim_one(&store).await);
    assert!(!words.contains("secret-"), "{words}");
}

// ---------------------------------------------------------------------------------------------------------
// The database itself

async fn it_says_which_database_it_is(database: Database) {
    let store = database.store().await;
    let (kind, version) = store.describe().split_once(' ').expect("two words");
    assert_eq!(kind, database.kind());
    assert!(version.chars().all(|c| c.is_ascii_digit() || c == '.') && version.contains('.'), "{version}");
}

async fn another_schema_is_refused_by_number(database: Database) {
    let unopened = store::open(database.url(), &config()).await.err().expect("there is no schema");
    assert!(matches!(unopened, StoreError::Schema { found: 0, needed: NEWEST }), "{unopened:?}");
    database.migrate_to(1).await;
    let unopened = store::open(database.url(), &config()).await.err().expect("the schema is too old");
    assert!(matches!(unopened, StoreError::Schema { found: 1, needed: NEWEST }), "{unopened:?}");

    let store = database.store().await;
    store.ping().await.expect("the schema is this version's");
    let future = format!("UPDATE _sqlx_migrations SET version = 77 WHERE version = {NEWEST}");
    database.execute(&future).await.unwrap();
    let outdated = store.ping().await.unwrap_err();
    assert!(matches!(outdated, StoreError::Schema { found: 77, needed: NEWEST }), "{outdated:?}");
}

async fn a_closed_store_is_unavailable(database: Database) {
    let store = database.store().await;
    store.close().await;
    let is_unavailable = |error: StoreError| matches!(error, StoreError::Unavailable(_));
    assert!(is_unavailable(store.ping().await.unwrap_err()));
    assert!(is_unavailable(store.record(&announce(session("s"), vec![])).await.unwrap_err()));
    assert!(is_unavailable(store.claim("worker", 1, LEASE, &[]).await.unwrap_err()));
}

async fn two_stores_on_one_database_work_together(database: Database) {
    let (receiver, worker) = (database.store().await, database.open().await);
    for number in 0..20 {
        let name = format!("f{number}");
        let (recorded, _) =
            tokio::join!(record(&receiver, announce(session("s"), vec![file(&name)])), claim(&worker, 1),);
        assert_eq!(recorded.new_files, 1);
    }
    claim(&worker, 100).await;
    assert_eq!(jobs(&receiver).await, stand(&[("transfer", JobState::Running, 20)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn what_waits_for_a_full_account_is_not_walked_through_at_each_claim() {
    const WAITING: i64 = 100_000;
    let database = Database::postgres().await;
    let store = database.store().await;
    let fill = format!(
        "INSERT INTO jobs (id, kind, subject, account, state, run_at)
         SELECT gen_random_uuid(), 'transfer', gen_random_uuid(), 'full', 'waiting', now() - interval '1 hour'
         FROM generate_series(1, {WAITING})"
    );
    database.execute(&fill).await.expect("much waits");
    for number in 0..20 {
        let name = format!("f{number}");
        record(&store, announce(session_of(&format!("account {}", number % 5), &name), vec![file(&name)]))
            .await;
    }
    let full = ["full".to_owned()];
    let mut claimed = 0;
    while claimed < 20 {
        let jobs = store.claim("worker", 3, LEASE, &full).await.unwrap();
        assert!(!jobs.is_empty(), "only {claimed} were found");
        claimed += jobs.len();
    }
    assert!(store.claim("worker", 3, LEASE, &full).await.unwrap().is_empty());
    // A connection says what it has read when it ends.
    store.close().await;
    let read =
        "SELECT COALESCE(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes WHERE relname = 'jobs'";
    let scanned =
        "SELECT COALESCE(sum(seq_tup_read), 0)::bigint FROM pg_stat_user_tables WHERE relname = 'jobs'";
    let read = eventually("the claims are counted", || async {
        let read = database.number(read).await;
        (read > 0).then_some(read)
    })
    .await;
    assert!(read < WAITING / 20, "{read} index entries were read");
    assert_eq!(database.number(scanned).await, 0);
}

#[tokio::test]
async fn a_writer_elsewhere_makes_sqlite_unavailable_until_it_commits() {
    let database = Database::sqlite().await;
    database.migrate().await.expect("the schema is migrated");
    let impatient = StoreConfig { acquire_timeout_ms: 100, ..config() };
    let store = store::open(database.url(), &impatient).await.expect("the store opens");
    let mut elsewhere = database.lock_sqlite().await;
    let event = announce(session("s"), vec![file("a")]);
    let refused = store.record(&event).await.expect_err("somebody else is writing");
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    store.ping().await.expect("readers go on");
    elsewhere.execute("COMMIT").await.expect("the other one commits");
    record(&store, event).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_postgres_that_only_reads_is_unavailable() {
    let database = Database::postgres().await;
    database.migrate().await.expect("the schema is migrated");
    let name = database.texts("SELECT current_database()::text").await.remove(0);
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    database.execute(&read_only).await.expect("new connections only read");
    // Such a server is none of ours: no connection to it is taken.
    let refused = store::open(database.url(), &config()).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_transfer_that_parks_at_the_very_moment_of_a_fresh_token_is_woken() {
    let database = Database::postgres().await;
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    claim_one(&store).await;

    let mut parking = database.postgres_pool().begin().await.expect("a transaction begins");
    let job = "UPDATE jobs SET state = 'parked', waits_for = 'token', reason = 'expired', lease_owner = NULL,
        lease_expires_at = NULL";
    parking.execute(job).await.expect("the job is parked");
    let recorder = store.clone();
    let recorded =
        tokio::spawn(async move { record(&recorder, announce(session("s"), vec![file("a")])).await });
    until_somebody_waits_for_a_lock(&database).await;
    let file = "UPDATE files SET state = 'parked', reason = 'expired'";
    parking.execute(file).await.expect("the file is parked");
    parking.commit().await.expect("the parking commits");

    assert_eq!(recorded.await.expect("the event is recorded").woken, 1);
    let woken = only_file(&store).await;
    assert_eq!((woken.state, woken.reason), (FileState::Pending, None));
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Waiting, 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_file_that_is_found_gone_at_the_very_moment_of_a_fresh_url_is_woken() {
    let database = Database::postgres().await;
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    claim_one(&store).await;

    let mut losing = database.postgres_pool().begin().await.expect("a transaction begins");
    let job =
        "UPDATE jobs SET state = 'done', finished_at = now(), lease_owner = NULL, lease_expires_at = NULL";
    losing.execute(job).await.expect("the job is done");
    let recorder = store.clone();
    let fresh = announce(session("s"), vec![with_access("a", "https://zoom.us/fresh", "fresh")]);
    let recorded = tokio::spawn(async move { record(&recorder, fresh).await });
    until_somebody_waits_for_a_lock(&database).await;
    let file = "UPDATE files SET state = 'gone', reason = 'gone', download_url = NULL, download_token = NULL";
    losing.execute(file).await.expect("the file is gone");
    losing.commit().await.expect("the loss commits");

    assert_eq!(recorded.await.expect("the event is recorded").woken, 1);
    let woken = only_file(&store).await;
    assert_eq!((woken.state, woken.reason), (FileState::Pending, None));
    assert_eq!(access(&store, woken.id).await.0.as_deref(), Some("https://zoom.us/fresh"));
    assert_eq!(jobs(&store).await, stand(&[("transfer", JobState::Waiting, 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_verdict_that_is_written_after_a_later_fact_does_not_stand() {
    let database = Database::postgres().await;
    let exclude = Rules { hosts: vec![Pattern::new("eve@*")], ..Rules::default() };
    let store = database.store_with(Intake::new(Filter { exclude, ..Filter::default() }, |_| true)).await;
    record(&store, announce(session("s"), vec![file("a")])).await;

    let mut holding = database.postgres_pool().begin().await.expect("a transaction begins");
    holding.execute("SELECT id FROM jobs FOR UPDATE").await.expect("the job is held");
    let recorder = store.clone();
    let left_out =
        tokio::spawn(async move { record(&recorder, announce(hosted_by("eve@example.com"), vec![])).await });
    until_somebody_waits_for_a_lock(&database).await;
    record(&store, announce(hosted_by("ada@example.com"), vec![])).await;
    holding.commit().await.expect("the job is let go");

    assert_eq!(left_out.await.expect("the event is recorded").woken, 1);
    assert_eq!(only_file(&store).await.state, FileState::Pending);
}

/// Waits until a statement stands before a row that somebody else has locked.
async fn until_somebody_waits_for_a_lock(database: &Database) {
    let blocked = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let asked = async { while database.number(blocked).await == 0 {} };
    tokio::time::timeout(PATIENCE, asked).await.expect("nobody waits for the row");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn an_event_reads_nothing_of_other_recordings_though_its_statements_were_planned_when_there_were_none()
{
    let database = Database::postgres().await;
    let store = database.store().await;
    for number in 0..100 {
        let one = || session(&format!("s{number}"));
        record(&store, announce(one(), vec![file("a"), file("b")])).await;
        record(&store, announce(one(), vec![with_access("a", "https://zoom.us/fresh", "fresh")])).await;
        record(&store, told(one(), number, stands(RecordingState::Trashed))).await;
        record(&store, told(one(), number + 1, stands(RecordingState::Recovered))).await;
    }
    store.close().await;
    let written = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'recordings'";
    eventually("what was written is counted", || async {
        (database.number(written).await == 100).then_some(())
    })
    .await;
    let walked = "SELECT COALESCE(sum(seq_tup_read), 0)::bigint FROM pg_stat_user_tables
        WHERE relname IN ('recordings', 'files', 'jobs', 'events')";
    assert_eq!(database.number(walked).await, 0);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn connections_that_postgres_has_cut_are_replaced() {
    let database = Database::postgres().await;
    let store = database.store().await;
    record(&store, announce(session("s"), vec![file("a")])).await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!(database.number(cut).await >= 1);
    record(&store, announce(session("s"), vec![file("b")])).await;
    assert_eq!(all_files(&store).await.len(), 2);
}

on_each_database! {
    an_event_makes_its_recording_its_files_and_their_jobs_durable,
    a_known_file_is_refreshed_and_never_doubled,
    facts_that_a_later_event_does_not_give_are_kept,
    what_happened_last_decides_in_whatever_order_the_events_come,
    a_time_ahead_of_ours_does_not_keep_later_events_from_counting,
    a_name_and_other_facts_are_not_moved_back_by_a_late_event,
    an_event_that_leaves_the_kind_open_is_about_the_webinar_that_is_known,
    what_was_taken_for_a_meeting_turns_out_to_be_a_webinar_and_stays_one_recording,
    what_another_account_has_is_taken_for_both_and_says_so,
    a_file_is_judged_by_all_that_was_ever_said_of_its_recording,
    a_file_that_was_left_out_for_want_of_a_fact_is_taken_when_the_fact_comes,
    a_fact_that_has_a_file_left_out_leaves_alone_what_is_archived_or_wanted_by_a_person,
    rules_that_came_later_judge_nothing_anew,
    announcements_at_once_that_bring_a_fact_each_are_judged_together,
    a_late_event_takes_no_token_away_that_lasts_longer,
    a_recording_that_leaves_has_its_transfers_due_at_once_and_what_is_missing_counted,
    what_comes_back_from_the_trash_is_tried_again_where_it_waits_for_access_or_was_gone,
    what_a_manifest_should_tell_has_it_written_again,
    a_file_that_is_left_out_is_told_by_the_manifest,
    a_file_that_comes_with_its_event_waits_without_a_url_and_is_forgotten_when_archived,
    a_skipped_file_says_why_and_nothing_carries_it,
    a_filter_decides_where_announcements_are_recorded_whoever_brings_them,
    a_person_leaves_out_what_is_not_archived_and_takes_it_after_all,
    the_end_of_a_token_is_kept_with_the_token,
    the_end_of_a_token_that_can_be_renewed_is_no_loss,
    trash_deletion_and_the_accounts_rules_say_until_when_a_file_can_be_had,
    the_nearest_loss_is_told_and_what_is_past_it_counted,
    what_is_lost_first_is_claimed_first_and_what_is_oldest_next,
    what_is_lost_soon_but_not_due_lets_others_pass,
    an_account_with_ten_thousand_jobs_gets_its_share_while_others_wait,
    jobs_that_ask_nothing_of_zoom_have_their_turn_too,
    leftovers_are_uploads_under_our_keys_that_no_transfer_goes_on_with,
    checkpoints_of_what_is_long_dead_are_taken_once_and_no_others,
    the_same_id_in_two_arrays_is_two_files,
    files_without_an_id_are_told_apart_by_what_stands_in_for_it,
    a_file_announced_twice_in_one_event_is_one_file,
    a_late_file_joins_its_recording,
    an_instance_of_another_account_or_kind_is_another_recording,
    a_recording_without_files_is_recorded,
    an_unreadable_event_is_kept_raw,
    what_could_not_be_read_in_an_event_is_kept_in_words,
    an_event_that_is_recorded_twice_is_recorded_once,
    a_nul_in_a_text_of_zooms_does_not_spoil_the_recording,
    a_size_that_no_disk_holds_counts_as_none,
    a_file_without_a_url_is_parked_until_an_event_brings_one,
    a_transfer_that_is_parked_for_a_token_is_woken_by_a_fresh_one,
    a_transfer_that_is_parked_for_a_person_is_not_woken_by_an_event,
    what_is_parked_or_dead_goes_again_when_a_person_says_so_and_nothing_else_does,
    what_rests_is_due_at_once_when_a_person_says_so,
    a_gone_file_goes_again_when_a_person_says_so,
    an_archived_file_with_a_warning_is_fetched_again_beside_its_object,
    a_token_without_a_url_joins_no_other_events_url,
    a_gone_file_is_woken_by_a_url_and_by_nothing_less,
    a_file_that_is_announced_anew_while_it_is_found_gone_is_not_gone,
    a_dead_transfer_stays_dead_but_its_file_is_refreshed,
    a_token_that_comes_while_the_transfer_runs_is_not_slept_through,
    the_same_recording_from_sixteen_at_once_is_recorded_once,
    overlapping_announcements_from_sixteen_at_once_leave_each_file_once,
    recording_and_settling_at_once_wakes_or_finishes_every_file,
    a_caller_that_goes_away_leaves_nothing_half_done,
    a_verb_that_is_dropped_does_not_spoil_its_connection,
    due_jobs_are_claimed_oldest_first,
    a_transfer_knows_its_account_and_a_manifest_has_none,
    a_claim_passes_the_accounts_that_are_full,
    a_claim_past_full_accounts_takes_nothing_that_rests,
    no_job_is_handed_to_two_claimers,
    a_lease_that_is_lost_writes_nothing,
    a_settled_job_cannot_be_settled_again,
    an_expired_lease_returns_its_job_with_the_checkpoint,
    a_short_lease_runs_out_by_the_databases_clock,
    a_job_that_loses_too_many_leases_in_a_row_is_parked_for_a_person,
    a_rest_lasts_as_long_as_it_says_and_costs_what_it_says,
    a_rest_for_ever_is_taken_as_very_long,
    what_was_said_last_stands_when_a_rest_gives_no_reason,
    a_checkpoint_replaces_the_one_before_and_forgets_what_went_wrong,
    a_note_replaces_the_checkpoint_and_forgets_nothing,
    a_dead_transfer_says_why_on_its_file,
    a_gone_file_says_why_and_has_no_secrets_and_its_manifest_follows,
    an_archived_file_has_its_proof_and_no_secrets,
    an_archived_file_takes_no_secret_again,
    a_transfer_that_archived_its_file_is_done_whatever_came_meanwhile,
    a_job_that_follows_waits_for_its_rest,
    a_job_that_is_wanted_while_it_runs_runs_again,
    a_job_that_has_ended_is_woken_and_not_doubled,
    files_that_finish_at_once_share_one_manifest,
    a_job_does_not_follow_itself,
    the_place_that_was_chosen_first_stands,
    files_that_are_placed_at_once_agree_on_their_folder,
    a_place_that_is_taken_is_refused_without_quoting_the_row,
    files_come_in_order_of_announcement_page_by_page,
    files_are_listed_by_state,
    a_transfer_knows_when_the_earliest_file_of_its_recording_began,
    what_is_not_known_is_not_there,
    depth_counts_jobs_and_says_how_long_the_oldest_is_due,
    secrets_do_not_show_in_debug,
    it_says_which_database_it_is,
    another_schema_is_refused_by_number,
    a_closed_store_is_unavailable,
    two_stores_on_one_database_work_together,
}
