//! Unfinished uploads that nobody goes on with are given up, and no other.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use zoom_archiver::archive::directory::DirectoryArchive;
use zoom_archiver::archive::{NewObject, SharedArchive};
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::scheduler::janitor::tidy;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::{FakeFile, FakeRecording, Fault, When};

use crate::support::place::Place;
use crate::support::s3::default_config;
use crate::support::scene::{Scene, until_zoom};
use crate::support::service::eventually;

const MIB: u64 = 1024 * 1024;
const LARGE: u64 = 20 * MIB;

async fn scene(place: &Place) -> Scene {
    Scene::with(|setup| place.point(setup).env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "2")).await
}

async fn archive_at(place: &Place) -> SharedArchive {
    match place {
        Place::Bucket(bucket) => bucket.server.archive(&bucket.name, "", &default_config()).await,
        Place::Directory(root) => Arc::new(DirectoryArchive::open(root.path()).await.unwrap()),
    }
}

fn recording() -> FakeRecording {
    FakeRecording::new(RecordingKind::VideoSdk, 7).with([FakeFile::generated(7, LARGE)])
}

fn object(key: &str) -> NewObject {
    NewObject { key: key.to_owned(), content_type: "video/mp4".to_owned(), facts: Vec::new() }
}

/// A transfer that died midway leaves its upload for a retry; much later it is given up.
async fn a_dead_transfer(place: Place) {
    let scene = scene(&place).await;
    let archive = archive_at(&place).await;
    let recording = recording();
    let key = &recording.files[0].key;
    scene.shelve(&recording);
    let error = Fault::Status { code: StatusCode::INTERNAL_SERVER_ERROR, retry_after: None };
    scene.zoom.library().inject(key, Fault::CutAt { position: 17 * MIB }, When::First(1));
    scene.zoom.library().inject(key, error, When::AfterBreak(u32::MAX));
    scene.announce(&recording, EventKind::Recording).await;
    let file = scene.one_file_in(FileState::Dead).await;
    assert_eq!(place.unfinished(file.object_key.as_deref().unwrap()).await.len(), 1);

    assert_eq!(tidy(&scene.store, &archive, Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(tidy(&scene.store, &archive, Duration::ZERO).await.unwrap(), 1);
    assert_eq!(place.unfinished(file.object_key.as_deref().unwrap()).await.len(), 0);

    // A retry starts over, and is right.
    scene.zoom.library().clear_faults(key);
    assert!(scene.store.retry(file.id).await.unwrap());
    scene.one_file_in(FileState::Archived).await;
}

/// One that runs, or waits to go on, keeps its upload, however old it is.
async fn a_transfer_that_goes_on(place: Place) {
    let scene = scene(&place).await;
    let archive = archive_at(&place).await;
    let recording = recording();
    scene.shelve(&recording);
    let stall = Fault::StallAt { position: 17 * MIB };
    scene.zoom.library().inject(&recording.files[0].key, stall, When::First(1));
    scene.announce(&recording, EventKind::Recording).await;
    // A part behind the first one is asked for when the upload has been written down.
    until_zoom(&scene.zoom, "it stalls", |library| library.bytes_served(None) >= 17 * MIB).await;
    let key = scene.files().await.pop().and_then(|file| file.object_key).expect("a place");
    assert_eq!(place.unfinished(&key).await.len(), 1);
    assert_eq!(tidy(&scene.store, &archive, Duration::ZERO).await.unwrap(), 0);
    assert_eq!(place.unfinished(&key).await.len(), 1);
    scene.one_file_in(FileState::Archived).await;
}

/// What lies under a key that is none of our files' is left alone; what lies under one that is, is not.
async fn an_upload_that_nobody_wrote_down(archive: SharedArchive, place: &Place, foreign: bool) {
    let scene = scene(place).await;
    let recording = recording();
    scene.announce(&recording, EventKind::Recording).await;
    let file = scene.one_file_in(FileState::Archived).await;
    let key = if foreign { "somebody/else.mp4" } else { file.object_key.as_deref().unwrap() };
    archive.begin(&object(key)).await.unwrap();
    let expected = u64::from(!foreign);
    if archive.unfinished(Duration::ZERO).await.unwrap().is_empty() {
        // MinIO lists the uploads of a whole key only, and drops them itself.
        return;
    }
    assert_eq!(tidy(&scene.store, &archive, Duration::ZERO).await.unwrap(), expected);
}

#[tokio::test]
async fn the_upload_of_a_dead_transfer_is_given_up_in_a_directory() {
    a_dead_transfer(Place::directory()).await;
}

#[tokio::test]
async fn the_upload_of_a_dead_transfer_is_given_up_in_a_bucket() {
    a_dead_transfer(Place::bucket().await).await;
}

#[tokio::test]
async fn the_upload_of_a_transfer_that_goes_on_is_kept_in_a_directory() {
    a_transfer_that_goes_on(Place::directory()).await;
}

#[tokio::test]
async fn the_upload_of_a_transfer_that_goes_on_is_kept_in_a_bucket() {
    a_transfer_that_goes_on(Place::bucket().await).await;
}

#[tokio::test]
async fn an_upload_under_our_key_that_no_checkpoint_names_is_given_up_and_a_foreign_one_is_not() {
    for foreign in [false, true] {
        let place = Place::bucket().await;
        an_upload_that_nobody_wrote_down(archive_at(&place).await, &place, foreign).await;
    }
}

#[tokio::test]
async fn what_is_given_up_is_counted_in_the_metrics() {
    let place = Place::directory();
    let mut scene = scene(&place).await;
    let recording = recording();
    scene.shelve(&recording);
    let error = Fault::Status { code: StatusCode::INTERNAL_SERVER_ERROR, retry_after: None };
    let library = scene.zoom.library();
    library.inject(&recording.files[0].key, Fault::CutAt { position: 17 * MIB }, When::First(1));
    library.inject(&recording.files[0].key, error, When::AfterBreak(u32::MAX));
    scene.announce(&recording, EventKind::Recording).await;
    let file = scene.one_file_in(FileState::Dead).await;
    let key = file.object_key.as_deref().expect("a place");
    assert_eq!(scene.service.metric("zoom_archiver_leftovers_total", "").await, 0.0);
    assert_eq!(place.unfinished(key).await.len(), 1);

    // Two days later the next process looks around.
    let path = scene.data.path().join("zoom-archiver.db");
    let sql = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let later = "UPDATE jobs SET finished_at = finished_at - 172800000 WHERE state = 'dead'";
    assert_eq!(sqlx::query(later).execute(&sql).await.unwrap().rows_affected(), 1);
    let next = scene.setup.clone();
    let (code, _) = std::mem::replace(&mut scene.service, next.spawn()).stop().await;
    assert_eq!(code, Some(0));
    scene.service.ready().await;
    eventually("it is given up and counted", || async {
        (scene.service.metric("zoom_archiver_leftovers_total", "").await > 0.5).then_some(())
    })
    .await;
    assert_eq!(scene.service.metric("zoom_archiver_leftovers_total", "").await, 1.0);
    assert_eq!(place.unfinished(key).await.len(), 0);
    scene.close().await;
}
