//! What no event brought is found at Zoom, once; and the report says what is where.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use http::StatusCode;
use serde_json::Value;
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::job::Task;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Happening, Quirks};
use zoom_archiver::simulator::ledger::{Endpoint, Weight};
use zoom_archiver::simulator::{ApiFault, FakeFile, FakeRecording, FakeZoom, Fault, Options, When};

use crate::support::scene::{Ground, Scene, on_each_ground, until_settled, until_settled_within, with_api};
use crate::support::service::{Setup, eventually};

/// A session that began so long ago.
fn session(seed: u64, ago: TimeDelta) -> FakeRecording {
    let mut session = FakeRecording::new(RecordingKind::VideoSdk, seed);
    session.start_time = now() - ago;
    session
}

/// A session of just now with one file.
fn fresh(seed: u64) -> FakeRecording {
    session(seed, TimeDelta::hours(1)).with([FakeFile::generated(seed, 1000)])
}

fn now() -> chrono::DateTime<Utc> {
    Clock::System.now()
}

/// Waits for no late files.
fn without_late_files(setup: Setup, zoom: &FakeZoom) -> Setup {
    with_api(setup, zoom).env("ZOOM_ARCHIVER_RECONCILE__LATE_FILES", "")
}

async fn scene() -> Scene {
    Scene::staged(Options::default(), without_late_files).await
}

/// Has a round done, and all that follows from it.
async fn round(scene: &Scene) {
    assert!(scene.store.repeat(Task::Reconcile, Duration::ZERO).await.unwrap());
    scene.settled().await;
}

async fn report(setup: &Setup) -> (Output, Vec<Value>) {
    let output = setup.cli(&["reconcile", "--json"]).output().await.unwrap();
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON a line")).collect();
    (output, lines)
}

/// What becomes of the event of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lost,
    /// It comes hours after it happened, and its token is dead; before the round, or after it.
    LateBefore,
    LateAfter,
    Doubled,
    InTime,
}

/// 30 % lost, 10 % late, 5 % doubled.
fn fate(number: u64) -> Fate {
    match number % 20 {
        0..6 => Fate::Lost,
        6 => Fate::LateBefore,
        7 => Fate::LateAfter,
        8 => Fate::Doubled,
        _ => Fate::InTime,
    }
}

async fn deliver(scene: &Scene, session: &FakeRecording, fate: Fate) {
    let body = || scene.zoom.announce(session, EventKind::Recording, Quirks::default());
    let bodies = match fate {
        Fate::Lost => {
            scene.zoom.library().lose(&body());
            return;
        }
        Fate::Doubled => vec![body(), body()],
        Fate::LateBefore | Fate::LateAfter => {
            let mut late: Value = serde_json::from_slice(&body()).unwrap();
            late["event_ts"] = (now() - TimeDelta::hours(5)).timestamp_millis().into();
            scene.zoom.library().expire_tokens(session);
            vec![late.to_string().into_bytes()]
        }
        Fate::InTime => vec![body()],
    };
    for body in bodies {
        let delivery = scene.sender.deliver(&body).await;
        assert!(delivery.answer.is_accepted(), "{}", delivery.answer);
    }
}

async fn after_one_round_all_files_of_a_thousand_sessions_are_archived_and_none_twice(ground: Ground) {
    const SESSIONS: u64 = 1000;
    // A Business plan's, and ours below it.
    const LIMITS: [(Weight, usize); 3] = [(Weight::Light, 80), (Weight::Medium, 60), (Weight::Heavy, 40)];
    let scene = Scene::staged_on(ground, Options::default(), |setup, zoom| {
        with_api(setup, zoom).env("ZOOM_ARCHIVER_ZOOM__API_LIGHT_PER_SEC", "60")
    })
    .await;
    let library = scene.zoom.library();
    for (weight, limit) in LIMITS {
        library.limit_api(weight, Some(limit));
    }
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|number| {
            let ago = TimeDelta::minutes(i64::try_from(number * 8).unwrap());
            session(number, ago)
                .with([FakeFile::generated(number, 900), FakeFile::generated(number + 5000, 1100)])
        })
        .collect();
    sessions.iter().for_each(|session| library.add(session));
    let deliver_those = async |wanted: fn(Fate) -> bool| {
        let chosen = (0..).zip(&sessions).filter(|(number, _)| wanted(fate(*number)));
        stream::iter(chosen)
            .for_each_concurrent(4, |(number, session)| deliver(&scene, session, fate(number)))
            .await;
    };
    deliver_those(|fate| fate != Fate::LateAfter).await;
    assert!(scene.store.repeat(Task::Reconcile, Duration::ZERO).await.unwrap());
    until_settled_within(Duration::from_secs(300), &scene.store).await;
    deliver_those(|fate| fate == Fate::LateAfter).await;
    until_settled_within(Duration::from_secs(60), &scene.store).await;

    let files = scene.files().await;
    let contents: BTreeMap<_, _> = sessions
        .iter()
        .flat_map(|session| &session.files)
        .map(|file| (file.id.clone().unwrap(), file.content))
        .collect();
    assert_eq!((files.len(), contents.len()), (2000, 2000));
    for file in &files {
        assert_eq!(file.state, FileState::Archived, "{:?}", file.reason);
        scene.assert_archived(file, contents[&file.identity.name]).await;
    }
    for file in sessions.iter().flat_map(|session| &session.files) {
        let served = library.account(&file.key).unwrap().bytes_served;
        assert_eq!(served, file.content.len(), "fetched once");
    }
    let found = scene.service.metric("zoom_archiver_reconciled_files_total", "").await;
    assert!((found - 700.0).abs() < 0.5, "{found}: those of 300 lost and 50 late events");

    let (output, lines) = report(&scene.setup).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["report"]["clean"], true);
    assert_eq!(lines[0]["report"]["files"], serde_json::json!({ "everywhere": 2000 }));
    assert!(output.status.success());

    for (weight, limit) in LIMITS {
        let peak = library.api_peak_rate(weight);
        assert!(peak <= limit, "{weight:?}: {peak} questions in a second");
    }
    assert!(library.api_peak_rate(Weight::Light) > 0 && library.api_peak_rate(Weight::Medium) > 0);
    scene.close().await;
}

on_each_ground! {
    after_one_round_all_files_of_a_thousand_sessions_are_archived_and_none_twice,
}

#[tokio::test]
async fn late_files_are_asked_for_until_they_are_there() {
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        with_api(setup, zoom).env("ZOOM_ARCHIVER_RECONCILE__LATE_FILES", "TRANSCRIPT")
    })
    .await;
    let (young, old) = (fresh(1), session(2, TimeDelta::hours(50)).with([FakeFile::generated(2, 1000)]));
    scene.announce(&young, EventKind::Recording).await;
    scene.announce(&old, EventKind::Recording).await;
    scene.settled().await;
    let asked = || scene.zoom.library().api_calls(Endpoint::SessionRecordings);
    for round_number in 1..=2 {
        round(&scene).await;
        assert_eq!(asked(), round_number, "about the young one, whose transcript is not there");
    }
    let whole = young.with([FakeFile::new(
        "TRANSCRIPT",
        "VTT",
        "audio_transcript",
        zoom_archiver::simulator::Content::Embedded(b"WEBVTT\n"),
    )]);
    scene.shelve(&whole);
    round(&scene).await;
    let files = scene.files().await;
    assert!(files.len() == 3 && files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
    let asked_before = asked();
    round(&scene).await;
    assert_eq!(asked(), asked_before, "there is nothing more to come");
    scene.close().await;
}

#[tokio::test]
async fn a_recording_that_the_lists_leave_out_is_found_by_zooms_log_of_failed_deliveries() {
    let scene = scene().await;
    let old = session(1, TimeDelta::days(40)).with([FakeFile::generated(1, 1000)]);
    let body = scene.zoom.announce(&old, EventKind::Recording, Quirks::default());
    scene.zoom.library().lose(&body);
    scene.zoom.library().lose(&body);
    round(&scene).await;
    scene.assert_archived(&scene.one_file_in(FileState::Archived).await, old.files[0].content).await;
    assert!((scene.service.metric("zoom_archiver_failed_deliveries", "default").await - 2.0).abs() < 0.5);
    scene.close().await;
}

#[tokio::test]
async fn what_was_left_out_for_want_of_its_host_is_taken_when_a_list_names_one() {
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        without_late_files(setup, zoom).env("ZOOM_ARCHIVER_FILTERS__INCLUDE__HOSTS", "host@example.com")
    })
    .await;
    let mut meeting = FakeRecording::new(RecordingKind::Meeting, 1).with([FakeFile::generated(1, 1000)]);
    meeting.start_time = now() - TimeDelta::hours(1);
    let body = scene.zoom.announce(&meeting, EventKind::Recording, Quirks::default());
    let mut body: Value = serde_json::from_slice(&body).unwrap();
    let object = body["payload"]["object"].as_object_mut().unwrap();
    assert!(object.remove("host_email").is_some());
    assert!(scene.sender.deliver(body.to_string().as_bytes()).await.answer.is_accepted());
    let skipped = scene.one_file_in(FileState::Skipped).await;
    assert!(skipped.reason.as_deref().unwrap().contains("filters.include.hosts"), "{skipped:?}");
    round(&scene).await;
    scene.assert_archived(&scene.one_file_in(FileState::Archived).await, meeting.files[0].content).await;
    scene.close().await;
}

#[tokio::test]
async fn a_list_or_a_log_that_may_not_be_read_keeps_nothing_else_from_being_found() {
    let scene = scene().await;
    let session = fresh(1);
    scene.shelve(&session);
    scene.zoom.library().inject_call(Endpoint::Meetings, ApiFault::MissingScope, When::Always);
    let forbidden = ApiFault::Status { code: StatusCode::FORBIDDEN, retry_after: None };
    scene.zoom.library().inject_call(Endpoint::WebhookLog, forbidden, When::Always);
    round(&scene).await;
    scene.assert_archived(&scene.one_file_in(FileState::Archived).await, session.files[0].content).await;
    let told = scene.service.log.lines();
    let told =
        told.iter().find(|line| line["message"].as_str().is_some_and(|it| it.contains("cannot reconcile")));
    let told = told.expect("it is told");
    assert_eq!(told["level"], "WARN");
    assert!(
        told["error"].as_str().unwrap().contains("cloud_recording:read:list_account_recordings"),
        "{told}"
    );
    scene.close().await;
}

#[tokio::test]
async fn a_recording_that_may_not_be_asked_about_keeps_no_other_from_being_found() {
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        with_api(setup, zoom).env("ZOOM_ARCHIVER_ZOOM__API_PAGE_SIZE", "1")
    })
    .await;
    let forbidden = session(1, TimeDelta::hours(3)).with([FakeFile::generated(1, 1000)]);
    scene.announce(&forbidden, EventKind::Recording).await;
    scene.settled().await;
    // Its transcript may come; but to ask is not allowed.
    let no = ApiFault::Status { code: StatusCode::FORBIDDEN, retry_after: None };
    scene.zoom.library().inject_api(&forbidden, no, When::Always);
    let later = session(2, TimeDelta::hours(2)).with([FakeFile::generated(2, 1000)]);
    scene.shelve(&later);
    round(&scene).await;
    let files = scene.files().await;
    assert!(files.len() == 2 && files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
    let told =
        |line: &Value| line["message"].as_str().is_some_and(|it| it.contains("late files of sessions"));
    scene.service.log.wait_for(told).await;
    scene.close().await;
}

#[tokio::test]
async fn tokens_that_would_not_last_until_the_next_round_are_renewed() {
    let options = Options { token_lifetime: Duration::from_secs(3600), ..Options::default() };
    let scene = Scene::staged(options, |setup, zoom| {
        without_late_files(setup, zoom)
            .env("ZOOM_ARCHIVER_RECONCILE__INTERVAL_SECS", "21600")
            .env("ZOOM_ARCHIVER_WORKER__RETRY_BASE_MS", "3600000")
            .env("ZOOM_ARCHIVER_WORKER__RETRY_MAX_MS", "3600000")
    })
    .await;
    // The round at the start is over.
    scene.service.log.wait_for(|line| line["message"] == "reconciled with Zoom").await;
    scene.settled().await;
    let recording = fresh(1).with([FakeFile::generated(2, 1000)]);
    scene.shelve(&recording);
    for file in &recording.files {
        let busy = Fault::Status { code: StatusCode::SERVICE_UNAVAILABLE, retry_after: None };
        scene.zoom.library().inject(&file.key, busy, When::Always);
    }
    scene.announce(&recording, EventKind::Recording).await;
    let last_until = async || {
        let files = scene.files().await;
        assert_eq!(files.len(), 2);
        files.iter().map(|file| file.token_expires_at.expect("it says so")).min().unwrap()
    };
    assert!(last_until().await < now() + TimeDelta::hours(2));
    let rounds = || {
        let lines = scene.service.log.lines();
        lines.iter().filter(|line| line["message"] == "reconciled with Zoom").count()
    };
    for expected in 2..=3 {
        assert!(scene.store.repeat(Task::Reconcile, Duration::ZERO).await.unwrap());
        eventually("a round is over", || async { (rounds() == expected).then_some(()) }).await;
        assert!(last_until().await > now() + TimeDelta::hours(20), "as long as zoom.token_ttl_secs says");
        assert_eq!(scene.zoom.library().api_calls(Endpoint::SessionRecordings), 1, "once, for both");
        eventually("its job is settled", || async {
            let depths = scene.store.depth().await.unwrap();
            depths
                .iter()
                .any(|depth| depth.kind == "reconcile" && depth.state.as_str() == "done")
                .then_some(())
        })
        .await;
    }
    scene.close().await;
}

#[tokio::test]
async fn files_that_are_parked_for_a_token_go_on_when_there_are_credentials() {
    let scene = Scene::start().await;
    let recording = fresh(1);
    let body = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
    scene.zoom.library().expire_tokens(&recording);
    assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    scene.one_file_in(FileState::Parked).await;
    let Scene { zoom, service, setup, store, data: _data, .. } = scene;
    service.stop().await;
    let setup = without_late_files(setup, &zoom).env("ZOOM_ARCHIVER_RECONCILE__INTERVAL_SECS", "3600");
    let service = setup.start().await;
    eventually("the file is archived", || async {
        let files = store.files(&[FileState::Archived], None, 10).await.unwrap();
        (files.len() == 1).then_some(())
    })
    .await;
    until_settled(&store).await;
    service.stop().await;
}

#[tokio::test]
async fn of_several_processes_one_asks() {
    let first = Scene::staged(Options::default(), |setup, zoom| {
        without_late_files(setup, zoom).env("ZOOM_ARCHIVER_RECONCILE__INTERVAL_SECS", "3600")
    })
    .await;
    let others = [first.setup.spawn(), first.setup.spawn()];
    for other in &others {
        other.ready().await;
    }
    eventually("the round is over", || async {
        let depths = first.store.depth().await.unwrap();
        depths.iter().any(|depth| depth.kind == "reconcile" && depth.state.as_str() == "done").then_some(())
    })
    .await;
    for other in others {
        other.stop().await;
    }
    assert_eq!(first.zoom.library().api_calls(Endpoint::Sessions), 1);
    first.close().await;
}

#[tokio::test]
async fn without_credentials_nobody_is_asked() {
    let scene = Scene::with(|setup| setup.env("ZOOM_ARCHIVER_RECONCILE__INTERVAL_SECS", "3600")).await;
    assert!(scene.store.depth().await.unwrap().is_empty());
    let (output, _) = report(&scene.setup).await;
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("ZOOM_VIDEO_SDK_API_KEY") && told.contains("ZOOM_CLIENT_ID"), "{told}");
    scene.close().await;
}

#[tokio::test]
async fn the_report_says_of_each_file_where_it_is_missing() {
    let scene = scene().await;
    let recordings: Vec<_> = (0..6).map(fresh).collect();
    let [everywhere, no_object, differs, not_at_zoom, not_archived, not_in_database] = recordings.as_slice()
    else {
        panic!("six")
    };
    recordings.iter().for_each(|recording| scene.shelve(recording));
    scene.zoom.library().inject(&not_archived.files[0].key, Fault::ExpiredToken, When::Always);
    for recording in [everywhere, no_object, differs, not_at_zoom, not_archived] {
        scene.announce(recording, EventKind::Recording).await;
    }
    // Until it is given up, the files beside it are done.
    scene.one_file_in(FileState::Dead).await;
    scene.settled().await;
    let rows = scene.files().await;
    let path = |recording: &FakeRecording| {
        let id = recording.files[0].id.as_deref().unwrap();
        let row = rows.iter().find(|row| row.identity.name == id).unwrap();
        scene.data.path().join("archive").join(row.object_key.as_deref().unwrap())
    };
    std::fs::remove_file(path(no_object)).unwrap();
    let object = path(differs);
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, b"short").unwrap();
    assert!(scene.zoom.library().delete(&not_at_zoom.instance_id, None));

    let (output, mut lines) = report(&scene.setup).await;
    assert_eq!(output.status.code(), Some(1));
    let summary = lines.pop().unwrap();
    assert_eq!(summary["report"]["clean"], false);
    let expected = serde_json::json!({ "everywhere": 1, "not_in_archive": 1, "differs": 1, "not_at_zoom": 1,
        "not_archived": 1, "not_in_database": 1 });
    assert_eq!(summary["report"]["files"], expected);
    let standing = |recording: &FakeRecording| {
        let id = recording.files[0].id.as_deref().unwrap();
        lines.iter().find(|line| line["file"]["name"] == id).map(|line| line["standing"].clone())
    };
    for (recording, word) in [
        (no_object, "not_in_archive"),
        (differs, "differs"),
        (not_at_zoom, "not_at_zoom"),
        (not_archived, "not_archived"),
        (not_in_database, "not_in_database"),
    ] {
        assert_eq!(standing(recording).unwrap(), word);
    }
    assert_eq!(standing(everywhere), None);

    let output = scene.setup.cli(&["reconcile"]).output().await.unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(words.contains("differs: video_sdk") && words.contains("1000 bytes proven"), "{words}");
    assert!(words.contains("5 bytes in the archive") && words.contains("Something is missing."), "{words}");
    scene.close().await;
}

#[tokio::test]
async fn a_call_whose_event_was_lost_is_found_in_zooms_list_and_archived_with_its_transcript() {
    let scene = scene().await;
    scene.zoom.library().open_files_by_api_bearer();
    let mut call = FakeRecording::call(77);
    call.start_time = now() - TimeDelta::hours(3);
    scene.shelve(&call);
    let (output, lines) = report(&scene.setup).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines.iter().filter(|line| line["standing"] == "not_in_database").count(), 2, "{lines:?}");
    round(&scene).await;
    let files = scene.files().await;
    assert_eq!(files.len(), 2, "{files:?}");
    for (file, fake) in files.iter().zip(&call.files) {
        assert_eq!(file.state, FileState::Archived, "{:?}", file.reason);
        scene.assert_archived(file, fake.content).await;
    }
    assert_eq!(report(&scene.setup).await.0.status.code(), Some(0));
    // Its event, late, is about the same files.
    let late = scene.zoom.tell(&call, Happening::CallRecorded, Quirks::default(), now()).unwrap();
    assert!(scene.sender.deliver(&late).await.answer.is_accepted());
    scene.settled().await;
    assert_eq!(scene.files().await.len(), 2);
    scene.close().await;
}

#[tokio::test]
async fn an_app_without_the_scope_for_calls_lists_everything_else() {
    let scene = scene().await;
    scene.shelve(&fresh(78));
    scene.zoom.library().inject_call(Endpoint::Calls, ApiFault::MissingScope, When::Always);
    round(&scene).await;
    let files = scene.files().await;
    assert!(files.len() == 1 && files[0].state == FileState::Archived, "{files:?}");
    assert_eq!(report(&scene.setup).await.0.status.code(), Some(0));
    scene.close().await;
}
