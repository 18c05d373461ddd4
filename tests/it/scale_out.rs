//! Several processes on one Postgres and one bucket, killed with real signals; databases and archives that go
//! away and come back.

use std::time::Duration;

use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use url::Url;
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::job::JobState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{self, FakeFile, FakeRecording, Options, When};
use zoom_archiver::store::SharedStore;

use crate::support::delivery::{deliver, now, status_of};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::place::{Bucket, Place, contents};
use crate::support::postgres::PostgresDatabase;
use crate::support::s3::{Quirks as S3Quirks, S3Server};
use crate::support::scene::{Scene, open_store, sender_to, until_settled, until_zoom};
use crate::support::service::{Setup, eventually};
use crate::support::split::{Split, all_files, jobs_in, slow};

const MIB: u64 = 1024 * 1024;

/// Sessions of four files; in every tenth, one of them is longer than a part.
fn sessions(count: u64) -> Vec<FakeRecording> {
    (0..count)
        .map(|number| {
            let large = if number % 10 == 0 { 9 * MIB + number } else { 3000 + number };
            let sizes = [20_000 + number, 1000, 50_000, large];
            let files =
                (0..).zip(sizes).map(|(index, bytes)| FakeFile::generated(number * 10 + index, bytes));
            FakeRecording::new(RecordingKind::VideoSdk, 1000 + number).with(files)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_announcements_and_a_killed_worker_make_each_object_once() {
    const SESSIONS: u64 = 200;
    let Split { database, place, zoom, base, .. } =
        &Split::stage(Place::bucket().await, Options::default()).await;
    let receiver = base.clone().roles("receiver").start().await;
    let worker = base.clone().roles("worker,scheduler").start().await;
    let victim = base.clone().roles("worker").start().await;
    let store = open_store(&database.url).await;

    let recordings = sessions(SESSIONS);
    let announced_thrice = recordings.iter().cycle().take(3 * recordings.len());
    let mut deliveries: Vec<(usize, &FakeRecording)> = announced_thrice.enumerate().collect();
    // Any order will do, as long as it is not theirs.
    deliveries.sort_by_key(|(number, _)| Sha256::digest(number.to_le_bytes()));
    let sender = sender_to(&receiver);
    let half = deliveries.len() / 2;
    let mut victim = Some(victim);
    for (number, (_, recording)) in deliveries.into_iter().enumerate() {
        let body = zoom.announce(recording, EventKind::Recording, Quirks::default());
        assert!(sender.deliver(&body).await.answer.is_accepted());
        if number == half
            && let Some(victim) = victim.take()
        {
            eventually("the victim works", || async {
                (victim.metric("zoom_archiver_jobs_total", "done").await > 0.0).then_some(())
            })
            .await;
            victim.kill().await;
        }
    }
    until_settled(&store).await;

    let rows = all_files(&store).await;
    assert_eq!(rows.len() as u64, SESSIONS * 4);
    assert!(rows.iter().all(|row| row.state == FileState::Archived));
    place.assert_holds(&rows, &contents(&recordings)).await;
    assert_eq!(jobs_in(&store, JobState::Running).await, 0);
    assert_eq!(jobs_in(&store, JobState::Dead).await, 0);
    assert_eq!(zoom.library().violations(), []);
    for service in [receiver, worker] {
        let (code, log) = service.stop().await;
        assert_eq!(code, Some(0));
        log.assert_free_of(["eyJ", "webhook_download"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_jobs_go_on_elsewhere() {
    let Split { database, place, zoom, base, .. } = &Split::stage(Place::bucket().await, slow()).await;
    let receiver = base.clone().roles("receiver,scheduler").start().await;
    let victim = base.clone().roles("worker").start().await;
    let store = open_store(&database.url).await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 1).with([FakeFile::generated(1, 30 * MIB)]);
    let key = recording.files[0].key.clone();
    let body = zoom.announce(&recording, EventKind::Recording, Quirks::default());
    assert!(sender_to(&receiver).deliver(&body).await.answer.is_accepted());
    // An upload of several parts is under way.
    until_zoom(zoom, "the first part is served", |library| {
        library.account(&key).is_some_and(|account| account.requests > 0)
    })
    .await;
    eventually("an upload has begun", || async {
        let key = all_files(&store).await.pop()?.object_key?;
        (!place.unfinished(&key).await.is_empty()).then_some(())
    })
    .await;
    victim.kill().await;
    let heir = base.clone().roles("worker").start().await;
    until_settled(&store).await;
    let rows = all_files(&store).await;
    assert_eq!(rows[0].state, FileState::Archived);
    place.assert_holds(&rows, &contents(&[recording])).await;
    assert!(receiver.metric("zoom_archiver_leases_expired_total", "waiting").await >= 1.0);
    heir.stop().await;
    receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_lease_writes_nothing_more() {
    let Split { database, place, zoom, base, .. } = &Split::stage(Place::bucket().await, slow()).await;
    let receiver = base.clone().roles("receiver,scheduler").start().await;
    let sleeper = base.clone().roles("worker").start().await;
    let store = open_store(&database.url).await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 2).with([FakeFile::generated(2, 30 * MIB)]);
    let body = zoom.announce(&recording, EventKind::Recording, Quirks::default());
    assert!(sender_to(&receiver).deliver(&body).await.answer.is_accepted());
    eventually("the sleeper works", || async {
        (jobs_in(&store, JobState::Running).await > 0).then_some(())
    })
    .await;
    database.put_to_sleep(&sleeper).await;
    let heir = base.clone().roles("worker").start().await;
    until_settled(&store).await;
    let archived = all_files(&store).await;
    sleeper.signal(Signal::SIGCONT);
    sleeper
        .log
        .wait_for(|line| line["message"].as_str().is_some_and(|it| it.contains("lease is lost")))
        .await;
    assert!(sleeper.metric("zoom_archiver_leases_lost_total", "").await >= 1.0);
    until_settled(&store).await;
    let rows = all_files(&store).await;
    assert_eq!(rows[0].archived, archived[0].archived, "what the heir wrote stands");
    place.assert_holds(&rows, &contents(&[recording])).await;
    for service in [heir, receiver, sleeper] {
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_database_that_is_away_is_answered_503_within_three_seconds() {
    let database = PostgresDatabase::create().await;
    let mut url = Url::parse(database.url().expose_secret()).unwrap();
    let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let proxy = FaultProxy::start(upstream).await.unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.addr().port())).unwrap();
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path()).env("DATABASE_URL", url.as_str()).roles("receiver");
    let service = setup.start().await;
    let url = service.webhook();
    let body = r#"{"event":"recording.completed","payload":{"object":{"uuid":"u","recording_files":[]}}}"#;
    assert_eq!(status_of(&url, body).await, 200);
    for fault in [Fault::Refuse, Fault::BlackHole] {
        proxy.set(fault).await;
        proxy.drop_all();
        let asked = tokio::time::Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(20), deliver(&url, body)).await.unwrap();
        let taken = asked.elapsed();
        assert_eq!(answer.status(), 503);
        // The promise is about time, so time is what is looked at.
        assert!(taken < Duration::from_secs(3), "{taken:?}");
        proxy.set(Fault::Pass).await;
        eventually("it is back", || async { (status_of(&url, body).await == 200).then_some(()) }).await;
    }
    let (code, _) = service.stop().await;
    assert_eq!(code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_away_costs_no_attempt() {
    let bucket = Bucket::new().await;
    let proxy = FaultProxy::start(bucket.upstream()).await.unwrap();
    let endpoint = format!("http://{}", proxy.addr());
    let scene = Scene::with(|setup| {
        bucket.point(setup, Some(endpoint)).env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "2")
    })
    .await;
    proxy.set(Fault::Refuse).await;
    proxy.drop_all();
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 3).with([FakeFile::generated(3, 20 * MIB)]);
    scene.announce(&recording, EventKind::Recording).await;
    eventually("it has been put back several times", || async {
        (scene.service.metric("zoom_archiver_jobs_total", "snooze").await >= 4.0).then_some(())
    })
    .await;
    let waiting = scene.files().await.remove(0);
    assert_eq!(waiting.state, FileState::Pending);
    assert!(waiting.reason.unwrap().contains("archive is not available"));
    assert!(scene.service.failures("archive", "unavailable").await >= 4.0);
    proxy.set(Fault::Pass).await;
    let file = scene.one_file_in(FileState::Archived).await;
    scene.settled().await;
    Place::Bucket(bucket).assert_holds(&[file], &contents(&[recording])).await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_alters_what_it_is_given_is_counted_as_that_and_never_believed() {
    let quirks = S3Quirks { corrupts: true, ..S3Quirks::default() };
    let bucket = Bucket::at(S3Server::in_process(quirks).await).await;
    let scene =
        Scene::with(|setup| bucket.point(setup, None).env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "2")).await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 8).with([FakeFile::generated(8, 1000)]);
    scene.announce(&recording, EventKind::Recording).await;
    scene.one_file_in(FileState::Dead).await;
    assert_eq!(scene.service.failures("archive", "mismatch").await, 2.0);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_away_does_not_make_every_waiting_job_ask_zoom() {
    const FILES: u64 = 60;
    const AT_ONCE: u64 = 8;
    const TRIES: u64 = 3;
    let bucket = Bucket::new().await;
    let upstream = bucket.server.access().endpoint.replace("http://", "");
    let proxy = FaultProxy::start(upstream).await.unwrap();
    let endpoint = format!("http://{}", proxy.addr());
    let scene = Scene::with(|setup| {
        bucket
            .point(setup, Some(endpoint))
            .env("ZOOM_ARCHIVER_WORKER__CONCURRENCY", AT_ONCE.to_string())
            .env("ZOOM_ARCHIVER_WORKER__RETRY_BASE_MS", "500")
            .env("ZOOM_ARCHIVER_WORKER__RETRY_MAX_MS", "10000")
    })
    .await;
    proxy.set(Fault::Refuse).await;
    proxy.drop_all();
    let files = (0..FILES).map(|number| FakeFile::generated(number, 10_000 + number));
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 5).with(files);
    scene.announce(&recording, EventKind::Recording).await;
    let asked = || -> u64 {
        let account = |file: &FakeFile| scene.zoom.library().account(&file.key);
        recording.files.iter().filter_map(account).map(|account| account.requests).sum()
    };
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let outages = (AT_ONCE + TRIES) as f64;
    eventually("the outage is met again and again", || async {
        (scene.service.metric("zoom_archiver_jobs_total", "snooze").await >= outages).then_some(())
    })
    .await;
    assert!(asked() <= AT_ONCE + TRIES + 1, "Zoom was asked {} times", asked());
    assert_eq!(scene.service.metric("zoom_archiver_worker_careful", "").await, 1.0);

    proxy.set(Fault::Pass).await;
    scene.settled().await;
    let rows = scene.files().await;
    assert!(rows.iter().all(|row| row.state == FileState::Archived));
    Place::Bucket(bucket).assert_holds(&rows, &contents(std::slice::from_ref(&recording))).await;
    assert_eq!(scene.service.metric("zoom_archiver_worker_careful", "").await, 0.0);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gibibytes_stay_within_the_memory_budget() {
    const BYTES: u64 = 2048 * MIB;
    const BUDGET: u64 = 64 * MIB;
    let mut into: Vec<Option<Bucket>> = vec![None];
    // The server in this process would hold it in memory.
    if std::env::var_os("TEST_S3_ENDPOINT").is_some() {
        into.push(Some(Bucket::new().await));
    }
    for bucket in into {
        let scene = Scene::with(|setup| match &bucket {
            Some(bucket) => bucket.point(setup, None),
            None => setup,
        })
        .await;
        let recording = FakeRecording::new(RecordingKind::VideoSdk, 9).with([FakeFile::generated(9, BYTES)]);
        scene.announce(&recording, EventKind::Recording).await;
        let file = scene.one_file_in(FileState::Archived).await;
        scene.settled().await;
        assert_eq!(file.archived.unwrap().bytes, BYTES);
        let peak = scene.service.peak_memory();
        assert!(peak < BUDGET, "{} MiB", peak / MIB);
        scene.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_list_uploads_is_archived_into_all_the_same() {
    let quirks = S3Quirks { lists_no_uploads: true, ..S3Quirks::default() };
    let bucket = Bucket::at(S3Server::in_process(quirks).await).await;
    let scene = Scene::with(|setup| bucket.point(setup, None)).await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 6).with([FakeFile::generated(6, 20 * MIB)]);
    scene.shelve(&recording);
    let cut = simulator::Fault::Cut { after: 10 * MIB };
    scene.zoom.library().inject(&recording.files[0].key, cut, When::First(1));
    scene.announce(&recording, EventKind::Recording).await;
    let file = scene.one_file_in(FileState::Archived).await;
    scene.settled().await;
    assert_eq!(file.archived.unwrap().sha256, recording.files[0].content.sha256());
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doors_open_although_the_archive_is_away() {
    let bucket = Bucket::new().await;
    let proxy = FaultProxy::start(bucket.upstream()).await.unwrap();
    proxy.set(Fault::BlackHole).await;
    let data = tempfile::tempdir().unwrap();
    let setup = bucket
        .point(Setup::new(data.path()), Some(format!("http://{}", proxy.addr())))
        .env("ZOOM_ARCHIVER_ARCHIVE__S3__ATTEMPT_TIMEOUT_MS", "600000");
    let service = setup.start().await;
    let body = r#"{"event":"recording.completed","payload":{"object":{"uuid":"u","recording_files":[]}}}"#;
    assert_eq!(status_of(&service.webhook(), body).await, 200);
    proxy.set(Fault::Refuse).await;
    proxy.drop_all();
    let told = |line: &serde_json::Value| line["level"] == "WARN" && line["doctor.subject"] == "archive";
    service.log.wait_for(told).await;
    let (code, _) = service.stop().await;
    assert_eq!(code, Some(0));
}

/// A file that takes some seconds to carry.
fn slow_scene_file() -> (Options, FakeRecording) {
    let options = Options { bytes_per_sec: Some(MIB), ..Options::default() };
    (options, FakeRecording::new(RecordingKind::VideoSdk, 4).with([FakeFile::generated(4, 3 * MIB)]))
}

async fn is_running(store: &SharedStore) {
    eventually("a job runs", || async { (jobs_in(store, JobState::Running).await > 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_signal_puts_running_jobs_back_and_the_next_start_goes_on() {
    let (options, recording) = slow_scene_file();
    let mut scene = Scene::staged(options, |setup, _| setup).await;
    scene.announce(&recording, EventKind::Recording).await;
    is_running(&scene.store).await;
    let data = scene.setup.clone();
    let (code, _) = scene.service.stop().await;
    assert_eq!(code, Some(0));
    assert_eq!(jobs_in(&scene.store, JobState::Waiting).await, 1);
    scene.service = data.start().await;
    let file = scene.one_file_in(FileState::Archived).await;
    scene.assert_archived(&file, recording.files[0].content).await;
    scene.settled().await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_signal_ends_at_once() {
    let (options, recording) = slow_scene_file();
    let mut scene =
        Scene::staged(options, |setup, _| setup.env("ZOOM_ARCHIVER_HTTP__BODY_TIMEOUT_MS", "60000")).await;
    scene.announce(&recording, EventKind::Recording).await;
    is_running(&scene.store).await;
    // A request that does not end holds up the soft stop for a while.
    let mut half = TcpStream::connect(scene.service.public_addr()).await.unwrap();
    let head = format!(
        "POST /webhooks/zoom HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nx-zm-request-timestamp: {}\r\n\
         x-zm-signature: v0={}\r\n\r\nhalf",
        now(),
        "0".repeat(64)
    );
    half.write_all(head.as_bytes()).await.unwrap();
    scene.service.signal(Signal::SIGTERM);
    scene.service.log.wait_for(|line| line["signal"] == "SIGTERM").await;
    scene.service.signal(Signal::SIGINT);
    let (code, _) = scene.service.ended().await;
    assert_eq!(code, Some(130));
    scene.service = scene.setup.start().await;
    let file = scene.one_file_in(FileState::Archived).await;
    scene.assert_archived(&file, recording.files[0].content).await;
    scene.settled().await;
    scene.close().await;
}
