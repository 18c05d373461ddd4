//! A transfer that is interrupted from outside: its worker is killed, stopped or put to sleep, the archive loses
//! what has been sent or the answer to it, the file changes at Zoom. It goes on where it was, on another worker,
//! or begins anew where it must; it never costs an attempt that was not Zoom's fault, and never mixes two files.

mod kept;
mod late;

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use serde_json::Value;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{Content, FakeFile, FakeRecording, Fault, Options, When};
use zoom_archiver::store::SharedStore;

use crate::support::fault_proxy::{self, FaultProxy};
use crate::support::place::Place;
use crate::support::scene::{open_store, patient_sender_to, until_settled, until_zoom};
use crate::support::service::{Service, Setup, eventually};
use crate::support::split::{Split, all_files};

const MIB: u64 = 1024 * 1024;
const PART: u64 = 5 * MIB;
/// Six parts and a half.
const FILE: u64 = 6 * PART + PART / 2 + 7;
/// Bytes after which something happens: beginning anew would cost more than any interruption may.
const MIDWAY: u64 = 4 * PART + PART / 2;
/// How fast each answer of Zoom's comes: so slowly that the network holds next to nothing of what counts as served,
/// and that who wakes up finds another one at work.
const BYTES_PER_SEC: u64 = 10 * MIB;
/// What the network may hold for a process that sleeps: the buffers of a connection at both ends, which the kernel
/// lets grow to 4 and 6 MiB.
const IN_THE_NETWORK: u64 = 10 * MIB;

/// One file on its way, in the hands of a worker that something can be done to.
struct Transfer {
    split: Split,
    store: SharedStore,
    receiver: Service,
    recording: FakeRecording,
    parts: u64,
}

impl Transfer {
    /// Sets the scene; the file is announced, and nobody works yet. The first connection that comes so far is held
    /// midway, so that there is time to do something.
    async fn stage(place: Place, ranges: u64) -> Self {
        Self::set(place, ranges, Some(BYTES_PER_SEC), Some(Fault::StallAt { position: MIDWAY })).await
    }

    /// The same, with nothing that holds it.
    async fn flowing(place: Place, ranges: u64, bytes_per_sec: Option<u64>) -> Self {
        Self::set(place, ranges, bytes_per_sec, None).await
    }

    async fn set(place: Place, ranges: u64, bytes_per_sec: Option<u64>, fault: Option<Fault>) -> Self {
        let split = Split::stage(place, Options { bytes_per_sec, ..Options::default() }).await;
        Self::of(split, FILE, ranges, fault).await
    }

    /// The same for a file of so many bytes, between parts that are there already.
    async fn of(mut split: Split, bytes: u64, ranges: u64, fault: Option<Fault>) -> Self {
        let parts = ranges.max(2);
        split.base = split
            .base
            .env("ZOOM_ARCHIVER_TRANSFER__PART_BYTES", PART.to_string())
            .env("ZOOM_ARCHIVER_TRANSFER__PARTS_IN_FLIGHT", parts.to_string())
            .env("ZOOM_ARCHIVER_TRANSFER__RANGES_IN_FLIGHT", ranges.to_string())
            // Longer than anything takes that is done midway.
            .env("ZOOM_ARCHIVER_TRANSFER__STALL_SECS", "60")
            .env("ZOOM_ARCHIVER_STORE__ACQUIRE_TIMEOUT_MS", "20000");
        let receiver = split.base.clone().roles("receiver,scheduler").start().await;
        let store = open_store(&split.database.url).await;
        let file = FakeFile::generated(31, bytes);
        let recording = FakeRecording::new(RecordingKind::VideoSdk, 31).with([file]);
        split.zoom.library().add(&recording);
        if let Some(fault) = fault {
            split.zoom.library().inject(&recording.files[0].key, fault, When::First(1));
        }
        let body = split.zoom.announce(&recording, EventKind::Recording, Quirks::default());
        assert!(patient_sender_to(&receiver).deliver(&body).await.answer.is_accepted());
        Self { split, store, receiver, recording, parts }
    }

    /// How a worker is started. None of its failures may be counted as an attempt: there is but one.
    fn worker(&self) -> Setup {
        self.patient_worker().env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "1")
    }

    /// How a worker is started that may try again.
    fn patient_worker(&self) -> Setup {
        self.split.base.clone().roles("worker")
    }

    fn key_at_zoom(&self) -> &str {
        &self.recording.files[0].key
    }

    fn content(&self) -> Content {
        self.recording.files[0].content
    }

    fn bytes_served(&self) -> u64 {
        self.split.zoom.library().bytes_served(Some(self.key_at_zoom()))
    }

    /// Waits until so much of the file has been asked for.
    async fn served(&self, bytes: u64) {
        let key = self.key_at_zoom();
        until_zoom(&self.split.zoom, "enough of the file is served", |library| {
            library.bytes_served(Some(key)) >= bytes
        })
        .await;
    }

    /// Waits until the file is on its way, well before its end; returns the key of its object to be.
    async fn is_midway(&self) -> String {
        self.served(MIDWAY).await;
        let key = eventually("it has a place", || async { self.row().await.object_key }).await;
        eventually("an upload has begun", || async {
            (!self.split.place.unfinished(&key).await.is_empty()).then_some(())
        })
        .await;
        assert!(self.split.place.bytes(&key).await.is_none(), "it is there already");
        key
    }

    async fn row(&self) -> FileRow {
        all_files(&self.store).await.pop().expect("it is recorded")
    }

    /// Waits for the end, and asserts that the archive holds just `content`.
    async fn arrives(&self, content: Content) -> FileRow {
        until_settled(&self.store).await;
        let row = self.row().await;
        assert_eq!(row.state, FileState::Archived, "{:?}", row.reason);
        let contents = BTreeMap::from([(row.identity.name.clone(), content)]);
        self.split.place.assert_holds(std::slice::from_ref(&row), &contents).await;
        assert_eq!(self.split.zoom.library().violations(), []);
        row
    }

    /// Asserts that one interruption cost no more than the parts that were in memory.
    fn assert_little_twice(&self, in_the_network: u64) {
        let twice = self.bytes_served().saturating_sub(FILE);
        let allowed = self.parts * PART + in_the_network;
        assert!(twice <= allowed, "{twice} bytes fetched twice, {allowed} allowed");
    }

    async fn end(self, workers: impl IntoIterator<Item = Service>) {
        for service in workers.into_iter().chain([self.receiver]) {
            let (code, log) = service.stop().await;
            assert_eq!(code, Some(0), "{}", log.text());
            log.assert_free_of(["eyJ", "webhook_download"]);
        }
    }
}

/// Other content of the same length.
fn other_content() -> Content {
    Content::Generated { seed: 32, bytes: FILE }
}

async fn a_killed_workers_transfer_goes_on_where_it_was(place: Place, ranges: u64) {
    let transfer = Transfer::stage(place, ranges).await;
    let victim = transfer.worker().start().await;
    transfer.is_midway().await;
    victim.kill().await;
    let heir = transfer.worker().start().await;
    transfer.arrives(transfer.content()).await;
    transfer.assert_little_twice(0);
    transfer.end([heir]).await;
}

async fn a_stopped_workers_transfer_goes_on_where_it_was(place: Place, ranges: u64) {
    let transfer = Transfer::stage(place, ranges).await;
    let worker = transfer.worker().start().await;
    transfer.is_midway().await;
    let (code, log) = worker.stop().await;
    assert_eq!(code, Some(0), "{}", log.text());
    let row = transfer.row().await;
    assert_eq!((row.state, row.reason), (FileState::Pending, None));
    let heir = transfer.worker().start().await;
    transfer.arrives(transfer.content()).await;
    transfer.assert_little_twice(0);
    transfer.end([heir]).await;
}

async fn an_upload_that_the_archive_has_lost_begins_anew(place: Place, ranges: u64) {
    let transfer = Transfer::stage(place, ranges).await;
    let victim = transfer.patient_worker().start().await;
    let key = transfer.is_midway().await;
    victim.kill().await;
    assert!(transfer.split.place.lose_unfinished(&key).await > 0);
    let heir = transfer.patient_worker().start().await;
    transfer.arrives(transfer.content()).await;
    transfer.end([heir]).await;
}

/// What has lost or changed what it had confirmed is not built upon: MinIO, killed while it completes an upload,
/// leaves one that still takes parts and cannot be completed any more.
async fn an_upload_that_is_not_what_was_confirmed_is_given_up_for_another(place: Place, ranges: u64) {
    let transfer = Transfer::stage(place, ranges).await;
    let victim = transfer.worker().start().await;
    let key = transfer.is_midway().await;
    let before = transfer.split.place.unfinished(&key).await;
    victim.kill().await;
    assert_eq!(transfer.split.place.spoil_unfinished(&key).await, 1);
    let zoom = transfer.split.zoom.library();
    zoom.inject(transfer.key_at_zoom(), Fault::StallAt { position: MIDWAY }, When::First(1));
    let asked = transfer.bytes_served();
    let heir = transfer.worker().start().await;
    transfer.served(asked + MIDWAY).await;
    let after = eventually("another upload", || async {
        let after = transfer.split.place.unfinished(&key).await;
        (after.len() == 1 && after != before).then_some(after)
    })
    .await;
    assert_ne!(after, before);
    heir.kill().await;
    let last = transfer.worker().start().await;
    transfer.arrives(transfer.content()).await;
    transfer.end([last]).await;
}

async fn content_that_was_replaced_meanwhile_is_archived_whole(place: Place, ranges: u64) {
    let transfer = Transfer::stage(place, ranges).await;
    let victim = transfer.patient_worker().start().await;
    transfer.is_midway().await;
    victim.kill().await;
    transfer.split.zoom.library().replace_content(transfer.key_at_zoom(), other_content());
    let heir = transfer.patient_worker().start().await;
    transfer.arrives(other_content()).await;
    transfer.end([heir]).await;
}

/// Answers that have begun bring the old content to their end, so either of the two may arrive.
async fn content_that_changes_while_it_is_fetched_is_never_mixed(place: Place, ranges: u64) {
    let transfer = Transfer::flowing(place, ranges, Some(BYTES_PER_SEC)).await;
    let worker = transfer.patient_worker().start().await;
    transfer.is_midway().await;
    transfer.split.zoom.library().replace_content(transfer.key_at_zoom(), other_content());
    until_settled(&transfer.store).await;
    let sha256 = transfer.row().await.archived.expect("it is archived").sha256;
    let is_old = sha256 == transfer.content().sha256();
    transfer.arrives(if is_old { transfer.content() } else { other_content() }).await;
    transfer.end([worker]).await;
}

async fn a_worker_that_slept_past_its_lease_does_not_disturb_its_heir(place: Place, ranges: u64) {
    let transfer = Transfer::stage(place, ranges).await;
    let sleeper = transfer.worker().start().await;
    transfer.is_midway().await;
    transfer.split.database.put_to_sleep(&sleeper).await;
    let requests = || transfer.split.zoom.library().account(transfer.key_at_zoom()).unwrap().requests;
    let before = requests();
    let heir = transfer.worker().start().await;
    until_zoom(&transfer.split.zoom, "the heir has begun", |_| requests() > before).await;
    sleeper.signal(Signal::SIGCONT);
    says_that_its_lease_is_lost(&sleeper).await;
    transfer.arrives(transfer.content()).await;
    // A stream goes on into the network while its reader sleeps; a range ends, and at most another one is asked for
    // by who wakes up and does not know yet that all is over.
    transfer.assert_little_twice(if ranges == 1 { IN_THE_NETWORK } else { PART });
    transfer.end([sleeper, heir]).await;
}

async fn says_that_its_lease_is_lost(worker: &Service) {
    let says_so = |line: &Value| line["message"].as_str().is_some_and(|it| it.contains("lease is lost"));
    worker.log.wait_for(says_so).await;
}

/// Makes a test of each sentence, an `async fn(Place, u64)`, for a way into the archive and a number of ranges
/// fetched at once.
macro_rules! on {
    ($name:ident, $place:expr, $ranges:literal, $($sentence:ident),* $(,)?) => {
        mod $name {
            use super::Place;

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $sentence() {
                    super::$sentence($place, $ranges).await;
                }
            )*
        }
    };
}

on!(
    into_a_bucket_by_several_ranges,
    Place::bucket().await,
    3,
    a_killed_workers_transfer_goes_on_where_it_was,
    a_stopped_workers_transfer_goes_on_where_it_was,
    an_upload_that_the_archive_has_lost_begins_anew,
    an_upload_that_is_not_what_was_confirmed_is_given_up_for_another,
    content_that_was_replaced_meanwhile_is_archived_whole,
    content_that_changes_while_it_is_fetched_is_never_mixed,
    a_worker_that_slept_past_its_lease_does_not_disturb_its_heir,
);

on!(
    into_a_directory,
    Place::directory(),
    1,
    a_killed_workers_transfer_goes_on_where_it_was,
    a_stopped_workers_transfer_goes_on_where_it_was,
    an_upload_that_the_archive_has_lost_begins_anew,
    an_upload_that_is_not_what_was_confirmed_is_given_up_for_another,
    content_that_was_replaced_meanwhile_is_archived_whole,
    content_that_changes_while_it_is_fetched_is_never_mixed,
    a_worker_that_slept_past_its_lease_does_not_disturb_its_heir,
);

on!(
    into_a_bucket,
    Place::bucket().await,
    1,
    a_killed_workers_transfer_goes_on_where_it_was,
    a_worker_that_slept_past_its_lease_does_not_disturb_its_heir,
);

on!(
    into_a_directory_by_several_ranges,
    Place::directory(),
    3,
    a_killed_workers_transfer_goes_on_where_it_was,
    a_worker_that_slept_past_its_lease_does_not_disturb_its_heir,
);

/// A bucket, and a proxy before its server.
async fn proxied_bucket() -> (Place, FaultProxy) {
    let place = Place::bucket().await;
    let Place::Bucket(bucket) = &place else { panic!("it is a bucket") };
    let proxy = FaultProxy::start(bucket.upstream()).await.unwrap();
    (place, proxy)
}

fn through(setup: Setup, proxy: &FaultProxy) -> Setup {
    setup.env("AWS_ENDPOINT_URL_S3", format!("http://{}", proxy.addr()))
}

/// Once: the client asks again by itself. Three times: it gives up, and the next run finds out.
#[tokio::test(flavor = "multi_thread")]
async fn a_completion_whose_answer_is_lost_is_one_object() {
    for times in [1, 3] {
        let (place, proxy) = proxied_bucket().await;
        let transfer = Transfer::flowing(place, 1, None).await;
        proxy.set(fault_proxy::Fault::LoseReply { to: "<CompleteMultipartUpload", times }).await;
        let worker = through(transfer.worker(), &proxy).start().await;
        proxy.struck(times).await;
        transfer.arrives(transfer.content()).await;
        transfer.assert_little_twice(0);
        transfer.end([worker]).await;
    }
}

/// The last request of a worker hangs in the network until another one has finished its transfer.
#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_comes_too_late_changes_nothing() {
    let (place, proxy) = proxied_bucket().await;
    let transfer = Transfer::flowing(place, 1, None).await;
    proxy.set(fault_proxy::Fault::Hold { to: "<CompleteMultipartUpload", times: 1 }).await;
    let late = through(transfer.worker(), &proxy).start().await;
    proxy.struck(1).await;
    transfer.split.database.put_to_sleep(&late).await;
    let heir = transfer.worker().start().await;
    let before = transfer.arrives(transfer.content()).await;
    proxy.set(fault_proxy::Fault::Pass).await;
    late.signal(Signal::SIGCONT);
    says_that_its_lease_is_lost(&late).await;
    let after = transfer.arrives(transfer.content()).await;
    assert_eq!((after.archived, after.archived_at), (before.archived, before.archived_at));
    transfer.assert_little_twice(0);
    transfer.end([late, heir]).await;
}

/// A manifest hangs in the network until another worker has written a newer one.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_comes_too_late_is_written_once_more() {
    let (place, proxy) = proxied_bucket().await;
    let transfer = Transfer::flowing(place, 1, None).await;
    proxy.set(fault_proxy::Fault::Hold { to: "/recording.json", times: 1 }).await;
    let late = through(transfer.worker(), &proxy).start().await;
    proxy.struck(1).await;
    transfer.split.database.put_to_sleep(&late).await;

    let vtt = Content::Embedded(b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n");
    let transcript = FakeFile::new("TRANSCRIPT", "VTT", "audio_transcript", vtt);
    let recording = transfer.recording.clone().with([transcript]);
    transfer.split.zoom.library().add(&recording);
    let body = transfer.split.zoom.announce(&recording, EventKind::Transcript, Quirks::default());
    assert!(patient_sender_to(&transfer.receiver).deliver(&body).await.answer.is_accepted());
    let heir = transfer.worker().start().await;
    until_settled(&transfer.store).await;

    let key = transfer.row().await.object_key.unwrap();
    let files_in_manifest = |files: usize| {
        let (place, key) = (&transfer.split.place, &key);
        eventually("the manifest names so many files", move || async move {
            let manifest = place.manifest_beside(key).await?;
            (manifest["files"].as_array()?.len() == files).then_some(())
        })
    };
    files_in_manifest(2).await;
    proxy.set(fault_proxy::Fault::Pass).await;
    files_in_manifest(1).await;
    late.signal(Signal::SIGCONT);
    files_in_manifest(2).await;
    until_settled(&transfer.store).await;
    transfer.end([late, heir]).await;
}

/// Its worker was killed when nothing was missing but the completion; then Zoom let go of the file.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_whole_in_the_archive_is_completed_although_zoom_has_let_go_of_it() {
    let (place, proxy) = proxied_bucket().await;
    let transfer = Transfer::flowing(place, 1, None).await;
    proxy.set(fault_proxy::Fault::Hold { to: "<CompleteMultipartUpload", times: 1 }).await;
    let victim = through(transfer.worker(), &proxy).start().await;
    proxy.struck(1).await;
    victim.kill().await;
    transfer.split.zoom.library().remove(transfer.key_at_zoom());
    let heir = transfer.worker().start().await;
    transfer.arrives(transfer.content()).await;
    transfer.assert_little_twice(0);
    transfer.end([heir]).await;
}

/// Headway is made each time, and yet it does not go on for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_never_holds_what_it_confirmed_is_for_a_person_to_look_at() {
    let (place, proxy) = proxied_bucket().await;
    let transfer = Transfer::flowing(place, 1, None).await;
    proxy.set(fault_proxy::Fault::invalid_part(u32::MAX)).await;
    let worker = through(transfer.patient_worker(), &proxy).start().await;
    until_settled(&transfer.store).await;
    let row = transfer.row().await;
    assert_eq!(row.state, FileState::Parked, "{:?}", row.reason);
    assert!(row.reason.as_deref().unwrap().contains("the file starts over"), "{:?}", row.reason);
    transfer.end([worker]).await;
}
