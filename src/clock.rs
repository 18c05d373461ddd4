//! The only reader of wall time. The queue does not use it: leases and waiting times are judged by the
//! database's clock.

use std::sync::atomic::{AtomicI64, Ordering};
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

/// Seconds by which a clock is ahead that wrote this `Date` (RFC 9110, section 5.6.7) just now; less than 0 when it is behind.
/// `None` for what is no date.
pub(crate) fn seconds_ahead(date: &str, now: DateTime<Utc>) -> Option<i64> {
    let date = DateTime::parse_from_rfc2822(date).ok()?;
    Some((date.to_utc() - now).num_seconds())
}

/// A clock elsewhere, as far as the dates of its owner's answers tell of it.
#[derive(Debug)]
pub(crate) struct ClockElsewhere(AtomicI64);

/// No answer has told.
const UNKNOWN: i64 = i64::MAX;

impl Default for ClockElsewhere {
    fn default() -> Self {
        Self(AtomicI64::new(UNKNOWN))
    }
}

impl ClockElsewhere {
    /// Notes the `Date` of an answer that has just come.
    pub(crate) fn note(&self, date: &str, now: DateTime<Utc>) {
        if let Some(ahead) = seconds_ahead(date, now) {
            self.0.store(ahead, Ordering::Relaxed);
        }
    }

    /// Seconds by which it is ahead of this machine's; less than 0 when it is behind.
    pub(crate) fn seconds_ahead(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNKNOWN)
    }
}
