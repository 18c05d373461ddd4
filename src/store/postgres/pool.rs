//! Connections that are used by one caller after the other.
//!
//! The pool of sqlx waits without a limit for a connection to answer when it comes back, and holds its place meanwhile: once a
//! firewall has forgotten the flows, no place becomes free for as long as the kernel repeats its packets, a quarter of an hour.
//! sqlx also gives no access to its sockets, so neither TCP keepalive nor `TCP_USER_TIMEOUT` can be set. Here every
//! wait has a limit: idle connections are asked every few seconds, and one that does not answer is dropped without a goodbye.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::Connections;
use super::servers::{CHECK_TIMEOUT, Condition, Servers, check};

/// How long a connection that was used is taken to be alive without being asked.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// Time between two questions to an idle connection. Firewalls and balancers forget a flow after minutes without a packet.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// An idle connection is closed after this.
const IDLE_FOR: Duration = Duration::from_secs(10 * 60);
/// A connection is replaced after this: a session at the server gathers memory.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Rest between two attempts to reach a server.
const REST: Duration = Duration::from_millis(100);
/// Longest wait for those who use a connection, when the pool is closed.
const CLOSING: Duration = Duration::from_secs(5);

/// A pool of connections. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    servers: Arc<Servers>,
    /// SQL that each new connection runs.
    setup: &'static str,
    most: u32,
    acquire_timeout: Duration,
    places: Arc<Semaphore>,
    /// The one that was used last is taken first.
    idle: Mutex<VecDeque<Live>>,
    open: AtomicU32,
    is_closed: AtomicBool,
}

/// An open connection.
#[derive(Debug)]
struct Live {
    connection: PgConnection,
    made: Instant,
    used: Instant,
    /// When its server answered last; `None` when a connection beside it turned out to be dead since.
    answered: Option<Instant>,
    _counted: Counted,
}

impl Live {
    fn has_answered_within(&self, time: Duration) -> bool {
        self.answered.is_some_and(|answered| answered.elapsed() < time)
    }
}

/// Counts an open connection.
#[derive(Debug)]
struct Counted(Weak<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A connection that nobody else uses now. Dropped, it is asked whether it is alive, and goes back to the pool.
#[derive(Debug)]
pub(super) struct Pooled {
    live: Option<Live>,
    place: Option<OwnedSemaphorePermit>,
    shared: Arc<Shared>,
    is_trusted: bool,
}

impl Pool {
    /// A pool without a connection as yet, of `most` at most. Each of them runs `setup` (SQL) first.
    pub(super) fn new(
        servers: Arc<Servers>,
        setup: &'static str,
        most: u32,
        acquire_timeout: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            servers,
            setup,
            most,
            acquire_timeout,
            places: Arc::new(Semaphore::new(most as usize)),
            idle: Mutex::default(),
            open: AtomicU32::new(0),
            is_closed: AtomicBool::new(false),
        });
        tokio::spawn(keep_alive(Arc::downgrade(&shared)));
        Self(shared)
    }

    /// A connection that was used a moment ago, or has just answered, or is new.
    ///
    /// # Errors
    /// When there is none within the time for it: why the last attempt to connect failed, or [`sqlx::Error::PoolTimedOut`]
    /// when all connections were in use. What another attempt cannot mend is returned at once.
    pub(super) async fn acquire(&self) -> Result<Pooled, sqlx::Error> {
        let mut failure = None;
        let acquired = tokio::time::timeout(self.0.acquire_timeout, self.try_acquire(&mut failure)).await;
        acquired.unwrap_or_else(|_| Err(failure.unwrap_or(sqlx::Error::PoolTimedOut)))
    }

    async fn try_acquire(&self, failure: &mut Option<sqlx::Error>) -> Result<Pooled, sqlx::Error> {
        let shared = &self.0;
        let place = Arc::clone(&shared.places).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        while let Some(live) = self.0.pop() {
            if live.has_answered_within(TRUSTED_FOR) {
                return Ok(Pooled::new(live, place, shared, true));
            }
            if let Some(live) = shared.checked(live).await {
                return Ok(Pooled::new(live, place, shared, false));
            }
        }
        loop {
            if shared.is_closed.load(Ordering::Relaxed) {
                return Err(sqlx::Error::PoolClosed);
            }
            match shared.connect().await {
                Ok(live) => return Ok(Pooled::new(live, place, shared, false)),
                Err(error) if super::super::error::may_pass(&error) => *failure = Some(error),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// What it holds, for metrics.
    pub(super) fn connections(&self, purpose: &'static str) -> Connections {
        let open = self.0.open.load(Ordering::Relaxed);
        let idle = u32::try_from(self.0.idle().len()).unwrap_or(u32::MAX).min(open);
        Connections { purpose, open, idle, most: self.0.most }
    }

    /// Closes all connections; waits for those that are in use, for [`CLOSING`] at most.
    pub(super) async fn close(&self) {
        self.0.is_closed.store(true, Ordering::Relaxed);
        self.0.close_idle().await;
        let _all = tokio::time::timeout(CLOSING, self.0.places.acquire_many(self.0.most)).await;
        self.0.places.close();
        self.0.close_idle().await;
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, VecDeque<Live>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Live> {
        let mut idle = self.idle();
        loop {
            let live = idle.pop_back()?;
            if self.may_use(&live) {
                return Some(live);
            }
        }
    }

    fn push(&self, live: Live) {
        // Looked at under the lock: whoever closes the pool empties it after it has said so.
        let mut idle = self.idle();
        if !self.is_closed.load(Ordering::Relaxed) && self.may_use(&live) {
            idle.push_back(live);
        }
    }

    fn may_use(&self, live: &Live) -> bool {
        self.servers.is_valid(live.made) && live.made.elapsed() < LIFETIME
    }

    async fn connect(self: &Arc<Self>) -> Result<Live, sqlx::Error> {
        let made = Instant::now();
        let connection = self.servers.connect(self.setup).await?;
        self.open.fetch_add(1, Ordering::Relaxed);
        let (now, counted) = (Instant::now(), Counted(Arc::downgrade(self)));
        Ok(Live { connection, made, used: now, answered: Some(now), _counted: counted })
    }

    /// Gives an idle connection back when it is usable. Where it is not, those that are as old are no better.
    async fn checked(&self, mut live: Live) -> Option<Live> {
        match check(&mut live.connection).await {
            Condition::Usable => {
                live.answered = Some(Instant::now());
                return self.may_use(&live).then_some(live);
            }
            Condition::ReadOnly => {
                tracing::warn!("the database has become read-only; connecting anew");
                self.servers.discard_connections();
            }
            Condition::Dead => {
                tracing::info!("an idle connection to the database is dead; replacing those that are as old");
                self.servers.discard_connections();
            }
        }
        None
    }

    /// Has every idle connection asked before it is used again.
    fn distrust_idle(&self) {
        for live in self.idle().iter_mut() {
            live.answered = None;
        }
    }

    async fn close_idle(&self) {
        let idle: Vec<Live> = self.idle().drain(..).collect();
        let goodbyes =
            idle.into_iter().map(|live| tokio::time::timeout(CHECK_TIMEOUT, live.connection.close()));
        futures_util::future::join_all(goodbyes).await;
    }

    /// Asks idle connections whose turn it is, and closes those that nobody has used for long.
    async fn look_after_idle(self: &Arc<Self>) {
        for _ in 0..self.most {
            let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else { return };
            let due = {
                let mut idle = self.idle();
                idle.retain(|live| self.may_use(live));
                let due = idle.iter().position(|live| !live.has_answered_within(KEEPALIVE));
                due.and_then(|place| idle.remove(place))
            };
            let Some(live) = due else { return };
            if live.used.elapsed() >= IDLE_FOR {
                let _ = tokio::time::timeout(CHECK_TIMEOUT, live.connection.close()).await;
            } else if let Some(live) = self.checked(live).await {
                // Behind those that are used more.
                let mut idle = self.idle();
                if !self.is_closed.load(Ordering::Relaxed) {
                    idle.push_front(live);
                }
            }
        }
    }
}

/// Looks after the idle connections of a pool until it is closed or nobody has it any more.
async fn keep_alive(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(KEEPALIVE).await;
        match shared.upgrade() {
            Some(shared) if !shared.is_closed.load(Ordering::Relaxed) => shared.look_after_idle().await,
            _ => return,
        }
    }
}

impl Pooled {
    fn new(live: Live, place: OwnedSemaphorePermit, shared: &Arc<Shared>, is_trusted: bool) -> Self {
        Self { live: Some(live), place: Some(place), shared: Arc::clone(shared), is_trusted }
    }

    /// Whether nobody has asked it since it was used a moment ago.
    pub(super) fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Gives back a connection that has just done its work, without asking it.
    pub(super) fn give_back(mut self) {
        if let Some(mut live) = self.live.take() {
            live.used = Instant::now();
            live.answered = Some(live.used);
            self.shared.push(live);
        }
    }

    /// Drops a connection that did not answer in time, without a goodbye.
    pub(super) fn discard(mut self) {
        self.live = None;
        self.shared.distrust_idle();
    }
}

/// What became of the statement is unknown: it may have been cut off half-way. A connection that is in the middle of one does
/// not answer in time, and is dropped.
impl Drop for Pooled {
    fn drop(&mut self) {
        let (Some(mut live), Some(place)) = (self.live.take(), self.place.take()) else { return };
        // Without a runtime there is nobody left to ask it.
        let Ok(runtime) = Handle::try_current() else { return };
        let shared = Arc::clone(&self.shared);
        runtime.spawn(async move {
            live.used = Instant::now();
            match check(&mut live.connection).await {
                Condition::Usable => {
                    live.answered = Some(Instant::now());
                    shared.push(live);
                }
                Condition::ReadOnly => shared.servers.discard_connections(),
                Condition::Dead => shared.distrust_idle(),
            }
            drop(place);
        });
    }
}

impl Deref for Pooled {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.live.as_ref().expect("it is there until it is given back").connection
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.live.as_mut().expect("it is there until it is given back").connection
    }
}
