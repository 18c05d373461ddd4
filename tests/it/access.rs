//! A token that expires is a pause: the running program asks Zoom's API for a fresh one and goes on where it was,
//! and believes that a file is gone only when the API says so too.

use http::StatusCode;
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Happening, Quirks};
use zoom_archiver::simulator::fault::ApiFault;
use zoom_archiver::simulator::ledger::Endpoint;
use zoom_archiver::simulator::{FakeFile, FakeRecording, FakeZoom, Fault, Options, When};

use crate::support::scene::{Scene, with_api};
use crate::support::service::Setup;

const MIB: u64 = 1024 * 1024;
const PART: u64 = 5 * MIB;
/// Three parts and a half.
const LARGE: u64 = 3 * PART + PART / 2;

/// With credentials for both of the fake Zoom's APIs.
fn with_credentials(setup: Setup, zoom: &FakeZoom) -> Setup {
    with_api(setup, zoom)
        .env("ZOOM_ARCHIVER_TRANSFER__PART_BYTES", PART.to_string())
        .env("ZOOM_ARCHIVER_TRANSFER__PARTS_IN_FLIGHT", "2")
}

async fn scene() -> Scene {
    Scene::staged(Options::default(), with_credentials).await
}

fn recording(kind: RecordingKind) -> FakeRecording {
    FakeRecording::new(kind, 7).with([FakeFile::generated(7, LARGE)])
}

/// Expects the one file in the archive, and no more fetched twice than what an interruption may cost.
async fn archived(scene: &Scene, recording: &FakeRecording) -> FileRow {
    let file = scene.one_file_in(FileState::Archived).await;
    scene.assert_archived(&file, recording.files[0].content).await;
    let served = scene.zoom.library().account(&recording.files[0].key).unwrap().bytes_served;
    assert!(served <= LARGE + 2 * PART, "{} bytes fetched twice", served - LARGE);
    scene.settled().await;
    file
}

#[tokio::test]
async fn a_token_that_expires_midway_is_renewed_by_the_api_and_the_transfer_goes_on() {
    for kind in [RecordingKind::VideoSdk, RecordingKind::Meeting, RecordingKind::Webinar] {
        let scene = scene().await;
        let recording = recording(kind);
        scene.shelve(&recording);
        let expires = Fault::ExpireAt { position: 2 * PART + 1 };
        scene.zoom.library().inject(&recording.files[0].key, expires, When::First(1));
        scene.announce(&recording, EventKind::Recording).await;
        archived(&scene, &recording).await;
        scene.close().await;
    }
}

#[tokio::test]
async fn a_token_that_is_known_to_have_expired_is_not_even_tried() {
    let options = Options { token_lifetime: std::time::Duration::from_secs(30), ..Options::default() };
    let scene = Scene::staged(options, with_credentials).await;
    let recording = recording(RecordingKind::VideoSdk);
    // It lasts for less than `transfer.token_margin_secs`; the one that the API gives lasts a day.
    scene.announce(&recording, EventKind::Recording).await;
    archived(&scene, &recording).await;
    let account = scene.zoom.library().account(&recording.files[0].key).unwrap();
    assert_eq!(account.refused, 0);
    scene.close().await;
}

#[tokio::test]
async fn a_404_that_the_api_confirms_is_believed_and_told_loudly() {
    let scene = scene().await;
    let recording = recording(RecordingKind::VideoSdk);
    let body = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
    scene.zoom.library().remove(&recording.files[0].key);
    scene.zoom.library().inject_api(&recording, ApiFault::Gone, When::Always);
    assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    let file = scene.one_file_in(FileState::Gone).await;
    assert!(file.reason.as_deref().unwrap().contains("Zoom has the file no more"), "{:?}", file.reason);
    scene.settled().await;
    assert_eq!(scene.service.metric("zoom_archiver_files_gone_total", "").await, 1.0);
    let log = scene.close().await;
    let told =
        log.lines().into_iter().find(|line| line["message"].as_str().unwrap_or("").contains("no more"));
    assert_eq!(told.expect("it is told")["level"], "WARN");
}

#[tokio::test]
async fn what_lies_in_zooms_trash_is_not_gone_and_is_fetched_when_it_is_taken_back() {
    let ways =
        [(RecordingKind::VideoSdk, true), (RecordingKind::VideoSdk, false), (RecordingKind::Meeting, true)];
    for (kind, by_command) in ways {
        let scene = scene().await;
        let recording = recording(kind);
        let completed = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
        assert!(scene.zoom.library().trash(&recording.instance_id, None));
        let later = Clock::System.now() + chrono::TimeDelta::seconds(1);
        let trashed = scene.zoom.tell(&recording, Happening::Trashed, Quirks::default(), later).unwrap();
        for event in [trashed, completed] {
            assert!(scene.sender.deliver(&event).await.answer.is_accepted());
        }
        let file = scene.one_file_in(FileState::Parked).await;
        let reason = file.reason.unwrap();
        assert!(reason.contains("trash") && reason.contains("recordings recover"), "{reason}");
        let left = file.loses_at.expect("it can be had until then") - Clock::System.now();
        assert_eq!(left.num_days(), 29, "thirty days from a moment ago on");

        if by_command {
            let id = file.recording_id.to_string();
            let output = scene.setup.cli(&["recordings", "recover", &id]).output().await.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        } else {
            // By somebody at Zoom; a session's event brings neither files nor a token.
            assert!(scene.zoom.library().recover(&recording.instance_id, None));
            let later = Clock::System.now() + chrono::TimeDelta::seconds(1);
            let recovered = scene.zoom.tell(&recording, Happening::Recovered, Quirks::default(), later);
            assert!(scene.sender.deliver(&recovered.unwrap()).await.answer.is_accepted());
        }
        archived(&scene, &recording).await;
        scene.close().await;
    }
}

#[tokio::test]
async fn without_credentials_what_lies_in_zooms_trash_waits_for_the_event_that_takes_it_out() {
    let scene = Scene::start().await;
    let recording = recording(RecordingKind::Meeting);
    let completed = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
    assert!(scene.zoom.library().trash(&recording.instance_id, None));
    let tell = |what, at| scene.zoom.tell(&recording, what, Quirks::default(), at).unwrap();
    let later = Clock::System.now() + chrono::TimeDelta::seconds(1);
    for event in [tell(Happening::Trashed, later), completed] {
        assert!(scene.sender.deliver(&event).await.answer.is_accepted());
    }
    let reason = scene.one_file_in(FileState::Parked).await.reason.unwrap();
    assert!(reason.contains("trash"), "{reason}");
    assert!(scene.zoom.library().recover(&recording.instance_id, None));
    let recovered = tell(Happening::Recovered, Clock::System.now() + chrono::TimeDelta::seconds(1));
    assert!(scene.sender.deliver(&recovered).await.answer.is_accepted());
    archived(&scene, &recording).await;
    scene.close().await;
}

#[tokio::test]
async fn what_has_been_in_zooms_trash_for_too_long_is_gone() {
    let scene = scene().await;
    let recording = recording(RecordingKind::VideoSdk);
    let completed = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
    let mut completed: serde_json::Value = serde_json::from_slice(&completed).unwrap();
    let begun = Clock::System.now() - chrono::TimeDelta::days(31);
    completed["event_ts"] = (begun - chrono::TimeDelta::days(1)).timestamp_millis().into();
    let trashed = scene.zoom.tell(&recording, Happening::Trashed, Quirks::default(), begun).unwrap();
    assert!(scene.zoom.library().delete(&recording.instance_id, None));
    for event in [trashed, completed.to_string().into_bytes()] {
        assert!(scene.sender.deliver(&event).await.answer.is_accepted());
    }
    scene.one_file_in(FileState::Gone).await;
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn a_file_that_is_gone_midway_leaves_no_upload_behind() {
    let scene = scene().await;
    let recording = recording(RecordingKind::VideoSdk);
    scene.shelve(&recording);
    let expires = Fault::ExpireAt { position: 2 * PART + 1 };
    scene.zoom.library().inject(&recording.files[0].key, expires, When::First(1));
    scene.zoom.library().inject_api(&recording, ApiFault::Gone, When::Always);
    scene.announce(&recording, EventKind::Recording).await;
    scene.one_file_in(FileState::Gone).await;
    scene.settled().await;
    assert_eq!(scene.leftovers().await, Vec::<String>::new());
    scene.close().await;
}

#[tokio::test]
async fn an_archive_file_is_not_gone_because_no_list_of_recordings_has_it() {
    for list in ["archive_files", "physical_files"] {
        let scene = scene().await;
        let recording = recording(RecordingKind::Meeting);
        let (happening, now) = (Happening::ArchiveFilesCompleted, Clock::System.now());
        let body = scene.zoom.tell(&recording, happening, Quirks::default(), now);
        let body = String::from_utf8(body.expect("there is such an event")).unwrap();
        let body = body.replace("\"archive_files\"", &format!("\"{list}\""));
        scene.zoom.library().expire_tokens(&recording);
        scene.zoom.library().inject_api(&recording, ApiFault::Gone, When::Always);
        assert!(scene.sender.deliver(body.as_bytes()).await.answer.is_accepted());
        let file = scene.one_file_in(FileState::Parked).await;
        assert_eq!(file.identity.collection, list);
        let reason = file.reason.expect("it says why");
        assert!(reason.contains("View the recording content"), "{reason}");
        // Only whether the bearer token that did not open it is in force.
        assert!(scene.zoom.library().api_calls(Endpoint::MeetingRecordings) <= 1);
        scene.close().await;
    }
}

#[tokio::test]
async fn siblings_that_expire_together_ask_the_api_once() {
    let scene = scene().await;
    let files = (0..4).map(|seed| FakeFile::generated(seed, LARGE));
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 7).with(files);
    scene.shelve(&recording);
    let body = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
    scene.zoom.library().expire_tokens(&recording);
    assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    scene.settled().await;
    assert!(scene.files().await.iter().all(|file| file.state == FileState::Archived));
    assert_eq!(scene.zoom.library().api_calls(Endpoint::SessionRecordings), 1);
    scene.close().await;
}

#[tokio::test]
async fn a_404_that_the_api_does_not_confirm_passes() {
    let scene = scene().await;
    let recording = recording(RecordingKind::VideoSdk);
    scene.shelve(&recording);
    let not_found = Fault::Status { code: StatusCode::NOT_FOUND, retry_after: None };
    scene.zoom.library().inject(&recording.files[0].key, not_found, When::First(3));
    scene.announce(&recording, EventKind::Recording).await;
    archived(&scene, &recording).await;
    scene.close().await;
}

#[tokio::test]
async fn a_404_is_not_confirmed_by_an_answer_that_cannot_be_read_whole() {
    let scene = scene().await;
    let recording = recording(RecordingKind::VideoSdk);
    scene.shelve(&recording);
    let not_found = Fault::Status { code: StatusCode::NOT_FOUND, retry_after: None };
    scene.zoom.library().inject(&recording.files[0].key, not_found, When::First(3));
    scene.zoom.library().inject_api(&recording, ApiFault::NullFile, When::Always);
    scene.announce(&recording, EventKind::Recording).await;
    archived(&scene, &recording).await;
    scene.close().await;
}

#[tokio::test]
async fn a_file_that_zoom_still_works_on_is_put_back_and_costs_no_attempt() {
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        with_credentials(setup, zoom)
            .env("ZOOM_ARCHIVER_TRANSFER__PROCESSING_SECS", "1")
            .env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "1")
    })
    .await;
    let recording = recording(RecordingKind::VideoSdk);
    scene.shelve(&recording);
    let key = &recording.files[0].key;
    let body = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
    scene.zoom.library().expire_tokens(&recording);
    scene.zoom.library().set_processing(key, true);
    assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    scene.service.log.wait_for(|line| line["reason"] == "Zoom still works on the file").await;
    scene.zoom.library().set_processing(key, false);
    archived(&scene, &recording).await;
    scene.close().await;
}

#[tokio::test]
async fn wrong_credentials_park_the_file_and_say_what_to_mend() {
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        with_credentials(setup, zoom).env("ZOOM_VIDEO_SDK_API_SECRET", "another secret")
    })
    .await;
    let recording = recording(RecordingKind::VideoSdk);
    let body = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
    scene.zoom.library().expire_tokens(&recording);
    assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    let reason = scene.one_file_in(FileState::Parked).await.reason.unwrap();
    assert!(reason.contains("ZOOM_VIDEO_SDK_API_SECRET"), "{reason}");
    assert_eq!(scene.service.failures("api", "not_allowed").await, 1.0);
    scene.close().await;
}

#[tokio::test]
async fn fresh_tokens_that_do_not_help_cost_attempts_and_do_not_spin() {
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        with_credentials(setup, zoom).env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "3")
    })
    .await;
    let recording = recording(RecordingKind::VideoSdk);
    scene.shelve(&recording);
    scene.zoom.library().inject(&recording.files[0].key, Fault::ExpiredToken, When::Always);
    scene.announce(&recording, EventKind::Recording).await;
    let reason = scene.one_file_in(FileState::Dead).await.reason.unwrap();
    assert!(reason.contains("although it has just given one"), "{reason}");
    assert_eq!(scene.zoom.library().account(&recording.files[0].key).unwrap().requests, 6);
    scene.close().await;
}

#[tokio::test]
async fn without_credentials_a_parked_file_says_which_are_missing_and_how_long_zoom_keeps_it() {
    let scene = Scene::start().await;
    let body = serde_json::json!({
        "event": "session.recording_completed",
        "download_token": "opaque-and-good-for-nothing",
        "payload": {"account_id": "a", "object": {
            "session_id": "s", "auto_delete_date": "2999-12-31",
            "recording_files": [{"id": "f", "file_type": "MP4"}],
        }},
    });
    assert!(scene.sender.deliver(body.to_string().as_bytes()).await.answer.is_accepted());
    let file = scene.one_file_in(FileState::Parked).await;
    assert!(scene.store.retry(file.id).await.unwrap());
    let reason = crate::support::service::eventually("it says why", || async {
        let file = scene.files().await.pop()?;
        file.reason.filter(|reason| file.state == FileState::Parked && reason.contains("credentials"))
    })
    .await;
    assert!(reason.contains("ZOOM_VIDEO_SDK_API_KEY"), "{reason}");
    assert!(reason.contains("Zoom deletes the file on 2999-12-31, in "), "{reason}");
    scene.close().await;
}
