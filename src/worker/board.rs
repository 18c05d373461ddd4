//! What runs now in this process: for progress bars and gauges, never for decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ids::JobId;
use crate::domain::job::Task;

/// How far one running job has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes carried in this run.
    pub bytes: AtomicU64,
    /// Bytes expected; 0 while unknown.
    pub total: AtomicU64,
    /// Signs of life.
    pub beats: AtomicU64,
}

/// A running job as a watcher sees it.
#[derive(Debug, Clone)]
pub struct Running {
    /// What it does.
    pub task: Task,
    /// Bytes carried in this run.
    pub bytes: u64,
    /// Bytes expected; 0 while unknown.
    pub total: u64,
    /// For how long it has run.
    pub time: Duration,
}

/// A running job as it stands on the board.
#[derive(Debug)]
struct Post {
    task: Task,
    since: Instant,
    progress: Arc<Progress>,
}

/// The running jobs of this process.
#[derive(Debug, Default)]
pub struct Board {
    jobs: Mutex<BTreeMap<JobId, Post>>,
    /// Kinds whose gauges have been set once: what does not run any more goes back to nought.
    shown: Mutex<BTreeSet<&'static str>>,
}

impl Board {
    /// Puts a job on the board; it goes when the returned entry is dropped.
    pub(super) fn enter(self: &Arc<Self>, job: JobId, task: Task) -> Entry {
        let progress = Arc::new(Progress::default());
        let post = Post { task, since: Instant::now(), progress: Arc::clone(&progress) };
        self.lock().insert(job, post);
        Entry { board: Arc::clone(self), job, progress }
    }

    /// What runs now.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        let read = |post: &Post| Running {
            task: post.task,
            bytes: post.progress.bytes.load(Ordering::Relaxed),
            total: post.progress.total.load(Ordering::Relaxed),
            time: post.since.elapsed(),
        };
        self.lock().values().map(read).collect()
    }

    /// Sets the gauges of what runs now, by kind.
    pub fn show(&self) {
        let mut kinds: BTreeMap<&'static str, (f64, Duration)> = BTreeMap::new();
        for running in self.running() {
            let (jobs, longest) = kinds.entry(running.task.kind()).or_default();
            (*jobs, *longest) = (*jobs + 1.0, running.time.max(*longest));
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.extend(kinds.keys());
        for kind in shown.iter().copied() {
            let (jobs, longest) = kinds.get(kind).copied().unwrap_or_default();
            metrics::gauge!("zoom_archiver_running_jobs", "kind" => kind).set(jobs);
            metrics::gauge!("zoom_archiver_longest_run_seconds", "kind" => kind).set(longest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobId, Post>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job's place on the board.
#[derive(Debug)]
pub(super) struct Entry {
    board: Arc<Board>,
    job: JobId,
    pub(super) progress: Arc<Progress>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.board.lock().remove(&self.job);
    }
}
