//! What is seen of this process from outside.
//!
//! - `log`: where lines go, and in which shape
//! - `json`: that shape, for machines
//! - `metrics`: what every metric is called, in which unit it counts, and where it begins
//! - `trace`: what happened to one event and all that came of it, across processes

mod json;
mod log;
mod metrics;
mod trace;

pub use log::{LogTarget, init_log, init_log_and_traces};
pub use metrics::{expect_accounts, init_metrics};
pub use trace::{TraceError, Traces, follow, traceparent};
