//! The one connection that writes, and the file that it writes to.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tracing::{error, info};

use super::super::StoreError;
use super::DURABLE;

/// Least time between two tries whether the database can be written to again.
const PROBE_REST: Duration = Duration::from_secs(1);

/// The writing connection of this process.
#[derive(Clone)]
pub(super) struct Writer {
    pool: SqlitePool,
    file: Arc<OpenFile>,
}

impl Writer {
    /// Connects to the file, which is there.
    pub(super) async fn open(
        path: &Path,
        pool: SqlitePoolOptions,
        options: SqliteConnectOptions,
    ) -> Result<Self, StoreError> {
        let file = Arc::new(OpenFile::new(path).map_err(sqlx::Error::Io)?);
        let log_begins_anew = Arc::clone(&file);
        // While it is open the log stays the same file: SQLite deletes it with the last connection.
        let pool = pool.idle_timeout(None).max_lifetime(None).after_connect(move |_, _| {
            log_begins_anew.forget_log();
            Box::pin(async { Ok(()) })
        });
        Ok(Self { pool: pool.connect_with(options).await?, file })
    }

    /// Runs `verb` as one transaction, which must be run to its end. `synchronous`: how it is made durable.
    ///
    /// A connection whose transaction failed is closed: SQLite may have rolled it back by itself, as it does when the disk is full,
    /// and then nobody can say in what state the connection is. The next transaction has another one.
    pub(super) async fn transact<T, F>(&self, synchronous: &'static str, verb: F) -> Result<T, StoreError>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>,
    {
        let mut connection = self.pool.acquire().await?;
        self.file.check()?;
        let mut has_begun = false;
        let result = run(&mut connection, synchronous, verb, &mut has_begun).await;
        if matches!(result, Err(StoreError::Unavailable(_) | StoreError::Refused(_))) {
            connection.close_on_drop();
            self.file.forget_log();
        }
        match &result {
            // What was written to a file that went away meanwhile is not kept.
            Ok(_) => self.file.check()?,
            // One that did not begin waited in vain for another process that writes.
            Err(StoreError::Unavailable(error)) if has_begun => self.file.note_failure(error),
            Err(_) => {}
        }
        // One that need not be on disk may have written nothing.
        if result.is_ok() && synchronous == DURABLE {
            self.file.note_success();
        }
        result
    }

    /// Proves that the file is the one that was opened, and, where the last transaction failed, that another one succeeds.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        self.file.check()?;
        if !self.file.has_failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !self.file.may_probe() {
            let reason = io::Error::other("the last write to the database failed");
            return Err(StoreError::Unavailable(sqlx::Error::Io(reason)));
        }
        self.transact(DURABLE, |db| Box::pin(write_a_page(db))).await
    }

    /// The pool of the one connection.
    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}

/// Writes a page, and changes nothing.
pub(super) async fn write_a_page(db: &mut SqliteConnection) -> Result<(), StoreError> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *db).await?;
    sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {version}"))).execute(db).await?;
    Ok(())
}

async fn run<T, F>(
    connection: &mut PoolConnection<Sqlite>,
    synchronous: &'static str,
    verb: F,
    has_begun: &mut bool,
) -> Result<T, StoreError>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>,
{
    sqlx::query(synchronous).execute(&mut **connection).await?;
    let mut transaction: Transaction<'_, Sqlite> = connection.begin_with("BEGIN IMMEDIATE").await?;
    *has_begun = true;
    let result = verb(&mut transaction).await?;
    transaction.commit().await?;
    Ok(result)
}

/// The file of the database and its write-ahead log, as they were when they were opened.
struct OpenFile {
    path: PathBuf,
    log_path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// Inode of the log, once it is known. It is another one for each connection at most.
    log: AtomicU64,
    /// Whether the last transaction failed for a reason that may pass.
    has_failed: AtomicBool,
    /// When it was last tried whether another one succeeds.
    probed: Mutex<Option<Instant>>,
    /// Whether it was said that the file is gone.
    is_gone: AtomicBool,
}

impl OpenFile {
    fn new(path: &Path) -> io::Result<Self> {
        let mut log_path = path.as_os_str().to_owned();
        log_path.push("-wal");
        Ok(Self {
            path: path.to_owned(),
            log_path: log_path.into(),
            identity: identity(&std::fs::metadata(path)?),
            log: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            probed: Mutex::default(),
            is_gone: AtomicBool::new(false),
        })
    }

    /// What is written to a file that has no name any more, or another one in its place, is lost with this process.
    fn check(&self) -> Result<(), StoreError> {
        let is_there = std::fs::metadata(&self.path).is_ok_and(|now| identity(&now) == self.identity);
        if is_there && self.has_its_log() {
            if self.is_gone.swap(false, Ordering::Relaxed) {
                info!(path = %self.path.display(), "the file of the database is there again");
            }
            return Ok(());
        }
        let reason = format!(
            "the database file {} or its write-ahead log was deleted or replaced while it is in use: put it back, or restart",
            self.path.display()
        );
        if !self.is_gone.swap(true, Ordering::Relaxed) {
            error!(path = %self.path.display(), "{reason}");
        }
        Err(StoreError::Unavailable(sqlx::Error::Io(io::Error::new(io::ErrorKind::NotFound, reason))))
    }

    fn forget_log(&self) {
        self.log.store(0, Ordering::Relaxed);
    }

    fn has_its_log(&self) -> bool {
        let known = self.log.load(Ordering::Relaxed);
        let now = std::fs::metadata(&self.log_path).map(|log| log.ino());
        if known == 0 {
            self.log.store(now.unwrap_or(0), Ordering::Relaxed);
            return true;
        }
        now.is_ok_and(|now| now == known)
    }

    /// Whether it is time to try again. Anybody may ask whether the service is ready: not each of them has the disk written to.
    fn may_probe(&self) -> bool {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let may = probed.is_none_or(|at| at.elapsed() >= PROBE_REST);
        if may {
            *probed = Some(Instant::now());
        }
        may
    }

    fn note_failure(&self, error: &sqlx::Error) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            error!(path = %self.path.display(), %error, "the database cannot be written to");
        }
    }

    fn note_success(&self) {
        if self.has_failed.swap(false, Ordering::Relaxed) {
            info!(path = %self.path.display(), "the database can be written to again");
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
