//! Files that were archived with a warning: where they show, and what comes of fetching them again.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Value, json};
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::{FakeFile, FakeRecording, Fault, Options, When};

use crate::support::scene::{Ground, Scene, on_each_ground, open_store, with_api};
use crate::support::service::Setup;
use crate::support::split::all_files;

const MIB: u64 = 1024 * 1024;

on_each_ground!(
    a_file_with_a_warning_that_is_fetched_again_gets_a_new_object_beside_the_old_one,
    a_file_that_is_fetched_again_in_vain_keeps_its_object,
);

/// One file of a session of lately, of which Zoom's host cuts the end off; and as it was archived.
async fn cut_short(ground: Ground, bytes: u64) -> (Scene, FakeRecording, FileRow) {
    let scene = Scene::staged_on(ground, Options::default(), |setup, zoom| {
        with_api(setup, zoom)
            .env("ZOOM_ARCHIVER_RECONCILE__LATE_FILES", "")
            .env("ZOOM_ARCHIVER_TRANSFER__RANGES_IN_FLIGHT", "1")
            .env("ZOOM_ARCHIVER_TRANSFER__PART_BYTES", (5 * MIB).to_string())
    })
    .await;
    let mut recording =
        FakeRecording::new(RecordingKind::VideoSdk, 91).with([FakeFile::generated(910, bytes)]);
    recording.start_time = Clock::System.now() - TimeDelta::hours(2);
    scene.shelve(&recording);
    let cut = Fault::ContentLength { delta: -1000 };
    scene.zoom.library().inject(&recording.files[0].key, cut, When::Always);
    assert_eq!(scene.service.metric("zoom_archiver_suspect_files_total", "").await, 0.0);
    scene.announce(&recording, EventKind::Recording).await;
    let row = scene.one_file_in(FileState::Archived).await;
    scene.settled().await;
    let archived = row.archived.as_ref().expect("archived");
    assert_eq!(archived.bytes, bytes - 1000);
    assert!(archived.mark.is_some());
    assert_eq!(scene.service.metric("zoom_archiver_suspect_files_total", "").await, 1.0);
    (scene, recording, row)
}

async fn lines_of(setup: &Setup, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = setup.run(arguments).await;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON a line")).collect();
    (output.status.code(), lines)
}

/// How many files have a warning, by `status`, and what `reconcile` finds of them, with its exit code.
async fn warnings(scene: &Scene) -> (Value, Vec<Value>, Option<i32>) {
    let status = lines_of(&scene.setup, &["status", "--json"]).await.1.remove(0);
    let (code, mut lines) = lines_of(&scene.setup, &["reconcile", "--json"]).await;
    let report = lines.pop().expect("a report");
    assert_eq!(report["report"]["files"]["warning"].as_u64().unwrap_or(0), lines.len() as u64);
    (status["warnings"].clone(), lines.iter().map(|line| line["standing"].clone()).collect(), code)
}

async fn fetched_again(scene: &Scene, file: &FileRow) -> FileRow {
    let (code, _) = lines_of(&scene.setup, &["files", "retry", &file.id.to_string(), "--json"]).await;
    assert_eq!(code, Some(0));
    scene.settled().await;
    all_files(&scene.store).await.remove(0)
}

/// The keys of all objects, but for manifests, by what `verify` lists as ours: nothing may be foreign.
async fn assert_nothing_is_foreign(scene: &Scene) {
    let (code, lines) = lines_of(&scene.setup, &["verify", "--json"]).await;
    assert_eq!(code, Some(0), "{lines:?}");
}

async fn a_file_with_a_warning_that_is_fetched_again_gets_a_new_object_beside_the_old_one(ground: Ground) {
    const BYTES: u64 = 12 * MIB;
    let (scene, recording, before) = cut_short(ground, BYTES).await;
    assert_eq!(warnings(&scene).await, (json!(1), vec![json!("warning")], Some(1)));
    let (content, old) = (recording.files[0].content, before.archived.clone().expect("archived"));

    scene.zoom.library().clear_faults(&recording.files[0].key);
    let after = fetched_again(&scene, &before).await;
    assert_eq!((after.state, &after.archived.as_ref().unwrap().mark), (FileState::Archived, &None));
    scene.assert_archived(&after, content).await;
    assert_ne!(after.object_key, before.object_key);
    assert_eq!(scene.object(&before).await.len() as u64, BYTES - 1000);
    let earlier = &after.earlier_objects;
    assert_eq!(earlier.len(), 1);
    assert_eq!((&earlier[0].key, earlier[0].sha256), (&old.object_key, old.sha256));
    assert_eq!(earlier[0].archived_at, before.archived_at);

    let file = scene.manifest(&after).await["files"][0].clone();
    assert_eq!(file["object"]["key"].as_str(), after.object_key.as_deref());
    assert_eq!(file["earlier_objects"][0]["key"], old.object_key);
    assert_eq!(file["earlier_objects"][0]["mark"].as_str(), old.mark.as_deref());
    let shown = lines_of(&scene.setup, &["files", "show", &after.id.to_string(), "--json"]).await.1.remove(0);
    assert_eq!(shown["earlier_objects"][0]["sha256"], old.sha256.to_string());
    assert_eq!(warnings(&scene).await, (json!(0), vec![], Some(0)));
    assert_nothing_is_foreign(&scene).await;
    // There is no warning any more, so there is nothing to do.
    let (code, _) = lines_of(&scene.setup, &["files", "retry", &after.id.to_string(), "--json"]).await;
    assert_eq!(code, Some(1));

    let url = format!("sqlite:{}", scene.data.path().join("rebuilt.db").display());
    let rebuilt = scene.setup.clone().env("DATABASE_URL", &url);
    assert_eq!(rebuilt.run(&["migrate"]).await.status.code(), Some(0));
    assert_eq!(rebuilt.run(&["rebuild"]).await.status.code(), Some(0));
    let row = all_files(&open_store(&url).await).await.remove(0);
    assert_eq!((&row.earlier_objects, &row.object_key), (&after.earlier_objects, &after.object_key));
    scene.close().await;
}

async fn a_file_that_is_fetched_again_in_vain_keeps_its_object(ground: Ground) {
    // In one request, and in parts.
    let bytes = if matches!(ground, Ground::Embedded) { 300_000 } else { 12 * MIB };
    let (scene, recording, before) = cut_short(ground, bytes).await;
    let warning = |row: &FileRow| row.archived.as_ref().and_then(|archived| archived.mark.clone()).unwrap();
    let (library, key) = (scene.zoom.library(), &recording.files[0].key);
    let mut said = BTreeSet::from([warning(&before)]);
    let refused = Fault::Status { code: http::StatusCode::FORBIDDEN, retry_after: None };
    let broken = Fault::Status { code: http::StatusCode::INTERNAL_SERVER_ERROR, retry_after: None };
    // The same bytes again; no access; a server that fails to the last attempt; a file that Zoom has no more.
    for fault in [None, Some(refused), Some(broken), Some(Fault::Empty)] {
        if let Some(fault) = fault {
            library.clear_faults(key);
            library.inject(key, fault.clone(), When::Always);
            if fault == Fault::Empty {
                library.delete(&recording.instance_id, None);
            }
        }
        let after = fetched_again(&scene, &before).await;
        assert_eq!(after.state, FileState::Archived, "{after:?}");
        assert_eq!((&after.object_key, after.archived_at), (&before.object_key, before.archived_at));
        assert_eq!(after.archived.as_ref().unwrap().sha256, before.archived.as_ref().unwrap().sha256);
        assert!(said.insert(warning(&after)), "it says why there is no other: {said:?}");
        assert_eq!(scene.object(&before).await.len() as u64, bytes - 1000);
        let file = scene.manifest(&after).await["files"][0].clone();
        assert_eq!(file["object"]["key"].as_str(), before.object_key.as_deref());
        assert_eq!(file["earlier_objects"], Value::Null);
        assert_nothing_is_foreign(&scene).await;
    }
    let files = scene.store.depth().await.unwrap();
    assert!(
        files
            .iter()
            .all(|depth| depth.jobs == 0 || depth.state == zoom_archiver::domain::job::JobState::Done)
    );
    scene.close().await;
}
