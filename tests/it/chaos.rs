//! Everything falls over, again and again: three workers are killed twenty times, the database and the S3 server
//! are stopped and started, each once gently and once not. In the end every file is in the bucket, once and right,
//! and nothing of it was taken for a fault of Zoom's.
//!
//! What happens when is chosen by a seed, and counted in bytes that Zoom has given out: so it is the same in every
//! run, whatever the machine's pace.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::scheduler::janitor::tidy;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{FakeFile, FakeRecording, Options};

use crate::support::place::{Bucket, Place, contents};
use crate::support::private::{PrivateMinio, PrivatePostgres};
use crate::support::program::fake_zoom;
use crate::support::s3::default_config;
use crate::support::scene::{open_store, patient_sender_to, until_settled_within};
use crate::support::service::{Log, Service, Setup, eventually};
use crate::support::split::all_files;

const MIB: u64 = 1024 * 1024;
const SEED: u64 = 20_260_101;
const FILES: u32 = 100;
const FILES_OF_A_RECORDING: usize = 4;
const WORKERS: usize = 3;
/// Times that a worker is killed: once in each outage, and in between.
const KILLS: usize = 20;
/// Time for all of it, on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(900);

/// What falls over.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// A worker.
    Worker,
    /// The database, ended by this signal, and a worker meanwhile.
    Postgres(Signal),
    /// The S3 server, ended by this signal, and a worker meanwhile.
    S3(Signal),
}

/// The outages, and kills in between, in some order.
fn blows(dice: &mut StdRng) -> Vec<Blow> {
    let mut blows = vec![
        Blow::Postgres(Signal::SIGINT),
        Blow::Postgres(Signal::SIGQUIT),
        Blow::S3(Signal::SIGTERM),
        Blow::S3(Signal::SIGKILL),
    ];
    blows.resize(KILLS, Blow::Worker);
    blows.shuffle(dice);
    blows
}

/// Files of 1 to 200 MiB, most of them small, about 1.5 GiB in all; in some order.
fn recordings(dice: &mut StdRng) -> Vec<FakeRecording> {
    let mut sizes: Vec<u64> = (0..FILES)
        .map(|number| {
            let rank = f64::from(number) / f64::from(FILES - 1);
            MIB * 200_f64.powf(rank.powi(3)).round() as u64 + u64::from(number)
        })
        .collect();
    sizes.shuffle(dice);
    let recording = |(number, sizes): (u64, &[u64])| {
        let files = (0..).zip(sizes).map(|(index, bytes)| FakeFile::generated(number * 100 + index, *bytes));
        FakeRecording::new(RecordingKind::VideoSdk, 7000 + number).with(files)
    };
    (0..).zip(sizes.chunks(FILES_OF_A_RECORDING)).map(recording).collect()
}

/// The workers, and what those before them have said.
struct Crew {
    setup: Setup,
    workers: Vec<Service>,
    logs: Vec<Log>,
}

impl Crew {
    async fn hire(setup: Setup) -> Self {
        let mut crew = Self { setup, workers: Vec::new(), logs: Vec::new() };
        for _ in 0..WORKERS {
            let worker = crew.spawn();
            crew.workers.push(worker);
        }
        crew.ready().await;
        crew
    }

    /// Starts another one. Some fetch a file as one stream and some by two ranges at once, and each has to go on
    /// with what the others leave.
    fn spawn(&mut self) -> Service {
        let ranges = 1 + self.logs.len() % 2;
        let setup = self.setup.clone().env("ZOOM_ARCHIVER_TRANSFER__RANGES_IN_FLIGHT", ranges.to_string());
        let worker = setup.spawn();
        self.logs.push(worker.log.clone());
        worker
    }

    /// Kills one, and puts another one in its place, which may have to wait for what is away.
    async fn replace(&mut self, index: usize) {
        let worker = self.spawn();
        std::mem::replace(&mut self.workers[index], worker).kill().await;
    }

    async fn ready(&self) {
        for worker in &self.workers {
            worker.ready().await;
        }
    }

    /// How often any of them has said something of this kind.
    fn has_said(&self, what: impl Fn(&Value) -> bool) -> usize {
        self.logs.iter().map(|log| log.lines().iter().filter(|line| what(line)).count()).sum()
    }

    /// Waits until one of them says something of this kind more than `before` times.
    async fn until_said(&self, what: impl Fn(&Value) -> bool, before: usize) {
        eventually("a worker notices", || async { (self.has_said(&what) > before).then_some(()) }).await;
    }
}

fn says(line: &Value, text: &str) -> bool {
    line["message"].as_str().is_some_and(|message| message.contains(text))
}

/// The database has been missed.
fn misses_the_database(line: &Value) -> bool {
    says(line, "cannot claim jobs") || says(line, "cannot extend the lease")
}

/// The archive has been missed.
fn misses_the_archive(line: &Value) -> bool {
    says(line, "job put back")
}

/// A failure was counted as an attempt.
fn counts_an_attempt(line: &Value) -> bool {
    says(line, "job will be tried again") || says(line, "job dead") || says(line, "job parked")
}

mod minio {
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs PostgreSQL and MinIO: scripts/test"]
    async fn whatever_falls_over_every_file_is_archived_once_and_right() {
        super::whatever_falls_over_every_file_is_archived_once_and_right().await;
    }
}

async fn whatever_falls_over_every_file_is_archived_once_and_right() {
    let (mut postgres, mut minio) = (PrivatePostgres::start().await, PrivateMinio::start().await);
    let mut dice = StdRng::seed_from_u64(SEED);
    let recordings = recordings(&mut dice);
    let bytes: u64 = recordings.iter().flat_map(|it| &it.files).map(|file| file.content.len()).sum();
    let zoom = fake_zoom(Options::default()).await;
    let bucket = Bucket::at(minio.client()).await;
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path())
        .env("DATABASE_URL", postgres.url())
        .env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", zoom.origin())
        .env("ZOOM_ARCHIVER_WORKER__CONCURRENCY", "3")
        // One that is counted is the end of its job.
        .env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "1")
        .env("ZOOM_ARCHIVER_TRANSFER__PART_BYTES", (5 * MIB).to_string())
        .env("ZOOM_ARCHIVER_TRANSFER__PARTS_IN_FLIGHT", "2")
        // Zoom is never at fault here, and a machine that is busy must not look as if it were.
        .env("ZOOM_ARCHIVER_TRANSFER__STALL_SECS", "60");
    let setup = bucket.point(setup, None);
    let receiver = setup.clone().roles("receiver,scheduler").start().await;
    let store = open_store(postgres.url()).await;
    let sender = patient_sender_to(&receiver);
    for recording in &recordings {
        let body = zoom.announce(recording, EventKind::Recording, Quirks::default());
        assert!(sender.deliver(&body).await.answer.is_accepted());
    }
    let mut crew = Crew::hire(setup.roles("worker")).await;

    let blows = blows(&mut dice);
    for (number, blow) in (0..).zip(&blows) {
        // Spread over the whole, each somewhere in its share of it; none after the end.
        let share = bytes / (KILLS as u64 + 1);
        let moment = number * share + dice.random_range(0..share);
        let struck = tokio::time::timeout(LIMIT, zoom.library().until(|it| it.bytes_served(None) >= moment));
        assert!(struck.await.is_ok(), "{moment} of {bytes} bytes have never been asked for");
        let victim = dice.random_range(0..WORKERS);
        match *blow {
            Blow::Worker => crew.replace(victim).await,
            Blow::Postgres(signal) => {
                let before = crew.has_said(misses_the_database);
                postgres.stop(signal).await;
                crew.until_said(misses_the_database, before).await;
                crew.replace(victim).await;
                postgres.resume().await;
            }
            Blow::S3(signal) => {
                let before = crew.has_said(misses_the_archive);
                minio.stop(signal).await;
                crew.until_said(misses_the_archive, before).await;
                crew.replace(victim).await;
                minio.resume().await;
            }
        }
        crew.ready().await;
    }

    until_settled_within(LIMIT, &store).await;
    let rows = all_files(&store).await;
    let odd: Vec<_> = rows.iter().filter(|row| row.state != FileState::Archived).collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert_eq!(rows.len(), FILES as usize);
    let counted: Vec<Value> =
        crew.logs.iter().flat_map(|log| log.lines()).filter(counts_an_attempt).collect();
    assert!(counted.is_empty(), "an outage was counted as an attempt: {counted:?}");
    // An upload that a store began just before it fell, and could not tell of any more, is nobody's: the janitor gives it up.
    let archive = bucket.server.archive(&bucket.name, "", &default_config()).await;
    tidy(&store, &archive, Duration::ZERO).await.expect("the janitor can tidy up");
    let place = Place::Bucket(bucket);
    place.assert_holds(&rows, &contents(&recordings)).await;
    let manifests: BTreeMap<_, _> = rows.iter().map(|row| (row.recording_id, row)).collect();
    for row in manifests.values() {
        let key = row.object_key.as_deref().expect("a place");
        let manifest = place.manifest_beside(key).await.expect("a manifest");
        let files = manifest["files"].as_array().expect("files");
        assert_eq!(files.len(), FILES_OF_A_RECORDING);
        assert!(files.iter().all(|file| file["state"] == "archived"), "{manifest}");
    }
    assert_eq!(zoom.library().violations(), []);
    for log in &crew.logs {
        log.assert_free_of(["eyJ", "webhook_download"]);
    }
    for service in crew.workers.into_iter().chain([receiver]) {
        let (code, log) = service.stop().await;
        assert_eq!(code, Some(0), "{}", log.text());
    }
}
