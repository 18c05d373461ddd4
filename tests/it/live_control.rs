//! Live sessions: started, paused, resumed and stopped by command, by the private API, and by themselves.

use std::process::Output;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::credentials::{FIRST, SECOND};
use zoom_archiver::simulator::events::{Happening, Quirks};
use zoom_archiver::simulator::ledger::Endpoint;
use zoom_archiver::simulator::library::LiveState;
use zoom_archiver::simulator::{ApiFault, FakeRecording, FakeZoom, Options, When};

use crate::support::program::fake_zoom;
use crate::support::scene::{Scene, sender_to};
use crate::support::service::{Setup, eventually, program};

const SESSION: &str = "/Q0z/9+aaTTu1BcD2eFgHiA==";

fn environment(zoom: &FakeZoom) -> Vec<(&'static str, String)> {
    let mut environment: Vec<_> =
        zoom.video_sdk_credentials().into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    environment.push(("ZOOM_ARCHIVER_ZOOM__API_BASE_URL", zoom.api_base_url()));
    environment.push(("ZOOM_ARCHIVER_ZOOM__OAUTH_BASE_URL", zoom.oauth_base_url()));
    environment
}

fn with_credentials(setup: Setup, zoom: &FakeZoom) -> Setup {
    environment(zoom).into_iter().fold(setup, |setup, (name, value)| setup.env(name, value))
}

async fn command(zoom: &FakeZoom, arguments: &[&str]) -> Output {
    program().args(arguments).envs(environment(zoom)).output().await.expect("the program runs")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn session(name: &str) -> FakeRecording {
    let mut recording = FakeRecording::new(RecordingKind::VideoSdk, 7);
    recording.instance_id = SESSION.to_owned();
    recording.topic = name.to_owned();
    recording
}

// ---------------------------------------------------------------------------------------------------------
// By command

#[tokio::test]
async fn recording_start_reaches_zoom_as_the_very_id_that_was_typed() {
    let zoom = fake_zoom(Options::default()).await;
    zoom.library().begin_session(SESSION);
    for (control, state) in [
        ("start", LiveState::Recording),
        ("pause", LiveState::Paused),
        ("resume", LiveState::Recording),
        ("stop", LiveState::Idle),
    ] {
        let output = command(&zoom, &["recording", control, SESSION]).await;
        assert!(output.status.success(), "{}", told(&output));
        assert!(told(&output).contains(&format!("{control} the recording of session {SESSION}")));
        assert_eq!(zoom.library().live_state(SESSION), Some(state));
    }
    let expected = ["start", "pause", "resume", "stop"];
    let expected = expected.map(|control| (SESSION.to_owned(), format!("recording.{control}")));
    assert_eq!(zoom.library().controls(), expected);
    let output = command(&zoom, &["recording", "start", SESSION, "--json"]).await;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said, json!({ "session_id": SESSION, "control": "start", "account": "default" }));
}

#[tokio::test]
async fn a_wish_that_cannot_be_granted_fails_in_words_and_wrong_usage_is_told_apart() {
    let zoom = fake_zoom(Options::default()).await;
    let output = command(&zoom, &["recording", "start", "no+such/session=="]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("Zoom has no such recording or session"), "{}", told(&output));
    zoom.library().begin_session(SESSION);
    let output = command(&zoom, &["recording", "resume", SESSION]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("in its present state"), "{}", told(&output));
    for arguments in [["recording", "rewind", SESSION].as_slice(), &["recording", "start"]] {
        assert_eq!(command(&zoom, arguments).await.status.code(), Some(2));
    }
    let output = program().args(["recording", "start", SESSION]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("ZOOM_VIDEO_SDK_API_KEY"), "{}", told(&output));
}

#[tokio::test]
async fn where_several_accounts_could_be_meant_the_command_asks_which() {
    let zoom = fake_zoom(Options::default()).await;
    zoom.library().begin_session(SESSION);
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[[zoom.accounts]]\nname = \"second\"\naccount_id = \"{}\"\nvideo_sdk_api_key = \"{}\"\n\
         video_sdk_api_secret = \"{}\"\n",
        SECOND.account_id, SECOND.api_key, SECOND.api_secret
    );
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    let output = command(&zoom, &["recording", "start", SESSION, "--config", path]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("which account? one of: default, second"), "{}", told(&output));
    let chosen = ["recording", "start", SESSION, "--config", path, "--account", "second"];
    let output = command(&zoom, &chosen).await;
    assert!(output.status.success(), "{}", told(&output));
}

// ---------------------------------------------------------------------------------------------------------
// By the private API

#[tokio::test]
async fn the_private_api_controls_a_session_for_who_has_the_token() {
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        with_credentials(setup, zoom).env("ADMIN_TOKEN", "adm1n-token-of-live-control")
    })
    .await;
    scene.zoom.library().begin_session(SESSION);
    let url = |id: &str, control: &str| {
        let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
        format!("http://{}/api/v1/sessions/{id}/recording/{control}", scene.service.admin_addr())
    };
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.post(url(SESSION, "start")).send().await.unwrap().status(), 401);
    assert_eq!(scene.zoom.library().live_state(SESSION), Some(LiveState::Idle));
    let ask = async |id: &str, control: &str| {
        let response =
            client.post(url(id, control)).bearer_auth("adm1n-token-of-live-control").send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        scene.service.secrets().assert_none_in(&text);
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    let said = json!({ "session_id": SESSION, "control": "start", "account": "default" });
    assert_eq!(ask(SESSION, "start").await, (202, said));
    assert_eq!(scene.zoom.library().live_state(SESSION), Some(LiveState::Recording));
    let (status, said) = ask(SESSION, "start").await;
    assert!(status == 409 && said["detail"].as_str().unwrap().contains("present state"), "{said}");
    assert_eq!(ask("an0ther==", "stop").await.0, 404);
    assert_eq!(ask(SESSION, "rewind").await.0, 404);
    let busy = ApiFault::Status { code: 429.try_into().unwrap(), retry_after: Some("60".to_owned()) };
    scene.zoom.library().inject_call(Endpoint::SessionEvents, busy, When::Always);
    assert_eq!(ask(SESSION, "stop").await.0, 503);
    let log = scene.close().await;
    log.assert_free_of(["adm1n-token-of-live-control", FIRST.api_secret]);
}

#[tokio::test]
async fn no_web_page_can_make_its_readers_browser_control_a_session() {
    let scene = Scene::staged(Options::default(), with_credentials).await;
    scene.zoom.library().begin_session(SESSION);
    let id = percent_encoding::utf8_percent_encode(SESSION, percent_encoding::NON_ALPHANUMERIC);
    let url = format!("http://{}/api/v1/sessions/{id}/recording/start", scene.service.admin_addr());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = client.post(&url).header("origin", "https://page.example").send().await.unwrap();
    assert_eq!(page.status(), 403);
    assert_eq!(scene.zoom.library().controls(), []);
    assert_eq!(client.post(&url).send().await.unwrap().status(), 202);
    scene.close().await;
}

// ---------------------------------------------------------------------------------------------------------
// By itself

fn with_rule(setup: Setup, zoom: &FakeZoom) -> Setup {
    with_credentials(setup, zoom).env("ZOOM_ARCHIVER_ZOOM__AUTO_START", "lesson-*, exam-*")
}

#[tokio::test]
async fn a_session_whose_name_matches_is_recorded_from_its_start_once() {
    let scene = Scene::staged(Options::default(), with_rule).await;
    let body = scene.zoom.begin_session(&session("lesson-7b"));
    for _ in 0..3 {
        assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    }
    assert_eq!(scene.zoom.library().controls(), [(SESSION.to_owned(), "recording.start".to_owned())]);
    assert_eq!(scene.zoom.library().api_calls(Endpoint::SessionEvents), 1);
    assert!(scene.service.metric("zoom_archiver_auto_starts_total", "started").await >= 1.0);
    scene.close().await;
}

#[tokio::test]
async fn a_repeated_event_does_not_start_again_what_a_host_has_stopped() {
    let scene = Scene::staged(Options::default(), with_rule).await;
    let session = session("lesson-7b");
    let body = scene.zoom.begin_session(&session);
    assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    for what in [Happening::Started, Happening::Stopped] {
        let told = scene.zoom.tell(&session, what, Quirks::default(), Clock::System.now()).unwrap();
        assert!(scene.sender.deliver(&told).await.answer.is_accepted());
    }
    // Another process, which remembers nothing.
    let other = scene.setup.start().await;
    assert!(sender_to(&other).deliver(&body).await.answer.is_accepted());
    assert_eq!(scene.zoom.library().api_calls(Endpoint::SessionEvents), 1);
    assert_eq!(other.stop().await.0, Some(0));
    scene.close().await;
}

#[tokio::test]
async fn sessions_of_other_names_are_left_alone_and_so_are_all_without_a_rule() {
    for (rule, name) in [("lesson-*", "private talk"), ("", "lesson-7b")] {
        let scene = Scene::staged(Options::default(), |setup, zoom| {
            with_credentials(setup, zoom).env("ZOOM_ARCHIVER_ZOOM__AUTO_START", rule)
        })
        .await;
        let body = scene.zoom.begin_session(&session(name));
        assert!(scene.sender.deliver(&body).await.answer.is_accepted());
        assert_eq!(scene.zoom.library().api_calls(Endpoint::SessionEvents), 0);
        scene.close().await;
    }
}

#[tokio::test]
async fn a_session_is_recorded_although_zoom_was_busy_at_first() {
    let scene = Scene::staged(Options::default(), with_rule).await;
    let busy = ApiFault::Status { code: 503.try_into().unwrap(), retry_after: None };
    scene.zoom.library().inject_call(Endpoint::SessionEvents, busy, When::First(4));
    let body = scene.zoom.begin_session(&session("exam-1"));
    // It is tried for longer than Zoom waits for an answer, so the event is not accepted, and comes again.
    let delivery = scene.sender.deliver(&body).await;
    assert!(delivery.answer.is_repeated(), "{}", delivery.answer);
    let library = scene.zoom.library();
    eventually("it is recorded", || async {
        (library.live_state(SESSION) == Some(LiveState::Recording)).then_some(())
    })
    .await;
    assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    assert_eq!(library.controls().len(), 1);
    scene.close().await;
}

#[tokio::test]
async fn a_session_that_could_not_be_started_before_a_crash_is_started_after_it() {
    let mut scene = Scene::staged(Options::default(), with_rule).await;
    let away = ApiFault::Status { code: 503.try_into().unwrap(), retry_after: None };
    scene.zoom.library().inject_call(Endpoint::SessionEvents, away, When::Always);
    let body = scene.zoom.begin_session(&session("exam-1"));
    assert!(scene.sender.deliver(&body).await.answer.is_repeated());
    let again = scene.setup.start().await;
    std::mem::replace(&mut scene.service, again).kill().await;
    scene.zoom.library().clear_api_faults();
    // Zoom repeats what was not accepted.
    assert!(sender_to(&scene.service).deliver(&body).await.answer.is_accepted());
    assert_eq!(scene.zoom.library().live_state(SESSION), Some(LiveState::Recording));
    scene.close().await;
}

#[tokio::test]
async fn a_session_that_is_over_or_recorded_already_is_not_tried_for_ever() {
    let scene = Scene::staged(Options::default(), with_rule).await;
    let body = scene.zoom.begin_session(&session("exam-1"));
    scene.zoom.library().end_session(SESSION);
    // Zoom may not have heard of it yet, so it is tried for a while, and the event comes again meanwhile.
    assert!(scene.sender.deliver(&body).await.answer.is_repeated());
    eventually("it is given up", || async {
        (scene.service.metric("zoom_archiver_auto_starts_total", "needless").await >= 1.0).then_some(())
    })
    .await;
    let tried = scene.zoom.library().api_calls(Endpoint::SessionEvents);
    assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    assert_eq!(scene.zoom.library().api_calls(Endpoint::SessionEvents), tried);
    scene.close().await;
}

#[tokio::test]
async fn a_session_that_zoom_has_not_heard_of_yet_is_recorded_when_it_has() {
    let scene = Scene::staged(Options::default(), with_rule).await;
    scene.zoom.library().inject_call(Endpoint::SessionEvents, ApiFault::Gone, When::First(2));
    let body = scene.zoom.begin_session(&session("exam-1"));
    assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    assert_eq!(scene.zoom.library().live_state(SESSION), Some(LiveState::Recording));
    scene.close().await;
}

// ---------------------------------------------------------------------------------------------------------
// Session tokens

#[tokio::test]
async fn a_session_token_says_what_was_asked_for_and_is_signed_with_the_sdk_secret() {
    let keys = [("ZOOM_VIDEO_SDK_KEY", "sdk-key"), ("ZOOM_VIDEO_SDK_SECRET", "sdk-secret-of-tests")];
    let arguments = [
        "session-token",
        "--topic",
        "Klassenraum 7b",
        "--cloud-recording-option",
        "1",
        "--cloud-recording-election",
        "1",
        "--cloud-recording-transcript-option",
        "2",
        "--valid-secs",
        "3600",
    ];
    let output = program().args(arguments).envs(keys).output_with_a_token().await.unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let token = String::from_utf8(output.stdout).unwrap();
    let (signed, signature) = token.trim().rsplit_once('.').unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"sdk-secret-of-tests").unwrap();
    mac.update(signed.as_bytes());
    mac.verify_slice(&BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap()).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let read = |part: &str| -> Value {
        serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
    };
    assert_eq!(read(header), json!({ "alg": "HS256", "typ": "JWT" }));
    let mut claims = read(claims);
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(life, 3600);
    for time in ["exp", "iat"] {
        claims.as_object_mut().unwrap().remove(time);
    }
    let expected = json!({
        "app_key": "sdk-key",
        "version": 1,
        "role_type": 1,
        "tpc": "Klassenraum 7b",
        "cloud_recording_option": 1,
        "cloud_recording_election": 1,
        "cloud_recording_transcript_option": 2,
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn a_session_token_is_signed_by_the_account_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let account = |name: &str| {
        format!(
            "[[zoom.accounts]]\nname = \"{name}\"\nvideo_sdk_key = \"key-{name}\"\nvideo_sdk_secret = \"sdk-secret-of-{name}\"\n"
        )
    };
    let run = async |settings: String, keys: &[(&str, &str)], arguments: &[&str]| {
        std::fs::write(&file, settings).unwrap();
        let mut program = program();
        program.arg("--config").arg(&file).args(["session-token", "--topic", "t"]).args(arguments);
        program.envs(keys.iter().copied()).output_with_a_token().await.unwrap()
    };
    let signer = |output: &std::process::Output| -> Value {
        assert!(output.status.success(), "{}", told(output));
        let token = String::from_utf8(output.stdout.clone()).unwrap();
        let claims = BASE64URL_NOPAD.decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
        serde_json::from_slice::<Value>(&claims).unwrap()["app_key"].clone()
    };
    let own = [("ZOOM_VIDEO_SDK_KEY", "key-own"), ("ZOOM_VIDEO_SDK_SECRET", "sdk-secret-of-own")];
    assert_eq!(signer(&run(account("emea"), &[], &[]).await), "key-emea", "the only one");
    assert_eq!(signer(&run(account("emea"), &own, &["--account", "default"]).await), "key-own");
    let two = account("emea") + &account("apac");
    assert_eq!(signer(&run(two.clone(), &own, &["--account", "apac"]).await), "key-apac");
    for (arguments, words) in
        [(&[][..], "one of: default, emea, apac"), (&["--account", "nobody"], "no account `nobody`")]
    {
        let output = run(two.clone(), &own, arguments).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(told(&output).contains(words), "{}", told(&output));
    }
}

#[tokio::test]
async fn a_session_token_that_zoom_would_refuse_is_not_made() {
    let keys = [("ZOOM_VIDEO_SDK_KEY", "sdk-key"), ("ZOOM_VIDEO_SDK_SECRET", "sdk-secret-of-tests")];
    let long = "x".repeat(201);
    for arguments in [
        ["--topic", "t", "--valid-secs", "60"],
        ["--topic", "t", "--valid-secs", "172801"],
        ["--topic", "t", "--cloud-recording-option", "2"],
        ["--topic", "t", "--cloud-recording-transcript-option", "3"],
        ["--topic", &long, "--role", "host"],
        ["--topic", "", "--role", "host"],
    ] {
        let output = program().arg("session-token").args(arguments).envs(keys).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", told(&output));
    }
    let output = program().args(["session-token", "--topic", "t"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("ZOOM_VIDEO_SDK_KEY"), "{}", told(&output));
}
