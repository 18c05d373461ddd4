//! `[verify]`: how often the archive is compared with what was proven of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Problems;
use super::transfer::LEAST_CEILING;

/// Longest period that makes sense, in days: ten years.
const MOST_DAYS: u64 = 3660;
/// Most objects read at once that make sense.
const MOST_AT_ONCE: u64 = 64;
/// The archive is looked through in daily shares.
const ROUND: Duration = Duration::from_secs(24 * 3600);

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyConfig {
    /// Days within which every object is verified; 0 for never.
    pub period_days: u32,
    /// Most bytes per second that are read; 0 for no limit.
    pub max_bytes_per_sec: u64,
    /// Recordings looked at at once.
    pub objects_at_once: u32,
}

impl VerifyConfig {
    /// Within how long every object is verified.
    #[must_use]
    pub fn period(&self) -> Duration {
        ROUND * self.period_days
    }

    /// Rest between two rounds; `None` for no rounds.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        (self.period_days > 0).then_some(ROUND)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_most("verify.period_days", self.period_days.into(), MOST_DAYS);
        if self.max_bytes_per_sec > 0 {
            problems.at_least("verify.max_bytes_per_sec", self.max_bytes_per_sec, LEAST_CEILING);
        }
        problems.at_least("verify.objects_at_once", self.objects_at_once.into(), 1);
        problems.at_most("verify.objects_at_once", self.objects_at_once.into(), MOST_AT_ONCE);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load::{Environment, load};

    #[test]
    fn what_makes_no_sense_is_refused_by_key() {
        for (key, value) in [
            ("PERIOD_DAYS", "3661"),
            ("MAX_BYTES_PER_SEC", "65535"),
            ("OBJECTS_AT_ONCE", "0"),
            ("OBJECTS_AT_ONCE", "65"),
        ] {
            let environment = Environment::from([(format!("ZOOM_ARCHIVER_VERIFY__{key}"), value.to_owned())]);
            let told = load(None, &environment).unwrap_err().to_string();
            assert!(told.contains(&format!("verify.{}: ", key.to_lowercase())), "{told}");
        }
    }
}
