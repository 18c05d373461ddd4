//! What runs now in this process: for progress bars and gauges, never for decisions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
}

/// The running jobs of this process.
#[derive(Debug, Default)]
pub struct Board {
    jobs: Mutex<BTreeMap<JobId, (Task, Arc<Progress>)>>,
}

impl Board {
    /// Puts a job on the board; it goes when the returned entry is dropped.
    pub(super) fn enter(self: &Arc<Self>, job: JobId, task: Task) -> Entry {
        let progress = Arc::new(Progress::default());
        self.lock().insert(job, (task, Arc::clone(&progress)));
        Entry { board: Arc::clone(self), job, progress }
    }

    /// What runs now.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        let read = |(task, progress): &(Task, Arc<Progress>)| Running {
            task: *task,
            bytes: progress.bytes.load(Ordering::Relaxed),
            total: progress.total.load(Ordering::Relaxed),
        };
        self.lock().values().map(read).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobId, (Task, Arc<Progress>)>> {
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
