//! Entries of which Zoom does not say yet what they are: it lists them while it works on a recording.

use std::time::Duration;

use serde_json::{Value, json};
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::filter::Filter;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::ledger::Endpoint;
use zoom_archiver::simulator::{FakeFile, FakeRecording, Options};
use zoom_archiver::store::{Intake, SharedStore};

use crate::support::database::{Database, on_each_database};
use crate::support::said::{answer, webhook_at};
use crate::support::scene::{Ground, Scene, on_each_ground, until_zoom, with_api};
use crate::support::service::eventually;

// ---------------------------------------------------------------------------------------------------------
// What becomes of the rows

/// As Zoom lists it while it works.
fn processing(id: &str) -> Value {
    json!({ "id": id, "recording_start": "2026-03-01T12:01:00Z", "file_type": "", "status": "processing" })
}

fn ready(id: &str) -> Value {
    json!({
        "id": id, "recording_start": "2026-03-01T12:01:00Z", "file_type": "MP4", "file_extension": "MP4",
        "status": "completed", "download_url": "https://zoom.us/rec/a",
    })
}

fn meeting(files: &[Value]) -> Value {
    json!({ "uuid": "m", "recording_files": files })
}

async fn say(store: &SharedStore, name: &str, second: i64, object: &Value) {
    store.record(&webhook_at(name, second, object)).await.expect("it is recorded");
}

async fn states(store: &SharedStore) -> Vec<(String, FileState)> {
    let files = store.files(&[], None, 100).await.expect("files are listed");
    let mut states: Vec<_> = files.into_iter().map(|file| (file.identity.name, file.state)).collect();
    states.sort();
    states
}

fn expect(states: &[(&str, FileState)]) -> Vec<(String, FileState)> {
    states.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect()
}

use FileState::{Parked, Pending, Skipped};

async fn a_placeholder_that_other_files_replace_is_skipped_whoever_says_so(database: Database) {
    let store = database.store().await;
    for by_event in [true, false] {
        let uuid = if by_event { "m" } else { "n" };
        let of = |files: &[Value]| json!({ "uuid": uuid, "recording_files": files });
        say(&store, "recording.completed", 0, &of(&[processing("x")])).await;
        // Neither a transcript alone, nor a recording without a list, says anything of it.
        say(&store, "recording.transcript_completed", 10, &of(&[ready("t")])).await;
        say(&store, "recording.completed", 20, &json!({ "uuid": uuid })).await;
        say(&store, "recording.completed", 20, &of(&[])).await;
        let listed = store.files(&[FileState::Skipped], None, 10).await.unwrap();
        assert_eq!(listed.len(), usize::from(!by_event), "by_event: {by_event}");
        match by_event {
            true => say(&store, "recording.completed", 30, &of(&[ready("a"), ready("t")])).await,
            false => drop(store.record(&answer(&of(&[ready("a"), ready("t")]))).await.unwrap()),
        }
    }
    let all =
        [("a", Pending), ("a", Pending), ("t", Pending), ("t", Pending), ("x", Skipped), ("x", Skipped)];
    assert_eq!(states(&store).await, expect(&all));
}

async fn a_placeholder_that_turns_out_to_be_a_file_is_taken(database: Database) {
    let store = database.store().await;
    say(&store, "recording.completed", 0, &meeting(&[processing("x")])).await;
    say(&store, "recording.completed", 10, &meeting(&[ready("a")])).await;
    assert_eq!(states(&store).await, expect(&[("a", Pending), ("x", Skipped)]));
    say(&store, "recording.completed", 20, &meeting(&[ready("a"), ready("x")])).await;
    assert_eq!(states(&store).await, expect(&[("a", Pending), ("x", Pending)]));
}

async fn a_placeholder_of_an_event_that_comes_late_is_skipped(database: Database) {
    let store = database.store().await;
    say(&store, "recording.completed", 10, &meeting(&[ready("a")])).await;
    say(&store, "recording.completed", 0, &meeting(&[processing("x")])).await;
    assert_eq!(states(&store).await, expect(&[("a", Pending), ("x", Skipped)]));
    // A later one is news.
    say(&store, "recording.completed", 20, &meeting(&[ready("a"), processing("y")])).await;
    assert_eq!(states(&store).await, expect(&[("a", Pending), ("x", Skipped), ("y", Pending)]));
}

async fn a_placeholder_waits_for_an_event_where_nobody_can_be_asked(database: Database) {
    let store = database.store_with(Intake::new(Filter::default(), |_| false)).await;
    say(&store, "recording.completed", 0, &meeting(&[processing("x")])).await;
    assert_eq!(states(&store).await, expect(&[("x", Parked)]));
    say(&store, "recording.completed", 10, &meeting(&[ready("x")])).await;
    assert_eq!(states(&store).await, expect(&[("x", Pending)]));
}

on_each_database!(
    a_placeholder_that_other_files_replace_is_skipped_whoever_says_so,
    a_placeholder_that_turns_out_to_be_a_file_is_taken,
    a_placeholder_of_an_event_that_comes_late_is_skipped,
    a_placeholder_waits_for_an_event_where_nobody_can_be_asked,
);

// ---------------------------------------------------------------------------------------------------------
// What becomes of the objects

const BYTES: u64 = 100_000;

/// A meeting of one file, and what Zoom says of it while it works.
fn in_the_making(number: u64) -> (FakeRecording, FakeRecording) {
    let done = FakeRecording::new(RecordingKind::Meeting, number).with([FakeFile::generated(number, BYTES)]);
    let mut making = done.clone();
    for file in &mut making.files {
        (file.file_type, file.extension, file.recording_type) = (String::new(), String::new(), None);
    }
    (done, making)
}

async fn one_file(scene: &Scene, what: &str, holds: impl Fn(&FileRow) -> bool) -> FileRow {
    eventually(what, || async { scene.files().await.into_iter().find(|file| holds(file)) }).await
}

async fn no_key_is_chosen_before_an_event_says_what_kind_of_file_it_is(ground: Ground) {
    let scene = Scene::staged_on(ground, Options::default(), |setup, _| setup).await;
    let (done, making) = in_the_making(80);
    scene.announce(&making, EventKind::Recording).await;
    let waits = one_file(&scene, "its first run has ended", |file| file.reason.is_some()).await;
    assert_eq!((waits.state, waits.object_key), (Pending, None));
    scene.announce(&done, EventKind::Recording).await;
    let archived = one_file(&scene, "it is archived", |file| file.state == FileState::Archived).await;
    assert!(archived.object_key.as_deref().is_some_and(|key| key.ends_with(".mp4")), "{archived:?}");
    scene.assert_archived(&archived, done.files[0].content).await;
    assert_eq!(scene.files().await.len(), 1);
    scene.settled().await;
    scene.close().await;
}

async fn the_api_is_asked_until_it_says_what_kind_of_file_it_is(ground: Ground) {
    let scene = Scene::staged_on(ground, Options::default(), |setup, zoom| {
        with_api(setup, zoom).env("ZOOM_ARCHIVER_TRANSFER__PROCESSING_SECS", "1")
    })
    .await;
    let (done, making) = in_the_making(81);
    scene.announce(&making, EventKind::Recording).await;
    let asked = |times: u64| {
        move |library: &zoom_archiver::simulator::library::Library| {
            library.api_calls(Endpoint::MeetingRecordings) >= times
        }
    };
    until_zoom(&scene.zoom, "it is asked twice", asked(2)).await;
    assert!(scene.files().await.iter().all(|file| file.object_key.is_none()));
    scene.shelve(&done);
    let archived = one_file(&scene, "it is archived", |file| file.state == FileState::Archived).await;
    assert!(archived.object_key.as_deref().is_some_and(|key| key.ends_with(".mp4")), "{archived:?}");
    assert_eq!(scene.files().await.len(), 1);
    scene.settled().await;
    scene.close().await;
}

async fn a_placeholder_that_the_api_does_not_list_any_more_disappears_without_an_alarm(ground: Ground) {
    let scene = Scene::staged_on(ground, Options::default(), |setup, zoom| {
        with_api(setup, zoom).env("ZOOM_ARCHIVER_TRANSFER__PROCESSING_SECS", "1")
    })
    .await;
    let (done, mut making) = in_the_making(82);
    for file in &mut making.files {
        file.id = Some("placeholder".to_owned());
    }
    scene.announce(&making, EventKind::Recording).await;
    one_file(&scene, "its first run has ended", |file| file.reason.is_some()).await;
    scene.shelve(&done);
    let archived = one_file(&scene, "the file is archived", |file| file.state == FileState::Archived).await;
    scene.assert_archived(&archived, done.files[0].content).await;
    let files = scene.files().await;
    let placeholder = files.iter().find(|file| file.identity.name == "placeholder").expect("it has a row");
    assert_eq!((files.len(), placeholder.state), (2, Skipped), "{files:?}");
    assert!(placeholder.object_key.is_none() && placeholder.loses_at.is_none());
    tokio::time::timeout(Duration::from_secs(60), scene.settled()).await.expect("nothing is left to do");
    let log = scene.close().await;
    let alarms = log.lines().into_iter().filter(|line| line["level"] == "WARN" || line["level"] == "ERROR");
    assert_eq!(alarms.filter(|line| line.to_string().contains(&placeholder.id.to_string())).count(), 0);
}

/// Its token would end before Zoom says what it is: the content tells what the event does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_half_a_day_without_a_type_is_taken_before_its_token_ends() {
    let scene = Scene::start().await;
    let (done, making) = in_the_making(83);
    scene.announce(&making, EventKind::Recording).await;
    let waits = one_file(&scene, "its first run has ended", |file| file.reason.is_some()).await;
    let retry = async || {
        assert!(scene.store.retry(waits.id).await.unwrap());
        scene.service.log.wait_for(|line| line["message"] == "job put back; not yet").await;
    };
    age(&scene, Duration::from_secs(11 * 3600)).await;
    retry().await;
    assert_eq!(one_file(&scene, "it is there", |_| true).await.object_key, None);
    age(&scene, Duration::from_secs(3600)).await;
    eventually("it is archived", || async {
        // Once it rests again.
        let _ = scene.store.retry(waits.id).await;
        let file = scene.files().await.remove(0);
        (file.state == FileState::Archived).then_some(())
    })
    .await;
    let archived = one_file(&scene, "it is archived", |file| file.state == FileState::Archived).await;
    scene.assert_archived(&archived, done.files[0].content).await;
    scene.settled().await;
    scene.close().await;
}

/// Makes all files of an embedded database older than they are.
async fn age(scene: &Scene, by: Duration) {
    let options: sqlx::sqlite::SqliteConnectOptions = scene.database_url().parse().expect("a path");
    let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("the database is there");
    sqlx::query("UPDATE files SET announced_at = announced_at - $1")
        .bind(i64::try_from(by.as_millis()).unwrap())
        .execute(&mut connection)
        .await
        .expect("times can be set");
}

on_each_ground!(
    no_key_is_chosen_before_an_event_says_what_kind_of_file_it_is,
    the_api_is_asked_until_it_says_what_kind_of_file_it_is,
    a_placeholder_that_the_api_does_not_list_any_more_disappears_without_an_alarm,
);
