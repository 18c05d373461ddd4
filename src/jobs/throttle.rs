//! The ceiling on what all downloads of this process bring together.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Unit in which bytes are counted: the limiter's numbers have 32 bits.
const UNIT_BYTES: u64 = 1024;

/// Lets bytes pass at no more than a rate. Clones share it.
#[derive(Debug, Clone)]
pub struct Throttle(Option<Arc<Limit>>);

#[derive(Debug)]
struct Limit {
    limiter: DefaultDirectRateLimiter,
    /// Most units that can be asked for at once: what passes in a second.
    burst: NonZeroU32,
}

impl Throttle {
    /// At most `bytes_per_sec`, in bytes per second; 0 for no limit.
    #[must_use]
    pub fn new(bytes_per_sec: u64) -> Self {
        let units = u32::try_from(bytes_per_sec.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        Self(
            NonZeroU32::new(units).map(|burst| {
                Arc::new(Limit { limiter: RateLimiter::direct(Quota::per_second(burst)), burst })
            }),
        )
    }

    /// Waits until `bytes` more may pass; `waiting` is called now and then meanwhile.
    pub async fn pass(&self, bytes: u64, waiting: impl Fn()) {
        let Some(limit) = &self.0 else { return };
        let mut units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        while let Some(now) = NonZeroU32::new(units.min(limit.burst.get())) {
            // The only error is more than the burst, which `now` is not.
            let _ = limit.limiter.until_n_ready(now).await;
            units -= now.get();
            waiting();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_limit_everything_passes() {
        Throttle::new(0).pass(u64::MAX, || panic!("it waited")).await;
    }

    #[tokio::test]
    async fn what_is_over_the_limit_waits() {
        let throttle = Throttle::new(64 * 1024);
        throttle.pass(64 * 1024, || {}).await;
        let mut more = Box::pin(throttle.pass(64 * 1024, || {}));
        assert!(futures_util::poll!(&mut more).is_pending());
    }
}
