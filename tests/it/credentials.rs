//! What stands between the program and its bucket changes while it runs: keys, and what a proxy lets through.

use std::path::Path;

use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::{FakeFile, FakeRecording, Options};
use zoom_archiver::store::{JobFilter, Order, Page};

use crate::support::place::{Bucket, contents};
use crate::support::s3::{Gateway, Quirks, S3Server};
use crate::support::scene::{Ground, Scene};
use crate::support::service::eventually;

/// Puts a file in the place of another at once, as a mounted secret is replaced.
fn replace(path: &Path, id: &str, secret: &str) {
    let new = path.with_extension("new");
    let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    std::fs::write(&new, text).expect("it can be written");
    std::fs::rename(new, path).expect("it can be replaced");
}

fn recording(number: u64) -> FakeRecording {
    FakeRecording::new(RecordingKind::VideoSdk, number).with([FakeFile::generated(number, 1_000)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file_that_is_replaced_counts_without_a_restart() {
    let bucket = Bucket::at(S3Server::in_process(Quirks::default()).await).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    bucket.server.set_keys("first-key", Some("first-secret"));
    replace(&file, "first-key", "first-secret");
    let ground = Ground::Servers { database: None, bucket };
    let scene = Scene::staged_on(ground, Options::default(), |setup, _| {
        setup
            .without("AWS_ACCESS_KEY_ID")
            .without("AWS_SECRET_ACCESS_KEY")
            .env("AWS_SHARED_CREDENTIALS_FILE", file.display().to_string())
            .env("ZOOM_ARCHIVER_ARCHIVE__S3__MAX_ATTEMPTS", "1")
    })
    .await;
    let recordings = [recording(1), recording(2)];
    scene.announce(&recordings[0], EventKind::Recording).await;
    scene.one_file_in(FileState::Archived).await;

    // The old key is refused before the new one is there.
    scene.bucket().server.set_keys("first-key", None);
    scene.announce(&recordings[1], EventKind::Recording).await;
    eventually("the store refuses", || async {
        (scene.service.metric("zoom_archiver_jobs_total", "outcome=\"snooze\"").await > 0.0).then_some(())
    })
    .await;
    scene.bucket().server.set_keys("second-key", Some("second-secret"));
    replace(&file, "second-key", "second-secret");
    let files = eventually("both are archived", || async {
        let files = scene.files().await;
        (files.len() == 2 && files.iter().all(|file| file.state == FileState::Archived)).then_some(files)
    })
    .await;
    let contents = contents(&recordings);
    for file in files {
        scene.assert_archived(&file, contents[&file.identity.name]).await;
    }
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_proxy_refuses_for_its_length_waits_and_says_which_setting_helps() {
    let gateway = Some(Gateway { status: 413, max_body_bytes: 1_000_000 });
    let bucket = Bucket::at(S3Server::in_process(Quirks { gateway, ..Quirks::default() }).await).await;
    let ground = Ground::Servers { database: None, bucket };
    let scene = Scene::staged_on(ground, Options::default(), |setup, _| {
        // The first attempt that is spent is the last one.
        setup.env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "1")
    })
    .await;
    let long = FakeRecording::new(RecordingKind::VideoSdk, 1).with([FakeFile::generated(1, 2_000_000)]);
    scene.announce(&long, EventKind::Recording).await;
    let page = Page { after: None, limit: 10, order: Order::Newest };
    let reason = eventually("the job says why it waits", || async {
        let jobs = scene.store.list_jobs(&JobFilter::default(), page).await.ok()?;
        jobs.into_iter().find_map(|job| job.reason)
    })
    .await;
    for told in ["HTTP 413", "nginx/1.24.0", "transfer.part_bytes"] {
        assert!(reason.contains(told), "{reason}");
    }
    scene.one_file_in(FileState::Pending).await;
    scene.close().await;
}
