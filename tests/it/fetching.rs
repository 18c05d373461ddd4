//! How files are fetched: as many ranges of one at once as may be, all of them within one budget of memory, not before Zoom
//! wants to be asked again, and once more when what came is doubtful.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use http::StatusCode;
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::job::JobState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Happening, Quirks};
use zoom_archiver::simulator::ledger::Request;
use zoom_archiver::simulator::{FakeFile, FakeRecording, Fault, When};

use crate::support::place::{Bucket, Place, contents};
use crate::support::s3::{Quirks as S3Quirks, S3Server};
use crate::support::scene::{Scene, until_zoom};
use crate::support::service::{Setup, eventually};
use crate::support::split::jobs_in;

const MIB: u64 = 1024 * 1024;
const PART: u64 = 5 * MIB;

fn with_parts(setup: Setup, parts_in_flight: u64, ranges: u64) -> Setup {
    setup
        .env("ZOOM_ARCHIVER_TRANSFER__PART_BYTES", PART.to_string())
        .env("ZOOM_ARCHIVER_TRANSFER__PARTS_IN_FLIGHT", parts_in_flight.to_string())
        .env("ZOOM_ARCHIVER_TRANSFER__RANGES_IN_FLIGHT", ranges.to_string())
        // What is held back is no stall.
        .env("ZOOM_ARCHIVER_TRANSFER__STALL_SECS", "600")
}

fn files_of(bytes: u64, count: u64) -> FakeRecording {
    FakeRecording::new(RecordingKind::VideoSdk, 61)
        .with((0..count).map(|number| FakeFile::generated(610 + number, bytes)))
}

/// What has been asked for, in order.
fn requests(scene: &Scene, recording: &FakeRecording) -> Vec<Request> {
    let library = scene.zoom.library();
    let accounts = recording.files.iter().map(|file| library.account(&file.key).expect("on the shelf"));
    let mut requests: Vec<_> = accounts.flat_map(|account| account.recent).collect();
    requests.sort_by_key(|request| request.at);
    requests
}

async fn all_arrive(scene: &Scene, recording: &FakeRecording) {
    scene.settled().await;
    let rows = scene.files().await;
    assert_eq!(rows.len(), recording.files.len());
    for row in &rows {
        assert_eq!(row.state, FileState::Archived, "{:?}", row.reason);
        let file = recording.files.iter().find(|file| file.id.as_ref() == Some(&row.identity.name)).unwrap();
        scene.assert_archived(row, file.content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_ranges_of_a_file_are_open_at_once_as_may_be() {
    const RANGES: u64 = 3;
    let scene = Scene::with(|setup| with_parts(setup, 2 * RANGES, RANGES)).await;
    let recording = files_of(2 * RANGES * PART, 1);
    let key = recording.files[0].key.clone();
    scene.shelve(&recording);
    // Behind the first part, which comes alone, each waits amid its own: none of them ends before all have begun.
    for part in 1..=RANGES {
        let hold = Fault::HoldAt { position: part * PART + PART / 2 };
        scene.zoom.library().inject(&key, hold, When::First(1));
    }
    scene.announce(&recording, EventKind::Recording).await;
    until_zoom(&scene.zoom, "all ranges wait", |library| {
        library.bytes_served(Some(&key)) == PART + RANGES * PART / 2
    })
    .await;
    let asked: BTreeSet<_> =
        requests(&scene, &recording).into_iter().map(|request| request.range.unwrap()).collect();
    let range = |part| format!("bytes={}-{}", part * PART, (part + 1) * PART - 1);
    assert_eq!(asked, (0..=RANGES).map(range).collect());
    scene.zoom.library().let_go(&key);
    all_arrive(&scene, &recording).await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_one_range_at_once_is_fetched_by_one_request() {
    let scene = Scene::with(|setup| with_parts(setup, 4, 1)).await;
    let recording = files_of(4 * PART + 1, 1);
    scene.announce(&recording, EventKind::Recording).await;
    all_arrive(&scene, &recording).await;
    let asked: Vec<_> = requests(&scene, &recording).into_iter().map(|request| request.range).collect();
    assert_eq!(asked, [None]);
    let received = scene.service.metric("zoom_archiver_received_bytes_total", "").await;
    assert_eq!(received, (4 * PART + 1) as f64);
    scene.close().await;
}

/// Nothing would tell whether several ranges are of the same version of the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_validator_is_fetched_by_one_stream() {
    let scene = Scene::with(|setup| with_parts(setup, 4, 4)).await;
    let recording = files_of(4 * PART + 1, 1);
    scene.shelve(&recording);
    scene.zoom.library().inject(&recording.files[0].key, Fault::NoValidator, When::Always);
    scene.announce(&recording, EventKind::Recording).await;
    all_arrive(&scene, &recording).await;
    let asked: Vec<_> = requests(&scene, &recording).into_iter().map(|request| request.range).collect();
    // The first piece shows that there is none.
    assert_eq!((asked.len(), asked.last()), (2, Some(&None)), "{asked:?}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_at_once_share_one_budget_of_memory() {
    const FILES: u64 = 8;
    const FIT: u64 = 4;
    /// Of the process, without any part.
    const BESIDE: u64 = 64 * MIB;
    let scene = Scene::with(|setup| {
        with_parts(setup, 2, 1)
            .env("ZOOM_ARCHIVER_TRANSFER__MEMORY_BYTES", (FIT * PART).to_string())
            .env("ZOOM_ARCHIVER_WORKER__CONCURRENCY", FILES.to_string())
    })
    .await;
    let recording = files_of(2 * PART + PART / 2, FILES);
    let library = scene.zoom.library();
    scene.shelve(&recording);
    for file in &recording.files {
        library.inject(&file.key, Fault::HoldAt { position: PART / 2 }, When::First(1));
    }
    scene.announce(&recording, EventKind::Recording).await;
    eventually("all files are on their way", || async {
        (jobs_in(&scene.store, JobState::Running).await == FILES).then_some(())
    })
    .await;
    until_zoom(&scene.zoom, "as many as fit into memory wait amid a part", |library| {
        library.bytes_served(None) == FIT * PART / 2
    })
    .await;
    // The others have no connection either, which would be cut while they stand in line.
    assert_eq!(requests(&scene, &recording).len() as u64, FIT);
    let metric = |name| scene.service.metric(name, "");
    assert_eq!(metric("zoom_archiver_part_memory_bytes").await, (FIT * PART) as f64);
    assert_eq!(metric("zoom_archiver_part_memory_limit_bytes").await, (FIT * PART) as f64);
    assert_eq!(metric("zoom_archiver_parts_in_memory").await, FIT as f64);
    assert_eq!(metric("zoom_archiver_running_jobs").await, FILES as f64);
    assert!(metric("zoom_archiver_longest_run_seconds").await > 0.0);

    recording.files.iter().for_each(|file| library.let_go(&file.key));
    all_arrive(&scene, &recording).await;
    let peak = scene.service.peak_memory();
    assert!(peak < FIT * PART + BESIDE, "{} MiB", peak / MIB);
    assert_eq!(metric("zoom_archiver_part_memory_bytes").await, 0.0);
    assert_eq!(metric("zoom_archiver_parts_in_memory").await, 0.0);
    eventually("nothing runs any more", || async {
        let running =
            metric("zoom_archiver_running_jobs").await + metric("zoom_archiver_longest_run_seconds").await;
        (running == 0.0).then_some(())
    })
    .await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_asks_too_much_is_not_asked_again_before_zoom_wants_it_and_soon_after() {
    const REST: Duration = Duration::from_secs(2);
    /// Much less than rests grow to where nobody names one.
    const SOON: Duration = Duration::from_secs(10);
    let scene = Scene::with(|setup| {
        setup
            .env("ZOOM_ARCHIVER_WORKER__CONCURRENCY_PER_ACCOUNT", "1")
            .env("ZOOM_ARCHIVER_WORKER__RETRY_MAX_MS", "900000")
    })
    .await;
    let recording = files_of(1000, 2);
    scene.shelve(&recording);
    let busy = Fault::Status { code: StatusCode::TOO_MANY_REQUESTS, retry_after: Some(REST.as_secs()) };
    for file in &recording.files {
        scene.zoom.library().inject(&file.key, busy.clone(), When::First(1));
    }
    scene.announce(&recording, EventKind::Recording).await;
    all_arrive(&scene, &recording).await;
    let requests = requests(&scene, &recording);
    assert_eq!(requests.len(), 4);
    for pair in requests.windows(2).filter(|pair| pair[0].status == StatusCode::TOO_MANY_REQUESTS) {
        let rested = pair[1].at - pair[0].at;
        assert!((REST..REST + SOON).contains(&rested), "{rested:?}");
    }
    assert_eq!(scene.service.failures("zoom", "too_many").await, 2.0);
    scene.close().await;
}

/// As an archiving account's event announces it, with a digest that is not the file's.
async fn announce_with_another_digest(scene: &Scene, recording: &FakeRecording) {
    let (happening, now) = (Happening::ArchiveFilesCompleted, Clock::System.now());
    let body = scene.zoom.tell(recording, happening, Quirks::default(), now).expect("there is such an event");
    let digest = recording.files[0].content.sha256().to_string();
    let body = String::from_utf8(body).unwrap().replace(&digest, &"0".repeat(64));
    assert!(scene.sender.deliver(body.as_bytes()).await.answer.is_accepted());
}

async fn a_large_file_that_is_doubtful_twice_is_archived_once_and_marked(place: Place) {
    // To ask once more costs no attempt.
    let one_attempt = |setup: Setup| setup.env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "1");
    let scene = Scene::with(|setup| one_attempt(place.point(with_parts(setup, 2, 1)))).await;
    let recording =
        FakeRecording::new(RecordingKind::Meeting, 62).with([FakeFile::generated(620, 3 * PART + PART / 2)]);
    announce_with_another_digest(&scene, &recording).await;
    let row = scene.one_file_in(FileState::Archived).await;
    scene.settled().await;
    let mark = "suspect: its SHA-256 is not the one that Zoom announced";
    assert_eq!(row.archived.as_ref().unwrap().mark.as_deref(), Some(mark));
    assert_eq!(requests(&scene, &recording).len(), 2);
    // The upload that held it first is gone.
    place.assert_holds(&[row], &contents(std::slice::from_ref(&recording))).await;
    assert_eq!(scene.service.metric("zoom_archiver_parts_resent_total", "").await, 4.0);
    assert_eq!(scene.service.metric("zoom_archiver_suspect_files_total", "").await, 1.0);
    let listed = scene.setup.run(&["files", "list", "--suspect"]).await;
    let listed = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.contains(&format!("(marked: {mark})")), "{listed}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_is_doubtful_twice_is_in_a_bucket_once_and_marked() {
    a_large_file_that_is_doubtful_twice_is_archived_once_and_marked(Place::bucket().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_is_doubtful_twice_is_in_a_directory_once_and_marked() {
    a_large_file_that_is_doubtful_twice_is_archived_once_and_marked(Place::directory()).await;
}

/// Such as that of a run which was killed while the store still completes its upload.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_another_one_is_in_the_way_of_waits_and_costs_no_attempt() {
    // More than the archive tries by itself.
    let quirks = S3Quirks { conflicts: AtomicU32::new(6), ..S3Quirks::default() };
    let place = Place::Bucket(Bucket::at(S3Server::in_process(quirks).await).await);
    let scene = Scene::with(|setup| {
        place.point(with_parts(setup, 2, 1)).env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "1")
    })
    .await;
    let recording = files_of(2 * PART + PART / 2, 1);
    scene.announce(&recording, EventKind::Recording).await;
    scene.settled().await;
    let row = scene.files().await.remove(0);
    assert!(row.archived.as_ref().is_some_and(|archived| archived.mark.is_none()), "{row:?}");
    place.assert_holds(&[row], &contents(std::slice::from_ref(&recording))).await;
    scene.close().await;
}
