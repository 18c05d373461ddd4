//! Zoom's API, asked over real sockets: what comes back, what is kept, and what each refusal means.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use zoom_archiver::clock::Clock;
use zoom_archiver::config::Secrets;
use zoom_archiver::config::load;
use zoom_archiver::domain::event::{Event, EventContent};
use zoom_archiver::domain::ids::EventId;
use zoom_archiver::domain::job::{Settlement, WaitsFor};
use zoom_archiver::domain::recording::{FileIdentity, RecordingKind};
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::ledger::Endpoint;
use zoom_archiver::simulator::{ApiFault, FakeFile, FakeRecording, FakeZoom, When, credentials};
use zoom_archiver::store::Recorded;
use zoom_archiver::zoom::api::{Api, ApiError};
use zoom_archiver::zoom::payload::{self, Message};
use zoom_archiver::zoom::token;

use crate::support::api::{Scene, announcement, identity};
use crate::support::database::Database;

/// What Zoom's webhook says of a recording, read as the receiver reads it.
fn announced(zoom: &FakeZoom, recording: &FakeRecording, kind: EventKind) -> Event {
    let body = zoom.announce(recording, kind, Default::default());
    match payload::read(&body) {
        Message::Announcement { name, announcement, body } => {
            let content = EventContent::Announcement(*announcement);
            Event { id: EventId::new(), received_at: Clock::System.now(), name, body, content, trace: None }
        }
        other => panic!("not an announcement: {other:?}"),
    }
}

fn files(event: &Event) -> BTreeSet<FileIdentity> {
    announcement(event).files.iter().map(|file| file.identity.clone()).collect()
}

fn status(event: &Event, file: &FakeFile) -> Option<String> {
    let found = announcement(event).files.iter().find(|it| Some(&it.identity.name) == file.id.as_ref())?;
    Some(found.metadata["status"].as_str()?.to_owned())
}

/// One of each kind.
fn recordings() -> [FakeRecording; 3] {
    [FakeRecording::video_sdk(1), FakeRecording::meeting(2), FakeRecording::webinar(3)]
}

// ---------------------------------------------------------------------------------------------------------
// Answers

#[tokio::test]
async fn an_answer_names_recording_and_files_exactly_as_the_events_did() {
    let scene = Scene::start().await;
    for recording in recordings() {
        let answer = scene.ask(&recording).await.unwrap();
        let mut from_events = BTreeSet::new();
        for kind in EventKind::of(&recording) {
            let event = announced(&scene.zoom, &recording, kind);
            assert_eq!(
                announcement(&event).recording.identity,
                announcement(&answer).recording.identity,
                "{}",
                recording.kind
            );
            from_events.extend(files(&event));
        }
        assert_eq!(files(&answer), from_events, "{}", recording.kind);
        let name = match recording.kind {
            RecordingKind::VideoSdk => "api.session_recordings",
            _ => "api.meeting_recordings",
        };
        assert_eq!(answer.name, name);
    }
}

#[tokio::test]
async fn the_token_of_an_answer_opens_the_files_and_lasts_as_long_as_configured() {
    let scene = Scene::start().await.with("ZOOM_ARCHIVER_ZOOM__TOKEN_TTL_SECS", "7200");
    for recording in recordings() {
        let before = Clock::System.now();
        let answer = scene.ask(&recording).await.unwrap();
        assert!(scene.last_request().target.ends_with("?include_fields=download_access_token&ttl=7200"));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for file in &announcement(&answer).files {
            let token = file.download_token.as_ref().unwrap();
            let life = token::expires_at(token).unwrap() - before;
            assert!((7199..=7230).contains(&life.num_seconds()), "{life}");
            let url = file.download_url.as_ref().unwrap().expose_secret();
            let opened = client.get(url).bearer_auth(token.expose_secret()).send().await.unwrap();
            assert_eq!(opened.status(), 200);
        }
    }
}

#[tokio::test]
async fn a_recorded_answer_refreshes_what_is_known_wakes_what_is_parked_and_brings_what_is_new() {
    let scene = Scene::start().await;
    let database = Database::sqlite().await;
    let store = database.store().await;
    let recording = FakeRecording::meeting(4);
    let event = announced(&scene.zoom, &recording, EventKind::Recording);
    store.record(&event).await.unwrap();
    let access = async || {
        let mut found = Vec::new();
        for file in store.files(&[], None, 100).await.unwrap() {
            let work = store.transfer_work(file.id).await.unwrap().unwrap();
            let token = work.download_token.unwrap().expose_secret().to_owned();
            found.push((file.identity, work.download_url.unwrap().expose_secret().to_owned(), token));
        }
        found.sort();
        found
    };
    let before = access().await;
    let job = store.claim("a worker", 1, Duration::from_secs(600), &[]).await.unwrap().pop().unwrap();
    let park = Settlement::Park { waits_for: WaitsFor::Token, reason: "it has expired".to_owned() };
    store.settle(&job.lease, park).await.unwrap();

    let answer = scene.ask(&recording).await.unwrap();
    let known = files(&event).len() as u64;
    let new = files(&answer).len() as u64 - known;
    assert_eq!(new, 1, "the transcript");
    let recorded = store.record(&answer).await.unwrap();
    assert_eq!(recorded, Recorded { new_files: new, known_files: known, woken: 1, ..Recorded::default() });

    let after = access().await;
    assert_eq!(after.len() as u64, known + new);
    for (identity, url, token) in before {
        let (_, fresh_url, fresh_token) = after.iter().find(|(other, ..)| *other == identity).unwrap();
        assert!(*fresh_url != url && *fresh_token != token, "{identity:?}");
    }
}

#[tokio::test]
async fn what_is_kept_of_an_answer_holds_neither_token_nor_url() {
    let scene = Scene::start().await;
    for recording in recordings() {
        let answer = scene.ask(&recording).await.unwrap();
        let kept = format!("{answer:?} {}", String::from_utf8(answer.body.clone()).unwrap());
        for secret in ["eyJ", "webhook_download", "fake-password", "fake-passcode"] {
            assert!(!kept.contains(secret), "{secret} in {kept}");
        }
        assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap().is_object());
    }
}

#[tokio::test]
async fn a_file_that_zoom_works_on_is_told_by_its_status_and_one_that_is_gone_is_left_out() {
    let scene = Scene::start().await;
    let recording = FakeRecording::video_sdk(5);
    scene.zoom.library().add(&recording);
    let [video, audio, chat] = ["MP4", "M4A", "CHAT"].map(|kind| recording.file(kind).unwrap());
    scene.zoom.library().set_processing(&video.key, true);
    scene.zoom.library().remove(&chat.key);
    // Asked again, the recording would be put back on the shelf as it was.
    let answer = scene.api().recording(&identity(&recording)).await.unwrap();
    assert_eq!(status(&answer, video).as_deref(), Some("processing"));
    assert_eq!(status(&answer, audio).as_deref(), Some("completed"));
    assert_eq!(status(&answer, chat), None);
    scene.zoom.library().set_processing(&video.key, false);
    let answer = scene.api().recording(&identity(&recording)).await.unwrap();
    assert_eq!(status(&answer, video).as_deref(), Some("completed"));
}

#[tokio::test]
async fn ids_with_slashes_and_pluses_arrive_as_themselves() {
    let scene = Scene::start().await;
    let cases = [
        ("/Q0z/9+aaTTu1BcD2eFgHiA==", "%252FQ0z%252F9%252BaaTTu1BcD2eFgHiA%253D%253D"),
        ("Q0z//aaTTu1BcD2eFgHiAb==", "Q0z%252F%252FaaTTu1BcD2eFgHiAb%253D%253D"),
        ("Q0z+aaTTu1BcD2eFgHiAcd==", "Q0z%252BaaTTu1BcD2eFgHiAcd%253D%253D"),
        ("Q0zaaTTu1BcD2eFgHiAcde==", "Q0zaaTTu1BcD2eFgHiAcde%3D%3D"),
    ];
    for (id, encoded) in cases {
        for (mut recording, things) in
            [(FakeRecording::video_sdk(6), "videosdk/sessions"), (FakeRecording::meeting(7), "meetings")]
        {
            recording.instance_id = id.to_owned();
            let answer = scene.ask(&recording).await.unwrap();
            assert_eq!(announcement(&answer).recording.identity.instance_id, id);
            let target = scene.last_request().target;
            assert_eq!(target.split('?').next(), Some(&*format!("/v2/{things}/{encoded}/recordings")));
        }
    }
}

// ---------------------------------------------------------------------------------------------------------
// Credentials

#[tokio::test]
async fn one_access_token_serves_all_who_ask_at_once() {
    let scene = Scene::start().await;
    let recording = FakeRecording::meeting(8);
    scene.zoom.library().add(&recording);
    ask_at_once(&scene.api(), &recording, 20).await;
    assert_eq!(scene.calls(Endpoint::AccessToken), 1);
    assert_eq!(scene.calls(Endpoint::MeetingRecordings), 20);
}

#[tokio::test]
async fn a_refused_access_token_is_replaced_once_for_all_who_ask() {
    let scene = Scene::start().await;
    let recording = FakeRecording::meeting(9);
    scene.zoom.library().add(&recording);
    let api = scene.api();
    ask_at_once(&api, &recording, 1).await;
    scene.zoom.library().expire_access_tokens();
    ask_at_once(&api, &recording, 20).await;
    assert_eq!(scene.calls(Endpoint::AccessToken), 2);
}

async fn ask_at_once(api: &Api, recording: &FakeRecording, many: usize) {
    let identity = identity(recording);
    let asked = (0..many).map(|_| api.recording(&identity));
    for answer in futures_util::future::join_all(asked).await {
        answer.unwrap();
    }
}

#[tokio::test]
async fn an_access_token_that_is_refused_although_it_is_fresh_is_for_no_person_but_for_later() {
    let scene = Scene::start().await;
    let error = scene.ask_amid(&FakeRecording::meeting(10), ApiFault::ExpiredToken).await;
    assert!(matches!(&error, ApiError::Superseded(reason) if reason.contains("ZOOM_CLIENT_ID")), "{error}");
    assert_eq!((scene.calls(Endpoint::MeetingRecordings), scene.calls(Endpoint::AccessToken)), (5, 5));
}

#[tokio::test]
async fn sessions_and_meetings_are_asked_about_with_credentials_of_their_own() {
    let scene = Scene::start().await;
    for recording in recordings() {
        scene.ask(&recording).await.unwrap();
    }
    assert_eq!(scene.calls(Endpoint::SessionRecordings), 1);
    assert_eq!(scene.calls(Endpoint::MeetingRecordings), 2);
    assert_eq!(scene.zoom.library().violations(), []);
}

#[tokio::test]
async fn wrong_credentials_are_told_in_words_that_name_what_to_mend() {
    for (variable, recording, words) in [
        ("ZOOM_VIDEO_SDK_API_KEY", FakeRecording::video_sdk(11), "Build App page"),
        ("ZOOM_VIDEO_SDK_API_SECRET", FakeRecording::video_sdk(11), "Build App page"),
        ("ZOOM_ACCOUNT_ID", FakeRecording::meeting(12), "App Credentials page"),
        ("ZOOM_CLIENT_ID", FakeRecording::meeting(12), "App Credentials page"),
        ("ZOOM_CLIENT_SECRET", FakeRecording::webinar(13), "App Credentials page"),
    ] {
        let scene = Scene::start().await.with(variable, "wr0ng");
        let error = scene.ask(&recording).await.unwrap_err();
        assert!(matches!(error, ApiError::NotAllowed(_)), "{error:?}");
        let told = error.to_string();
        assert!(told.contains(variable) && told.contains(words) && !told.contains("wr0ng"), "{told}");
    }
}

#[tokio::test]
async fn a_token_of_a_clock_that_is_wrong_is_not_accepted_and_the_clock_is_named() {
    let scene = Scene::start().await;
    let recording = FakeRecording::video_sdk(14);
    scene.zoom.library().add(&recording);
    let config = load::load(None, &scene.environment).unwrap();
    for hours in [-2, 2] {
        let secrets = Secrets::read(&scene.environment, "/nowhere".as_ref()).unwrap();
        let clock = Clock::Fixed(Clock::System.now() + chrono::TimeDelta::hours(hours));
        let api = Api::new(&config.zoom, secrets.zoom, clock).unwrap();
        let error = api.recording(&identity(&recording)).await.unwrap_err();
        assert!(matches!(&error, ApiError::NotAllowed(words) if words.contains("clock")), "{error}");
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_asked_and_their_names_are_told() {
    let mut scene = Scene::start().await;
    scene.environment.retain(|name, _| !name.starts_with("ZOOM_VIDEO_SDK_"));
    let kinds = [RecordingKind::VideoSdk, RecordingKind::Meeting, RecordingKind::Webinar];
    assert_eq!(kinds.map(|kind| scene.api().knows(kind)), [false, true, true]);
    let error = scene.ask(&FakeRecording::video_sdk(15)).await.unwrap_err();
    assert!(matches!(error, ApiError::NoCredentials(RecordingKind::VideoSdk)), "{error:?}");
    assert!(error.to_string().contains("ZOOM_VIDEO_SDK_API_KEY and ZOOM_VIDEO_SDK_API_SECRET"), "{error}");
    scene.environment.retain(|name, _| name.starts_with("ZOOM_ARCHIVER_"));
    assert_eq!(kinds.map(|kind| scene.api().knows(kind)), [false; 3]);
    let error = scene.ask(&FakeRecording::webinar(16)).await.unwrap_err();
    assert!(error.to_string().contains("ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET"), "{error}");
    assert!(scene.zoom.library().api_requests().is_empty());
}

// ---------------------------------------------------------------------------------------------------------
// Refusals

#[tokio::test]
async fn every_refusal_becomes_its_decision() {
    let scene = Scene::start().await;
    let status = |code: u16, retry_after: Option<&str>| ApiFault::Status {
        code: code.try_into().unwrap(),
        retry_after: retry_after.map(str::to_owned),
    };
    for recording in [FakeRecording::video_sdk(17), FakeRecording::meeting(18)] {
        let gone = scene.ask_amid(&recording, ApiFault::Gone).await;
        assert!(matches!(&gone, ApiError::NotFound(words) if words.contains("3301")), "{gone:?}");
        for fault in [
            status(429, None),
            status(500, None),
            status(503, None),
            status(404, None),
            ApiFault::ErrorIn200 { code: 3301 },
            ApiFault::ErrorIn200 { code: 300 },
            ApiFault::SignInPage,
            ApiFault::Flood { bytes: 9_000_000 },
            ApiFault::Redirect { to: format!("{}/v2/meetings/x/recordings", scene.zoom.second_origin()) },
        ] {
            let error = scene.ask_amid(&recording, fault.clone()).await;
            assert!(matches!(error, ApiError::Refused { retry_after: None, .. }), "{fault:?}: {error:?}");
        }
        for fault in [ApiFault::MissingScope, status(403, None), ApiFault::ErrorIn200 { code: 200 }] {
            let error = scene.ask_amid(&recording, fault.clone()).await;
            assert!(matches!(error, ApiError::NotAllowed(_)), "{fault:?}: {error:?}");
        }
        let error = scene.ask_amid(&recording, ApiFault::Cut).await;
        assert!(matches!(error, ApiError::Unreachable(_)), "{error:?}");
        let error = scene.ask_amid(&recording, status(429, Some("7"))).await;
        assert!(
            matches!(error, ApiError::Refused { retry_after: Some(rest), .. } if rest.as_secs() == 7),
            "{error:?}"
        );
        let tomorrow = Clock::System.now() + chrono::TimeDelta::hours(5);
        let error = scene.ask_amid(&recording, status(429, Some(&tomorrow.to_rfc3339()))).await;
        assert!(
            matches!(error, ApiError::Refused { retry_after: Some(rest), .. }
                if (17_900..=18_000).contains(&rest.as_secs())),
            "{error:?}"
        );
    }
    let error = scene.ask_amid(&FakeRecording::meeting(18), ApiFault::MissingScope).await;
    // In our own words, and not only in Zoom's that are repeated.
    assert!(error.to_string().contains("tick cloud_recording:read:list_recording_files:admin on"), "{error}");
}

#[tokio::test]
async fn trouble_at_the_oauth_server_passes() {
    let scene = Scene::start().await;
    let recording = FakeRecording::meeting(19);
    let busy = ApiFault::Status { code: 429.try_into().unwrap(), retry_after: Some("3".to_owned()) };
    for fault in [busy, ApiFault::SignInPage, ApiFault::Cut, ApiFault::ErrorIn200 { code: 300 }] {
        scene.zoom.library().inject_access_token(fault.clone(), When::First(1));
        let error = scene.ask(&recording).await.unwrap_err();
        assert!(matches!(error, ApiError::Refused { .. } | ApiError::Unreachable(_)), "{fault:?}: {error:?}");
        scene.ask(&recording).await.unwrap();
    }
}

#[tokio::test]
async fn a_recording_that_zoom_has_never_heard_of_is_not_there() {
    let scene = Scene::start().await;
    for recording in recordings() {
        let error = scene.api().recording(&identity(&recording)).await.unwrap_err();
        assert!(matches!(error, ApiError::NotFound(_)), "{error:?}");
    }
}

#[tokio::test]
async fn silence_ends_with_the_time_for_the_answer() {
    let scene = Scene::start().await.with("ZOOM_ARCHIVER_ZOOM__API_TIMEOUT_MS", "300");
    let recording = FakeRecording::video_sdk(20);
    let error = scene.ask_amid(&recording, ApiFault::Slow(Duration::from_secs(3600))).await;
    assert!(matches!(&error, ApiError::Unreachable(words) if words.contains("300 ms")), "{error:?}");
    scene.zoom.library().inject_access_token(ApiFault::Slow(Duration::from_secs(3600)), When::First(1));
    let error = scene.ask(&FakeRecording::meeting(21)).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn who_gives_up_waiting_for_an_access_token_leaves_the_others_in_peace() {
    let scene = Scene::start().await.with("ZOOM_ARCHIVER_ZOOM__API_TIMEOUT_MS", "300");
    let recording = FakeRecording::meeting(22);
    scene.zoom.library().add(&recording);
    scene.zoom.library().inject_access_token(ApiFault::Slow(Duration::from_secs(3600)), When::First(1));
    let api = scene.api();
    let id = identity(&recording);
    let error = api.recording(&id).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable(_)), "{error:?}");
    api.recording(&id).await.unwrap();
}

#[tokio::test]
async fn where_nobody_listens_zoom_is_unreachable() {
    let scene = Scene::start().await;
    let recording = FakeRecording::video_sdk(23);
    let api = scene.api();
    scene.zoom.stop();
    let error = api.recording(&identity(&recording)).await.unwrap_err();
    assert!(matches!(&error, ApiError::Unreachable(words) if words.contains("cannot connect")), "{error:?}");
}

#[tokio::test]
async fn no_more_questions_are_asked_at_once_than_configured() {
    const REST: Duration = Duration::from_millis(60);
    let scene = Scene::start().await.with("ZOOM_ARCHIVER_ZOOM__API_CALLS_AT_ONCE", "1");
    let recording = FakeRecording::video_sdk(24);
    scene.zoom.library().add(&recording);
    scene.zoom.library().inject_api(&recording, ApiFault::Slow(REST), When::Always);
    let began = Instant::now();
    ask_at_once(&scene.api(), &recording, 5).await;
    assert!(began.elapsed() >= 5 * REST, "{:?}", began.elapsed());
}

#[tokio::test]
async fn no_error_holds_a_secret() {
    let scene = Scene::start().await;
    let recordings = [FakeRecording::video_sdk(25), FakeRecording::meeting(26)];
    let status = |code: u16| ApiFault::Status { code: code.try_into().unwrap(), retry_after: None };
    let mut told = String::new();
    for recording in &recordings {
        for fault in [
            ApiFault::Gone,
            ApiFault::MissingScope,
            ApiFault::ExpiredToken,
            ApiFault::SignInPage,
            ApiFault::Cut,
            ApiFault::ErrorIn200 { code: 200 },
            status(403),
            status(500),
        ] {
            let error = scene.ask_amid(recording, fault).await;
            told.push_str(&format!("{error} {error:?}\n"));
        }
    }
    told.push_str(&format!("{:?}", scene.api()));
    for secret in [
        "eyJ",
        "webhook_download",
        credentials::API_KEY,
        credentials::API_SECRET,
        credentials::CLIENT_ID,
        credentials::CLIENT_SECRET,
        &recordings[0].instance_id,
        "Basic ",
    ] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}
