//! `[reconcile]`: what is looked for that no event brought.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Problems;

/// Longest look back that makes sense, in days: ten years.
const MOST_DAYS: u64 = 3660;
/// Longest wait for late files that makes sense, in hours: a year.
const MOST_LATE_HOURS: u64 = 8784;
/// Shortest rest between two rounds that makes sense, in seconds.
const SHORTEST_INTERVAL_SECS: u64 = 60;
/// Longest rest between two rounds that makes sense, in seconds: a month.
const LONGEST_INTERVAL_SECS: u64 = 31 * 24 * 3600;
/// Most objects looked at at once that make sense.
const MOST_AT_ONCE: u64 = 256;

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcileConfig {
    /// Seconds between two rounds; 0 for none.
    pub interval_secs: u64,
    /// Days looked back.
    pub days: u32,
    /// Types of files that come late.
    pub late_files: Vec<String>,
    /// Hours that they are waited for.
    pub late_hours: u32,
    /// Whether Zoom's log of failed deliveries is read.
    pub webhook_log: bool,
    /// Objects looked at at once for the report.
    pub objects_at_once: u32,
}

impl ReconcileConfig {
    /// Rest between two rounds; `None` for no rounds.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        (self.interval_secs > 0).then(|| Duration::from_secs(self.interval_secs))
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if (1..SHORTEST_INTERVAL_SECS).contains(&self.interval_secs) {
            let interval = self.interval_secs;
            problems.add(
                "reconcile.interval_secs",
                format!("is {interval}, must be 0 or at least {SHORTEST_INTERVAL_SECS}"),
            );
        }
        problems.at_most("reconcile.interval_secs", self.interval_secs, LONGEST_INTERVAL_SECS);
        problems.at_least("reconcile.days", self.days.into(), 1);
        problems.at_most("reconcile.days", self.days.into(), MOST_DAYS);
        problems.at_most("reconcile.late_hours", self.late_hours.into(), MOST_LATE_HOURS);
        problems.at_least("reconcile.objects_at_once", self.objects_at_once.into(), 1);
        problems.at_most("reconcile.objects_at_once", self.objects_at_once.into(), MOST_AT_ONCE);
        super::check_file_types("reconcile.late_files", &self.late_files, problems);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load::{Environment, load};

    #[test]
    fn what_makes_no_sense_is_refused_by_key() {
        for (key, value) in [
            ("INTERVAL_SECS", "59"),
            ("INTERVAL_SECS", "2678401"),
            ("DAYS", "0"),
            ("DAYS", "3661"),
            ("LATE_HOURS", "8785"),
            ("OBJECTS_AT_ONCE", "0"),
            ("OBJECTS_AT_ONCE", "257"),
            ("LATE_FILES", "TRANSCRIPT,summary"),
        ] {
            let environment =
                Environment::from([(format!("ZOOM_ARCHIVER_RECONCILE__{key}"), value.to_owned())]);
            let told = load(None, &environment).unwrap_err().to_string();
            assert!(told.contains(&format!("reconcile.{}: ", key.to_lowercase())), "{told}");
        }
    }
}
