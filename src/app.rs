//! The only place that chooses store and archive and puts the rooms together.

pub mod check;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::archive::{self, ArchiveError, SharedArchive};
use crate::archive_identity::{self, IdentityError};
use crate::clock::Clock;
use crate::config::notify::Target;
use crate::config::secrets::ZoomAccount;
use crate::config::{Config, Secrets};
use crate::doctor;
use crate::domain::account::AccountNames;
use crate::domain::job::{Queue, Task};
use crate::domain::key::{KeyTemplate, TemplateError};
use crate::domain::notice::Subscriptions;
use crate::http::api::{self, Desk, Shelf};
use crate::http::private::{self, PrivateDoor};
use crate::http::public::{self, Health};
use crate::http::server;
use crate::http::webhook::Receiver;
use crate::jobs::Jobs;
use crate::jobs::buffers::Buffers;
use crate::jobs::throttle::Throttle;
use crate::jobs::turns::Turns;
use crate::jobs::verify::Verifier;
use crate::notify::Notifier;
use crate::scheduler::{janitor, loss_watch, retention, rounds};
use crate::store::{self, Intake, SharedStore, StoreError};
use crate::telemetry;
use crate::worker::{Board, Pool, sweeper};
use crate::zoom::accounts::Accounts;
use crate::zoom::api::ApiSetupError;
use crate::zoom::auto_start::AutoStart;
use crate::zoom::download::{Downloader, DownloaderError};

/// How long the start waits for a database that is not there yet.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
/// Time to close the database, after all else has had its time to end.
const CLOSING: Duration = Duration::from_secs(1);
/// Rest between two looks for it.
const DATABASE_REST: Duration = Duration::from_secs(1);

/// What this process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Takes Zoom's webhook.
    Receiver,
    /// Works through the queue.
    Worker,
    /// Returns the jobs of workers that are gone, gives up uploads that nobody goes on with, forgets rows that are old, has
    /// Zoom asked for what no event brought, and has the archive verified.
    Scheduler,
}

impl Role {
    /// All of them: the default.
    pub const ALL: [Self; 3] = [Self::Receiver, Self::Worker, Self::Scheduler];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receiver => "receiver",
            Self::Worker => "worker",
            Self::Scheduler => "scheduler",
        })
    }
}

/// Why the service cannot start. Each message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no way to tell Zoom's events from anybody's.
    #[error(
        "ZOOM_WEBHOOK_SECRET_TOKEN is not set, nor webhook_secret_token of any of [[zoom.accounts]]: it is the Secret \
         Token on the Features page of your Zoom app, and without it no event can be verified"
    )]
    NoSecretToken,
    /// The private door would stand open.
    #[error(
        "http.admin_listen is {0}, which others can reach, and ADMIN_TOKEN is not set: set it, or listen on \
         127.0.0.1"
    )]
    OpenPrivateDoor(SocketAddr),
    /// An address cannot be bound.
    #[error("{key}: cannot listen on {address}: {error}")]
    Listen {
        /// The key that names it.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The database.
    #[error("DATABASE_URL: {0}")]
    Store(#[from] StoreError),
    /// The archive.
    #[error("ARCHIVE_URL: {0}")]
    Archive(#[from] ArchiveError),
    /// The archive is not the one that the database knows.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The way to Zoom.
    #[error(transparent)]
    Downloader(#[from] DownloaderError),
    /// The way to Zoom's API.
    #[error(transparent)]
    Api(#[from] ApiSetupError),
    /// No threads for the jobs.
    #[error("cannot start threads for the jobs: {0}")]
    Threads(#[source] std::io::Error),
    /// The way to the receivers of notifications.
    #[error("cannot set up the requests to notify.targets: {0}")]
    Notifier(#[source] reqwest::Error),
    /// The template.
    #[error("archive.key_template: {0}")]
    Template(#[from] TemplateError),
}

/// The parts of a service, opened.
pub struct App {
    /// The settings.
    pub config: Config,
    /// The record.
    pub store: SharedStore,
    /// The storage that the user owns.
    pub archive: SharedArchive,
    accounts: Vec<ZoomAccount>,
    /// For the APIs of these accounts: access tokens and limits are kept once.
    clients: Accounts,
    names: AccountNames,
    targets: Vec<Target>,
    admin_token: Option<SecretString>,
}

/// A part of the service ended in a panic, and the rest was ended with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a part of the service panicked; the log says which")]
pub struct Panicked;

/// A service that runs.
pub struct Service {
    /// Where the public door is.
    pub public_addr: SocketAddr,
    /// Where the private door is.
    pub admin_addr: SocketAddr,
    /// What the workers of this process do now.
    pub board: Arc<Board>,
    tasks: JoinSet<()>,
    threads: Option<JobThreads>,
    store: SharedStore,
    stop: CancellationToken,
    grace: Duration,
}

/// The threads on which jobs run. They hash and copy without a pause; an answer to Zoom would have to stand in line with
/// that, for each of its steps. On threads of its own it wakes up, and has its turn before those that never sleep and that
/// stand back for all others.
struct JobThreads(Option<Runtime>);

impl JobThreads {
    fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("jobs")
            .on_thread_start(stand_back)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    fn spawn(&self, tasks: &mut JoinSet<()>, pool: Pool) {
        if let Self(Some(runtime)) = self {
            tasks.spawn_on(pool.work(), runtime.handle());
        }
    }
}

/// How many threads answer Zoom, and do all else that is no job. Where jobs run beside them, half of the processors, and one
/// at least: what an answer needs is then done by the one thread that is awake, and not handed from one to another, each of
/// which would have to wait for its turn on a processor (`benches/scale e`).
#[must_use]
pub fn answering_threads(roles: &[Role]) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let shared = if roles.contains(&Role::Worker) { 2 } else { 1 };
    (processors / shared).max(1)
}

/// How far the threads of the jobs stand back, as `nice` counts it (setpriority(2)): where a thread of another kind wants a
/// processor, they have a tenth of what it has.
const NICE: i32 = 10;

/// Of the calling thread: Linux keeps this for each. Where it may not be, all have the same turns.
fn stand_back() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a thread of the jobs does not stand back");
    }
}

impl Drop for JobThreads {
    /// Whoever lets them go may be a task, which must not wait for them.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl App {
    /// Opens database and archive for a service of these roles, and brings the schema up to date. Waits a while for a database
    /// that is not there yet.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(config: Config, secrets: Secrets, roles: &[Role]) -> Result<Self, StartError> {
        if let Some(problem) = check::problems(&config, &secrets, roles).into_iter().next() {
            return Err(problem);
        }
        let clients = Accounts::new(&config.zoom, secrets.zoom_accounts(), Clock::System)?;
        let intake = intake(&config, &secrets, clients.clone());
        let store = open_store(&config, &secrets.database_url, intake).await?;
        let archive = archive::open(secrets.archive_url.expose_secret(), &config.archive).await?;
        archive_identity::settle(&store, &archive).await?;
        Ok(Self {
            config,
            store,
            archive,
            accounts: secrets.zoom_accounts(),
            clients,
            names: secrets.account_names(),
            targets: secrets.targets,
            admin_token: secrets.admin_token,
        })
    }

    /// Starts the service in these roles; it runs until `stop` is cancelled.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        self,
        roles: &[Role],
        metrics: PrometheusHandle,
        stop: CancellationToken,
    ) -> Result<Service, StartError> {
        let http = &self.config.http;
        let public = listen("http.listen", http.listen).await?;
        let private = listen("http.admin_listen", http.admin_listen).await?;
        telemetry::expect_accounts(self.accounts.iter().map(|account| account.name.as_str()));
        let accounts = self.clients.clone();
        let board = Arc::new(Board::default());
        let wake = Arc::new(Notify::new());
        let mut service = Service {
            public_addr: bound(&public, http.listen),
            admin_addr: bound(&private, http.admin_listen),
            board: Arc::clone(&board),
            tasks: JoinSet::new(),
            threads: None,
            store: Arc::clone(&self.store),
            stop: stop.clone(),
            grace: self.config.worker.shutdown_grace().max(server::DRAIN) + CLOSING,
        };
        tokio::spawn(self.first_look(roles).look(stop.clone()));
        if roles.contains(&Role::Worker) {
            let threads = JobThreads::start().map_err(StartError::Threads)?;
            for pool in self.pools(accounts.clone(), Arc::clone(&board), Arc::clone(&wake), stop.clone())? {
                threads.spawn(&mut service.tasks, pool);
            }
            service.threads = Some(threads);
        }
        if roles.contains(&Role::Scheduler) {
            let sweep = sweeper::sweep(
                Arc::clone(&self.store),
                self.config.worker.clone(),
                Arc::clone(&wake),
                stop.clone(),
            );
            service.tasks.spawn(sweep);
            service.tasks.spawn(janitor::run(
                Arc::clone(&self.store),
                Arc::clone(&self.archive),
                self.config.transfer.leftover_age(),
                stop.clone(),
            ));
            service.tasks.spawn(retention::run(
                Arc::clone(&self.store),
                self.config.retention.clone(),
                stop.clone(),
            ));
            if !self.targets.is_empty() {
                let lead = self.config.notify.loss_lead();
                service.tasks.spawn(loss_watch::run(Arc::clone(&self.store), lead, stop.clone()));
            }
            if let Some(period) = self.config.reconcile.interval().filter(|_| self.can_ask_zoom()) {
                let (store, wake) = (Arc::clone(&self.store), Arc::clone(&wake));
                service.tasks.spawn(rounds::run(store, Task::Reconcile, period, wake, stop.clone()));
            }
            if let Some(period) = self.config.verify.interval() {
                let (store, wake) = (Arc::clone(&self.store), Arc::clone(&wake));
                service.tasks.spawn(rounds::run(store, Task::Verify, period, wake, stop.clone()));
            }
        }
        let auto_start = AutoStart::new(&self.config.zoom.auto_start, accounts.clone());
        let door = PrivateDoor {
            metrics,
            desk: Arc::new(Desk {
                store: Arc::clone(&self.store),
                archive: Shelf::new(Arc::clone(&self.archive)),
                accounts,
                known_accounts: self.accounts.iter().map(Into::into).collect(),
                only_account: api::only_account(&self.accounts),
                wake: Arc::clone(&wake),
                link_valid: http.link_valid(),
            }),
            look_around: Arc::new(move || board.show()),
            metrics_max_age: self.config.http.metrics_max_age(),
            names: self.names.clone(),
            admin_token: self.admin_token.clone(),
        };
        service.tasks.spawn(server::serve(private, private::router(door), http.clone(), stop.clone()));
        let receiver = roles.contains(&Role::Receiver).then(|| {
            let (config, store) = (&self.config, Arc::clone(&self.store));
            let (accounts, names) = (&self.accounts, self.names.clone());
            let receiver = Receiver::new(config, accounts, names, store, wake, stop.clone(), Clock::System);
            Arc::new(receiver.with_auto_start(auto_start))
        });
        let health = Health { store: Arc::clone(&self.store), stop: stop.clone() };
        let routes = public::router(health, receiver);
        service.tasks.spawn(server::serve(public, routes, self.config.http.clone(), stop));
        info!(
            http.addr = %service.public_addr,
            http.admin_addr = %service.admin_addr,
            store = self.store.describe(),
            archive = self.archive.describe(),
            roles = roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            "ready"
        );
        Ok(service)
    }

    /// Beside the start, so that what every job would find out later is said at once. Not the end: what is away may come,
    /// and until then the jobs wait without losing an attempt.
    fn first_look(&self, roles: &[Role]) -> doctor::Start {
        let workshop = roles.contains(&Role::Worker).then(|| doctor::Workshop {
            archive: Arc::clone(&self.archive),
            tries_writing: self.config.archive.try_at_start,
            accounts: self.clients.clone(),
        });
        doctor::Start { store: Arc::clone(&self.store), workshop }
    }

    /// Whether there are credentials for Zoom's API, of any account.
    fn can_ask_zoom(&self) -> bool {
        let mut credentials = self.accounts.iter().map(|account| &account.credentials);
        credentials.any(|credentials| credentials.video_sdk.is_some() || credentials.oauth.is_some())
    }

    /// The workers that carry, and, where somebody wants to be told, those that tell.
    fn pools(
        &self,
        accounts: Accounts,
        board: Arc<Board>,
        wake: Arc<Notify>,
        stop: CancellationToken,
    ) -> Result<Vec<Pool>, StartError> {
        let transfer = self.config.transfer.clone();
        let jobs = Jobs {
            store: Arc::clone(&self.store),
            archive: Arc::clone(&self.archive),
            downloader: Downloader::new(&self.config.zoom, &transfer, Clock::System)?,
            accounts,
            template: KeyTemplate::parse(&self.config.archive.key_template)?
                .with_accounts(self.names.clone()),
            names: self.names.clone(),
            reserved: Arc::default(),
            buffers: Buffers::new(transfer.memory_bytes, transfer.part_bytes),
            throttle: Throttle::new(transfer.max_bytes_per_sec),
            turns: Turns::default(),
            reconcile: self.config.reconcile.clone(),
            notifier: Notifier::new(&self.config.notify, self.targets.clone(), Clock::System)
                .map_err(StartError::Notifier)?,
            after_archive: self.config.after_archive.clone(),
            verifier: Verifier::new(&self.store, &self.archive, &self.config.verify),
            verify: self.config.verify.clone(),
            clock: Clock::System,
            config: transfer.clone(),
            max_attempts: self.config.worker.max_attempts,
        };
        let runner = jobs.runner();
        let carrying = Pool {
            store: Arc::clone(&self.store),
            queue: Queue::Work,
            runner: Arc::clone(&runner),
            config: self.config.worker.clone(),
            stall: transfer.stall(),
            board,
            wake,
            stop: stop.clone(),
            names: self.names.clone(),
            owner: owner(),
        };
        if self.targets.is_empty() {
            return Ok(vec![carrying]);
        }
        let named = self.targets.iter().map(|target| (target.name.clone(), target.name.clone()));
        let telling = Pool {
            store: Arc::clone(&self.store),
            queue: Queue::Notices,
            runner,
            config: self.config.notify.worker(&self.config.worker),
            stall: transfer.stall(),
            board: Arc::default(),
            wake: Arc::default(),
            stop,
            names: AccountNames::new(named, true),
            owner: owner(),
        };
        Ok(vec![carrying, telling])
    }
}

impl Service {
    /// Waits until everything has stopped, then closes the database; once told to stop, no longer than the jobs
    /// and the requests under way are granted. What hangs then (on a database that is away) is left: its lease
    /// expires, and Zoom repeats what has not been answered.
    ///
    /// # Errors
    /// [`Panicked`] when it ended because a part of it had panicked.
    pub async fn stopped(mut self) -> Result<(), Panicked> {
        let (stop, grace) = (self.stop.clone(), self.grace);
        tokio::select! {
            ended = self.ended() => ended,
            () = async { stop.cancelled().await; tokio::time::sleep(grace).await } => {
                warn!("not everything ended in time; what is left returns when its lease expires");
                Ok(())
            }
        }
    }

    async fn ended(&mut self) -> Result<(), Panicked> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the service ended in a panic; the rest ends too");
                self.stop.cancel();
                result = Err(Panicked);
            }
        }
        self.threads = None;
        self.store.close().await;
        result
    }
}

/// What is decided about files when they are announced, and who is told of what becomes of them.
pub(crate) fn intake(config: &Config, secrets: &Secrets, accounts: Accounts) -> Intake {
    let names = secrets.account_names();
    let subscriptions = secrets.targets.iter().map(|target| target.subscription(&names)).collect();
    Intake::new(config.filters.filter(names), move |recording| accounts.know(recording))
        .telling(Subscriptions::new(subscriptions))
}

async fn open_store(config: &Config, url: &SecretString, intake: Intake) -> Result<SharedStore, StoreError> {
    let give_up = Instant::now() + DATABASE_PATIENCE;
    loop {
        let opened = async {
            store::migrate(url, &config.store).await?;
            store::open_with(url, &config.store, intake.clone()).await
        };
        match opened.await {
            Err(error @ StoreError::Unavailable(_)) if Instant::now() < give_up => {
                warn!(%error, "waiting for the database");
                tokio::time::sleep(DATABASE_REST).await;
            }
            other => return other,
        }
    }
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen { key, address, error })
}

fn bound(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// Host and process, for people who wonder who holds a lease.
fn owner() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "localhost",
        name => name,
    };
    format!("{host}:{}", std::process::id())
}
