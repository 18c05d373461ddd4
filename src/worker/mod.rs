//! The queue's workers. This room knows leases, not the work: what a job does comes in as a [`Runner`].
//!
//! - [`pool`]: claims jobs and runs several of them at once
//! - `pace`: how much the pool may take on
//! - [`run`]: one job under its lease: heartbeat, stall watch, settlement
//! - [`backoff`]: how long a job rests
//! - [`sweeper`]: returns jobs whose worker is gone
//! - [`board`]: what runs now, for those who watch

pub mod backoff;
pub mod board;
#[cfg(test)]
mod outage;
mod pace;
pub mod pool;
pub mod run;
pub mod sweeper;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::domain::job::{Job, Outcome};

pub use board::Board;
pub use pool::Pool;
pub use run::JobContext;

/// What does the work of a job, and says how it ended.
pub type Runner = Arc<dyn Fn(Job, JobContext) -> BoxFuture<'static, Outcome> + Send + Sync>;
