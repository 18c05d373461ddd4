//! `[retention]`: for how long rows of our own are kept that prove nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Problems;

/// Longest time that makes sense, in days: a hundred years.
const MOST_DAYS: u64 = 36_500;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// Days that events are kept; 0 for ever.
    pub events_days: u32,
    /// Days that finished jobs are kept; 0 for ever.
    pub jobs_days: u32,
}

impl RetentionConfig {
    /// For how long events are kept; `None` for ever.
    #[must_use]
    pub fn events(&self) -> Option<Duration> {
        days(self.events_days)
    }

    /// For how long finished jobs are kept; `None` for ever.
    #[must_use]
    pub fn jobs(&self) -> Option<Duration> {
        days(self.jobs_days)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_most("retention.events_days", self.events_days.into(), MOST_DAYS);
        problems.at_most("retention.jobs_days", self.jobs_days.into(), MOST_DAYS);
    }
}

fn days(days: u32) -> Option<Duration> {
    (days > 0).then(|| DAY * days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Environment, load};

    #[test]
    fn what_makes_no_sense_is_refused_by_key() {
        for key in ["EVENTS_DAYS", "JOBS_DAYS"] {
            let environment =
                Environment::from([(format!("ZOOM_ARCHIVER_RETENTION__{key}"), "36501".to_owned())]);
            let told = load(None, &environment).unwrap_err().to_string();
            assert!(told.contains(&format!("retention.{}: ", key.to_lowercase())), "{told}");
        }
    }

    #[test]
    fn nought_days_are_for_ever() {
        let retention = RetentionConfig { events_days: 0, jobs_days: 2 };
        assert_eq!((retention.events(), retention.jobs()), (None, Some(2 * DAY)));
    }
}
