//! An hour without the bucket: the whole program, and a bucket that is really away. What moves is the clock: the rests are
//! short, and between two tries the record is moved a minute into the past, which is as good as a minute that passes. The
//! pace with the rests that serve, and a clock of its own, is tried in `src/worker/outage.rs`; what the alarms say
//! meanwhile, in `deploy/prometheus/tests.yaml`.

use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::job::JobState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::{FakeFile, FakeRecording, Options};

use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::place::{Bucket, contents};
use crate::support::postgres::PostgresDatabase;
use crate::support::s3::{Quirks, S3Server};
use crate::support::scene::{Ground, Scene};
use crate::support::service::eventually;

const FILES: u64 = 120;
const SLOTS: u64 = 8;
const MINUTES: u64 = 60;
/// What a file takes at Zoom is a tenth of a second.
const BYTES: u64 = 5_000;
const BYTES_PER_SEC: u64 = 50_000;

/// The record, behind everybody's back.
enum Record {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Record {
    async fn of(scene: &Scene) -> Self {
        let url = scene.database_url();
        match url.starts_with("postgres") {
            true => Self::Postgres(PgPool::connect(&url).await.expect("the database is there")),
            false => Self::Sqlite(SqlitePool::connect(&url).await.expect("the database is there")),
        }
    }

    async fn a_minute_passes(&self) {
        match self {
            Self::Sqlite(sql) => {
                for table in moved_by("60000") {
                    sqlx::query(AssertSqlSafe(table)).execute(sql).await.expect("the rows can be moved");
                }
            }
            Self::Postgres(sql) => {
                for table in moved_by("interval '1 minute'") {
                    sqlx::query(AssertSqlSafe(table)).execute(sql).await.expect("the rows can be moved");
                }
            }
        }
    }

    /// Jobs that have spent an attempt, or that nobody will take up by himself.
    async fn troubled(&self) -> i64 {
        let troubled =
            "SELECT count(*) FROM jobs WHERE attempts > 0 OR state IN ('dead', 'parked', 'cancelled')";
        match self {
            Self::Sqlite(sql) => sqlx::query_scalar(troubled).fetch_one(sql).await,
            Self::Postgres(sql) => sqlx::query_scalar(troubled).fetch_one(sql).await,
        }
        .expect("the jobs can be counted")
    }

    async fn close(self) {
        match self {
            Self::Sqlite(sql) => sql.close().await,
            Self::Postgres(sql) => sql.close().await,
        }
    }
}

/// What makes the rows as old as they will be in a minute.
fn moved_by(minute: &str) -> [String; 2] {
    let back = |columns: &[&str]| {
        columns.iter().map(|column| format!("{column} = {column} - {minute}")).collect::<Vec<_>>().join(", ")
    };
    let (jobs, files) = (
        back(&["run_at", "created_at", "updated_at", "loses_at"]),
        back(&["announced_at", "loses_at", "token_expires_at"]),
    );
    [format!("UPDATE jobs SET {jobs} WHERE state = 'waiting'"), format!("UPDATE files SET {files}")]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_without_the_bucket_kills_nothing_is_seen_by_the_alarms_and_ends_step_by_step() {
    an_hour_without_the_bucket(None, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn several_processes_that_find_the_bucket_back_are_no_herd() {
    let database = PostgresDatabase::create().await;
    an_hour_without_the_bucket(Some(database), 2).await;
}

/// With one process, and so many more that only work.
async fn an_hour_without_the_bucket(database: Option<PostgresDatabase>, more: usize) {
    let bucket = Bucket::at(S3Server::in_process(Quirks::default()).await).await;
    let proxy = FaultProxy::start(bucket.upstream()).await.unwrap();
    let endpoint = format!("http://{}", proxy.addr());
    let options = Options { bytes_per_sec: Some(BYTES_PER_SEC), ..Options::default() };
    let scene = Scene::staged_on(Ground::Servers { database, bucket }, options, |setup, _| {
        setup
            .env("AWS_ENDPOINT_URL_S3", endpoint)
            .env("ZOOM_ARCHIVER_WORKER__CONCURRENCY", SLOTS.to_string())
            // The first attempt that is spent is the last one.
            .env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "1")
            .env("ZOOM_ARCHIVER_ARCHIVE__S3__MAX_ATTEMPTS", "1")
    })
    .await;
    let record = Record::of(&scene).await;
    let mut others = Vec::new();
    for _ in 0..more {
        others.push(scene.setup.clone().roles("worker").start().await);
    }
    let processes = 1 + u64::try_from(more).unwrap();
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
        record.a_minute_passes().await;
        assert_eq!(record.troubled().await, 0, "after {minute} minutes");
        let running = metric("zoom_archiver_running_jobs", "transfer").await;
        assert!(running <= 1.0, "{running} at once while it is away");
    }
    let tries = asked();
    assert!(tries < processes * (SLOTS + 3 * MINUTES), "Zoom was asked {tries} times");
    // What ZoomArchiverArchiveAway and ZoomArchiverQueueStands look at; and ZoomArchiverLossNear, of tokens that last a day.
    assert_eq!(metric("zoom_archiver_worker_careful", "").await, 1.0);
    let due = metric("zoom_archiver_oldest_due_seconds", "transfer").await;
    assert!(due > 3500.0, "the oldest has been due for {due} s");
    let nearest_loss = metric("zoom_archiver_nearest_loss_seconds", "").await;
    assert!((22.0 * 3600.0..=23.0 * 3600.0).contains(&nearest_loss), "{nearest_loss}");

    // One at first in each process, and twice as many with each that has come through.
    let puts = || scene.bucket().server.count(|counts| &counts.puts);
    let (asked_before, puts_before) = (asked(), puts());
    proxy.set(Fault::Pass).await;
    eventually("all are archived", || async {
        let begun = asked() - asked_before;
        let through = puts() - puts_before;
        let allowed = processes * SLOTS.min(1 << through.min(10));
        let under_way = begun.saturating_sub(through as u64);
        assert!(under_way <= allowed, "{under_way} under way when {through} had come through");
        let files = scene.files().await;
        files.iter().all(|file| file.state == FileState::Archived).then_some(())
    })
    .await;
    scene.settled().await;
    assert_eq!(record.troubled().await, 0);
    assert_eq!(metric("zoom_archiver_jobs_total", "outcome=\"retry\"").await, 0.0);
    // Of several, one that got nothing any more has not found out (`src/worker/pace.rs` says how that ends).
    if others.is_empty() {
        assert_eq!(metric("zoom_archiver_worker_careful", "").await, 0.0);
    }
    let stood = scene.store.backlog().await.unwrap();
    assert!(stood.iter().all(|jobs| jobs.state == JobState::Waiting), "{stood:?}");
    let contents = contents(std::slice::from_ref(&recording));
    for file in scene.files().await {
        scene.assert_archived(&file, contents[&file.identity.name]).await;
    }
    record.close().await;
    for other in others {
        assert_eq!(other.stop().await.0, Some(0));
    }
    scene.close().await;
}
