//! What is seen of this process from outside.
//!
//! - `log`: where lines go, and in which shape
//! - `metrics`: what every metric is called, in which unit it counts, and where it begins

mod log;
mod metrics;

pub use log::{LogTarget, init_log};
pub use metrics::{expect_accounts, init_metrics};
