//! `backfill`, as a process of its own, against the fake Zoom.

use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Output, Stdio};

use chrono::{DateTime, Utc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::ledger::Endpoint;
use zoom_archiver::simulator::{FakeFile, FakeRecording, FakeZoom, Options};
use zoom_archiver::store::SharedStore;

use crate::support::program::fake_zoom;
use crate::support::scene::{Ground, Scene, on_each_ground, open_store, with_api};
use crate::support::service::{Setup, eventually};

const SPAN: [&str; 4] = ["--from", "2026-01-10", "--to", "2026-03-05"];

/// A fake Zoom and an empty database, without any service.
struct Bare {
    zoom: FakeZoom,
    setup: Setup,
    store: SharedStore,
    _ground: Ground,
    _data: tempfile::TempDir,
}

impl Bare {
    async fn new() -> Self {
        Self::on(Ground::Embedded).await
    }

    async fn on(ground: Ground) -> Self {
        let data = tempfile::tempdir().unwrap();
        let zoom = fake_zoom(Options::default()).await;
        let setup = with_api(ground.point(Setup::new(data.path())), &zoom)
            .env("ZOOM_ARCHIVER_ZOOM__API_MEDIUM_PER_SEC", "80");
        assert!(setup.cli(&["migrate"]).output().await.unwrap().status.success());
        let store = open_store(&ground.database_url(data.path())).await;
        Self { zoom, setup, store, _ground: ground, _data: data }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.setup.cli(&[&["backfill"], arguments].concat()).output().await.unwrap()
    }

    async fn files(&self) -> Vec<FileRow> {
        let mut files: Vec<FileRow> = Vec::new();
        loop {
            let page = self.store.files(&[], files.last().map(|file| file.id), 1000).await.unwrap();
            if page.is_empty() {
                return files;
            }
            files.extend(page);
        }
    }
}

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// `count` recordings, spread evenly over the span, sessions and meetings by turns.
fn spread(zoom: &FakeZoom, count: u64) -> BTreeSet<String> {
    let (first, last) = (moment("2026-01-10T00:00:00Z"), moment("2026-03-05T23:59:00Z"));
    let step = (last - first) / i32::try_from(count).unwrap();
    let ids = (0..count).map(|number| {
        let kind = if number % 2 == 0 { RecordingKind::VideoSdk } else { RecordingKind::Meeting };
        let mut recording = FakeRecording::new(kind, number).with([FakeFile::generated(number, 100)]);
        recording.start_time = first + step * i32::try_from(number).unwrap();
        zoom.library().add(&recording);
        recording.files[0].id.clone().unwrap()
    });
    ids.collect()
}

fn names(files: &[FileRow]) -> BTreeSet<String> {
    files.iter().map(|file| file.identity.name.clone()).collect()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn a_backfill_that_is_killed_and_run_again_leaves_neither_duplicate_nor_gap(ground: Ground) {
    const ALL: u64 = 2500;
    let bare = Bare::on(ground).await;
    let expected = spread(&bare.zoom, ALL);

    let mut child = bare
        .setup
        .cli(&[&["backfill"], SPAN.as_slice()].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it is midway", || async {
        let some = bare.store.files(&[], None, 700).await.unwrap();
        (some.len() == 700).then_some(())
    })
    .await;
    kill(Pid::from_raw(child.id().unwrap().cast_signed()), Signal::SIGKILL).unwrap();
    assert!(!child.wait().await.unwrap().success());
    let before = bare.files().await.len();
    assert!(before < expected.len(), "it was killed midway, at {before}");

    let output = bare.run(&[SPAN.as_slice(), &["--json"]].concat()).await;
    assert!(output.status.success(), "{}", told(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["recordings"].as_u64(), report["files"].as_u64()), (Some(ALL), Some(ALL)));
    assert_eq!(report["known_files"], before);
    assert_eq!(report["recorded_files"], expected.len() - before);

    let files = bare.files().await;
    assert_eq!(files.len(), expected.len(), "no duplicate");
    assert_eq!(names(&files), expected, "no gap");
    assert!(files.iter().all(|file| file.state == FileState::Pending));
    let depths = bare.store.depth().await.unwrap();
    assert_eq!(depths.iter().map(|depth| depth.jobs).sum::<u64>(), ALL, "a job for each");

    let output = bare.run(&[SPAN.as_slice(), &["--json"]].concat()).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["missing_files"].as_u64(), report["recorded_files"].as_u64()), (Some(0), Some(0)));
}

on_each_ground! {
    a_backfill_that_is_killed_and_run_again_leaves_neither_duplicate_nor_gap,
}

#[tokio::test]
async fn a_dry_run_says_what_is_missing_and_takes_nothing() {
    let bare = Bare::new().await;
    spread(&bare.zoom, 12);
    let output = bare.run(&[SPAN.as_slice(), &["--dry-run"]].concat()).await;
    let words = told(&output);
    assert!(output.status.success(), "{words}");
    assert!(words.contains("Zoom has 12 recordings with 12 files, 1.17 KiB"), "{words}");
    assert!(words.contains("0 files are known here; 12 are missing"), "{words}");
    assert_eq!(bare.files().await.len(), 0);

    // The days are whole ones, and the last one counts.
    let one_day = ["--from", "2026-03-05", "--to", "2026-03-05", "--json", "--dry-run"];
    let report: Value = serde_json::from_slice(&bare.run(&one_day).await.stdout).unwrap();
    assert_eq!(report["recordings"], 0, "the last of twelve began on the first of March");
}

#[tokio::test]
async fn on_a_terminal_a_bar_shows_how_far_it_is_and_elsewhere_lines_do() {
    let bare = Bare::new().await;
    spread(&bare.zoom, 12);
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut program = bare.setup.cli(&[&["backfill"], SPAN.as_slice()].concat());
    let secrets = program.secrets();
    let mut child = program.env("TERM", "xterm").spawn_on(terminal.slave).unwrap();
    // It holds the terminal too.
    drop(program);
    let shown = tokio::task::spawn_blocking(move || {
        let (mut shown, mut screen) = (Vec::new(), std::fs::File::from(terminal.master));
        // A terminal whose other side is closed ends in an error.
        let _ = screen.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    assert!(child.wait().await.unwrap().success());
    let shown = shown.await.unwrap();
    secrets.assert_none_in(&shown);
    assert!(shown.contains("12 recordings listed") && shown.contains(" of 12 recordings"), "{shown:?}");
    assert!(!shown.contains("INFO"), "no lines between: {shown:?}");

    let elsewhere = told(&bare.run(&[SPAN.as_slice(), &["--dry-run"]].concat()).await);
    assert!(elsewhere.contains("listed") && !elsewhere.contains("recordings listed"), "{elsewhere}");
}

#[tokio::test]
async fn what_was_backfilled_is_archived_by_the_service_that_runs() {
    let scene = Scene::staged(Options::default(), with_api).await;
    let expected = spread(&scene.zoom, 6);
    let output = scene.setup.cli(&[&["backfill"], SPAN.as_slice()].concat()).output().await.unwrap();
    assert!(output.status.success(), "{}", told(&output));
    scene.settled().await;
    let files = scene.files().await;
    assert_eq!(names(&files), expected);
    assert!(files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
    scene.close().await;
}

#[tokio::test]
async fn one_account_or_one_users_meetings_alone_can_be_taken() {
    let bare = Bare::new().await;
    spread(&bare.zoom, 6);
    let of_user =
        [SPAN.as_slice(), &["--user", "host@example.com", "--account", "default", "--json"]].concat();
    let report: Value = serde_json::from_slice(&bare.run(&of_user).await.stdout).unwrap();
    assert_eq!(report["recorded_files"], 3, "meetings, and no sessions");

    let output = bare.run(&[SPAN.as_slice(), &["--user", "nobody@example.com"]].concat()).await;
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let output = bare.run(&[SPAN.as_slice(), &["--account", "emea"]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("there is no account \"emea\"; there is \"default\""),
        "{}",
        told(&output)
    );
}

#[tokio::test]
async fn days_that_make_no_sense_are_wrong_usage() {
    let bare = Bare::new().await;
    for days in
        [["--from", "2026-03-05", "--to", "2026-03-04"], ["--from", "yesterday", "--to", "2026-03-04"]]
    {
        let output = bare.run(&days).await;
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    }
}

#[tokio::test]
async fn what_zoom_does_not_list_is_said_and_is_no_success() {
    let bare = Bare::new().await;
    spread(&bare.zoom, 12);
    bare.zoom.library().shorten_lists(None, Some("2026-02-01".parse().unwrap()));
    let output = bare.run(&[SPAN.as_slice(), &["--json"]].concat()).await;
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["unlisted"].as_array().map(Vec::len),
        Some(3),
        "sessions, meetings and calls: {report}"
    );
    assert!(
        report["recorded_files"].as_u64().is_some_and(|files| files > 0),
        "what is listed is taken: {report}"
    );
    let output =
        bare.setup.cli(&[&["reconcile"], SPAN.as_slice(), &["--json"]].concat()).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));

    bare.zoom.library().shorten_lists(Some(6), None);
    let output = bare.run(&[SPAN.as_slice(), &["--json"]].concat()).await;
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(bare.files().await.len(), 12, "asked for in pieces, everything is there");
}

#[tokio::test]
async fn what_zoom_lists_without_a_download_token_is_opened_by_the_bearer_of_its_api() {
    let scene = Scene::staged(Options::default(), with_api).await;
    scene.zoom.library().open_files_by_api_bearer();
    let expected = spread(&scene.zoom, 6);
    let output = scene.setup.cli(&[&["backfill"], SPAN.as_slice()].concat()).output().await.unwrap();
    assert!(output.status.success(), "{}", told(&output));
    scene.settled().await;
    let files = scene.files().await;
    assert_eq!(names(&files), expected);
    assert!(files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
    for endpoint in [Endpoint::SessionRecordings, Endpoint::MeetingRecordings] {
        assert_eq!(scene.zoom.library().api_calls(endpoint), 0, "nothing had to be asked for by itself");
    }
    scene.close().await;
}
