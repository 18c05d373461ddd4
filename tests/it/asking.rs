//! Commands that ask: a running service or the database itself, with the same answer.

use std::process::Output;

use serde_json::{Value, json};
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::{FakeFile, FakeRecording, Fault, When};

use crate::support::scene::Scene;
use crate::support::service::program;

const TOKEN: &str = "adm1n-token-of-asking";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A session of one file, whose token has expired.
fn expired() -> FakeRecording {
    FakeRecording::new(RecordingKind::VideoSdk, 2).with([FakeFile::generated(2, 1000)])
}

/// A scene with one archived file and one parked one.
async fn scene() -> Scene {
    let scene = Scene::with(|setup| setup.env("ADMIN_TOKEN", TOKEN)).await;
    let good = FakeRecording::new(RecordingKind::VideoSdk, 1).with([FakeFile::generated(1, 1000)]);
    scene.announce(&good, EventKind::Recording).await;
    scene.one_file_in(FileState::Archived).await;
    let bad = expired();
    scene.shelve(&bad);
    scene.zoom.library().inject(&bad.files[0].key, Fault::ExpiredToken, When::Always);
    scene.announce(&bad, EventKind::Recording).await;
    scene.one_file_in(FileState::Parked).await;
    scene.settled().await;
    scene
}

/// The same command both ways: straight on the database, and over the network from a place without any.
async fn both(scene: &Scene, arguments: &[&str]) -> (Output, Output) {
    let url = format!("http://{}", scene.service.admin_addr());
    let elsewhere = tempfile::tempdir().unwrap();
    let token = elsewhere.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let there = program()
        .args(arguments)
        .args(["--url", &url, "--token-file", token.to_str().unwrap()])
        .args(["--data-dir", elsewhere.path().join("none").to_str().unwrap()])
        .output()
        .await
        .unwrap();
    (scene.setup.run(arguments).await, there)
}

#[tokio::test]
async fn a_service_and_its_database_give_the_same_documents() {
    let scene = scene().await;
    let file = scene.one_file_in(FileState::Parked).await;
    let first = async |list: &[&str]| -> String {
        let output = scene.setup.run(&[list, &["--json", "--limit", "1"]].concat()).await;
        let item: Value = serde_json::from_slice(&output.stdout).unwrap();
        item["id"].as_str().unwrap().to_owned()
    };
    let (job, event) = (first(&["jobs", "list"]).await, first(&["events", "list"]).await);
    let (file_id, recording) = (file.id.to_string(), file.recording_id.to_string());
    for arguments in [
        ["recordings", "list"].as_slice(),
        &["recordings", "list", "--kind", "video_sdk", "--state", "completed", "--oldest-first"],
        &["recordings", "show", &recording],
        &["files", "list", "--state", "parked,archived"],
        &["files", "list", "--limit", "1"],
        &["files", "list", "--lost-within", "2d"],
        &["files", "show", &file_id],
        &["jobs", "list", "--kind", "transfer"],
        &["jobs", "show", &job],
        &["events", "list", "--recording", &recording],
        &["events", "show", &event],
    ] {
        let (here, there) = both(&scene, &[arguments, &["--json"]].concat()).await;
        assert!(here.status.success(), "{arguments:?}: {}", text(&here.stderr));
        assert!(there.status.success(), "{arguments:?}: {}", text(&there.stderr));
        assert!(!here.stdout.is_empty(), "{arguments:?}");
        assert_eq!(text(&here.stdout), text(&there.stdout), "{arguments:?}");
        let (here, there) = both(&scene, arguments).await;
        assert_eq!(text(&here.stdout), text(&there.stdout), "{arguments:?}");
    }
    // Time goes on between the two.
    let (here, there) = both(&scene, &["status", "--json"]).await;
    let read = |output: &Output| {
        let mut status: Value = serde_json::from_slice(&output.stdout).unwrap();
        for passing in ["nearest_loss_secs", "database_millis", "archive_millis", "archive_room_bytes"] {
            assert!(status[passing].take().is_u64(), "{passing}");
        }
        status["verification"]["oldest_unverified_secs"].take();
        status
    };
    assert_eq!(read(&here), read(&there));
    assert_eq!(read(&here)["transfers"]["parked"], 1);
    scene.close().await.assert_free_of([TOKEN]);
}

#[tokio::test]
async fn deeds_over_the_network_are_those_on_the_database() {
    let scene = scene().await;
    let file = scene.one_file_in(FileState::Parked).await;
    let id = file.id.to_string();
    let url = format!("http://{}", scene.service.admin_addr());
    let there = async |arguments: &[&str]| {
        let arguments = [arguments, &["--url", &url]].concat();
        program().args(arguments).env("ADMIN_TOKEN", TOKEN).output().await.unwrap()
    };
    let output = there(&["files", "retry", "--state", "parked,dead", "--dry-run"]).await;
    assert_eq!(text(&output.stdout), "1 files would wait for another try\n");
    let output = there(&["files", "skip", &id, "--reason", "a test"]).await;
    assert!(output.status.success() && text(&output.stdout).contains("1 of 1 files are left out"));
    assert_eq!(scene.one_file_in(FileState::Skipped).await.reason.as_deref(), Some("a test"));
    let output = there(&["files", "skip", &id]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("is not pending, parked or dead"), "{}", text(&output.stdout));
    scene.zoom.library().clear_faults(&expired().files[0].key);
    assert!(there(&["files", "unskip", "--all"]).await.status.success());

    let output = program()
        .args(["files", "list", "--url", &url])
        .env("ADMIN_TOKEN", "a-wrong-admin-token")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("bearer token"));
    let output = program().args(["status", "--url", "http://127.0.0.1:9"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("does not answer"), "{}", text(&output.stderr));
    // An address for documentation (RFC 5737): a token for it is not even sent.
    let far = ["status", "--url", "http://192.0.2.1:8081"];
    let output = program().args(far).env("ADMIN_TOKEN", TOKEN).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--allow-plain-http"), "{}", text(&output.stderr));
    scene.settled().await;
    scene.close().await.assert_free_of([TOKEN]);
}

/// What one way of asking tells of deeds, one after the other, about a file that ends parked however often it is tried.
async fn told_of_deeds(scene: &Scene, network: &[&str]) -> Vec<Value> {
    let file = scene.one_file_in(FileState::Parked).await;
    scene.settled().await;
    let (id, nobody) = (file.id.to_string(), uuid::Uuid::nil().to_string());
    let listed = scene.setup.run(&["jobs", "list", "--subject", &id, "--json"]).await;
    let job = serde_json::from_slice::<Value>(&listed.stdout).unwrap()["id"].as_str().unwrap().to_owned();
    let mut all = Vec::new();
    let deeds: [(&[&str], i32); 8] = [
        (&["files", "skip", &id, &nobody], 1),
        (&["files", "unskip", "--all"], 0),
        (&["files", "retry", "--state", "parked", "--dry-run"], 0),
        (&["files", "retry", "--state", "parked"], 0),
        (&["jobs", "cancel", &job, "--reason", "a test"], 0),
        (&["jobs", "retry", &job], 1),
        (&["files", "unskip", &id], 0),
        (&["files", "retry", &id], 0),
    ];
    for (arguments, code) in deeds {
        if arguments.contains(&"retry") && arguments.contains(&"files") {
            scene.one_file_in(FileState::Parked).await;
        }
        let output = scene.setup.run(&[arguments, network, &["--json"]].concat()).await;
        let told = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told} {}", text(&output.stderr));
        all.push(serde_json::from_str(&told).unwrap_or_else(|_| panic!("{arguments:?}: {told}")));
        if arguments.contains(&"retry") && arguments.contains(&"files") {
            scene.settled().await;
        }
    }
    let told = |done: &[&str], left_alone: Value| {
        let matched = done.len() + left_alone.as_array().unwrap().len();
        json!({ "matched": matched, "done": done.len(), "ids": done, "left_alone": left_alone })
    };
    let left = |id: &str, reason: &str| json!([{ "id": id, "reason": reason }]);
    let carries = format!("{job} carries a file that is not parked, dead or gone, and does not rest");
    assert_eq!(all[0], told(&[id.as_str()], left(&nobody, "there is no such file")));
    assert_eq!(all[1], told(&[id.as_str()], json!([])));
    assert_eq!(all[2], json!({ "matched": 1, "done": 0, "ids": [], "left_alone": [] }));
    assert_eq!(all[3], told(&[id.as_str()], json!([])));
    assert_eq!(all[4], told(&[job.as_str()], json!([])));
    assert_eq!(all[5], told(&[], left(&job, &carries)));
    all
}

#[tokio::test]
async fn what_a_deed_has_done_is_one_object_of_the_same_shape_both_ways() {
    let scene = scene().await;
    let url = format!("http://{}", scene.service.admin_addr());
    let here = told_of_deeds(&scene, &[]).await;
    let there = told_of_deeds(&scene, &["--url", &url]).await;
    assert_eq!(here, there);
    let nobody = uuid::Uuid::nil().to_string();
    let arguments = ["files", "skip", &nobody, "--url", "http://127.0.0.1:9", "--json"];
    let output = scene.setup.run(&arguments).await;
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        told,
        json!({ "matched": 1, "done": 0, "ids": [], "left_alone": [] }),
        "it says how far it came"
    );
    assert!(text(&output.stderr).contains("does not answer"));
    scene.close().await.assert_free_of([TOKEN]);
}

#[tokio::test]
async fn a_job_that_carries_no_file_is_seen_in_the_status_and_has_a_way_out() {
    let scene = scene().await;
    let path = scene.data.path().join("zoom-archiver.db");
    let sql = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let dead =
        "UPDATE jobs SET state = 'dead', reason = 'no room', finished_at = updated_at, checkpoint = NULL,
        waits_for = NULL WHERE kind = 'manifest' AND state = 'done'";
    assert!(sqlx::query(dead).execute(&sql).await.unwrap().rows_affected() > 0);
    let told = text(&scene.setup.run(&["status"]).await.stdout);
    assert!(told.contains("of kind manifest") && told.contains("jobs list --state parked,dead"), "{told}");
    let output = scene.setup.run(&["jobs", "list", "--kind", "manifest", "--state", "dead", "--json"]).await;
    let job: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(job["reason"], "no room");
    let id = job["id"].as_str().unwrap();
    let output = scene.setup.run(&["jobs", "retry", id]).await;
    assert!(output.status.success(), "{}", text(&output.stdout));
    scene.settled().await;
    let output = scene.setup.run(&["jobs", "show", id, "--json"]).await;
    let job: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(job["state"], "done", "it was written again");
    let output = scene.setup.run(&["jobs", "cancel", id, "--reason", "late"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("has ended"), "{}", text(&output.stdout));
    scene.close().await;
}

#[tokio::test]
async fn events_that_cannot_be_read_are_replayed_by_command() {
    let scene = scene().await;
    assert!(scene.sender.deliver(b"{\"event\":\"recording.completed\"}").await.answer.is_accepted());
    let output = scene.setup.run(&["events", "replay", "--unreadable"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("cannot be read"), "{}", text(&output.stdout));
    let readable =
        scene.setup.run(&["events", "list", "--name", "session.recording_completed", "--json"]).await;
    for line in text(&readable.stdout).lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let output = scene.setup.run(&["events", "replay", event["id"].as_str().unwrap(), "--json"]).await;
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&told["readable"], &told["new_files"]), (&true.into(), &0.into()), "{told}");
    }
    assert_eq!(scene.files().await.len(), 2);
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn shells_complete_every_command_and_each_has_its_page() {
    for shell in ["bash", "zsh", "fish"] {
        let output = program().args(["completions", shell]).output().await.unwrap();
        let script = text(&output.stdout);
        assert!(output.status.success() && script.contains("zoom-archiver") && script.contains("unskip"));
    }
    let folder = tempfile::tempdir().unwrap();
    let output = program().args(["man", folder.path().to_str().unwrap()]).output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for page in
        ["zoom-archiver.1", "zoom-archiver-files.1", "zoom-archiver-files-retry.1", "zoom-archiver-events.1"]
    {
        assert!(folder.path().join(page).exists(), "{page}");
    }
    let output = program().args(["man", "/nowhere/at/all"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
}
