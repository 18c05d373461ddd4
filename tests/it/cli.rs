//! The command line: what it prints, and how it ends.

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::json;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::{FakeFile, FakeRecording, Fault, Options, When};

use crate::support::scene::{Scene, open_store, until_settled, until_zoom};
use crate::support::service::{SECRET, Setup, eventually, program};

async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    program().args(arguments).envs(environment.iter().copied()).output().await.expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_embedded_reference_is_the_file_in_the_repository() {
    let output = run(&["config", "show", "--default"], &[]).await;
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), include_str!("../../config/default.toml"));
}

#[tokio::test]
async fn config_show_prints_what_is_in_force_and_no_secret() {
    let environment = [
        ("ZOOM_ARCHIVER_WORKER__CONCURRENCY", "3"),
        ("ZOOM_WEBHOOK_SECRET_TOKEN", "hush-hush-token"),
        ("ADMIN_TOKEN", "hush-hush-admin"),
    ];
    let output = run(&["config", "show"], &environment).await;
    let shown = text(&output.stdout);
    assert!(output.status.success() && shown.contains("concurrency = 3"), "{shown}");
    assert!(!shown.contains("hush"), "{shown}");
}

#[tokio::test]
async fn config_check_says_what_is_set_and_what_is_missing() {
    let environment = [
        ("ZOOM_WEBHOOK_SECRET_TOKEN", "first-of-two-tokens,second-of-two-tokens"),
        ("DATABASE_URL", "postgres://u:hush-hush-hush@db/za"),
    ];
    let output = run(&["config", "check"], &environment).await;
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("2 token(s)") && told.contains("postgres://db/za"), "{told}");
    assert!(!told.contains("hush"), "{told}");

    let output = run(&["config", "check"], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("ZOOM_WEBHOOK_SECRET_TOKEN"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn an_unknown_setting_is_refused_by_name() {
    let output = run(&["config", "check"], &[("ZOOM_ARCHIVER_WORKER__CONCURENCY", "3")]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("worker.concurency") && told.contains("worker.concurrency"), "{told}");
}

#[tokio::test]
async fn wrong_usage_ends_with_2() {
    for arguments in [&["no-such-command"][..], &["serve", "--roles", "king"], &["config"], &[]] {
        let output = run(arguments, &[]).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn addresses_that_name_nothing_usable_are_refused_with_a_sentence() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    for (name, value) in [("DATABASE_URL", "mysql://u:hush-hush-hush@h/d"), ("ARCHIVE_URL", "ftp://h/x")] {
        let environment = [("ZOOM_WEBHOOK_SECRET_TOKEN", SECRET), (name, value)];
        let output = run(&["serve", "--data-dir", directory], &environment).await;
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(name) && !told.contains("hush"), "{told}");
    }
}

#[tokio::test]
async fn config_check_refuses_what_serve_refuses_and_says_the_same() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    let secret = ("ZOOM_WEBHOOK_SECRET_TOKEN", SECRET);
    for (wrong, with_secret) in [
        (("DATABASE_URL", "mysql://user@host/database"), true),
        (("DATABASE_URL", "/srv/zoom-archiver.db"), true),
        (("DATABASE_URL", "host=db user=me"), true),
        (("DATABASE_URL", "postgres://db/za?target_session_attrs=standby"), true),
        (("ARCHIVE_URL", "gs://bucket"), true),
        (("ARCHIVE_URL", "/srv/archive"), true),
        (("ARCHIVE_URL", "s3://b"), true),
        (("ZOOM_ARCHIVER_ARCHIVE__S3__STORAGE_CLASS", "STANDARD_IA"), true),
        (("ZOOM_ARCHIVER_HTTP__ADMIN_LISTEN", "0.0.0.0:0"), true),
        (("ZOOM_ARCHIVER_LOG__FORMAT", "text"), false),
    ] {
        let environment: Vec<_> = [wrong].into_iter().chain(with_secret.then_some(secret)).collect();
        let [check, serve] = [&["config", "check"][..], &["serve"]].map(|command| {
            let arguments = [command, &["--data-dir", directory]].concat();
            let environment = environment.clone();
            async move { run(&arguments, &environment).await }
        });
        let (check, serve) = (check.await, serve.await);
        assert_eq!((check.status.code(), serve.status.code()), (Some(1), Some(1)), "{wrong:?}: {serve:?}");
        assert_eq!(text(&check.stderr), text(&serve.stderr), "{wrong:?}");
    }
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "nothing was created");
}

#[tokio::test]
async fn no_form_of_an_address_shows_its_password() {
    const PASSWORD: &str = "hunter2-hunter2";
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    let forms = [
        ("DATABASE_URL", "host=127.0.0.1 user=me password=PASSWORD dbname=za"),
        ("DATABASE_URL", "postgres://me:PASSWORD@db:port/za"),
        ("DATABASE_URL", "postgres://me:1/PASSWORD@db/za"),
        ("DATABASE_URL", "postgres://db/za?password=PASSWORD&nonsense=1"),
        ("DATABASE_URL", "postgres://me:1&PASSWORD@db?x/za"),
        ("DATABASE_URL", "sqlite:za.db?key=PASSWORD"),
        ("ARCHIVE_URL", "s3://key:PASSWORD@bucket/prefix"),
        ("ARCHIVE_URL", "s3://bucket/prefix?secret=PASSWORD"),
        ("ARCHIVE_URL", "https://key:PASSWORD@minio:9000/bucket"),
        ("ARCHIVE_URL", "key=x secret=PASSWORD"),
    ];
    for (name, form) in forms {
        let address = form.replace("PASSWORD", PASSWORD);
        let environment = [("ZOOM_WEBHOOK_SECRET_TOKEN", SECRET), (name, address.as_str())];
        for command in [&["config", "show"][..], &["config", "check"], &["status"], &["doctor"], &["serve"]] {
            let output = run(&[command, &["--data-dir", directory]].concat(), &environment).await;
            let told = text(&output.stdout) + &text(&output.stderr);
            assert!(!told.contains(PASSWORD), "{command:?} with {form}: {told}");
        }
    }
}

#[tokio::test]
async fn migrate_brings_the_schema_up_to_date_and_can_be_repeated() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    for _ in 0..2 {
        let output = run(&["migrate", "--data-dir", directory], &[]).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(!output.stdout.is_empty());
    }
}

#[tokio::test]
async fn status_says_how_many_files_stand_where_and_what_to_do_about_it() {
    let scene = Scene::start().await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 1).with([FakeFile::generated(1, 1000)]);
    scene.shelve(&recording);
    scene.zoom.library().inject(&recording.files[0].key, Fault::ExpiredToken, When::Always);
    scene.announce(&recording, EventKind::Recording).await;
    scene.one_file_in(FileState::Parked).await;

    let output = scene.setup.run(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{status}");
    assert_eq!(
        (&status["transfers"]["parked"], &status["archive_trouble"]),
        (&1.into(), &serde_json::Value::Null)
    );
    let told = text(&scene.setup.run(&["status"]).await.stdout);
    assert!(told.contains("files retry --state parked"), "{told}");

    let elsewhere = scene.setup.clone().env("ARCHIVE_URL", "s3://nowhere").env("AWS_ACCESS_KEY_ID", "a");
    let elsewhere = elsewhere
        .env("AWS_SECRET_ACCESS_KEY", "of-no-bucket-at-all")
        .env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9");
    let output = elsewhere.run(&["status"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("zoom-archiver doctor"), "{}", text(&output.stdout));
    scene.close().await;
}

#[tokio::test]
async fn one_long_transfer_shows_how_fast_it_is_and_how_long_it_takes() {
    let options = Options { bytes_per_sec: Some(20_000_000), ..Options::default() };
    let scene = Scene::staged(options, |setup, _| {
        setup
            .env("ZOOM_ARCHIVER_TRANSFER__PART_BYTES", "5242880")
            .env("ZOOM_ARCHIVER_TRANSFER__RANGES_IN_FLIGHT", "1")
            .env("ZOOM_ARCHIVER_TRANSFER__STALL_SECS", "60")
    })
    .await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 1).with([FakeFile::generated(1, 60_000_000)]);
    scene.shelve(&recording);
    let midway = Fault::StallAt { position: 40_000_000 };
    scene.zoom.library().inject(&recording.files[0].key, midway, When::First(1));
    scene.announce(&recording, EventKind::Recording).await;
    let status = eventually("the status tells of headway", || async {
        let output = scene.setup.run(&["status", "--json"]).await;
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        // All parts that are whole before the connection stands still.
        (status["running"]["carried"].as_u64().unwrap() == 7 * 5_242_880).then_some(status)
    })
    .await;
    let number = |section: &str, field: &str| {
        status[section][field].as_u64().unwrap_or_else(|| panic!("{section}.{field}: {status}"))
    };
    assert_eq!((number("transfers", "running"), number("running", "bytes")), (1, 60_000_000));
    let (carried, rate) = (number("running", "carried"), number("running", "bytes_per_sec"));
    // Zoom sends no faster, but for what the network held when the first part was there.
    assert!(rate > 0 && rate < 40_000_000, "{status}");
    assert_eq!(number("running", "secs"), (60_000_000 - carried) / rate);
    // Nothing was archived yet: the rate is that of what runs, and so is the time left.
    assert_eq!((number("rate", "bytes"), number("rate", "bytes_per_sec")), (0, rate));
    assert_eq!(
        (number("left", "bytes"), number("left", "secs")),
        (60_000_000 - carried, (60_000_000 - carried) / rate)
    );
    // So does the job by itself.
    let listed = scene.setup.run(&["jobs", "list", "--state", "running", "--json"]).await;
    let job: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let headway = json!({ "bytes": 60_000_000, "carried": carried, "bytes_per_sec": rate, "secs": (60_000_000 - carried) / rate });
    assert_eq!(job["headway"], headway);
    let told = text(&scene.setup.run(&["jobs", "list", "--state", "running"]).await.stdout);
    assert!(told.contains("36.70 MB of 60.00 MB carried, "), "{told}");
    let shown = scene.setup.run(&["files", "show", job["subject"].as_str().unwrap(), "--json"]).await;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["transfer"]["headway"], headway);
    let told = text(&scene.setup.run(&["status"]).await.stdout);
    let line = told.lines().find(|line| line.starts_with("running ")).unwrap();
    assert!(
        line.contains(" of 60.00 MB carried, ") && line.contains("/s, about ") && line.ends_with(" left"),
        "{told}"
    );
    let line = told.lines().find(|line| line.starts_with("left ")).unwrap();
    assert!(line.contains("1 files") && line.contains("at this rate"), "{told}");
    scene.service.kill().await;
}

#[tokio::test]
async fn healthcheck_agrees_with_the_service() {
    let data = tempfile::tempdir().unwrap();
    let service = Setup::new(data.path()).start().await;
    let listen = service.public_addr().to_string();
    let environment = [("ZOOM_ARCHIVER_HTTP__LISTEN", listen.as_str())];
    assert!(run(&["healthcheck"], &environment).await.status.success());
    service.stop().await;
    let output = run(&["healthcheck"], &environment).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("does not answer"), "{}", text(&output.stderr));
}

/// Where a fake Zoom may be: the receiver must know that beforehand.
fn free_origin() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("127.0.0.1:{port}")
}

#[tokio::test]
async fn files_that_simulate_makes_longer_are_still_of_their_type() {
    let (data, origin) = (tempfile::tempdir().unwrap(), free_origin());
    let setup = Setup::new(data.path()).env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", format!("http://{origin}"));
    let service = setup.start().await;
    let target = service.webhook();
    let arguments =
        ["simulate", "--target", &target, "--listen", &origin, "--kind", "meeting", "--size", "300000"];
    let output = run(&arguments, &[("ZOOM_WEBHOOK_SECRET_TOKEN", SECRET)]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    // Who has its doubts asks once more, when nobody is there any more.
    let store = open_store(&format!("sqlite:{}", data.path().join("zoom-archiver.db").display())).await;
    until_settled(&store).await;
    let files = store.files(&[], None, 1000).await.unwrap();
    let is_well = |file: &FileRow| {
        file.archived.as_ref().is_some_and(|archived| archived.mark.is_none() && archived.bytes == 300_000)
    };
    assert!(files.len() == 8 && files.iter().all(is_well), "{files:?}");
    service.stop().await;
}

#[tokio::test]
async fn simulate_rehearses_every_fault_against_a_running_service() {
    let (data, origin) = (tempfile::tempdir().unwrap(), free_origin());
    let service = Setup::new(data.path())
        .env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", format!("http://{origin}"))
        .start()
        .await;
    let faults = "duplicate,reorder,delay,cut,stall,html,expired,wrong-length";
    let target = service.webhook();
    let arguments = [
        "simulate",
        "--target",
        &target,
        "--listen",
        &origin,
        "--fault",
        faults,
        "--sessions",
        "2",
        "--json",
    ];
    let environment = [("ZOOM_WEBHOOK_SECRET_TOKEN", SECRET)];
    let output = run(&arguments, &environment).await;
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}\n{}\n{}", text(&output.stderr), service.log.text());
    let url = format!("sqlite:{}", data.path().join("zoom-archiver.db").display());
    let store = open_store(&url).await;
    until_settled(&store).await;
    let files = store.files(&[], None, 1000).await.unwrap();
    assert!(files.len() == 18 && files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
    let (_, log) = service.stop().await;
    log.assert_free_of(["eyJ", "webhook_download"]);

    let wrong = [("ZOOM_WEBHOOK_SECRET_TOKEN", "another-secret-token")];
    let output = run(&["simulate", "--target", &target, "--timeout", "5"], &wrong).await;
    assert_eq!(output.status.code(), Some(1), "nobody is there any more");
}

#[tokio::test]
async fn files_says_what_is_parked_and_why_and_retry_tries_it_again() {
    let scene = Scene::start().await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 8).with([FakeFile::generated(8, 1000)]);
    scene.shelve(&recording);
    scene.zoom.library().inject(&recording.files[0].key, Fault::SignInPage, When::Always);
    scene.announce(&recording, EventKind::Recording).await;
    let parked = scene.one_file_in(FileState::Parked).await;
    let data = scene.data.path().to_str().unwrap();

    let output = run(&["files", "list", "--state", "parked", "--json", "--data-dir", data], &[]).await;
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed["id"], parked.id.to_string());
    assert!(listed["reason"].as_str().unwrap().contains("sign-in page"));
    // Nobody can ask for another token, so the end of this one is the end.
    let lost_after: chrono::DateTime<chrono::Utc> = listed["loses_at"].as_str().unwrap().parse().unwrap();
    let nearest = scene.service.metric("zoom_archiver_nearest_loss_seconds", "").await;
    assert!(nearest > 23.0 * 3600.0 && nearest <= 24.0 * 3600.0, "{nearest}");
    let output = run(&["files", "list", "--data-dir", data], &[]).await;
    let table = text(&output.stdout);
    assert!(table.contains(&parked.id.to_string()), "{table}");
    assert!(table.contains(&lost_after.format("%Y-%m-%dT%H:%M:%SZ").to_string()), "{table}");

    scene.zoom.library().clear_faults(&recording.files[0].key);
    let output = run(&["files", "retry", "--state", "parked", "--data-dir", data], &[]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let file = scene.one_file_in(FileState::Archived).await;
    scene.assert_archived(&file, recording.files[0].content).await;
    scene.settled().await;
    let nearest = scene.service.metric("zoom_archiver_nearest_loss_seconds", "").await;
    assert_eq!((nearest, file.loses_at), (f64::INFINITY, None));

    let id = file.id.to_string();
    let output = run(&["files", "retry", &id, "--data-dir", data], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("not parked, dead or gone"));
    scene.close().await;
}

#[tokio::test]
async fn a_filter_leaves_files_out_and_unskip_takes_them_after_all() {
    let scene =
        Scene::with(|setup| setup.env("ZOOM_ARCHIVER_FILTERS__EXCLUDE__FILE_TYPES", "M4A,chat")).await;
    let recording = FakeRecording::meeting(21);
    scene.announce(&recording, EventKind::Recording).await;
    scene.settled().await;
    let in_state = async |state: FileState| {
        let files = scene.files().await;
        files.into_iter().filter(|file| file.state == state).collect::<Vec<_>>()
    };
    let skipped = in_state(FileState::Skipped).await;
    let types: BTreeSet<_> = skipped.iter().map(|file| file.file_type.as_str()).collect();
    assert_eq!(types, ["CHAT", "M4A"].into());
    assert!(in_state(FileState::Pending).await.is_empty() && !in_state(FileState::Archived).await.is_empty());

    let data = scene.data.path().to_str().unwrap();
    let output = run(&["files", "list", "--state", "skipped", "--data-dir", data], &[]).await;
    assert!(text(&output.stdout).contains("filters.exclude.file_types"), "{}", text(&output.stdout));
    let chat = skipped.iter().find(|file| file.file_type == "CHAT").unwrap();
    let id = chat.id.to_string();
    let output = run(&["files", "unskip", &id, "--data-dir", data], &[]).await;
    assert!(output.status.success(), "{}", text(&output.stdout));
    scene.settled().await;
    assert!(scene.files().await.iter().any(|file| file.id == chat.id && file.state == FileState::Archived));

    // What is archived cannot be left out any more, and is taken already.
    for (deed, told) in [("skip", "is not pending, parked or dead"), ("unskip", "is not skipped")] {
        let output = run(&["files", deed, &id, "--data-dir", data], &[]).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stdout).contains(told), "{}", text(&output.stdout));
    }
    let output = run(&["files", "unskip", "--all", "--data-dir", data], &[]).await;
    assert!(output.status.success(), "{}", text(&output.stdout));
    scene.settled().await;
    assert_eq!(in_state(FileState::Archived).await.len(), scene.files().await.len());
    scene.close().await;
}

#[tokio::test]
async fn a_file_that_is_left_out_while_it_comes_is_let_go() {
    let scene = Scene::start().await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 22).with([FakeFile::generated(22, 1000)]);
    scene.shelve(&recording);
    scene.zoom.library().inject(&recording.files[0].key, Fault::StallAt { position: 500 }, When::Always);
    scene.announce(&recording, EventKind::Recording).await;
    until_zoom(&scene.zoom, "it is asked for", |library| {
        library.account(&recording.files[0].key).is_some_and(|account| account.requests > 0)
    })
    .await;
    let file = scene.files().await.remove(0);
    let data = scene.data.path().to_str().unwrap();
    let id = file.id.to_string();
    let output = run(&["files", "skip", &id, "--reason", "a test", "--data-dir", data], &[]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    scene.settled().await;
    let file = scene.files().await.remove(0);
    assert_eq!((file.state, file.reason.as_deref()), (FileState::Skipped, Some("a test")));
    scene.service.log.wait_for(|line| line["message"].as_str().is_some_and(|it| it.contains("lease"))).await;
    assert_eq!(scene.files().await.remove(0).state, FileState::Skipped);

    scene.zoom.library().clear_faults(&recording.files[0].key);
    assert!(scene.store.unskip(file.id).await.unwrap());
    let file = scene.one_file_in(FileState::Archived).await;
    scene.assert_archived(&file, recording.files[0].content).await;
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn check_explains_what_would_become_of_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let event = folder.path().join("event.json");
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, "[filters]\nmin_bytes = 100\n[filters.exclude]\nfile_types = [\"CHAT\"]\n")
        .unwrap();
    let body = serde_json::json!({"event": "recording.completed", "payload": {"account_id": "acc", "object": {
        "uuid": "u==", "type": 8, "topic": "Weekly", "start_time": "2026-01-02T03:04:05Z", "recording_files": [
            {"id": "a", "file_type": "MP4", "file_size": 1000, "recording_type": "gallery_view",
             "download_url": "https://zoom.us/rec/s3cret"},
            {"id": "b", "file_type": "CHAT", "file_size": 7},
            {"id": "c", "file_type": "M4A", "file_size": 99},
            {"id": "d", "file_type": "MP4", "file_path": "/srv/d.mp4"}]}}});
    std::fs::write(&event, body.to_string()).unwrap();
    let (event, settings) = (event.to_str().unwrap(), settings.to_str().unwrap());
    let check = ["config", "check", "--config", settings, "--explain"];

    let output = run(&[&check[..], &[event]].concat(), &[]).await;
    let told = text(&output.stdout);
    assert!(output.status.success() && !told.contains("s3cret"), "{told}");
    assert!(
        told.contains("meeting u== of account acc: Weekly") && told.contains("it is completed"),
        "{told}"
    );
    for (line, words) in [
        ("gallery_view", "acc/meeting/2026/01/2026-01-02-Weekly-"),
        ("CHAT", "filters.exclude.file_types"),
        ("M4A", "filters.min_bytes"),
        ("skip  MP4", "your own premises"),
    ] {
        let found = told.lines().find(|it| it.replace("   ", "  ").contains(line));
        assert!(found.is_some_and(|it| it.contains(words)), "{line}: {told}");
    }

    let output = run(&[&check[..], &[event, "--json"]].concat(), &[]).await;
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let taken: Vec<_> = lines.iter().map(|line| line["taken"].as_bool().unwrap()).collect();
    assert_eq!(taken, [true, false, false, false]);

    std::fs::write(event, r#"{"event":"meeting.ended"}"#).unwrap();
    let output = run(&[&check[..], &[event]].concat(), &[]).await;
    assert!(text(&output.stdout).contains("about no recording"), "{}", text(&output.stdout));
    let begun =
        r#"{"event":"session.started","payload":{"object":{"session_id":"s","session_name":"exam-1"}}}"#;
    std::fs::write(event, begun).unwrap();
    let rule = |patterns| [("ZOOM_ARCHIVER_ZOOM__AUTO_START", patterns)];
    for (patterns, words) in [("exam-*", "its recording is started"), ("lesson-*", "nothing is done")] {
        let output = run(&[&check[..], &[event]].concat(), &rule(patterns)).await;
        assert!(text(&output.stdout).contains(words), "{}", text(&output.stdout));
    }
    std::fs::write(event, "no event").unwrap();
    let output = run(&[&check[..], &[event]].concat(), &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("not JSON"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_variable_of_somebody_elses_that_is_not_unicode_does_no_harm() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let output = program().args(["config", "show"]).env("SOMEBODY_ELSES", odd).output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    // One of ours is refused by name instead.
    let output = program().args(["config", "show"]).env("ADMIN_TOKEN", odd).output().await.unwrap();
    let told = text(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("ADMIN_TOKEN"), "{told}");
}
