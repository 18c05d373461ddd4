//! How fast one account is asked. Zoom limits calls per second and account, by how heavy they are, and shares the limit
//! among all who ask ("Rate limits"): so we spread ours evenly, below it, and come back when we are told to.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::zoom::ZoomConfig;

/// How heavy a call is: the "Rate Limit Label" in Zoom's API reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// One thing: a recording, a file of it.
    Light,
    /// Many things: lists.
    Medium,
    /// Reports.
    Heavy,
}

/// Rest after a 429 that does not say how long.
const DEFAULT_REST: Duration = Duration::from_secs(1);

/// Lets questions pass, one after the other, at the right pace.
#[derive(Debug)]
pub(super) struct Limits {
    turns: Semaphore,
    light: Gate,
    medium: Gate,
    heavy: Gate,
}

/// The right to ask once; held while the answer comes.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

impl Limits {
    pub(super) fn new(config: &ZoomConfig) -> Self {
        Self {
            turns: Semaphore::new(config.api_calls_at_once.try_into().unwrap_or(1)),
            light: Gate::new(config.api_light_per_sec),
            medium: Gate::new(config.api_medium_per_sec),
            heavy: Gate::new(config.api_heavy_per_sec),
        }
    }

    /// Waits until a question of this class may be asked.
    ///
    /// # Errors
    /// How long Zoom does not want to be asked, when that is longer than `patience`.
    pub(super) async fn turn(&self, class: Class, patience: Duration) -> Result<Turn<'_>, Duration> {
        let gate = self.gate(class);
        loop {
            gate.opened(patience).await?;
            // Never closed, so there is always a turn to wait for.
            let permit = self.turns.acquire().await.ok();
            gate.pace.until_ready().await;
            // It may have been closed while we waited.
            if gate.rest().is_none() {
                return Ok(Turn { _permit: permit });
            }
        }
    }

    /// Zoom has turned a question away (429): none of its class is asked before the rest that it named is over.
    pub(super) fn close(&self, class: Class, rest: Option<Duration>) {
        self.gate(class).close(rest.unwrap_or(DEFAULT_REST));
    }

    fn gate(&self, class: Class) -> &Gate {
        match class {
            Class::Light => &self.light,
            Class::Medium => &self.medium,
            Class::Heavy => &self.heavy,
        }
    }
}

/// The pace of one class.
#[derive(Debug)]
struct Gate {
    pace: DefaultDirectRateLimiter,
    closed_until: Mutex<Option<Instant>>,
}

impl Gate {
    /// One at a time, spread over the second: a burst at its start and another at the end of the one before would
    /// be twice the limit in one second.
    fn new(per_sec: u32) -> Self {
        let per_sec = NonZeroU32::new(per_sec).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(per_sec).allow_burst(NonZeroU32::MIN);
        Self { pace: RateLimiter::direct(quota), closed_until: Mutex::default() }
    }

    async fn opened(&self, patience: Duration) -> Result<(), Duration> {
        while let Some(rest) = self.rest() {
            if rest > patience {
                return Err(rest);
            }
            tokio::time::sleep(rest).await;
        }
        Ok(())
    }

    /// For how long it is still closed.
    fn rest(&self) -> Option<Duration> {
        let closed_until = *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        closed_until?.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
    }

    fn close(&self, rest: Duration) {
        let until = Instant::now() + rest;
        let mut closed_until = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        *closed_until = Some(closed_until.map_or(until, |earlier| earlier.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Environment, load};

    fn limits() -> Limits {
        Limits::new(&load(None, &Environment::new()).unwrap().zoom)
    }

    #[tokio::test]
    async fn who_was_told_to_come_later_comes_later_and_the_other_classes_go_on() {
        let limits = limits();
        limits.close(Class::Medium, Some(Duration::from_secs(3600)));
        let rest = limits.turn(Class::Medium, Duration::from_secs(30)).await.unwrap_err();
        assert!(rest > Duration::from_secs(3500), "{rest:?}");
        limits.turn(Class::Light, Duration::ZERO).await.unwrap();
        limits.close(Class::Medium, None);
        let rest = limits.turn(Class::Medium, Duration::from_secs(30)).await.unwrap_err();
        assert!(rest > Duration::from_secs(3500), "a shorter rest does not end a longer one: {rest:?}");
    }

    #[tokio::test]
    async fn a_short_rest_is_waited_for() {
        const REST: Duration = Duration::from_millis(60);
        let limits = limits();
        limits.close(Class::Light, Some(REST));
        let began = Instant::now();
        limits.turn(Class::Light, Duration::from_secs(30)).await.unwrap();
        assert!(began.elapsed() >= REST, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn questions_are_spread_over_the_second_without_a_burst() {
        let limits = limits();
        let began = Instant::now();
        for _ in 0..4 {
            drop(limits.turn(Class::Heavy, Duration::ZERO).await.unwrap());
        }
        // Three a second: the fourth comes a whole second after the first.
        assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
    }
}
