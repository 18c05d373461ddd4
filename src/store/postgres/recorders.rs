//! The connections that record events, which are kept from one event to the next.
//!
//! The pool asks a connection whether it is alive before it gives it out, and again when it comes back. Each of that is one
//! more way to the server and back, for which an event, and whoever stands in line behind it, waits for two more turns on a
//! processor. Kept here, a connection is asked by the pool every few seconds; whoever finds it cut takes another one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

use super::super::connections::connections;
use super::super::{Connections, StoreError};

/// How long a connection is kept before the pool has it back, asks it, and ends it when it is too old.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Connections for events, and the pool that they are from.
#[derive(Debug, Clone)]
pub(super) struct Recorders {
    pool: PgPool,
    kept: Arc<Mutex<Vec<Recorder>>>,
}

/// A connection that nobody else uses now. Dropped, it goes back to the pool.
#[derive(Debug)]
pub(super) struct Recorder {
    connection: PoolConnection<Postgres>,
    /// When the pool gave it out.
    since: Instant,
    was_kept: bool,
}

impl Recorder {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Whether nobody has asked it since it was last used.
    pub(super) fn was_kept(&self) -> bool {
        self.was_kept
    }
}

impl Recorders {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, kept: Arc::default() }
    }

    /// A connection: a kept one, or one that the pool has just found alive.
    pub(super) async fn take(&self) -> Result<Recorder, StoreError> {
        let kept = self.kept().pop();
        match kept.filter(|recorder| recorder.since.elapsed() < KEPT_FOR) {
            Some(recorder) => Ok(Recorder { was_kept: true, ..recorder }),
            None => {
                let connection = self.pool.acquire().await?;
                Ok(Recorder { connection, since: Instant::now(), was_kept: false })
            }
        }
    }

    /// Keeps a connection that has just done its work.
    pub(super) fn keep(&self, recorder: Recorder) {
        // Looked at under the lock: what is kept when the pool has been closed keeps it from closing.
        let mut kept = self.kept();
        if !self.pool.is_closed() {
            kept.push(recorder);
        }
    }

    pub(super) fn connections(&self) -> Connections {
        let of_pool = connections("record", &self.pool);
        let kept = u32::try_from(self.kept().len()).unwrap_or(u32::MAX);
        Connections { idle: of_pool.idle.saturating_add(kept).min(of_pool.open), ..of_pool }
    }

    /// Ends all connections; waits for those that are in use.
    pub(super) async fn close(&self) {
        let closed = self.pool.close();
        self.kept().clear();
        closed.await;
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Recorder>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
