//! The record in SQLite: one file, one writer at a time, readers beside it (WAL).
//!
//! Every verb that writes is one transaction on the process's one writing connection. It begins with the write
//! lock (`BEGIN IMMEDIATE`), so what it reads stays true until it commits, in this process and in others on the
//! same file; and it is run to its end whatever becomes of its caller.
//!
//! What others rely on is on disk when the commit returns (`synchronous = FULL`): answered means durable. What the
//! queue does with its jobs is not waited for (`NORMAL`): it survives the end of any process, and what a loss of power
//! takes away of it, the last moments of claims, choices of a place and settlements, is done again from what is on
//! disk.

mod compare;
mod examine;
mod file_state;
mod list;
#[cfg(test)]
mod plans;
mod prune;
mod queue;
mod read;
mod record;
mod restore;
mod tell;
mod verify;
mod watch;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};

use self::writer::Writer;
use super::connections::connections;
use super::gather::Gather;
use super::identity;
use super::intake::PERSON;
use super::migrations::{self, Migrated};
use super::pruning::{Bygone, Prunable, Pruned, PrunedCount};
use super::restored::RestoredRecording;
use super::settled::Headway;
use super::unbroken::Unbroken;
use super::{
    Backlog, Connections, Depth, EndingToken, EventFilter, FileFilter, Flow, Health, Intake, JobFilter,
    Losses, NoticeWork, Page, Recorded, RecordingFilter, Restored, Selection, Store, StoreError, Swept,
    Tally, ToVerify, TransferWork, Unverified, Verification,
};
use crate::config::store::StoreConfig;
use crate::domain::archive::ArchiveIdentity;
use crate::domain::event::{Event, EventRow};
use crate::domain::file::{FileRow, RecordingRow};
use crate::domain::finding::{Finding, Look};
use crate::domain::ids::{EventId, FileId, JobId, NoticeId, RecordingId};
use crate::domain::job::{Job, JobRow, Lease, Queue, Settlement, Task};
use crate::domain::manifest::Manifest;
use crate::domain::recording::RecordingIdentity;
use crate::domain::verification::{FileFinding, ForeignObject, Found, ListedObject};

/// The database's clock, in Unix milliseconds. Several processes on one file share one machine, and so its clock.
const NOW: &str = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)";

const DURABLE: &str = "PRAGMA synchronous = FULL";
const REPEATABLE: &str = "PRAGMA synchronous = NORMAL";

/// A moment that never comes: the last day of the year 9999, where a column wants one.
macro_rules! never {
    () => {
        "253402214400000"
    };
}

use never;

/// The record in SQLite.
pub(super) struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    gather: Gather,
    unbroken: Unbroken,
    intake: Intake,
    description: String,
}

impl SqliteStore {
    /// Opens the file, which must exist: migrating creates it.
    pub(super) async fn open(path: &Path, config: &StoreConfig, intake: Intake) -> Result<Self, StoreError> {
        if !tokio::fs::try_exists(path).await.map_err(sqlx::Error::Io)? {
            return Err(StoreError::Schema { found: 0, needed: migrations::VERSION });
        }
        // A file does not hang up: no connection need be tried before it is used.
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(config.acquire_timeout())
                .test_before_acquire(false)
        };
        let writer = Writer::open(path, pool(1), writer_options(path, config)).await?;
        let readers =
            pool(config.max_connections.saturating_sub(1).max(1)).connect_with(reader_options(path, config));
        let readers = readers.await?;
        let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&readers).await?;
        let (gather, unbroken) = (Gather::new(1), Unbroken::here());
        Ok(Self { writer, readers, gather, unbroken, intake, description: format!("sqlite {version}") })
    }

    /// Runs one verb as one transaction, to its end; it is on disk then.
    async fn write<T, F>(&self, verb: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        self.commit(DURABLE, verb).await
    }

    /// The same for what can be done again: it need not be on disk yet.
    async fn write_repeatable<T, F>(&self, verb: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        self.commit(REPEATABLE, verb).await
    }

    async fn claim_from(
        &self,
        queue: Queue,
        owner: &str,
        limit: u32,
        lease: Duration,
        full: &[String],
    ) -> Result<Vec<Job>, StoreError> {
        let (owner, full) = (owner.to_owned(), full.to_vec());
        self.write_repeatable(move |transaction| {
            Box::pin(async move { queue::claim(transaction, queue, &owner, limit, lease, &full).await })
        })
        .await
    }

    async fn commit<T, F>(&self, synchronous: &'static str, verb: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let writer = self.writer.clone();
        self.unbroken.run(async move { writer.transact(synchronous, verb).await }).await
    }
}

/// Records events in one transaction, which must be run to its end.
async fn record_all(
    writer: Writer,
    events: Arc<[Event]>,
    intake: Intake,
) -> Result<Vec<Recorded>, StoreError> {
    writer
        .transact(DURABLE, |db| {
            Box::pin(async move {
                let mut recorded = Vec::with_capacity(events.len());
                for event in events.iter() {
                    recorded.push(record::record(db, event, &intake).await?);
                }
                Ok(recorded)
            })
        })
        .await
}

/// The time at which a transaction writes.
async fn now(db: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(NOW).fetch_one(db).await?)
}

fn writer_options(path: &Path, config: &StoreConfig) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(config.acquire_timeout())
}

/// WAL is a property of the file, which the writer has set.
fn reader_options(path: &Path, config: &StoreConfig) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(config.acquire_timeout())
        .pragma("query_only", "ON")
}

/// Migrates under a lock on a file beside the database, which is released however this ends: sqlx has no lock of
/// its own for SQLite.
pub(super) async fn migrate(path: PathBuf, config: &StoreConfig) -> Result<Migrated, StoreError> {
    let lock_path = path.clone();
    let lock = tokio::task::spawn_blocking(move || lock_beside(&lock_path))
        .await
        .map_err(|_panicked_or_shut_down| StoreError::Unavailable(sqlx::Error::WorkerCrashed))?
        .map_err(|error| StoreError::Unavailable(sqlx::Error::Io(error)))?;
    let mut connection = writer_options(&path, config).create_if_missing(true).connect().await?;
    let migrated = migrations::run(&mut connection, migrations::SQLITE).await;
    // Waits for the worker thread behind the connection: the lock must not be released before it is through.
    let closed = connection.close().await;
    drop(lock);
    let migrated = migrated?;
    closed?;
    Ok(migrated)
}

/// Moves the queue into the past.
#[cfg(test)]
pub(super) async fn move_into_the_past(path: &Path, by: Duration) -> Result<(), StoreError> {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
    sqlx::query("UPDATE jobs SET run_at = run_at - $1, lease_expires_at = lease_expires_at - $1")
        .bind(super::rows::millis(by))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

/// Creates the database's folder where it is missing, and waits for the lock.
fn lock_beside(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".migrate-lock");
    let file = File::options().create(true).truncate(false).write(true).open(name)?;
    file.lock()?;
    Ok(file)
}

#[async_trait]
impl Store for SqliteStore {
    fn describe(&self) -> &str {
        &self.description
    }

    async fn record(&self, event: &Event) -> Result<Recorded, StoreError> {
        let (gather, event) = (self.gather.clone(), event.clone());
        let (writer, intake) = (self.writer.clone(), self.intake.clone());
        self.unbroken
            .run(async move {
                gather.record(event, |events| record_all(writer.clone(), events, intake.clone())).await
            })
            .await
    }

    async fn claim(
        &self,
        owner: &str,
        limit: u32,
        lease: Duration,
        full: &[String],
    ) -> Result<Vec<Job>, StoreError> {
        self.claim_from(Queue::Work, owner, limit, lease, full).await
    }

    async fn claim_notices(
        &self,
        owner: &str,
        limit: u32,
        lease: Duration,
        full: &[String],
    ) -> Result<Vec<Job>, StoreError> {
        self.claim_from(Queue::Notices, owner, limit, lease, full).await
    }

    async fn extend(&self, lease: &Lease, length: Duration) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.write_repeatable(move |transaction| {
            Box::pin(async move { queue::extend(transaction, &lease, length).await })
        })
        .await
    }

    async fn checkpoint(&self, lease: &Lease, checkpoint: &Value) -> Result<(), StoreError> {
        let (lease, checkpoint) = (lease.clone(), checkpoint.clone());
        self.write_repeatable(move |transaction| {
            Box::pin(async move { queue::checkpoint(transaction, &lease, &checkpoint, Headway::Made).await })
        })
        .await
    }

    async fn note(&self, lease: &Lease, checkpoint: &Value) -> Result<(), StoreError> {
        let (lease, checkpoint) = (lease.clone(), checkpoint.clone());
        self.write_repeatable(move |transaction| {
            Box::pin(async move { queue::checkpoint(transaction, &lease, &checkpoint, Headway::None).await })
        })
        .await
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement) -> Result<(), StoreError> {
        let (lease, intake) = (lease.clone(), self.intake.clone());
        self.write_repeatable(move |transaction| {
            Box::pin(
                async move { queue::settle(transaction, &lease, settlement, intake.subscriptions()).await },
            )
        })
        .await
    }

    async fn sweep(&self, max_lost_leases: u32) -> Result<Swept, StoreError> {
        let intake = self.intake.clone();
        self.write_repeatable(move |transaction| {
            Box::pin(async move { queue::sweep(transaction, max_lost_leases, intake.subscriptions()).await })
        })
        .await
    }

    async fn retry(&self, file: FileId) -> Result<bool, StoreError> {
        self.write(move |transaction| Box::pin(async move { queue::retry(transaction, file).await })).await
    }

    async fn skip(&self, file: FileId, reason: &str) -> Result<bool, StoreError> {
        let reason = reason.to_owned();
        self.write(move |transaction| {
            Box::pin(async move { queue::skip(transaction, file, &reason, PERSON).await })
        })
        .await
    }

    async fn unskip(&self, file: FileId) -> Result<bool, StoreError> {
        self.write(move |transaction| Box::pin(async move { queue::unskip(transaction, file, PERSON).await }))
            .await
    }

    async fn retry_job(&self, job: JobId) -> Result<bool, StoreError> {
        self.write(move |transaction| Box::pin(async move { queue::retry_job(transaction, job).await })).await
    }

    async fn cancel_job(&self, job: JobId, reason: &str) -> Result<bool, StoreError> {
        let reason = reason.to_owned();
        self.write(move |transaction| {
            Box::pin(async move { queue::cancel_job(transaction, job, &reason).await })
        })
        .await
    }

    async fn place(&self, file: FileId, folder: &str, name: &str) -> Result<String, StoreError> {
        let (folder, name) = (folder.to_owned(), name.to_owned());
        self.write_repeatable(move |transaction| {
            Box::pin(async move { record::place(transaction, file, &folder, &name).await })
        })
        .await
    }

    async fn transfer_work(&self, file: FileId) -> Result<Option<TransferWork>, StoreError> {
        read::transfer_work(&self.readers, file).await
    }

    async fn recording(&self, id: RecordingId) -> Result<Option<(RecordingRow, Vec<FileRow>)>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        read::recording(&mut reader, id).await
    }

    async fn find(
        &self,
        identity: &RecordingIdentity,
    ) -> Result<Option<(RecordingRow, Vec<FileRow>)>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        compare::find(&mut reader, identity).await
    }

    async fn began_between(
        &self,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        after: Option<RecordingId>,
        limit: u32,
    ) -> Result<Vec<RecordingRow>, StoreError> {
        compare::began_between(&self.readers, from, until, after, limit).await
    }

    async fn ending_tokens(
        &self,
        before: DateTime<Utc>,
        after: Option<FileId>,
        limit: u32,
    ) -> Result<Vec<EndingToken>, StoreError> {
        compare::ending_tokens(&self.readers, before, after, limit).await
    }

    async fn repeat(&self, task: Task, period: Duration) -> Result<bool, StoreError> {
        self.write_repeatable(move |transaction| {
            Box::pin(async move { compare::repeat(transaction, task, period).await })
        })
        .await
    }

    async fn list_recordings(
        &self,
        filter: &RecordingFilter,
        page: Page,
    ) -> Result<Vec<RecordingRow>, StoreError> {
        list::recordings(&self.readers, filter, page).await
    }

    async fn tally(&self, recordings: &[RecordingId]) -> Result<Vec<Tally>, StoreError> {
        list::tally(&self.readers, recordings).await
    }

    async fn list_files(&self, filter: &FileFilter, page: Page) -> Result<Vec<FileRow>, StoreError> {
        list::files(&self.readers, filter, page).await
    }

    async fn losing(
        &self,
        which: super::Losing,
        filter: &FileFilter,
        after: Option<(DateTime<Utc>, FileId)>,
        limit: u32,
    ) -> Result<Vec<FileRow>, StoreError> {
        list::losing(&self.readers, which, filter, after, limit).await
    }

    async fn count_files(&self, filter: &FileFilter) -> Result<u64, StoreError> {
        list::count_files(&self.readers, filter).await
    }

    async fn file(&self, id: FileId) -> Result<Option<FileRow>, StoreError> {
        list::file(&self.readers, id).await
    }

    async fn list_jobs(&self, filter: &JobFilter, page: Page) -> Result<Vec<JobRow>, StoreError> {
        list::jobs(&self.readers, filter, page).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>, StoreError> {
        list::job(&self.readers, id).await
    }

    async fn list_events(&self, filter: &EventFilter, page: Page) -> Result<Vec<EventRow>, StoreError> {
        list::events(&self.readers, filter, page).await
    }

    async fn event(&self, id: EventId) -> Result<Option<(EventRow, Vec<u8>)>, StoreError> {
        list::event(&self.readers, id).await
    }

    async fn unreadable_events(&self) -> Result<u64, StoreError> {
        list::unreadable_events(&self.readers).await
    }

    async fn holdups(&self) -> Result<Vec<super::Holdup>, StoreError> {
        list::holdups(&self.readers).await
    }

    async fn resting(&self) -> Result<super::Resting, StoreError> {
        list::resting(&self.readers).await
    }

    async fn flow(&self, window: Duration) -> Result<Flow, StoreError> {
        list::flow(&self.readers, window).await
    }

    async fn found(
        &self,
        findings: &[FileFinding],
        after: Option<FileId>,
        limit: u32,
    ) -> Result<Vec<FileRow>, StoreError> {
        verify::found(&self.readers, findings, after, limit).await
    }

    async fn to_verify(&self, selection: &Selection, period: Duration) -> Result<ToVerify, StoreError> {
        verify::to_verify(&self.readers, selection, period).await
    }

    async fn unverified(
        &self,
        selection: &Selection,
        until: DateTime<Utc>,
        after: Option<(DateTime<Utc>, FileId)>,
        limit: u32,
    ) -> Result<Vec<Unverified>, StoreError> {
        verify::unverified(&self.readers, selection, until, after, limit).await
    }

    async fn verified(&self, file: &FileRow, found: Option<&Found>) -> Result<bool, StoreError> {
        let (file, found, intake) = (file.clone(), found.cloned(), self.intake.clone());
        self.write_repeatable(move |transaction| {
            Box::pin(async move {
                verify::verified(transaction, &file, found.as_ref(), intake.subscriptions()).await
            })
        })
        .await
    }

    async fn sift(
        &self,
        after: Option<&str>,
        until: Option<&str>,
        listed: &[ListedObject],
        room: u32,
    ) -> Result<Vec<ListedObject>, StoreError> {
        let (after, until) = (after.map(str::to_owned), until.map(str::to_owned));
        let listed = listed.to_vec();
        self.write_repeatable(move |transaction| {
            Box::pin(async move {
                verify::sift(transaction, after.as_deref(), until.as_deref(), &listed, room).await
            })
        })
        .await
    }

    async fn foreign(&self, after: Option<&str>, limit: u32) -> Result<Vec<ForeignObject>, StoreError> {
        verify::foreign(&self.readers, after, limit).await
    }

    async fn verification(&self) -> Result<Verification, StoreError> {
        verify::verification(&self.readers).await
    }

    async fn is_unwritten(&self) -> Result<bool, StoreError> {
        restore::is_unwritten(&self.readers).await
    }

    async fn restore(&self, folder: &str, manifest: &Manifest) -> Result<Restored, StoreError> {
        let recording = RestoredRecording::new(folder, manifest);
        self.write(|transaction| Box::pin(async move { restore::restore(transaction, recording).await }))
            .await
    }

    async fn leftovers(&self, uploads: &[(String, String)]) -> Result<Vec<String>, StoreError> {
        read::leftovers(&self.readers, uploads).await
    }

    async fn abandon(&self, older_than: Duration, limit: u32) -> Result<Vec<Value>, StoreError> {
        self.write(move |transaction| {
            Box::pin(async move { queue::abandon(transaction, older_than, limit).await })
        })
        .await
    }

    async fn prune(
        &self,
        what: Prunable,
        age: Duration,
        after: Option<Bygone>,
        limit: u32,
    ) -> Result<Pruned, StoreError> {
        self.write_repeatable(move |transaction| {
            Box::pin(async move { prune::prune(transaction, what, age, after, limit).await })
        })
        .await
    }

    async fn pruned(&self) -> Result<Vec<PrunedCount>, StoreError> {
        prune::pruned(&self.readers).await
    }

    async fn tell_losses(&self, lead: Duration) -> Result<u64, StoreError> {
        let intake = self.intake.clone();
        self.write_repeatable(move |transaction| {
            Box::pin(async move { tell::tell_losses(transaction, intake.subscriptions(), lead).await })
        })
        .await
    }

    async fn notice_work(&self, id: NoticeId) -> Result<Option<NoticeWork>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        tell::notice_work(&mut reader, id).await
    }

    async fn losses(&self) -> Result<Losses, StoreError> {
        read::losses(&self.readers).await
    }

    async fn twins(&self) -> Result<u64, StoreError> {
        read::twins(&self.readers).await
    }

    async fn depth(&self) -> Result<Vec<Depth>, StoreError> {
        read::depth(&self.readers).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        watch::backlog(&self.readers).await
    }

    async fn archive_identity(&self) -> Result<Option<ArchiveIdentity>, StoreError> {
        let row = sqlx::query_as(identity::READ).fetch_optional(&self.readers).await?;
        Ok(row.map(identity::read))
    }

    async fn note_archive(
        &self,
        archive: &ArchiveIdentity,
        replace: bool,
    ) -> Result<ArchiveIdentity, StoreError> {
        let archive = archive.clone();
        self.write(move |db| {
            Box::pin(async move {
                let note = if replace { identity::REPLACE } else { identity::NOTE };
                sqlx::query(note).bind(&archive.id).bind(&archive.place).execute(&mut *db).await?;
                Ok(identity::read(sqlx::query_as(identity::READ).fetch_one(db).await?))
            })
        })
        .await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        watch::health(&self.readers).await
    }

    fn connections(&self) -> Vec<Connections> {
        vec![connections("write", self.writer.pool()), connections("read", &self.readers)]
    }

    async fn examine(&self, look: Look) -> Result<Vec<Finding>, StoreError> {
        let found = examine::examine(&self.readers, look).await?;
        let writes =
            self.write(|transaction| Box::pin(async move { examine::writes(transaction).await })).await?;
        Ok(found.into_iter().chain([writes]).collect())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let writer = self.writer.clone();
        self.unbroken.run(async move { writer.check().await }).await?;
        read::ping(&self.readers).await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.pool().close().await;
    }
}
