//! An hour without the bucket: the whole program, and a bucket that is really away. What moves is the clock: the rests are
//! short, and between two tries the record is moved a minute into the past, which is as good as a minute that passes. The
//! pace with the rests that serve, and a clock of its own, is tried in `src/worker/outage.rs`; what the alarms say
//! meanwhile, in `deploy/prometheus/tests.yaml`.

use sqlx::SqlitePool;
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::job::JobState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::{FakeFile, FakeRecording, Options};

use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::place::{Bucket, Place, contents};
use crate::support::s3::{Quirks, S3Server};
use crate::support::scene::Scene;
use crate::support::service::eventually;

const FILES: u64 = 120;
const SLOTS: u64 = 8;
const MINUTES: u64 = 60;
/// What a file takes at Zoom is a tenth of a second.
const BYTES: u64 = 5_000;
const BYTES_PER_SEC: u64 = 50_000;

async fn a_minute_passes(sql: &SqlitePool) {
    for moved in [
        "UPDATE jobs SET run_at = run_at - 60000, created_at = created_at - 60000, updated_at = updated_at - 60000,
            loses_at = loses_at - 60000
         WHERE state = 'waiting'",
        "UPDATE files SET announced_at = announced_at - 60000, loses_at = loses_at - 60000,
            token_expires_at = token_expires_at - 60000",
    ] {
        sqlx::query(moved).execute(sql).await.expect("the rows can be moved");
    }
}

/// Jobs that have spent an attempt, or that nobody will take up by himself.
async fn troubled(sql: &SqlitePool) -> i64 {
    let troubled = "SELECT count(*) FROM jobs WHERE attempts > 0 OR state IN ('dead', 'parked', 'cancelled')";
    sqlx::query_scalar(troubled).fetch_one(sql).await.expect("the jobs can be counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_without_the_bucket_kills_nothing_is_seen_by_the_alarms_and_ends_step_by_step() {
    let bucket = Bucket::at(S3Server::in_process(Quirks::default()).await).await;
    let proxy = FaultProxy::start(bucket.upstream()).await.unwrap();
    let endpoint = format!("http://{}", proxy.addr());
    let options = Options { bytes_per_sec: Some(BYTES_PER_SEC), ..Options::default() };
    let scene = Scene::staged(options, |setup, _| {
        bucket
            .point(setup, Some(endpoint))
            .env("ZOOM_ARCHIVER_WORKER__CONCURRENCY", SLOTS.to_string())
            // The first attempt that is spent is the last one.
            .env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "1")
            .env("ZOOM_ARCHIVER_ARCHIVE__S3__MAX_ATTEMPTS", "1")
    })
    .await;
    let path = scene.data.path().join("zoom-archiver.db");
    let sql = SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let metric = |name: &'static str, label: &'static str| scene.service.metric(name, label);
    let snoozed = || metric("zoom_archiver_jobs_total", "outcome=\"snooze\"");

    proxy.set(Fault::Refuse).await;
    proxy.drop_all();
    let files = (0..FILES).map(|number| FakeFile::generated(number, BYTES));
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 5).with(files);
    scene.announce(&recording, EventKind::Recording).await;
    let asked = || -> u64 {
        let account = |file: &FakeFile| scene.zoom.library().account(&file.key);
        recording.files.iter().filter_map(account).map(|account| account.requests).sum()
    };
    // Those that were under way when it began are one wave.
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let first_wave = SLOTS as f64;
    eventually("the first ones come back", || async { (snoozed().await >= first_wave).then_some(()) }).await;
    for minute in 0..MINUTES {
        let before = snoozed().await;
        eventually("it is tried again", || async { (snoozed().await > before).then_some(()) }).await;
        a_minute_passes(&sql).await;
        assert_eq!(troubled(&sql).await, 0, "after {minute} minutes");
        let running = metric("zoom_archiver_running_jobs", "transfer").await;
        assert!(running <= 1.0, "{running} at once while it is away");
    }
    let tries = asked();
    assert!(tries < SLOTS + 3 * MINUTES, "Zoom was asked {tries} times");
    // What ZoomArchiverArchiveAway and ZoomArchiverQueueStands look at; and ZoomArchiverLossNear, of tokens that last a day.
    assert_eq!(metric("zoom_archiver_worker_careful", "").await, 1.0);
    let due = metric("zoom_archiver_oldest_due_seconds", "transfer").await;
    assert!(due > 3500.0, "the oldest has been due for {due} s");
    let nearest_loss = metric("zoom_archiver_nearest_loss_seconds", "").await;
    assert!((22.0 * 3600.0..=23.0 * 3600.0).contains(&nearest_loss), "{nearest_loss}");

    // One at first, and twice as many with each that has come through.
    let (asked_before, puts_before) = (asked(), bucket.server.count(|counts| &counts.puts));
    proxy.set(Fault::Pass).await;
    eventually("all are archived", || async {
        let begun = asked() - asked_before;
        let through = bucket.server.count(|counts| &counts.puts) - puts_before;
        let allowed = SLOTS.min(1 << through.min(10));
        let under_way = begun.saturating_sub(through as u64);
        assert!(under_way <= allowed, "{under_way} under way when {through} had come through");
        let files = scene.files().await;
        files.iter().all(|file| file.state == FileState::Archived).then_some(())
    })
    .await;
    scene.settled().await;
    assert_eq!(troubled(&sql).await, 0);
    assert_eq!(metric("zoom_archiver_jobs_total", "outcome=\"retry\"").await, 0.0);
    assert_eq!(metric("zoom_archiver_worker_careful", "").await, 0.0);
    let stood = scene.store.backlog().await.unwrap();
    assert!(stood.iter().all(|jobs| jobs.state == JobState::Waiting), "{stood:?}");
    let rows = scene.files().await;
    Place::Bucket(bucket).assert_holds(&rows, &contents(std::slice::from_ref(&recording))).await;
    sql.close().await;
    scene.close().await;
}
