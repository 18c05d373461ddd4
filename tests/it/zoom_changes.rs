//! What is changed at Zoom by its API, and what its log says of lost events.

use chrono::TimeDelta;
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::ledger::Endpoint;
use zoom_archiver::simulator::library::LiveState;
use zoom_archiver::simulator::{ApiFault, FakeRecording, Sender, When};
use zoom_archiver::zoom::api::ApiError;
use zoom_archiver::zoom::api::change::Removal;
use zoom_archiver::zoom::api::live::Control;

use crate::support::api::{Scene, announcement, identity};

#[tokio::test]
async fn a_recording_goes_to_the_trash_comes_back_and_is_deleted() {
    let scene = Scene::start().await;
    let library = scene.zoom.library();
    let api = scene.api();
    for recording in [FakeRecording::video_sdk(1), FakeRecording::meeting(2), FakeRecording::webinar(3)] {
        library.add(&recording);
        let id = identity(&recording);
        api.remove(&id, None, Removal::Trash).await.unwrap();
        assert!(recording.files.iter().all(|file| library.is_in_trash(&file.key)));
        let error = api.recording(&id).await.unwrap_err();
        assert!(matches!(error, ApiError::NotFound(_)), "{error}");
        let error = api.remove(&id, None, Removal::Trash).await.unwrap_err();
        assert!(matches!(error, ApiError::NotFound(_)), "{error}");
        api.recover(&id, None).await.unwrap();
        assert!(!recording.files.iter().any(|file| library.is_in_trash(&file.key)));
        api.recording(&id).await.unwrap();
        api.remove(&id, None, Removal::Delete).await.unwrap();
        let error = api.recover(&id, None).await.unwrap_err();
        assert!(matches!(error, ApiError::NotFound(_)), "{error}");
        assert!(library.recording(&recording.instance_id).is_none());
    }
}

#[tokio::test]
async fn one_file_goes_to_the_trash_comes_back_and_is_deleted_and_its_siblings_stay() {
    let scene = Scene::start().await;
    let library = scene.zoom.library();
    let api = scene.api();
    for recording in [FakeRecording::video_sdk(1), FakeRecording::meeting(2)] {
        library.add(&recording);
        let id = identity(&recording);
        let video = recording.file("MP4").unwrap();
        let video_id = video.id.as_deref();
        api.remove(&id, video_id, Removal::Trash).await.unwrap();
        assert!(library.is_in_trash(&video.key));
        let left = announcement(&api.recording(&id).await.unwrap()).files.len();
        assert_eq!(left, recording.files.len() - 1);
        api.recover(&id, video_id).await.unwrap();
        assert!(!library.is_in_trash(&video.key));
        api.remove(&id, video_id, Removal::Delete).await.unwrap();
        let error = api.recover(&id, video_id).await.unwrap_err();
        assert!(matches!(error, ApiError::NotFound(_)), "{error}");
        let left = announcement(&api.recording(&id).await.unwrap()).files.len();
        assert_eq!(left, recording.files.len() - 1);
    }
}

#[tokio::test]
async fn each_change_names_the_scope_that_it_lacks() {
    let scene = Scene::start().await;
    let recording = FakeRecording::meeting(1);
    scene.zoom.library().add(&recording);
    scene.zoom.library().inject_api(&recording, ApiFault::MissingScope, When::Always);
    let (api, id) = (scene.api(), identity(&recording));
    for (done, scope) in [
        (api.remove(&id, None, Removal::Trash).await, "cloud_recording:delete:meeting_recording:admin"),
        (api.remove(&id, Some("x"), Removal::Trash).await, "cloud_recording:delete:recording_file:admin"),
        (api.recover(&id, None).await, "cloud_recording:update:recover_meeting_recordings:admin"),
        (api.recover(&id, Some("x")).await, "cloud_recording:update:recover_single_recording:admin"),
    ] {
        let error = done.unwrap_err();
        assert!(matches!(&error, ApiError::NotAllowed(words) if words.contains(scope)), "{error}");
    }
}

#[tokio::test]
async fn an_error_in_a_200_is_no_success_of_a_change_either() {
    let scene = Scene::start().await;
    let recording = FakeRecording::video_sdk(1);
    scene.zoom.library().add(&recording);
    scene.zoom.library().inject_api(&recording, ApiFault::ErrorIn200 { code: 200 }, When::Always);
    let error = scene.api().remove(&identity(&recording), None, Removal::Trash).await.unwrap_err();
    assert!(
        matches!(&error, ApiError::NotAllowed(words) if words.contains("remove this recording")),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_about_another_recording_is_refused() {
    let scene = Scene::start().await;
    for recording in [FakeRecording::video_sdk(1), FakeRecording::meeting(2)] {
        let other = ApiFault::About { instance_id: "an0ther==".to_owned() };
        let error = scene.ask_amid(&recording, other).await;
        assert!(
            matches!(&error, ApiError::Refused { reason, .. } if reason.contains("about another recording")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_live_session_is_recorded_paused_resumed_and_stopped_under_its_very_id() {
    const SESSION: &str = "/Q0z/9+aaTTu1BcD2eFgHiA==";
    let scene = Scene::start().await;
    let library = scene.zoom.library();
    library.begin_session(SESSION);
    let api = scene.api();
    for (control, state) in [
        (Control::Start, LiveState::Recording),
        (Control::Pause, LiveState::Paused),
        (Control::Resume, LiveState::Recording),
        (Control::Stop, LiveState::Idle),
    ] {
        api.control(SESSION, control).await.unwrap();
        assert_eq!(library.live_state(SESSION), Some(state));
    }
    let methods: Vec<_> = library
        .controls()
        .into_iter()
        .map(|(id, method)| {
            assert_eq!(id, SESSION);
            method
        })
        .collect();
    assert_eq!(methods, ["recording.start", "recording.pause", "recording.resume", "recording.stop"]);
    let error = api.control(SESSION, Control::Resume).await.unwrap_err();
    assert!(matches!(error, ApiError::NotNow(_)), "{error}");
    library.end_session(SESSION);
    let error = api.control(SESSION, Control::Start).await.unwrap_err();
    assert!(matches!(error, ApiError::NotFound(_)), "{error}");
}

#[tokio::test]
async fn the_webhook_log_tells_what_was_not_delivered_from_what_was() {
    let scene = Scene::start().await;
    // Nobody takes webhooks here: what is delivered to the fake Zoom itself is answered 404.
    let (nobody, deaf) = (scene.zoom.second_origin(), "http://127.0.0.1:9/");
    for target in [format!("{nobody}/webhooks/zoom"), deaf.to_owned()] {
        let sender = Sender::new(target.parse().unwrap(), "secret".into(), Vec::new()).unwrap();
        let recording = FakeRecording::meeting(2);
        let body = scene.zoom.announce(&recording, EventKind::Recording, Default::default());
        assert!(!scene.zoom.deliver(&sender, &body).await.answer.is_accepted());
    }
    let now = Clock::System.now();
    let api = scene.api();
    let mut log = api.failed_deliveries(now - TimeDelta::hours(1), now + TimeDelta::minutes(1));
    let page = log.next().await.unwrap().unwrap();
    assert_eq!(page.iter().map(|it| it.status).collect::<Vec<_>>(), [Some(404), None]);
    assert!(page.iter().all(|it| it.event == "recording.completed" && it.at.is_some()));
    assert!(log.next().await.unwrap().is_none());
}

#[tokio::test]
async fn the_api_is_not_asked_to_remove_what_it_does_not_know() {
    let scene = Scene::start().await;
    let mut call = identity(&FakeRecording::meeting(1));
    call.kind = RecordingKind::Phone;
    let error = scene.api().remove(&call, None, Removal::Delete).await.unwrap_err();
    assert!(matches!(error, ApiError::NoCredentials(RecordingKind::Phone)), "{error}");
    assert!(scene.zoom.library().api_requests().is_empty());
}

#[tokio::test]
async fn the_webhook_log_names_the_recordings_whose_events_were_lost() {
    let scene = Scene::start().await.with("ZOOM_ARCHIVER_ZOOM__API_PAGE_SIZE", "2");
    let scene = scene.with("ZOOM_ARCHIVER_ZOOM__API_HEAVY_PER_SEC", "40");
    let lost: Vec<_> = (1..=5).map(FakeRecording::video_sdk).collect();
    for recording in &lost {
        let body = scene.zoom.announce(recording, EventKind::Recording, Default::default());
        scene.zoom.library().lose(&body);
    }
    let now = Clock::System.now();
    let api = scene.api();
    // Weeks without anything before it: Zoom takes seven days at once.
    let mut log = api.failed_deliveries(now - TimeDelta::days(20), now + TimeDelta::minutes(1));
    let mut found = Vec::new();
    while let Some(page) = log.next().await.unwrap() {
        assert!(page.len() <= 2);
        found.extend(page);
    }
    let named: Vec<_> = found.iter().map(|it| it.recording.clone().unwrap()).collect();
    assert_eq!(named, lost.iter().map(identity).collect::<Vec<_>>());
    assert!(found.iter().all(|it| it.event == "session.recording_completed" && it.status.is_none()));
    assert_eq!(scene.calls(Endpoint::WebhookLog), 2 + 3);
}
