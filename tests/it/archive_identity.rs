//! An archive that is not mounted, or another one than the database knows, is not taken for an empty one.

use std::path::Path;
use std::process::Command;

use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{FakeFile, FakeRecording, Options};

use crate::support::place::{Bucket, MARKER};
use crate::support::scene::{Ground, Scene, on_each_ground, sender_to, until_settled};
use crate::support::service::{Setup, eventually};

on_each_ground!(
    a_process_with_another_archive_than_the_database_knows_refuses_to_start_until_it_is_adopted,
    processes_that_start_at_once_agree_on_one_archive,
);

fn recording(number: u64) -> FakeRecording {
    FakeRecording::new(RecordingKind::VideoSdk, number).with([FakeFile::generated(number, 1000)])
}

async fn archive_another(scene: &Scene, number: u64) {
    scene.announce(&recording(number), EventKind::Recording).await;
    scene.settled().await;
    assert!(scene.files().await.iter().all(|file| file.state == FileState::Archived));
}

/// The same installation with an archive of its own.
async fn with_another_archive(scene: &Scene, ground: bool, folder: &Path) -> Setup {
    match ground {
        true => scene.setup.clone().env("ARCHIVE_URL", format!("file://{}", folder.display())),
        false => {
            let bucket = Bucket::new().await;
            bucket.point(scene.setup.clone(), None)
        }
    }
}

async fn a_process_with_another_archive_than_the_database_knows_refuses_to_start_until_it_is_adopted(
    ground: Ground,
) {
    let is_embedded = matches!(ground, Ground::Embedded);
    let scene = Scene::staged_on(ground, Options::default(), |setup, _| setup).await;
    archive_another(&scene, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let other = with_another_archive(&scene, is_embedded, folder.path()).await;
    // A directory may only not be mounted; one that is another archive says so.
    if is_embedded {
        let elsewhere = tempfile::tempdir().unwrap();
        let theirs =
            Setup::new(elsewhere.path()).env("ARCHIVE_URL", format!("file://{}", folder.path().display()));
        assert_eq!(theirs.start().await.stop().await.0, Some(0));
    }
    let refused = other.cli(&["serve", "--log-format", "json"]).output().await.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    let known = scene.store.archive_identity().await.unwrap().expect("it is noted");
    assert!(told.contains(&known.id) && told.contains(&known.place), "{told}");

    // On purpose, while nothing runs.
    let adopted = other.run(&["archive", "adopt"]).await;
    assert!(adopted.status.success(), "{adopted:?}");
    let shown = String::from_utf8_lossy(&other.run(&["archive", "show"]).await.stdout).into_owned();
    let now = scene.store.archive_identity().await.unwrap().expect("it is noted");
    assert!(now != known && shown.matches(&now.id).count() == 2, "{shown}");
    assert_eq!(scene.setup.cli(&["serve"]).output().await.unwrap().status.code(), Some(1));
    let moved = other.start().await;
    assert_eq!(moved.stop().await.0, Some(0));
    assert!(scene.setup.run(&["archive", "adopt"]).await.status.success());
    scene.close().await;
}

async fn processes_that_start_at_once_agree_on_one_archive(ground: Ground) {
    let scene = Scene::staged_on(ground, Options::default(), |setup, _| setup.roles("receiver")).await;
    let others = [1, 2, 3].map(|_| scene.setup.clone().roles("worker").spawn());
    for other in &others {
        other.ready().await;
    }
    archive_another(&scene, 3).await;
    for other in others {
        assert_eq!(other.stop().await.0, Some(0));
    }
    // The marker is none of the objects that are listed.
    let verified = scene.setup.run(&["verify", "--json"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    scene.close().await;
}

mod mounts {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "mounts a file system, which takes root: scripts/test"]
    async fn an_archive_whose_file_system_is_not_mounted_is_away_and_not_empty() {
        let place = tempfile::tempdir().unwrap();
        let (mount, disk) = (place.path().join("mount"), place.path().join("disk"));
        std::fs::create_dir_all(&mount).unwrap();
        std::fs::create_dir_all(&disk).unwrap();
        let bind = || {
            assert!(Command::new("mount").arg("--bind").arg(&disk).arg(&mount).status().unwrap().success())
        };
        let unmount =
            || assert!(Command::new("umount").arg("--lazy").arg(&mount).status().unwrap().success());
        bind();
        let scene =
            Scene::with(|setup| setup.env("ARCHIVE_URL", format!("file://{}", mount.display()))).await;
        scene.announce(&recording(1), EventKind::Recording).await;
        scene.settled().await;

        unmount();
        scene.announce(&recording(2), EventKind::Recording).await;
        let is_away = async |reason: &str| {
            eventually("the file waits for the archive", || async {
                let rows = scene.files().await;
                rows.iter()
                    .any(|row| row.reason.as_deref().is_some_and(|it| it.contains(reason)))
                    .then_some(())
            })
            .await;
        };
        is_away("is it mounted?").await;
        let left = std::fs::read_dir(&mount).unwrap().count();
        assert_eq!(left, 0, "nothing is written below the mount point");
        assert_eq!(scene.setup.run(&["status"]).await.status.code(), Some(1));
        assert_eq!(scene.setup.run(&["verify"]).await.status.code(), Some(1));
        // Nor is it taken for empty by a process that starts meanwhile.
        let second = tempfile::tempdir().unwrap();
        let restarted = scene
            .setup
            .clone()
            .roles("worker")
            .env("ZOOM_ARCHIVER_DATA_DIR", second.path().display().to_string());
        let restarted = restarted.start().await;
        assert!(std::fs::read_dir(&mount).unwrap().all(|entry| {
            let name = entry.unwrap().file_name();
            name == ".staging"
        }));

        bind();
        let file = scene.files().await.into_iter().find(|file| file.state != FileState::Archived).unwrap();
        scene.store.retry(file.id).await.unwrap();
        until_settled(&scene.store).await;
        assert!(scene.files().await.iter().all(|file| file.state == FileState::Archived));
        assert!(disk.join(MARKER).join("id.json").is_file());
        assert_eq!(restarted.stop().await.0, Some(0));
        unmount();
        let (code, log) = scene.service.stop().await;
        assert_eq!(code, Some(0), "{}", log.text());
    }
}

/// A record of before the marker, and one that begins beside an archive that has one.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_marker_yet_gets_one_and_a_new_record_takes_over_the_one_that_is_there() {
    let scene = Scene::start().await;
    archive_another(&scene, 4).await;
    let known = scene.store.archive_identity().await.unwrap().expect("it is noted");
    let fresh = tempfile::tempdir().unwrap();
    let archive = format!("file://{}", scene.data.path().join("archive").display());
    let service = Setup::new(fresh.path()).env("ARCHIVE_URL", archive).start().await;
    let store = crate::support::scene::open_store(&format!(
        "sqlite:{}",
        fresh.path().join("zoom-archiver.db").display()
    ))
    .await;
    assert_eq!(store.archive_identity().await.unwrap(), Some(known));
    let body = scene.zoom.announce(&recording(5), EventKind::Recording, Quirks::default());
    let _ = sender_to(&service).deliver(&body).await;
    assert_eq!(service.stop().await.0, Some(0));
    scene.close().await;
}
