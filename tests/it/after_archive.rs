//! What is archived is removed at Zoom where that was asked for, and only then: nothing that is not proven goes.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::ids::RecordingId;
use zoom_archiver::domain::job::{JobState, Task};
use zoom_archiver::domain::recording::{RecordingKind, RecordingState};
use zoom_archiver::simulator::content::TIMELINE_JSON;
use zoom_archiver::simulator::events::{EventKind, Happening, Quirks};
use zoom_archiver::simulator::ledger::Endpoint;
use zoom_archiver::simulator::{
    ApiFault, Content, FakeFile, FakeRecording, FakeZoom, Fault, Options, RedirectTo, When,
};

use crate::support::scene::{Ground, Scene, on_each_ground, with_api};
use crate::support::service::{Setup, eventually, program};

/// Two of a session's files of some size, and one of another type.
fn recording() -> FakeRecording {
    let mut recording = FakeRecording::new(RecordingKind::VideoSdk, 5).with([
        FakeFile::generated(1, 1000),
        FakeFile::generated(2, 2000),
        FakeFile::new("CHAT", "TXT", "chat_file", Content::Embedded(b"14:00:01 Ada: all is well\n")),
    ]);
    recording.start_time = Clock::System.now() - TimeDelta::hours(2);
    recording
}

fn removing(setup: Setup, zoom: &FakeZoom, how: &str, wait_hours: &str) -> Setup {
    with_api(setup, zoom)
        .env("ZOOM_ARCHIVER_RECONCILE__LATE_FILES", "")
        .env("ZOOM_ARCHIVER_AFTER_ARCHIVE__AT_ZOOM", how)
        .env("ZOOM_ARCHIVER_AFTER_ARCHIVE__WAIT_HOURS", wait_hours)
}

/// Everything that is archived goes to the trash at once, with further settings.
async fn trashing(ground: Ground, change: impl FnOnce(Setup) -> Setup) -> Scene {
    let trash = |setup: Setup, zoom: &FakeZoom| change(removing(setup, zoom, "trash", "0"));
    Scene::staged_on(ground, Options::default(), trash).await
}

/// Files of the recording that are in the trash, by their place in it.
fn trashed(scene: &Scene, recording: &FakeRecording) -> Vec<usize> {
    let in_trash = |index: &usize| scene.zoom.library().is_in_trash(&recording.files[*index].key);
    (0..recording.files.len()).filter(in_trash).collect()
}

fn removals(scene: &Scene) -> u64 {
    scene.zoom.library().api_calls(Endpoint::Remove)
}

/// A recording that is archived by a service that leaves everything at Zoom; then the service is another one, with these
/// settings, and is asked to look at it.
async fn looked_at(
    ground: Ground,
    spoil: impl AsyncFnOnce(&Scene, &[FileRow]),
    change: impl FnOnce(Setup) -> Setup,
) -> (Scene, FakeRecording) {
    let keep = |setup: Setup, zoom: &FakeZoom| removing(setup, zoom, "keep", "0");
    let mut scene = Scene::staged_on(ground, Options::default(), keep).await;
    let recording = recording();
    scene.announce(&recording, EventKind::Recording).await;
    scene.settled().await;
    let files = scene.files().await;
    assert!(files.len() == 3 && files.iter().all(|file| file.state == FileState::Archived));
    spoil(&scene, &files).await;
    scene.setup = change(removing(scene.setup.clone(), &scene.zoom, "trash", "0"));
    let second = scene.setup.start().await;
    let first = std::mem::replace(&mut scene.service, second);
    assert_eq!(first.stop().await.0, Some(0));
    assert!(scene.store.repeat(Task::Remove(files[0].recording_id), Duration::ZERO).await.unwrap());
    (scene, recording)
}

/// The state of the one job that removes, once it rests.
async fn job_rests(scene: &Scene) -> JobState {
    eventually("the job rests", || async {
        let depths = scene.store.depth().await.unwrap();
        let depth = depths.into_iter().find(|depth| depth.kind == "remove")?;
        (depth.state != JobState::Running && depth.oldest_due.is_none()).then_some(depth.state)
    })
    .await
}

async fn what_is_archived_and_reads_back_goes_to_the_trash_and_comes_back_when_it_is_wanted(ground: Ground) {
    let scene = trashing(ground, |setup| setup).await;
    let recording = recording();
    scene.announce(&recording, EventKind::Recording).await;
    scene.settled().await;
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![0, 1, 2], 1), "as a whole");
    assert_eq!(scene.service.metric("zoom_archiver_removed_at_zoom_total", "trashed").await, 1.0);
    let files = scene.files().await;
    let state = async || scene.store.recording(files[0].recording_id).await.unwrap().unwrap().0.state;
    assert_eq!(state().await, Some(RecordingState::Trashed));
    let manifest = async || scene.manifest(&files[0]).await["recording"]["state"].clone();
    assert_eq!(manifest().await, "trashed");

    let id = files[0].recording_id.to_string();
    let output = scene.setup.cli(&["recordings", "recover", &id]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scene.settled().await;
    assert_eq!(trashed(&scene, &recording), Vec::<usize>::new());
    assert_eq!(
        (state().await, manifest().await),
        (Some(RecordingState::Recovered), Value::from("recovered"))
    );

    // What somebody has taken back stays.
    assert!(scene.store.repeat(Task::Remove(files[0].recording_id), Duration::ZERO).await.unwrap());
    scene.settled().await;
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![], 1));
    let output = scene.setup.cli(&["recordings", "recover", &id]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "there is nothing in the trash");
    scene.close().await;
}

#[tokio::test]
async fn a_running_service_takes_recordings_out_of_the_trash_too() {
    let scene = trashing(Ground::Embedded, |setup| setup).await;
    let recording = recording();
    scene.announce(&recording, EventKind::Recording).await;
    scene.settled().await;
    assert_eq!(trashed(&scene, &recording), [0, 1, 2]);
    let id = scene.files().await[0].recording_id;
    let url = format!("http://{}", scene.service.admin_addr());
    let unknown = RecordingId::new().to_string();
    let output =
        program().args(["recordings", "recover", "--url", &url, &unknown, "--json"]).output().await.unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let left = json!([{ "id": unknown, "reason": "there is no such recording" }]);
    assert_eq!(told, json!({ "matched": 1, "done": 0, "ids": [], "left_alone": left }));
    let recover = ["recordings", "recover", "--url", &url, &unknown, &id.to_string()].map(str::to_owned);
    let output = program().args(&recover).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("{unknown} is not recovered: there is no such recording")), "{told}");
    assert!(told.contains(&format!("{id} is recovered")), "{told}");
    scene.settled().await;
    assert_eq!(trashed(&scene, &recording), Vec::<usize>::new());
    let (row, _) = scene.store.recording(id).await.unwrap().unwrap();
    assert_eq!(row.state, Some(RecordingState::Recovered));

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let again = client.post(format!("{url}/api/v1/recordings/{id}/recover")).send().await.unwrap();
    assert_eq!(again.status(), 404, "there is nothing in the trash");
    assert!(scene.zoom.library().trash(&recording.instance_id, None));
    let again = client.post(format!("{url}/api/v1/recordings/{id}/recover")).send().await.unwrap();
    assert_eq!(again.status(), 200);
    let shown: Value = again.json().await.unwrap();
    assert_eq!((&shown["id"], &shown["state"]), (&id.to_string().into(), &"recovered".into()));
    scene.settled().await;
    scene.close().await;
}

async fn a_webinar_whose_summary_comes_first_is_one_recording_and_goes_as_one(ground: Ground) {
    let scene = trashing(ground, |setup| setup).await;
    let mut webinar = FakeRecording::new(RecordingKind::Webinar, 8)
        .with([FakeFile::generated(1, 1000), FakeFile::generated(2, 500)]);
    webinar.start_time = Clock::System.now() - TimeDelta::hours(2);
    // The summary's event leaves open whether it was a meeting.
    let summary = Happening::SummaryCompleted("All is well.");
    let body = scene.zoom.tell(&webinar, summary, Quirks::default(), Clock::System.now()).unwrap();
    assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    scene.one_file_in(FileState::Archived).await;
    scene.announce(&webinar, EventKind::Recording).await;
    scene.settled().await;
    let files = scene.files().await;
    assert!(files.len() == 3 && files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
    assert!(files.iter().all(|file| file.recording_id == files[0].recording_id), "{files:?}");
    let (row, _) = scene.store.recording(files[0].recording_id).await.unwrap().unwrap();
    assert_eq!((row.identity.kind, row.state), (RecordingKind::Webinar, Some(RecordingState::Trashed)));
    assert_eq!((trashed(&scene, &webinar), removals(&scene)), (vec![0, 1], 1));
    scene.close().await;
}

async fn nothing_is_removed_unless_it_was_asked_for(ground: Ground) {
    let scene = Scene::staged_on(ground, Options::default(), with_api).await;
    let recording = recording();
    scene.announce(&recording, EventKind::Recording).await;
    scene.settled().await;
    assert!(!scene.store.depth().await.unwrap().iter().any(|depth| depth.kind == "remove"));
    assert_eq!(removals(&scene), 0);
    scene.close().await;
}

async fn deleted_for_good_only_where_the_settings_say_so(ground: Ground) {
    let scene =
        Scene::staged_on(ground, Options::default(), |setup, zoom| removing(setup, zoom, "delete", "0"))
            .await;
    let recording = recording();
    scene.announce(&recording, EventKind::Recording).await;
    scene.settled().await;
    assert!(scene.zoom.library().recording(&recording.instance_id).is_none());
    let asked = scene.zoom.library().api_requests();
    let asked = asked.iter().find(|request| request.endpoint == Endpoint::Remove).unwrap();
    assert!(asked.target.ends_with("action=delete"), "{}", asked.target);
    assert_eq!(scene.service.metric("zoom_archiver_removed_at_zoom_total", "deleted").await, 1.0);
    scene.close().await;
}

async fn a_flipped_byte_in_an_object_keeps_everything_at_zoom(ground: Ground) {
    let flip = async |scene: &Scene, files: &[FileRow]| {
        let mut bytes = scene.object(&files[1]).await.to_vec();
        bytes[100] ^= 1;
        scene.spoil(&files[1], Some(&bytes)).await;
    };
    let (scene, recording) = looked_at(ground, flip, |setup| setup).await;
    assert_eq!(job_rests(&scene).await, JobState::Parked);
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![], 0));
    let told = scene.service.log.wait_for(|line| line["message"] == "job parked").await;
    assert!(told["reason"].as_str().unwrap().contains("is not what was archived"), "{told}");
    scene.close().await;
}

async fn an_object_that_is_not_there_keeps_everything_at_zoom(ground: Ground) {
    let lose = async |scene: &Scene, files: &[FileRow]| {
        scene.spoil(&files[2], None).await;
    };
    let (scene, recording) = looked_at(ground, lose, |setup| setup).await;
    assert_eq!(job_rests(&scene).await, JobState::Parked);
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![], 0));
    scene.close().await;
}

async fn the_waiting_time_is_waited_from_the_last_file_on(ground: Ground) {
    let (scene, recording) = looked_at(
        ground,
        async |_: &Scene, _: &[FileRow]| {},
        |setup| setup.env("ZOOM_ARCHIVER_AFTER_ARCHIVE__WAIT_HOURS", "2"),
    )
    .await;
    assert_eq!(job_rests(&scene).await, JobState::Waiting);
    let told = scene.service.log.wait_for(|line| line["message"] == "job put back; not yet").await;
    assert!(told["after_ms"].as_u64().unwrap() > 7_000_000, "{told}");
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![], 0));
    scene.close().await;
}

async fn another_account_is_left_alone(ground: Ground) {
    let elsewhere = |setup: Setup| setup.env("ZOOM_ARCHIVER_AFTER_ARCHIVE__ACCOUNTS", "emea");
    let (scene, recording) = looked_at(ground, async |_: &Scene, _: &[FileRow]| {}, elsewhere).await;
    assert_eq!(job_rests(&scene).await, JobState::Done);
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![], 0));
    scene.close().await;
}

async fn files_that_are_to_come_are_waited_for(ground: Ground) {
    let late = |setup: Setup| setup.env("ZOOM_ARCHIVER_RECONCILE__LATE_FILES", "TRANSCRIPT");
    let (scene, recording) = looked_at(ground, async |_: &Scene, _: &[FileRow]| {}, late).await;
    assert_eq!(job_rests(&scene).await, JobState::Waiting);
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![], 0));
    scene.close().await;
}

async fn a_parked_file_keeps_its_recording_at_zoom_until_it_is_archived(ground: Ground) {
    let scene = trashing(ground, |setup| setup).await;
    let recording = recording();
    scene.shelve(&recording);
    let astray = Fault::Redirect(RedirectTo::OtherOrigin);
    scene.zoom.library().inject(&recording.files[1].key, astray, When::Always);
    scene.announce(&recording, EventKind::Recording).await;
    let parked = scene.one_file_in(FileState::Parked).await;
    scene.settled().await;
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![], 0));

    scene.zoom.library().clear_faults(&recording.files[1].key);
    assert!(scene.store.retry(parked.id).await.unwrap());
    scene.settled().await;
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![0, 1, 2], 1));
    scene.close().await;
}

async fn a_file_that_only_zoom_has_is_fetched_before_anything_goes(ground: Ground) {
    let scene = trashing(ground, |setup| setup).await;
    // Zoom has one more than its event tells of.
    let whole = recording().with([FakeFile::new(
        "TRANSCRIPT",
        "VTT",
        "audio_transcript",
        Content::Embedded(b"WEBVTT\n"),
    )]);
    scene.announce(&whole, EventKind::Recording).await;
    scene.settled().await;
    let files = scene.files().await;
    assert!(files.len() == 4 && files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
    assert_eq!((trashed(&scene, &whole), removals(&scene)), (vec![0, 1, 2, 3], 1));
    scene.close().await;
}

async fn a_type_that_is_excluded_stays_and_what_has_no_id_stays_with_it(ground: Ground) {
    let scene =
        trashing(ground, |setup| setup.env("ZOOM_ARCHIVER_AFTER_ARCHIVE__KEEP_FILE_TYPES", "CHAT")).await;
    let mut recording = FakeRecording::new(RecordingKind::Meeting, 6).with([
        FakeFile::generated(1, 1000),
        FakeFile::new("CHAT", "TXT", "chat_file", Content::Embedded(b"hello\n")),
        FakeFile::new("TIMELINE", "JSON", "timeline", Content::Embedded(TIMELINE_JSON)).without_id(),
        FakeFile::generated(2, 2000),
    ]);
    recording.start_time = Clock::System.now() - TimeDelta::hours(2);
    scene.announce(&recording, EventKind::Recording).await;
    scene.settled().await;
    assert!(scene.files().await.iter().all(|file| file.state == FileState::Archived));
    assert_eq!(trashed(&scene, &recording), [0, 3]);
    let targets: BTreeSet<_> = scene
        .zoom
        .library()
        .api_requests()
        .into_iter()
        .filter(|request| request.endpoint == Endpoint::Remove)
        .map(|request| request.target)
        .collect();
    assert!(
        targets.len() == 2 && targets.iter().all(|target| target.ends_with("action=trash")),
        "{targets:?}"
    );
    // As a whole it is not in the trash.
    scene.zoom.library().inject_call(Endpoint::Recover, ApiFault::Gone, When::First(1));
    let id = scene.files().await[0].recording_id.to_string();
    let output = scene.setup.cli(&["recordings", "recover", &id]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(trashed(&scene, &recording), Vec::<usize>::new());
    // What the manifest says of it is written anew.
    scene.settled().await;
    scene.close().await;
}

async fn what_the_filters_leave_out_stays_at_zoom(ground: Ground) {
    let scene =
        trashing(ground, |setup| setup.env("ZOOM_ARCHIVER_FILTERS__EXCLUDE__FILE_TYPES", "CHAT")).await;
    let recording = recording();
    scene.announce(&recording, EventKind::Recording).await;
    scene.settled().await;
    assert_eq!(trashed(&scene, &recording), [0, 1], "the chat was not archived");
    scene.close().await;
}

async fn another_size_at_zoom_keeps_everything_there(ground: Ground) {
    let replace = async |scene: &Scene, _: &[FileRow]| {
        let mut changed = recording();
        changed.files[0].content = Content::Generated { seed: 9, bytes: 1500 };
        scene.shelve(&changed);
    };
    let (scene, recording) = looked_at(ground, replace, |setup| setup).await;
    assert_eq!(job_rests(&scene).await, JobState::Done);
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![], 0));
    let told = scene.service.log.wait_for(|line| line["message"] == "the recording stays at Zoom").await;
    assert!(told["reason"].as_str().unwrap().contains("another size"), "{told}");
    scene.close().await;
}

async fn another_sha256_at_zoom_keeps_everything_there(ground: Ground) {
    let other = async |scene: &Scene, _: &[FileRow]| {
        scene.zoom.library().inject_api(&recording(), ApiFault::AnotherSha256, When::Always);
    };
    let (scene, recording) = looked_at(ground, other, |setup| setup).await;
    assert_eq!(job_rests(&scene).await, JobState::Done);
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![], 0));
    let told = scene.service.log.wait_for(|line| line["message"] == "the recording stays at Zoom").await;
    let reason = told["reason"].as_str().unwrap();
    assert!(scene.files().await.iter().any(|file| reason.contains(&file.id.to_string())), "{told}");
    scene.close().await;
}

async fn a_recording_that_may_go_on_is_left_alone(ground: Ground) {
    let goes_on = async |scene: &Scene, _: &[FileRow]| {
        let at = Clock::System.now() + TimeDelta::seconds(1);
        let body = scene.zoom.tell(&recording(), Happening::Started, Quirks::default(), at);
        assert!(scene.sender.deliver(&body.unwrap()).await.answer.is_accepted());
    };
    let (scene, recording) = looked_at(ground, goes_on, |setup| setup).await;
    assert_eq!(job_rests(&scene).await, JobState::Waiting);
    assert_eq!((trashed(&scene, &recording), removals(&scene)), (vec![], 0));
    scene.close().await;
}

async fn an_answer_without_files_removes_nothing(ground: Ground) {
    let empty = async |scene: &Scene, _: &[FileRow]| {
        let mut none = recording();
        for file in &none.files {
            scene.zoom.library().remove(&file.key);
        }
        none.files.clear();
        scene.shelve(&none);
    };
    let (scene, _) = looked_at(ground, empty, |setup| setup).await;
    assert_eq!(job_rests(&scene).await, JobState::Done);
    assert_eq!(removals(&scene), 0);
    scene.close().await;
}

on_each_ground! {
    what_is_archived_and_reads_back_goes_to_the_trash_and_comes_back_when_it_is_wanted,
    a_webinar_whose_summary_comes_first_is_one_recording_and_goes_as_one,
    nothing_is_removed_unless_it_was_asked_for,
    deleted_for_good_only_where_the_settings_say_so,
    a_flipped_byte_in_an_object_keeps_everything_at_zoom,
    an_object_that_is_not_there_keeps_everything_at_zoom,
    the_waiting_time_is_waited_from_the_last_file_on,
    another_account_is_left_alone,
    files_that_are_to_come_are_waited_for,
    a_parked_file_keeps_its_recording_at_zoom_until_it_is_archived,
    a_file_that_only_zoom_has_is_fetched_before_anything_goes,
    a_type_that_is_excluded_stays_and_what_has_no_id_stays_with_it,
    what_the_filters_leave_out_stays_at_zoom,
    another_size_at_zoom_keeps_everything_there,
    another_sha256_at_zoom_keeps_everything_there,
    a_recording_that_may_go_on_is_left_alone,
    an_answer_without_files_removes_nothing,
}
