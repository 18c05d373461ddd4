//! Several Zoom accounts in one installation: each is believed by its own secret, asked about with its own credentials,
//! and called by its name.

use std::collections::BTreeSet;
use std::io::Write;

use secrecy::SecretString;
use serde_json::Value;
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::recording::{RecordingKind, RecordingState};
use zoom_archiver::simulator::credentials::{FIRST, FakeAccount, SECOND};
use zoom_archiver::simulator::events::{EventKind, Happening, Quirks};
use zoom_archiver::simulator::{FakeFile, FakeRecording, FakeZoom, Options, Sender};

use crate::support::scene::Scene;
use crate::support::service::{Setup, eventually, program};

const SECRETS: [&str; 2] = ["secret-token-of-emea", "secret-token-of-apac"];

/// Two accounts, both with everything.
fn settings() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for ((account, name), secret) in [(&FIRST, "emea"), (&SECOND, "apac")].into_iter().zip(SECRETS) {
        let FakeAccount { account_id, api_key, api_secret, client_id, client_secret } = account;
        writeln!(
            file,
            "[[zoom.accounts]]\nname = \"{name}\"\naccount_id = \"{account_id}\"\n\
             webhook_secret_token = \"{secret}\"\nvideo_sdk_api_key = \"{api_key}\"\n\
             video_sdk_api_secret = \"{api_secret}\"\nclient_id = \"{client_id}\"\n\
             client_secret = \"{client_secret}\"\n"
        )
        .unwrap();
    }
    file
}

fn with(settings: &tempfile::NamedTempFile) -> impl FnOnce(Setup, &FakeZoom) -> Setup {
    let path = settings.path().to_str().unwrap().to_owned();
    move |setup, zoom| {
        setup
            .env("ZOOM_WEBHOOK_SECRET_TOKEN", "")
            .env("ZOOM_ARCHIVER_CONFIG", path)
            .env("ZOOM_ARCHIVER_ZOOM__API_BASE_URL", zoom.api_base_url())
            .env("ZOOM_ARCHIVER_ZOOM__OAUTH_BASE_URL", zoom.oauth_base_url())
    }
}

fn recordings() -> Vec<FakeRecording> {
    let mut recordings = Vec::new();
    for (index, account) in [&FIRST, &SECOND].into_iter().enumerate() {
        for kind in [RecordingKind::VideoSdk, RecordingKind::Meeting] {
            let seed = 10 * index as u64 + u64::from(kind == RecordingKind::Meeting);
            let mut recording = FakeRecording::new(kind, seed).with([FakeFile::generated(seed, 1000)]);
            recording.account_id = account.account_id.to_owned();
            recordings.push(recording);
        }
    }
    recordings
}

fn sender(scene: &Scene, secret: &str) -> Sender {
    let target = scene.service.webhook().parse().unwrap();
    Sender::new(target, SecretString::from(secret), Vec::new()).unwrap()
}

/// Files that are archived, by their keys.
async fn archived(scene: &Scene) -> Vec<FileRow> {
    let mut files = scene.files().await;
    assert!(files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
    files.sort_by(|a, b| a.object_key.cmp(&b.object_key));
    files
}

#[tokio::test]
async fn each_account_is_believed_asked_and_called_by_what_is_its_own() {
    let settings = settings();
    let scene = Scene::staged(Options::default(), with(&settings)).await;
    for recording in recordings() {
        let secret = SECRETS[usize::from(recording.account_id == SECOND.account_id)];
        let body = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
        // So that the API has to be asked; it shows an account nothing of the other's.
        scene.zoom.library().expire_tokens(&recording);
        assert!(sender(&scene, secret).deliver(&body).await.answer.is_accepted());
    }
    scene.settled().await;
    let files = archived(&scene).await;
    let folders: Vec<_> = files.iter().map(|file| file.object_key.as_ref().unwrap()).collect();
    for (key, folder) in
        folders.into_iter().zip(["apac/meeting/", "apac/video_sdk/", "emea/meeting/", "emea/video_sdk/"])
    {
        assert!(key.starts_with(folder), "{key}");
    }
    for name in ["emea", "apac"] {
        let label = format!("account=\"{name}\"");
        for metric in [
            "zoom_archiver_events_total",
            "zoom_archiver_jobs_total",
            "zoom_archiver_access_refreshed_total",
            "zoom_archiver_archived_bytes_total",
        ] {
            let counted = scene.service.metric(metric, &label).await;
            assert!(counted >= 2.0, "{metric} {label}: {counted}");
        }
        for message in ["event recorded", "archived"] {
            let is_told =
                |line: &serde_json::Value| line["message"] == message && line["zoom.account"] == name;
            assert!(scene.service.log.lines().iter().any(is_told), "{message} of {name}");
        }
    }
    let log = scene.close().await;
    log.assert_free_of(SECRETS);
    log.assert_free_of([FIRST.api_secret, FIRST.client_secret, SECOND.api_secret, SECOND.client_secret]);
}

#[tokio::test]
async fn a_backfill_of_one_account_takes_nothing_of_the_other() {
    let settings = settings();
    let receives = with(&settings);
    let scene =
        Scene::staged(Options::default(), |setup, zoom| receives(setup, zoom).roles("receiver")).await;
    for mut recording in recordings() {
        recording.start_time = "2026-03-04T10:00:00Z".parse().unwrap();
        scene.shelve(&recording);
    }
    let backfill = async |account: &[&str]| -> Value {
        let days = ["backfill", "--from", "2026-03-04", "--to", "2026-03-04", "--json"];
        let output = scene.setup.run(&[&days, account].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(backfill(&["--account", "apac"]).await["recorded_files"], 2);
    for file in scene.files().await {
        let (recording, _) = scene.store.recording(file.recording_id).await.unwrap().unwrap();
        assert_eq!(recording.identity.account_id, SECOND.account_id);
    }
    let all = backfill(&[]).await;
    assert_eq!((&all["files"], &all["recorded_files"]), (&4.into(), &2.into()));
    scene.close().await;
}

#[tokio::test]
async fn an_event_that_names_no_account_belongs_to_the_one_whose_secret_verified_it() {
    let settings = settings();
    let scene = Scene::staged(Options::default(), with(&settings)).await;
    let recording = recordings().pop().unwrap();
    let body = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
    let mut event: serde_json::Value = serde_json::from_slice(&body).unwrap();
    event["payload"].as_object_mut().unwrap().remove("account_id");
    event["payload"]["object"].as_object_mut().unwrap().remove("account_id");
    let body = event.to_string().into_bytes();
    let forged = sender(&scene, "secret-token-of-nobody").deliver(&body).await;
    assert!(!forged.answer.is_accepted());
    assert!(sender(&scene, SECRETS[1]).deliver(&body).await.answer.is_accepted());
    scene.settled().await;
    let files = archived(&scene).await;
    let (told, _) = scene.store.recording(files[0].recording_id).await.unwrap().unwrap();
    assert_eq!(told.identity.account_id, SECOND.account_id);
    scene.close().await;
}

#[tokio::test]
async fn what_is_shown_of_the_settings_names_the_accounts_and_no_secret() {
    let settings = settings();
    for command in ["show", "check"] {
        let output =
            program().args(["config", command, "--config"]).arg(settings.path()).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let shown = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(shown.contains("emea") && shown.contains(SECOND.account_id), "{shown}");
        for secret in SECRETS.into_iter().chain([FIRST.api_secret, SECOND.client_id, SECOND.client_secret]) {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}

#[tokio::test]
async fn what_comes_under_a_second_account_is_archived_for_both_and_status_says_so() {
    let scene = Scene::start().await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 3).with([FakeFile::generated(3, 1000)]);
    scene.announce(&recording, EventKind::Recording).await;
    scene.one_file_in(FileState::Archived).await;
    let mut elsewhere = recording.clone();
    elsewhere.account_id = "a-wrong-id".to_owned();
    scene.announce(&elsewhere, EventKind::Recording).await;
    eventually("both are archived", || async {
        let files = scene.files().await;
        (files.len() == 2 && files.iter().all(|file| file.state == FileState::Archived)).then_some(())
    })
    .await;
    let keys: BTreeSet<_> = scene.files().await.into_iter().filter_map(|file| file.object_key).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    scene.settled().await;
    let output = scene.setup.run(&["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["twins"], 1);
    let output = scene.setup.run(&["status"]).await;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(words.contains("known under another account"), "{words}");
    let told = |line: &Value| line["message"].as_str().is_some_and(|it| it.contains("another account"));
    assert_eq!(scene.service.log.wait_for(told).await["level"], "WARN");
    scene.close().await;
}

#[tokio::test]
async fn what_one_account_signs_of_another_changes_nothing_and_is_kept_raw() {
    let settings = settings();
    let scene = Scene::staged(Options::default(), with(&settings)).await;
    let recordings = recordings();
    let [of_first, of_second] = [FIRST.account_id, SECOND.account_id]
        .map(|id| recordings.iter().find(|it| it.account_id == id).unwrap());
    let [first, second] = SECRETS.map(|secret| sender(&scene, secret));
    let genuine = scene.zoom.announce(of_second, EventKind::Recording, Quirks::default());
    assert!(second.deliver(&genuine).await.answer.is_accepted());
    scene.settled().await;
    let before = archived(&scene).await;

    let forged = [
        scene.zoom.announce(of_second, EventKind::Recording, Quirks::default()),
        scene.zoom.tell(of_second, Happening::Deleted, Quirks::default(), Clock::System.now()).unwrap(),
        scene.zoom.tell(of_second, Happening::Trashed, Quirks::default(), Clock::System.now()).unwrap(),
    ];
    for body in &forged {
        let answer = first.deliver(body).await.answer;
        assert!(answer.is_accepted(), "what Zoom signed is never refused: {answer}");
    }
    let (row, files) = scene.store.recording(before[0].recording_id).await.unwrap().unwrap();
    assert_eq!((row.state, files.len()), (Some(RecordingState::Completed), before.len()));
    assert_eq!(scene.store.unreadable_events().await.unwrap(), 3);
    assert_eq!(scene.service.metric("zoom_archiver_events_total", "outcome=\"foreign\"").await, 3.0);

    // Replaying does not believe it either: nothing tells any more who signed it.
    let output = scene.setup.run(&["events", "replay", "--unreadable", "--json"]).await;
    assert!(!String::from_utf8_lossy(&output.stdout).is_empty(), "{output:?}");
    let (row, _) = scene.store.recording(before[0].recording_id).await.unwrap().unwrap();
    assert_eq!(row.state, Some(RecordingState::Completed));
    assert_eq!(scene.store.unreadable_events().await.unwrap(), 3);

    // Its own events are believed as ever.
    let own = scene.zoom.announce(of_first, EventKind::Recording, Quirks::default());
    assert!(first.deliver(&own).await.answer.is_accepted());
    scene.settled().await;
    assert_eq!(archived(&scene).await.len(), before.len() + 1);
    scene.close().await;
}
