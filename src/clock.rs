//! The only reader of wall time. The queue does not use it: leases and waiting times are judged by the
//! database's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

/// Where the time comes from. An argument wherever time matters, so that tests can set it.
#[derive(Debug, Clone, Copy, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still.
    Fixed(DateTime<Utc>),
}

impl Clock {
    /// The time now.
    #[must_use]
    pub fn now(self) -> DateTime<Utc> {
        match self {
            Self::Fixed(time) => time,
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                DateTime::from_timestamp(
                    i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                    since.subsec_nanos(),
                )
                .unwrap_or_default()
            }
        }
    }
}
