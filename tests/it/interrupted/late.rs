//! A worker that is late: its lease is over, and another one has its job. It does not take the last step of a transfer, and
//! where that was on its way already, it changes nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures_util::FutureExt;
use nix::sys::signal::Signal;
use tokio::sync::{Notify, mpsc as channel};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use zoom_archiver::archive;
use zoom_archiver::clock::Clock;
use zoom_archiver::config::{Config, load};
use zoom_archiver::domain::account::AccountNames;
use zoom_archiver::domain::job::{Cost, Queue, Settlement};
use zoom_archiver::domain::key::KeyTemplate;
use zoom_archiver::jobs::Jobs;
use zoom_archiver::jobs::buffers::Buffers;
use zoom_archiver::jobs::throttle::Throttle;
use zoom_archiver::jobs::turns::Turns;
use zoom_archiver::jobs::verify::Verifier;
use zoom_archiver::notify::Notifier;
use zoom_archiver::simulator::Options;
use zoom_archiver::store::SharedStore;
use zoom_archiver::worker::{Board, Pool, Runner};
use zoom_archiver::zoom::accounts::Accounts;
use zoom_archiver::zoom::download::Downloader;

use super::{PART, Transfer, says_that_its_lease_is_lost, through};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::place::{Bucket, Place};
use crate::support::s3::{Quirks, S3Server};
use crate::support::scene::open_store;
use crate::support::service::{PATIENCE, eventually};
use crate::support::split::Split;

const SMALL: u64 = 100_000;

/// Stops the thread that begins the last step of a transfer, just before it begins.
struct Doorstep {
    reached: channel::UnboundedSender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Subscriber for Doorstep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "complete"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        let _ = self.reached.send(());
        // An error: all may pass by now.
        let _ = self.go_on.lock().unwrap().recv();
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A worker in this process, on a thread of its own, which stands still at the last step as if the whole process had been
/// stopped: nothing extends its lease, nothing looks after it.
struct Sleeper {
    reached: channel::UnboundedReceiver<()>,
    go_on: mpsc::Sender<()>,
    /// What each of its runs came to.
    ended: channel::UnboundedReceiver<String>,
    thread: std::thread::JoinHandle<()>,
    stop: DropGuard,
}

impl Sleeper {
    /// Starts one on a database and a directory.
    fn start(split: &Split) -> Self {
        let Place::Directory(root) = &split.place else { panic!("it is a directory") };
        let (url, archive_url) = (split.database.url.clone(), format!("file://{}", root.path().display()));
        let config = config(split);
        let (has_reached, reached) = channel::unbounded_channel();
        let (go_on, may_go_on) = mpsc::channel();
        let (has_ended, ended) = channel::unbounded_channel();
        let (stop, doorstep) =
            (CancellationToken::new(), Doorstep { reached: has_reached, go_on: Mutex::new(may_go_on) });
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _here = tracing::subscriber::set_default(doorstep);
            runtime.block_on(async {
                let store = open_store(&url).await;
                let archive = archive::open(&archive_url, &config.archive).await.expect("it can be opened");
                let runner = telling(jobs(&config, &store, archive).runner(), has_ended);
                pool(&config, store, runner, stopped).work().await;
                // Behind all work on files that has been begun: what the runtime waits for when it ends.
                tokio::task::spawn_blocking(|| ()).await.unwrap();
            });
        });
        Self { reached, go_on, ended, thread, stop: stop.drop_guard() }
    }

    /// Waits until it stands before the last step.
    async fn stands_still(&mut self) {
        tokio::time::timeout(PATIENCE, self.reached.recv()).await.expect("it comes so far").unwrap();
    }

    /// Lets it go on, and returns what its run came to when all that it had begun has ended.
    async fn goes_on(mut self) -> String {
        drop(self.go_on);
        let outcome = tokio::time::timeout(PATIENCE, self.ended.recv()).await.expect("its run ends").unwrap();
        drop(self.stop);
        tokio::task::spawn_blocking(|| self.thread.join()).await.unwrap().unwrap();
        outcome
    }
}

fn config(split: &Split) -> Config {
    let settings = [
        ("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", split.zoom.origin()),
        ("ZOOM_ARCHIVER_TRANSFER__PART_BYTES", PART.to_string()),
        ("ZOOM_ARCHIVER_WORKER__LEASE_SECS", "2".to_owned()),
        ("ZOOM_ARCHIVER_WORKER__POLL_INTERVAL_MS", "50".to_owned()),
    ];
    let settings: load::Environment = settings.map(|(name, value)| (name.to_owned(), value)).into();
    load::load(None, &settings).expect("the settings make sense")
}

/// The same runner, which tells what its runs come to.
fn telling(runner: Runner, ended: channel::UnboundedSender<String>) -> Runner {
    Arc::new(move |job, context| {
        let (run, ended) = (runner(job, context), ended.clone());
        async move {
            let outcome = run.await;
            let _ = ended.send(format!("{outcome:?}"));
            outcome
        }
        .boxed()
    })
}

fn jobs(config: &Config, store: &SharedStore, archive: archive::SharedArchive) -> Jobs {
    let transfer = config.transfer.clone();
    Jobs {
        store: Arc::clone(store),
        downloader: Downloader::new(&config.zoom, &transfer, Clock::System).unwrap(),
        accounts: Accounts::new(&config.zoom, Vec::new(), Clock::System).unwrap(),
        names: AccountNames::default(),
        template: KeyTemplate::parse(&config.archive.key_template).unwrap(),
        reserved: Arc::default(),
        buffers: Buffers::new(transfer.memory_bytes, transfer.part_bytes),
        throttle: Throttle::new(transfer.max_bytes_per_sec),
        turns: Turns::default(),
        reconcile: config.reconcile.clone(),
        notifier: Notifier::new(&config.notify, Vec::new(), Clock::System).unwrap(),
        after_archive: config.after_archive.clone(),
        verify: config.verify.clone(),
        verifier: Verifier::new(store, &archive, &config.verify),
        clock: Clock::System,
        config: transfer,
        max_attempts: config.worker.max_attempts,
        archive,
    }
}

fn pool(config: &Config, store: SharedStore, runner: Runner, stop: CancellationToken) -> Pool {
    Pool {
        store,
        queue: Queue::Work,
        runner,
        config: config.worker.clone(),
        stall: Duration::from_secs(60),
        board: Arc::new(Board::default()),
        wake: Arc::new(Notify::new()),
        stop,
        names: AccountNames::default(),
        owner: "sleeper".to_owned(),
    }
}

async fn who_has_lost_the_lease_leaves_the_last_step_to_the_heir(bytes: u64) {
    let split = Split::stage(Place::directory(), Options::default()).await;
    let transfer = Transfer::of(split, bytes, 1, None).await;
    let mut sleeper = Sleeper::start(&transfer.split);
    sleeper.stands_still().await;
    let another = || async { transfer.store.claim("another", 1, PATIENCE, &[]).await.unwrap().pop() };
    let job = eventually("the lease is over, and another one has the job", another).await;
    let unfinished = transfer.split.place.unfinished("").await;
    assert_eq!(unfinished.len(), usize::from(bytes > PART));

    assert_eq!(sleeper.goes_on().await, "Stopped");
    assert_eq!(transfer.split.place.objects().await, BTreeSet::new());
    assert_eq!(transfer.split.place.unfinished("").await, unfinished);

    let put_back = Settlement::Wait { after: Duration::ZERO, reason: None, cost: Cost::Nothing };
    transfer.store.settle(&job.lease, put_back).await.unwrap();
    let heir = transfer.worker().start().await;
    transfer.arrives(transfer.content()).await;
    transfer.end([heir]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_lease_does_not_put_a_file() {
    who_has_lost_the_lease_leaves_the_last_step_to_the_heir(SMALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_lease_does_not_complete_a_file() {
    who_has_lost_the_lease_leaves_the_last_step_to_the_heir(PART + PART / 2).await;
}

/// The only request of a worker hangs in the network until another one has finished its transfer. Versions would tell of
/// a second object with the very same bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_comes_too_late_changes_nothing() {
    let bucket = Bucket::with_versions(S3Server::in_process(Quirks::default()).await).await;
    let proxy = FaultProxy::start(bucket.upstream()).await.unwrap();
    let split = Split::stage(Place::Bucket(bucket), Options::default()).await;
    let transfer = Transfer::of(split, SMALL, 1, None).await;
    let Place::Bucket(bucket) = &transfer.split.place else { panic!("it is a bucket") };
    let puts = || bucket.server.count(|counts| &counts.puts);
    proxy.set(Fault::Hold { to: "PUT /", times: 1 }).await;
    let late = through(transfer.worker(), &proxy).start().await;
    proxy.struck(1).await;
    transfer.split.database.put_to_sleep(&late).await;
    let heir = transfer.worker().start().await;
    let before = transfer.arrives(transfer.content()).await;
    let archived = before.archived.as_ref().unwrap();
    assert!(archived.version_id.is_some());
    let earlier = puts();
    proxy.set(Fault::Pass).await;
    eventually("the late request comes", || async { (puts() > earlier).then_some(()) }).await;
    late.signal(Signal::SIGCONT);
    says_that_its_lease_is_lost(&late).await;
    let after = transfer.arrives(transfer.content()).await;
    assert_eq!((&after.archived, after.archived_at), (&before.archived, before.archived_at));
    let described = bucket.server.described(&bucket.name, &archived.object_key).await;
    assert_eq!(described.version_id(), archived.version_id.as_deref());
    transfer.end([late, heir]).await;
}
