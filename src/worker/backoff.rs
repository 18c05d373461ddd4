//! How long a job rests: exponential with full jitter, so that what failed together does not come back
//! together.

use std::time::Duration;

use crate::config::worker::WorkerConfig;

/// The bounds of a rest.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    base: Duration,
    max: Duration,
}

impl Backoff {
    /// Bounds from the configuration.
    #[must_use]
    pub fn new(config: &WorkerConfig) -> Self {
        Self {
            base: Duration::from_millis(config.retry_base_ms),
            max: Duration::from_millis(config.retry_max_ms),
        }
    }

    /// The same, with no rest longer than `longest`.
    #[must_use]
    pub fn at_most(self, longest: Duration) -> Self {
        Self { base: self.base.min(longest), max: self.max.min(longest) }
    }

    /// The longest rest after `failures` failures (the first one is 1): `base * 2^failures`, at most `max`.
    #[must_use]
    pub fn ceiling(self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.max)
    }

    /// A random rest between half the base and the ceiling, and no shorter than the other side asked for.
    #[must_use]
    pub fn rest(self, failures: u32, asked: Option<Duration>) -> Duration {
        let ceiling = self.ceiling(failures);
        let floor = (self.base / 2).min(ceiling);
        let jittered = floor + (ceiling - floor).mul_f64(rand::random::<f64>());
        // A source that asks for a week is not obeyed beyond a day: the token would not last.
        let asked = asked.unwrap_or_default().min(Duration::from_secs(24 * 3600));
        jittered.max(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(2), max: Duration::from_secs(900) };

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum() {
        let seconds: Vec<_> = [1, 2, 3, 10, 40].iter().map(|n| BACKOFF.ceiling(*n).as_secs()).collect();
        assert_eq!(seconds, [4, 8, 16, 900, 900]);
    }

    #[test]
    fn a_rest_is_spread_over_the_whole_range() {
        let rests: Vec<_> = (0..1000).map(|_| BACKOFF.rest(4, None)).collect();
        assert!(rests.iter().all(|rest| (1..=32).contains(&rest.as_secs())));
        assert!(rests.iter().any(|rest| rest.as_secs() < 6));
        assert!(rests.iter().any(|rest| rest.as_secs() > 26));
    }

    #[test]
    fn what_the_other_side_asks_for_is_obeyed() {
        assert!(BACKOFF.rest(1, Some(Duration::from_secs(3600))).as_secs() >= 3600);
    }
}
