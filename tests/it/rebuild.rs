//! An empty database is filled from the manifests in the archive, and nothing is fetched twice for it.

use chrono::TimeDelta;
use serde_json::{Value, json};
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{Content, FakeFile, FakeRecording, FakeZoom, Options};

use crate::support::place::{Bucket, Place};
use crate::support::s3::S3Server;
use crate::support::scene::{open_store, sender_to, until_settled, with_api};
use crate::support::service::{Service, Setup};
use crate::support::split::{Shared, Split, all_files};

/// Sessions of lately, each with two videos and a chat.
fn sessions(count: u64) -> Vec<FakeRecording> {
    (0..count)
        .map(|number| {
            let mut recording = FakeRecording::new(RecordingKind::VideoSdk, 40 + number).with([
                FakeFile::generated(number * 10, 1000),
                FakeFile::generated(number * 10 + 1, 2000),
                FakeFile::new("CHAT", "TXT", "chat_file", Content::Embedded(b"14:00:01 Ada: all is well\n")),
            ]);
            recording.start_time = Clock::System.now() - TimeDelta::hours(2);
            recording
        })
        .collect()
}

async fn announce(zoom: &FakeZoom, service: &Service, recordings: &[FakeRecording]) {
    let sender = sender_to(service);
    for recording in recordings {
        let body = zoom.announce(recording, EventKind::Recording, Quirks::default());
        assert!(sender.deliver(&body).await.answer.is_accepted());
    }
}

/// Announced and archived, but for chats, which are left out; then the service is gone.
async fn archived(place: Place, recordings: &[FakeRecording]) -> (Split, Setup, Vec<FileRow>) {
    let split = Split::stage(place, Options::default()).await;
    let setup = with_api(split.base.clone(), &split.zoom)
        .env("ZOOM_ARCHIVER_FILTERS__EXCLUDE__FILE_TYPES", "CHAT")
        .env("ZOOM_ARCHIVER_RECONCILE__LATE_FILES", "");
    let service = setup.start().await;
    announce(&split.zoom, &service, recordings).await;
    let store = open_store(&split.database.url).await;
    until_settled(&store).await;
    assert_eq!(service.stop().await.0, Some(0));
    let files = all_files(&store).await;
    (split, setup, files)
}

async fn lines_of(setup: &Setup, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = setup.run(arguments).await;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON a line")).collect();
    (output.status.code(), lines)
}

/// What should be the same before and after.
fn essence(files: &[FileRow]) -> Vec<Value> {
    let mut essence: Vec<_> = files
        .iter()
        .map(|file| {
            let archived = file.archived.as_ref();
            json!([
                file.identity,
                file.state,
                file.reason,
                file.object_key,
                archived.map(|archived| (archived.bytes, archived.sha256, &archived.store_checksum)),
                archived.map(|archived| (&archived.content_type, &archived.etag, &archived.mark)),
                archived.map(|archived| &archived.version_id),
                file.metadata,
                file.first_event_id,
            ])
        })
        .collect();
    essence.sort_by_key(ToString::to_string);
    essence
}

async fn a_lost_database_comes_back(place: Place) {
    const SESSIONS: u64 = 5;
    let recordings = sessions(SESSIONS);
    let (split, setup, before) = archived(place, &recordings).await;
    let objects = split.place.objects().await;
    let served = split.zoom.library().bytes_served(None);

    let fresh = Shared::create().await;
    let setup = setup.env("DATABASE_URL", &fresh.url);
    let (code, lines) = lines_of(&setup, &["rebuild", "--json"]).await;
    assert_eq!(
        lines,
        [
            json!({ "report": { "manifests": SESSIONS, "recordings": SESSIONS, "files": 3 * SESSIONS, "unread": 0 } })
        ]
    );
    assert_eq!(code, Some(0));
    let store = open_store(&fresh.url).await;
    let after = all_files(&store).await;
    assert_eq!(essence(&after), essence(&before));

    // The three places agree, and every object is what the rows say.
    let (code, lines) = lines_of(&setup, &["reconcile", "--json"]).await;
    let report = &lines.last().unwrap()["report"];
    assert_eq!((code, &report["clean"]), (Some(0), &json!(true)), "{report}");
    assert_eq!(report["files"], json!({ "everywhere": 2 * SESSIONS, "skipped": SESSIONS }));
    let (code, lines) = lines_of(&setup, &["verify", "--json"]).await;
    assert_eq!((code, lines.len()), (Some(0), 1), "{lines:?}");

    // What is announced once more is known: nothing is fetched, and no second object is made.
    let service = setup.start().await;
    announce(&split.zoom, &service, &recordings).await;
    until_settled(&store).await;
    assert_eq!(service.stop().await.0, Some(0));
    assert_eq!(split.place.objects().await, objects);
    assert_eq!(split.zoom.library().bytes_served(None), served);
    assert_eq!(all_files(&store).await.len(), before.len());

    // It is a database like any other now.
    let output = setup.run(&["rebuild"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not empty"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_comes_back_from_a_bucket_and_reconciles() {
    a_lost_database_comes_back(Place::bucket().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_comes_back_from_a_bucket_with_versions_and_knows_them() {
    let bucket = Bucket::with_versions(S3Server::start().await).await;
    a_lost_database_comes_back(Place::Bucket(bucket)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_of_an_object_stands_in_its_row_and_in_its_manifest() {
    let place = Place::Bucket(Bucket::with_versions(S3Server::start().await).await);
    let (split, _, files) = archived(place, &sessions(2)).await;
    let Place::Bucket(bucket) = &split.place else { panic!("it is a bucket") };
    let archived: Vec<_> = files.iter().filter_map(|file| file.archived.as_ref()).collect();
    assert_eq!(archived.len(), 4);
    for file in archived {
        let kept = bucket.server.described(&bucket.name, &file.object_key).await;
        assert!(kept.version_id().is_some());
        assert_eq!(file.version_id.as_deref(), kept.version_id());
        let manifest = split.place.manifest_beside(&file.object_key).await.unwrap();
        let objects = manifest["files"].as_array().unwrap().iter().map(|file| &file["object"]);
        let entry = objects.into_iter().find(|object| object["key"] == file.object_key).unwrap();
        assert_eq!(entry["version_id"].as_str(), kept.version_id());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_comes_back_from_a_directory_and_reconciles() {
    a_lost_database_comes_back(Place::directory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_cannot_be_read_is_told_and_the_rest_comes_back() {
    let (split, setup, files) = archived(Place::directory(), &sessions(3)).await;
    let archived: Vec<_> = files.iter().filter(|file| file.state == FileState::Archived).collect();
    let key = archived[0].object_key.as_deref().unwrap();
    let manifest = format!("{}/recording.json", key.rsplit_once('/').unwrap().0);
    let whole = split.place.bytes(&manifest).await.unwrap();
    split.place.overwrite(&manifest, Some(&whole[..whole.len() / 2])).await;
    // A copy of another manifest, as backups leave them; and what only has its name.
    let other = archived.iter().find(|file| file.recording_id != archived[0].recording_id).unwrap();
    let other = other.object_key.as_deref().unwrap().rsplit_once('/').unwrap().0.to_owned();
    let copy = split.place.bytes(&format!("{other}/recording.json")).await.unwrap();
    split.place.overwrite("backup/recording.json", Some(&copy)).await;
    split.place.overwrite("cat/recording.json", Some(b"{\"cat\":true}")).await;

    let fresh = Shared::create().await;
    let setup = setup.env("DATABASE_URL", &fresh.url);
    let (code, lines) = lines_of(&setup, &["rebuild", "--json"]).await;
    let unread = |key: &str| {
        let line =
            lines.iter().find(|line| line["unread"] == key).unwrap_or_else(|| panic!("{key}: {lines:?}"));
        line["reason"].as_str().unwrap().to_owned()
    };
    assert!(unread(&manifest).contains("no manifest"));
    assert!(unread("backup/recording.json").contains("a copy"));
    assert!(unread("cat/recording.json").contains("no manifest"));
    let report = &lines.last().unwrap()["report"];
    assert_eq!((code, &report["recordings"], &report["unread"]), (Some(1), &json!(2), &json!(3)));

    // Once it is mended, the same command goes on.
    split.place.overwrite(&manifest, Some(&whole)).await;
    split.place.overwrite("backup/recording.json", None).await;
    split.place.overwrite("cat/recording.json", None).await;
    let (code, lines) = lines_of(&setup, &["rebuild", "--json"]).await;
    let report = &lines.last().unwrap()["report"];
    assert_eq!((code, &report["recordings"], &report["files"]), (Some(0), &json!(1), &json!(3)));
    assert_eq!(essence(&all_files(&open_store(&fresh.url).await).await), essence(&files));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_without_manifests_fills_nothing() {
    let (_split, setup, _) = archived(Place::directory(), &[]).await;
    let output = setup.run(&["rebuild"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no manifest"));
}
