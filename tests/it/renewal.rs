//! What opens a file expires while it is fetched: whatever Zoom answers then, and wherever the file goes, the same run gets a
//! fresh token, or the way from the front door, and goes on with what it has.

use http::StatusCode;
use serde_json::Value;
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::job::WaitsFor;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::ledger::Endpoint;
use zoom_archiver::simulator::library::Refusal;
use zoom_archiver::simulator::{
    ApiFault, FakeFile, FakeRecording, FakeZoom, Fault, Options, RedirectTo, When,
};
use zoom_archiver::store::{JobFilter, Order, Page};

use crate::support::place::{Place, contents};
use crate::support::scene::{Scene, open_store, with_api};
use crate::support::service::{Setup, eventually};
use crate::support::split::Split;

const MIB: u64 = 1024 * 1024;
const PART: u64 = 5 * MIB;
/// Parts, and ranges, of one file at once.
const AT_ONCE: u64 = 2;
/// So many parts that beginning anew near their end costs more than an interruption may.
const LARGE: u64 = 2 * AT_ONCE * PART + PART / 2;
const SMALL: u64 = 100_000;

/// One attempt is all there is: whoever waits or fails in between is found out.
fn in_one_attempt(setup: Setup, ranges: u64) -> Setup {
    setup
        .env("ZOOM_ARCHIVER_TRANSFER__PART_BYTES", PART.to_string())
        .env("ZOOM_ARCHIVER_TRANSFER__PARTS_IN_FLIGHT", AT_ONCE.to_string())
        .env("ZOOM_ARCHIVER_TRANSFER__RANGES_IN_FLIGHT", ranges.to_string())
        .env("ZOOM_ARCHIVER_TRANSFER__STALL_SECS", "10")
        .env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "1")
}

/// A recording of one file, on the shelf, whose download goes wrong.
fn shelved(scene: &Scene, number: u64, bytes: u64, faults: &[(Fault, When)]) -> FakeRecording {
    let recording =
        FakeRecording::new(RecordingKind::VideoSdk, number).with([FakeFile::generated(number, bytes)]);
    scene.shelve(&recording);
    for (fault, when) in faults {
        scene.zoom.library().inject(&recording.files[0].key, fault.clone(), *when);
    }
    recording
}

/// Announces it, and waits until its file is archived.
async fn arrives(scene: &Scene, recording: &FakeRecording) {
    let file = &recording.files[0];
    scene.announce(recording, EventKind::Recording).await;
    let row = eventually("the file comes to an end", || async {
        let row = scene.files().await.into_iter().find(|row| Some(&row.identity.name) == file.id.as_ref())?;
        (row.state != FileState::Pending).then_some(row)
    })
    .await;
    assert_eq!(row.state, FileState::Archived, "{:?}", row.reason);
}

/// Where its download breaks off: in its last part.
fn near_the_end(bytes: u64) -> u64 {
    bytes - 1000
}

fn served(zoom: &FakeZoom, file: &FakeFile) -> u64 {
    zoom.library().bytes_served(Some(&file.key))
}

async fn whatever_zoom_answers_midway_a_fresh_token_is_fetched(place: Place) {
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        in_one_attempt(place.point(with_api(setup, zoom)), AT_ONCE)
    })
    .await;
    let mut recordings = Vec::new();
    let refusals = [Refusal::Json, Refusal::JsonIn200, Refusal::Forbidden, Refusal::SignInPage];
    for (refusal, number) in refusals.into_iter().zip(0..) {
        scene.zoom.library().refuse_with(refusal);
        for (bytes, twice, number) in
            [(SMALL, SMALL, 70 + 2 * number), (LARGE, AT_ONCE * PART, 71 + 2 * number)]
        {
            let asked = scene.zoom.library().api_calls(Endpoint::SessionRecordings);
            let expires = Fault::ExpireAt { position: near_the_end(bytes) };
            let recording = shelved(&scene, number, bytes, &[(expires, When::First(1))]);
            arrives(&scene, &recording).await;
            let file = &recording.files[0];
            let told = format!("{refusal:?}, {bytes} bytes");
            assert_eq!(scene.zoom.library().api_calls(Endpoint::SessionRecordings), asked + 1, "{told}");
            assert!(scene.zoom.library().account(&file.key).unwrap().refused > 0, "{told}");
            let served = served(&scene.zoom, file);
            assert!(served <= bytes + twice, "{told}: {served} fetched");
            recordings.push(recording);
        }
    }
    ends(scene, &place, &recordings).await;
}

async fn ends(scene: Scene, place: &Place, recordings: &[FakeRecording]) {
    scene.settled().await;
    let rows = scene.files().await;
    assert_eq!(rows.len(), recordings.len());
    place.assert_holds(&rows, &contents(recordings)).await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_zoom_answers_midway_a_fresh_token_is_fetched_for_a_bucket() {
    whatever_zoom_answers_midway_a_fresh_token_is_fetched(Place::bucket().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_zoom_answers_midway_a_fresh_token_is_fetched_for_a_directory() {
    whatever_zoom_answers_midway_a_fresh_token_is_fetched(Place::directory()).await;
}

/// Zoom redirects to signed addresses on other hosts, which are good for a while: the next piece is asked for there, and
/// where that has expired, at the front door again. There are no credentials here: a token that was taken for expired
/// would park the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_address_that_expires_midway_is_replaced_by_way_of_the_front_door() {
    let place = Place::directory();
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        let hosts = format!("{},{}", zoom.origin(), zoom.second_origin());
        in_one_attempt(place.point(setup), 1).env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", hosts)
    })
    .await;
    let redirect = Fault::Redirect(RedirectTo::OtherOrigin);
    let expires = Fault::PassesExpireAt { position: near_the_end(LARGE) };
    let faults = [(redirect, When::Always), (expires, When::First(1))];
    let recording = shelved(&scene, 90, LARGE, &faults);
    arrives(&scene, &recording).await;
    let file = &recording.files[0];
    let statuses: Vec<_> = scene
        .zoom
        .library()
        .account(&file.key)
        .unwrap()
        .recent
        .iter()
        .map(|request| request.status)
        .collect();
    let expected = [
        StatusCode::FOUND,
        StatusCode::OK,
        StatusCode::FORBIDDEN,
        StatusCode::FOUND,
        StatusCode::PARTIAL_CONTENT,
    ];
    assert_eq!(statuses, expected.map(|status| status.as_u16()));
    assert!(served(&scene.zoom, file) <= LARGE + PART);
    // `close` asserts that the second origin saw no token.
    ends(scene, &place, &[recording]).await;
}

/// A role without the right to see the content: Zoom's API gives no download token, for sessions and for meetings.
async fn without_download_tokens(kind: RecordingKind, number: u64) -> (Scene, FakeRecording) {
    let scene =
        Scene::staged(Options::default(), |setup, zoom| in_one_attempt(with_api(setup, zoom), 1)).await;
    let recording = FakeRecording::new(kind, number).with([FakeFile::generated(number, SMALL)]);
    scene.shelve(&recording);
    let library = scene.zoom.library();
    library.inject_api(&recording, ApiFault::NoDownloadToken, When::Always);
    library.inject(&recording.files[0].key, Fault::ExpireAt { position: SMALL / 2 }, When::First(1));
    (scene, recording)
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_api_gives_no_download_token_its_own_bearer_opens_the_file() {
    for (kind, number) in [(RecordingKind::VideoSdk, 95), (RecordingKind::Meeting, 96)] {
        let (scene, recording) = without_download_tokens(kind, number).await;
        scene.zoom.library().open_files_by_api_bearer();
        arrives(&scene, &recording).await;
        scene.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apis_bearer_goes_to_no_origin_that_only_the_settings_allow() {
    for (kind, number) in [(RecordingKind::VideoSdk, 99), (RecordingKind::Meeting, 100)] {
        let scene = Scene::staged(Options::default(), |setup, zoom| {
            let hosts = format!("{},{}", zoom.origin(), zoom.second_origin());
            in_one_attempt(with_api(setup, zoom), 1).env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", hosts)
        })
        .await;
        let recording = FakeRecording::new(kind, number).with([FakeFile::generated(number, SMALL)]);
        scene.shelve(&recording);
        let library = scene.zoom.library();
        let origin = scene.zoom.second_origin();
        let fault = ApiFault::NoDownloadTokenAt { origin: origin.clone() };
        library.inject_api(&recording, fault, When::Always);
        library.open_files_by_api_bearer();
        let body = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        assert!(body.as_object_mut().unwrap().remove("download_token").is_some());
        let elsewhere = body.to_string().replace(&scene.zoom.origin(), &origin);
        assert!(scene.sender.deliver(elsewhere.as_bytes()).await.answer.is_accepted());
        let row = scene.one_file_in(FileState::Parked).await;
        let reason = row.reason.unwrap_or_default();
        assert!(reason.contains("View the recording content"), "{reason}");
        // `close` asserts that the second origin saw no token of the API.
        scene.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_that_is_refused_too_an_operator_is_told_the_right_and_a_retry_goes_on() {
    for (kind, number) in [(RecordingKind::VideoSdk, 97), (RecordingKind::Meeting, 98)] {
        let (scene, recording) = without_download_tokens(kind, number).await;
        scene.announce(&recording, EventKind::Recording).await;
        let row = scene.one_file_in(FileState::Parked).await;
        assert!(
            row.reason.as_deref().is_some_and(|reason| reason.contains("View the recording content")),
            "{row:?}"
        );
        let page = Page { after: None, order: Order::Oldest, limit: 10 };
        let jobs = scene.store.list_jobs(&JobFilter::default(), page).await.unwrap();
        let waits: Vec<_> = jobs.iter().filter_map(|job| job.waits_for).collect();
        assert_eq!(waits, [WaitsFor::Person], "{jobs:?}");

        scene.zoom.library().clear_api_faults();
        assert!(scene.store.retry(row.id).await.unwrap());
        scene.one_file_in(FileState::Archived).await;
        scene.close().await;
    }
}

/// Two processes with one app: whichever fetches an access token puts the other's out of force.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_put_each_others_access_tokens_out_of_force_park_nothing() {
    let recordings: Vec<_> = (0..12)
        .map(|number| {
            let files = [FakeFile::generated(300 + number, SMALL), FakeFile::generated(900 + number, SMALL)];
            let mut recording = FakeRecording::new(RecordingKind::Meeting, 300 + number).with(files);
            recording.start_time = "2026-02-10T10:00:00Z".parse().unwrap();
            recording
        })
        .collect();
    let split = Split::stage(Place::directory(), Options::default()).await;
    let library = split.zoom.library();
    library.keep_one_access_token();
    library.open_files_by_api_bearer();
    for recording in &recordings {
        library.add(recording);
        library.inject_api(recording, ApiFault::NoDownloadToken, When::Always);
    }
    let base = with_api(split.base.clone(), &split.zoom).env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "2");
    let backfilled = base.cli(&["migrate"]).output().await.unwrap();
    assert!(backfilled.status.success());
    let days = ["backfill", "--from", "2026-02-10", "--to", "2026-02-10"];
    let backfilled = base.cli(&days).output().await.unwrap();
    assert!(backfilled.status.success(), "{backfilled:?}");
    let other = tempfile::tempdir().unwrap();
    let workers = [
        base.clone().roles("worker,scheduler").start().await,
        base.clone()
            .env("ZOOM_ARCHIVER_DATA_DIR", other.path().display().to_string())
            .roles("worker")
            .start()
            .await,
    ];
    let store = open_store(&split.database.url).await;
    let rows = eventually("every file has come to an end", || async {
        let rows = store.files(&[], None, 100).await.unwrap();
        rows.iter().all(|row| row.state != FileState::Pending).then_some(rows)
    })
    .await;
    assert_eq!(rows.len(), 24);
    let others: Vec<_> = rows.iter().filter(|row| row.state != FileState::Archived).collect();
    assert!(others.is_empty(), "{others:?}");
    for worker in workers {
        worker.stop().await;
    }
}

/// Another program that fetches a token for the same app again and again, for as long as it lives.
fn rival(zoom: &FakeZoom) -> tokio::task::JoinHandle<()> {
    let [(_, account), (_, client), (_, secret)] = zoom.oauth_credentials();
    let url = format!("{}/oauth/token", zoom.oauth_base_url());
    tokio::spawn(async move {
        let http = reqwest::Client::new();
        loop {
            let asked = http
                .post(&url)
                .basic_auth(client, Some(secret))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(format!("grant_type=account_credentials&account_id={account}"))
                .send()
                .await;
            assert!(asked.expect("an answer").status().is_success());
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_that_takes_every_access_token_away_costs_no_attempt_and_parks_nothing() {
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        with_api(setup, zoom).env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "1")
    })
    .await;
    let library = scene.zoom.library();
    library.keep_one_access_token();
    library.open_files_by_api_bearer();
    let recordings: Vec<_> = (0..4)
        .map(|number| {
            FakeRecording::new(RecordingKind::Meeting, 400 + number)
                .with([FakeFile::generated(400 + number, SMALL)])
        })
        .collect();
    for recording in &recordings {
        library.add(recording);
        library.inject(&recording.files[0].key, Fault::ExpiredToken, When::First(1));
        library.inject_api(recording, ApiFault::NoDownloadToken, When::Always);
    }
    let rival = rival(&scene.zoom);
    for recording in &recordings {
        scene.announce(recording, EventKind::Recording).await;
    }
    eventually("a token is taken away", || async {
        (scene.service.failures("api", "superseded").await >= 1.0).then_some(())
    })
    .await;
    rival.abort();
    scene.settled().await;
    let rows = scene.files().await;
    assert_eq!(rows.len(), recordings.len());
    assert!(rows.iter().all(|row| row.state == FileState::Archived), "{rows:?}");
    scene.close().await;
}
