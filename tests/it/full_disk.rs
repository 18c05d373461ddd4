//! The embedded database on a disk that is full for a while, and whose file is taken away: nothing is answered that is not kept, it
//! is said, and it heals by itself.

use std::path::{Path, PathBuf};

use http::StatusCode;
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::recording::AnnouncedSize;
use zoom_archiver::simulator::{FakeFile, FakeRecording, FakeZoom, Options, Sender};
use zoom_archiver::store::SharedStore;

use crate::support::program::fake_zoom;
use crate::support::scene::{open_store, sender_to};
use crate::support::service::{Service, Setup, eventually};

/// A receiver whose data lies in a folder, and what sends to it.
struct Stage {
    zoom: FakeZoom,
    service: Service,
    sender: Sender,
    store: SharedStore,
}

impl Stage {
    async fn set(data: &Path) -> Self {
        let zoom = fake_zoom(Options::default()).await;
        let service = Setup::new(data).roles("receiver").start().await;
        let store = open_store(&format!("sqlite:{}", data.join("zoom-archiver.db").display())).await;
        Self { zoom, sender: sender_to(&service), service, store }
    }

    /// Whether an event is taken: the same number, the same file.
    async fn takes(&self, number: u64) -> bool {
        let file = FakeFile::generated(number, 1000);
        let recording = FakeRecording::new(RecordingKind::VideoSdk, number).with([file]);
        let body = self.zoom.announce(&recording, EventKind::Recording, Quirks::default());
        self.sender.deliver(&body).await.answer.is_accepted()
    }

    /// Waits until it says that it is ready, or that it is not.
    async fn says_it_is_ready(&self, ready: bool) {
        let url = format!("http://{}/readyz", self.service.public_addr());
        eventually("it says how it stands", || async {
            let status = reqwest::get(&url).await.expect("an answer").status();
            ((status == StatusCode::OK) == ready).then_some(())
        })
        .await;
    }

    async fn files(&self) -> u64 {
        self.store.files(&[], None, 10_000).await.expect("the database answers").len() as u64
    }

    async fn stop(self) {
        let (code, log) = self.service.stop().await;
        assert_eq!(code, Some(0), "{}", log.text());
    }
}

/// Takes a file of the database of a running service away, and puts it back.
async fn is_noticed(take_away: impl Fn(&Path), file: &str) {
    let data = tempfile::tempdir().unwrap();
    let stage = Stage::set(data.path()).await;
    assert!(stage.takes(1).await);
    let (path, aside) = (data.path().join(file), data.path().join("aside"));
    // Another name for the same file: whoever moved it may move it back.
    std::fs::hard_link(&path, &aside).unwrap();
    take_away(&path);
    assert!(!stage.takes(2).await, "what is written to it is lost");
    stage.says_it_is_ready(false).await;
    let names_it =
        |line: &serde_json::Value| line["level"] == "ERROR" && line.to_string().contains("zoom-archiver.db");
    stage.service.log.wait_for(names_it).await;

    std::fs::rename(&aside, &path).unwrap();
    assert!(stage.takes(3).await);
    stage.says_it_is_ready(true).await;
    assert_eq!(stage.files().await, 2);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_file_that_is_deleted_is_noticed_and_nothing_is_answered_into_it() {
    is_noticed(|path| std::fs::remove_file(path).unwrap(), "zoom-archiver.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_file_that_is_replaced_is_noticed_and_nothing_is_answered_into_it() {
    let replace = |path: &Path| {
        let copy = path.with_extension("copy");
        std::fs::copy(path, &copy).unwrap();
        std::fs::rename(&copy, path).unwrap();
    };
    is_noticed(replace, "zoom-archiver.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_ahead_log_that_is_deleted_is_noticed_and_nothing_is_answered_into_it() {
    is_noticed(|path| std::fs::remove_file(path).unwrap(), "zoom-archiver.db-wal").await;
}

/// A file system of its own, for as long as this lives.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(path: PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .status()
            .expect("mount is there");
        assert!(mounted.success(), "mounting takes root");
        Self(path)
    }

    fn resize(&self, size: &str) {
        let mut mount = std::process::Command::new("mount");
        let resized = mount.args(["-o", &format!("remount,size={size}")]).arg(&self.0).status();
        assert!(resized.expect("mount is there").success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

mod mounts {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "mounts a file system, which takes root: scripts/test"]
    async fn events_are_taken_again_once_there_is_room_on_a_disk_that_was_full() {
        let place = tempfile::tempdir().unwrap();
        let mount = Mount::tmpfs(place.path().join("small"), "6m");
        let stage = Stage::set(&mount.0).await;
        let filler = mount.0.join("filler");
        let mut taken = 0;
        for _ in 0..3 {
            // All that there is, whatever the database has taken meanwhile.
            let _ = std::fs::write(&filler, vec![0; 8 * 1024 * 1024]);
            let before = taken;
            while stage.takes(taken).await {
                taken += 1;
                assert!(taken < before + 1000, "there is room without an end");
            }
            stage.says_it_is_ready(false).await;
            std::fs::remove_file(&filler).unwrap();
            assert!(stage.takes(taken).await, "there is room again");
            taken += 1;
            stage.says_it_is_ready(true).await;
        }
        assert_eq!(stage.files().await, taken, "what was answered is kept");
        stage.stop().await;
    }

    /// Database and archive in one directory, on a disk that is smaller than what is recorded.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "mounts a file system, which takes root: scripts/test"]
    async fn a_file_that_does_not_fit_waits_for_room_and_leaves_it_to_the_database() {
        const MIB: u64 = 1024 * 1024;
        let place = tempfile::tempdir().unwrap();
        let mount = Mount::tmpfs(place.path().join("small"), "64m");
        let zoom = fake_zoom(Options::default()).await;
        let setup = Setup::new(&mount.0)
            .env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", zoom.origin())
            .env("ZOOM_ARCHIVER_ARCHIVE__MIN_FREE_BYTES", (16 * MIB).to_string())
            .env("ZOOM_ARCHIVER_TRANSFER__PART_BYTES", (5 * MIB).to_string())
            .env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "1");
        let service = setup.start().await;
        let store = open_store(&format!("sqlite:{}", mount.0.join("zoom-archiver.db").display())).await;
        let stage = Stage { sender: sender_to(&service), zoom, service, store };
        // One says how long it is, and the other does not.
        let announced = FakeFile::generated(1, 60 * MIB);
        let unannounced = FakeFile::generated(2, 60 * MIB).announced(AnnouncedSize::Missing);
        let recording = FakeRecording::new(RecordingKind::VideoSdk, 1).with([announced, unannounced]);
        let body = stage.zoom.announce(&recording, EventKind::Recording, Quirks::default());
        assert!(stage.sender.deliver(&body).await.answer.is_accepted());
        eventually("both wait for room", || async {
            let rows = stage.store.files(&[], None, 10).await.unwrap();
            (rows.iter().filter(|row| row.reason.is_some()).count() == 2).then_some(())
        })
        .await;
        let served = |number: usize| stage.zoom.library().bytes_served(Some(&recording.files[number].key));
        assert_eq!(served(0), 0, "what cannot fit is not asked for");
        assert!(served(1) > 0);
        eventually("nothing of it stays behind", || async {
            let staged = std::fs::read_dir(mount.0.join("archive/.staging")).unwrap().count();
            (staged == 0).then_some(())
        })
        .await;
        let room = stage.service.metric("zoom_archiver_archive_room_bytes", "").await;
        assert!(room > 0.0 && room < (48 * MIB) as f64, "{room}");
        let status = setup.run(&["status", "--json"]).await;
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        assert!(status["archive_room_bytes"].as_u64().is_some_and(|room| room < 48 * MIB), "{status}");
        assert_eq!(status["transfers"]["running"], 0, "{status}");
        // Events are taken, and what fits is archived.
        let small = FakeRecording::new(RecordingKind::VideoSdk, 2).with([FakeFile::generated(3, MIB)]);
        let body = stage.zoom.announce(&small, EventKind::Recording, Quirks::default());
        assert!(stage.sender.deliver(&body).await.answer.is_accepted());
        let archived = async |count: usize| {
            eventually("they are archived", || async {
                let rows = stage.store.files(&[], None, 10).await.unwrap();
                let archived = rows.iter().filter(|row| row.state == FileState::Archived).count();
                (archived == count).then_some(rows)
            })
            .await
        };
        let rows = archived(1).await;

        mount.resize("256m");
        for row in rows.iter().filter(|row| row.state != FileState::Archived) {
            assert!(stage.store.retry(row.id).await.unwrap());
        }
        archived(3).await;
        stage.stop().await;
    }
}
