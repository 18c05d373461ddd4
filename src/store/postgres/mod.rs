//! The record in PostgreSQL.
//!
//! Every verb is a single statement, which commits or does not, whatever becomes of its caller: `begin()` of
//! sqlx 0.9 is not safe to drop half-way. [`record`] alone may need several, and is run to its end.
//!
//! Statements see one snapshot, rows that they lock are the newest: so what is decided on a row's state is
//! decided on a locked row. An UPDATE begins with the row of the snapshot all the same, and goes over to the
//! newest one only after the CHECKs and its own WHERE have passed on that: so it sets every column that a CHECK
//! binds to the new state, and its WHERE names every state that the snapshot may show. Locks are taken in one order:
//! recording, job, file, following jobs, what was told; several of a kind in the order of their identity. What is
//! forgotten by age waits for no lock but those of its counts, which come last.

mod compare;
mod examine;
mod file_state;
mod list;
mod pool;
mod prune;
mod queue;
mod read;
mod record;
mod restore;
mod servers;
mod tell;
mod verify;
mod watch;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::Connection;

use self::pool::Pool;
use self::servers::Servers;
use super::gather::Gather;
use super::identity;
use super::intake::PERSON;
use super::migrations::{self, Migrated};
use super::postgres_url::PostgresUrl;
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

/// Longest time for one verb. A healthy database needs milliseconds; behind a dead network a statement would
/// wait for the kernel to give up, which takes a quarter of an hour. The server ends a statement after the same time
/// (`statement_timeout`).
const VERB_TIMEOUT: Duration = Duration::from_secs(30);

/// The same for what running jobs wait for: their leases must not end meanwhile.
const JOB_TIMEOUT: Duration = Duration::from_secs(10);

/// Of all connections, one in so many is for the lists that people ask for, and one in so many for events.
const SHARE: u32 = 4;

/// Connections that record events, at most: while one waits for the disk, the other one takes what has come meanwhile. More of
/// them let fewer events share a statement, and a commit: four accepted no more events in a second than two, and the
/// longest waits were longer (`benches/scale a e`).
const MOST_RECORDERS: u32 = 2;

/// The record in PostgreSQL.
pub(super) struct PostgresStore {
    /// For the statements that are sent over and over, each always in the same way.
    pool: Pool,
    /// For lists, whose best plan depends on what is asked for; and so that whoever asks for them keeps nobody from
    /// recording an event.
    readers: Pool,
    /// For events alone: whoever records one waits for no job, and its connections are served by the threads that answer
    /// Zoom.
    recorders: Pool,
    gather: Gather,
    unbroken: Unbroken,
    intake: Intake,
    description: String,
}

impl PostgresStore {
    /// Connects.
    pub(super) async fn open(
        url: PostgresUrl,
        config: &StoreConfig,
        intake: Intake,
    ) -> Result<Self, StoreError> {
        let share = (config.max_connections / SHARE).max(1);
        let recorders = share.min(MOST_RECORDERS);
        let most = config.max_connections.saturating_sub(share + recorders).max(1);
        let servers = Arc::new(Servers::new(url, config.acquire_timeout()));
        let pool = |setup, most| Pool::new(Arc::clone(&servers), setup, most, config.acquire_timeout());
        let store = Self {
            description: String::new(),
            gather: Gather::new(recorders as usize),
            unbroken: Unbroken::here(),
            intake,
            pool: pool(PLAN_ONCE, most),
            readers: pool(PLAN_ALWAYS, share),
            recorders: pool(PLAN_ONCE_FOR_EVENTS, recorders),
        };
        let mut connection = store.pool.acquire().await?;
        let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut *connection).await?;
        // Packagers append their own name: `15.18 (Debian 15.18-0+deb12u1)`.
        let number = version.split_whitespace().next().unwrap_or_default();
        Ok(Self { description: format!("postgres {number}"), ..store })
    }
}

/// Ends a statement at the server after the time that anybody waits for it.
macro_rules! session {
    ($planning:literal) => {
        concat!("SET statement_timeout = '30s'; ", $planning)
    };
}

/// For lists: the best plan depends on what is asked for.
const PLAN_ALWAYS: &str = session!("");

/// The planner takes a bound LIMIT for a tenth of the table, and the length of a bound array for a guess. It finds plans
/// that serve all values dear for that, and plans anew for every call, which takes longer than the call: twice as long for
/// a claim.
const PLAN_ONCE: &str = session!("SET plan_cache_mode = force_generic_plan;");

/// The same for events. What they look up is one recording's; but the plan is made when the first of them comes, and what
/// looks best in an empty table reads the whole of a full one.
const PLAN_ONCE_FOR_EVENTS: &str =
    session!("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off;");

/// Migrates under sqlx's advisory lock, which is released with the connection however this ends.
pub(super) async fn migrate(url: PostgresUrl, config: &StoreConfig) -> Result<Migrated, StoreError> {
    let servers = Servers::new(url, config.acquire_timeout());
    let mut connection = servers.connect("").await?;
    let migrated = migrations::run(&mut connection, migrations::POSTGRES).await;
    // What counts is committed; a connection that cannot say goodbye is gone all the same.
    let _ = connection.close().await;
    migrated
}

async fn bounded<T>(verb: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(VERB_TIMEOUT, verb).await.unwrap_or_else(|_| Err(timed_out()))
}

async fn bounded_for_job<T>(verb: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(JOB_TIMEOUT, verb).await.unwrap_or_else(|_| Err(timed_out()))
}

fn timed_out() -> StoreError {
    StoreError::Unavailable(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
}

#[async_trait]
impl Store for PostgresStore {
    fn describe(&self) -> &str {
        &self.description
    }

    async fn record(&self, event: &Event) -> Result<Recorded, StoreError> {
        let (gather, event) = (self.gather.clone(), event.clone());
        let (recorders, intake) = (self.recorders.clone(), self.intake.clone());
        let write = move |events: Arc<[Event]>| {
            let (recorders, intake) = (recorders.clone(), intake.clone());
            bounded(async move { record::record(&recorders, &events, &intake).await })
        };
        self.unbroken.run(async move { gather.record(event, write).await }).await
    }

    async fn claim(
        &self,
        owner: &str,
        limit: u32,
        lease: Duration,
        full: &[String],
    ) -> Result<Vec<Job>, StoreError> {
        bounded_for_job(queue::claim(&self.pool, Queue::Work, owner, limit, lease, full)).await
    }

    async fn claim_notices(
        &self,
        owner: &str,
        limit: u32,
        lease: Duration,
        full: &[String],
    ) -> Result<Vec<Job>, StoreError> {
        bounded_for_job(queue::claim(&self.pool, Queue::Notices, owner, limit, lease, full)).await
    }

    async fn extend(&self, lease: &Lease, length: Duration) -> Result<(), StoreError> {
        bounded_for_job(queue::extend(&self.pool, lease, length)).await
    }

    async fn checkpoint(&self, lease: &Lease, checkpoint: &Value) -> Result<(), StoreError> {
        bounded_for_job(queue::checkpoint(&self.pool, lease, checkpoint, Headway::Made)).await
    }

    async fn note(&self, lease: &Lease, checkpoint: &Value) -> Result<(), StoreError> {
        bounded_for_job(queue::checkpoint(&self.pool, lease, checkpoint, Headway::None)).await
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement) -> Result<(), StoreError> {
        bounded_for_job(queue::settle(&self.pool, lease, settlement, self.intake.subscriptions())).await
    }

    async fn sweep(&self, max_lost_leases: u32) -> Result<Swept, StoreError> {
        bounded(queue::sweep(&self.pool, max_lost_leases, self.intake.subscriptions())).await
    }

    async fn retry(&self, file: FileId) -> Result<bool, StoreError> {
        bounded(queue::retry(&self.pool, file)).await
    }

    async fn skip(&self, file: FileId, reason: &str) -> Result<bool, StoreError> {
        bounded(async { queue::skip(&mut *self.pool.acquire().await?, file, reason, PERSON).await }).await
    }

    async fn unskip(&self, file: FileId) -> Result<bool, StoreError> {
        bounded(async { queue::unskip(&mut *self.pool.acquire().await?, file, PERSON).await }).await
    }

    async fn retry_job(&self, job: JobId) -> Result<bool, StoreError> {
        bounded(queue::retry_job(&self.pool, job)).await
    }

    async fn cancel_job(&self, job: JobId, reason: &str) -> Result<bool, StoreError> {
        bounded(queue::cancel_job(&self.pool, job, reason)).await
    }

    async fn place(&self, file: FileId, folder: &str, name: &str) -> Result<String, StoreError> {
        bounded(record::place(&self.pool, file, folder, name)).await
    }

    async fn transfer_work(&self, file: FileId) -> Result<Option<TransferWork>, StoreError> {
        bounded(read::transfer_work(&self.pool, file)).await
    }

    async fn recording(&self, id: RecordingId) -> Result<Option<(RecordingRow, Vec<FileRow>)>, StoreError> {
        bounded(async { read::recording(&mut *self.pool.acquire().await?, id).await }).await
    }

    async fn find(
        &self,
        identity: &RecordingIdentity,
    ) -> Result<Option<(RecordingRow, Vec<FileRow>)>, StoreError> {
        bounded(async { compare::find(&mut *self.pool.acquire().await?, identity).await }).await
    }

    async fn began_between(
        &self,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        after: Option<RecordingId>,
        limit: u32,
    ) -> Result<Vec<RecordingRow>, StoreError> {
        bounded(compare::began_between(&self.readers, from, until, after, limit)).await
    }

    async fn ending_tokens(
        &self,
        before: DateTime<Utc>,
        after: Option<FileId>,
        limit: u32,
    ) -> Result<Vec<EndingToken>, StoreError> {
        bounded(compare::ending_tokens(&self.pool, before, after, limit)).await
    }

    async fn repeat(&self, task: Task, period: Duration) -> Result<bool, StoreError> {
        bounded(compare::repeat(&self.pool, task, period)).await
    }

    async fn list_recordings(
        &self,
        filter: &RecordingFilter,
        page: Page,
    ) -> Result<Vec<RecordingRow>, StoreError> {
        bounded(list::recordings(&self.readers, filter, page)).await
    }

    async fn tally(&self, recordings: &[RecordingId]) -> Result<Vec<Tally>, StoreError> {
        bounded(list::tally(&self.readers, recordings)).await
    }

    async fn list_files(&self, filter: &FileFilter, page: Page) -> Result<Vec<FileRow>, StoreError> {
        bounded(list::files(&self.readers, filter, page)).await
    }

    async fn losing(
        &self,
        which: super::Losing,
        filter: &FileFilter,
        after: Option<(DateTime<Utc>, FileId)>,
        limit: u32,
    ) -> Result<Vec<FileRow>, StoreError> {
        bounded(list::losing(&self.readers, which, filter, after, limit)).await
    }

    async fn count_files(&self, filter: &FileFilter) -> Result<u64, StoreError> {
        bounded(list::count_files(&self.readers, filter)).await
    }

    async fn file(&self, id: FileId) -> Result<Option<FileRow>, StoreError> {
        bounded(list::file(&self.readers, id)).await
    }

    async fn list_jobs(&self, filter: &JobFilter, page: Page) -> Result<Vec<JobRow>, StoreError> {
        bounded(list::jobs(&self.readers, filter, page)).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRow>, StoreError> {
        bounded(list::job(&self.readers, id)).await
    }

    async fn list_events(&self, filter: &EventFilter, page: Page) -> Result<Vec<EventRow>, StoreError> {
        bounded(list::events(&self.readers, filter, page)).await
    }

    async fn event(&self, id: EventId) -> Result<Option<(EventRow, Vec<u8>)>, StoreError> {
        bounded(list::event(&self.readers, id)).await
    }

    async fn unreadable_events(&self) -> Result<u64, StoreError> {
        bounded(list::unreadable_events(&self.readers)).await
    }

    async fn holdups(&self) -> Result<Vec<super::Holdup>, StoreError> {
        bounded(list::holdups(&self.readers)).await
    }

    async fn resting(&self) -> Result<super::Resting, StoreError> {
        bounded(list::resting(&self.readers)).await
    }

    async fn flow(&self, window: Duration) -> Result<Flow, StoreError> {
        bounded(list::flow(&self.readers, window)).await
    }

    async fn found(
        &self,
        findings: &[FileFinding],
        after: Option<FileId>,
        limit: u32,
    ) -> Result<Vec<FileRow>, StoreError> {
        bounded(verify::found(&self.readers, findings, after, limit)).await
    }

    async fn to_verify(&self, selection: &Selection, period: Duration) -> Result<ToVerify, StoreError> {
        bounded(verify::to_verify(&self.readers, selection, period)).await
    }

    async fn unverified(
        &self,
        selection: &Selection,
        until: DateTime<Utc>,
        after: Option<(DateTime<Utc>, FileId)>,
        limit: u32,
    ) -> Result<Vec<Unverified>, StoreError> {
        bounded(verify::unverified(&self.readers, selection, until, after, limit)).await
    }

    async fn verified(&self, file: &FileRow, found: Option<&Found>) -> Result<bool, StoreError> {
        bounded(verify::verified(&self.pool, file, found, self.intake.subscriptions())).await
    }

    async fn sift(
        &self,
        after: Option<&str>,
        until: Option<&str>,
        listed: &[ListedObject],
        room: u32,
    ) -> Result<Vec<ListedObject>, StoreError> {
        bounded(verify::sift(&self.pool, after, until, listed, room)).await
    }

    async fn foreign(&self, after: Option<&str>, limit: u32) -> Result<Vec<ForeignObject>, StoreError> {
        bounded(verify::foreign(&self.readers, after, limit)).await
    }

    async fn verification(&self) -> Result<Verification, StoreError> {
        bounded(verify::verification(&self.readers)).await
    }

    async fn is_unwritten(&self) -> Result<bool, StoreError> {
        bounded(restore::is_unwritten(&self.readers)).await
    }

    async fn restore(&self, folder: &str, manifest: &Manifest) -> Result<Restored, StoreError> {
        let recording = RestoredRecording::new(folder, manifest);
        bounded(restore::restore(&self.pool, &recording)).await
    }

    async fn leftovers(&self, uploads: &[(String, String)]) -> Result<Vec<String>, StoreError> {
        bounded(queue::leftovers(&self.pool, uploads)).await
    }

    async fn abandon(&self, older_than: Duration, limit: u32) -> Result<Vec<Value>, StoreError> {
        bounded(queue::abandon(&self.pool, older_than, limit)).await
    }

    async fn prune(
        &self,
        what: Prunable,
        age: Duration,
        after: Option<Bygone>,
        limit: u32,
    ) -> Result<Pruned, StoreError> {
        bounded(prune::prune(&self.readers, what, age, after, limit)).await
    }

    async fn pruned(&self) -> Result<Vec<PrunedCount>, StoreError> {
        bounded(prune::pruned(&self.readers)).await
    }

    async fn tell_losses(&self, lead: Duration) -> Result<u64, StoreError> {
        bounded(tell::tell_losses(&self.pool, self.intake.subscriptions(), lead)).await
    }

    async fn notice_work(&self, id: NoticeId) -> Result<Option<NoticeWork>, StoreError> {
        bounded(tell::notice_work(&self.pool, id)).await
    }

    async fn losses(&self) -> Result<Losses, StoreError> {
        bounded(read::losses(&self.readers)).await
    }

    async fn twins(&self) -> Result<u64, StoreError> {
        bounded(read::twins(&self.pool)).await
    }

    async fn depth(&self) -> Result<Vec<Depth>, StoreError> {
        bounded(read::depth(&self.readers)).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        bounded(watch::backlog(&self.pool)).await
    }

    async fn archive_identity(&self) -> Result<Option<ArchiveIdentity>, StoreError> {
        bounded(async {
            let row = sqlx::query_as(identity::READ).fetch_optional(&mut *self.pool.acquire().await?).await?;
            Ok(row.map(identity::read))
        })
        .await
    }

    async fn note_archive(
        &self,
        archive: &ArchiveIdentity,
        replace: bool,
    ) -> Result<ArchiveIdentity, StoreError> {
        bounded(async {
            let mut connection = self.pool.acquire().await?;
            let note = if replace { identity::REPLACE } else { identity::NOTE };
            sqlx::query(note).bind(&archive.id).bind(&archive.place).execute(&mut *connection).await?;
            Ok(identity::read(sqlx::query_as(identity::READ).fetch_one(&mut *connection).await?))
        })
        .await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        bounded(watch::health(&self.pool)).await
    }

    fn connections(&self) -> Vec<Connections> {
        vec![
            self.pool.connections("any"),
            self.readers.connections("read"),
            self.recorders.connections("record"),
        ]
    }

    async fn examine(&self, _look: Look) -> Result<Vec<Finding>, StoreError> {
        let most = self.connections().iter().map(|pool| pool.most).sum();
        bounded(examine::examine(&self.readers, most)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        bounded(read::ping(&self.pool)).await
    }

    async fn close(&self) {
        self.recorders.close().await;
        self.readers.close().await;
        self.pool.close().await;
    }
}
