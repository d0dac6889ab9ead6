//! How often one key may do one thing: a token bucket per key (GCRA).

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{InsufficientCapacity, NotUntil, Quota};

use crate::config::Rate;
use crate::error::{Error, TOO_OFTEN};

/// Token buckets by key. A bucket that has filled up again is forgotten in time, so what is held is bounded by twice as
/// many different keys as can ask while one bucket fills.
#[derive(Debug)]
pub(crate) struct Limiter<K: Hash + Eq + Clone> {
    buckets: governor::RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock>,
    burst: NonZeroU32,
    clock: DefaultClock,
    /// Full buckets are looked for when more than this many are held.
    sweep_above: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// Not worth looking for full buckets below this; each takes about 100 bytes.
    const SWEEP_ABOVE: usize = 20_000;

    pub(crate) fn new(rate: Rate) -> Self {
        let quota =
            Quota::with_period(rate.every).unwrap_or_else(|| Quota::per_second(rate.burst)).allow_burst(rate.burst);
        let clock = DefaultClock::default();
        Self {
            buckets: governor::RateLimiter::keyed(quota),
            burst: rate.burst,
            clock,
            sweep_above: AtomicUsize::new(Self::SWEEP_ABOVE),
        }
    }

    /// Takes one token, or says how long until there is one.
    pub(crate) fn take(&self, key: &K) -> Result<(), Duration> {
        self.take_many(key, NonZeroU32::MIN)
    }

    /// Takes several tokens or none. More than a bucket holds takes all it holds.
    pub(crate) fn take_many(&self, key: &K, count: NonZeroU32) -> Result<(), Duration> {
        if self.buckets.len() > self.sweep_above.load(Ordering::Relaxed) {
            self.buckets.retain_recent();
            // The next sweep waits until as many have come again, so that what it costs stays small for each of them.
            self.sweep_above.store(Self::SWEEP_ABOVE.max(self.buckets.len() * 2), Ordering::Relaxed);
        }
        let outcome: Result<Result<(), NotUntil<_>>, InsufficientCapacity> =
            self.buckets.check_key_n(key, count.min(self.burst));
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(later)) => Err(later.wait_time_from(self.clock.now())),
            Err(InsufficientCapacity(_)) => Err(Duration::from_secs(1)),
        }
    }

    /// [`Limiter::take`] with the refusal a caller reads.
    pub(crate) fn check(&self, key: &K) -> Result<(), Error> {
        self.take(key).map_err(|retry_after| Error::Wait { refusal: TOO_OFTEN, retry_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_next_one_waits() {
        let limiter = Limiter::new(Rate::every(Duration::from_secs(60), 3));
        for _ in 0..3 {
            limiter.take(&"bob").unwrap();
        }
        let wait = limiter.take(&"bob").unwrap_err();
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
        limiter.take(&"eve").unwrap();
    }

    #[test]
    fn asking_for_more_than_the_bucket_takes_it_all() {
        let limiter = Limiter::new(Rate::every(Duration::from_secs(60), 3));
        limiter.take_many(&1, NonZeroU32::new(10).unwrap()).unwrap();
        assert!(limiter.take(&1).is_err());
    }

    #[test]
    fn spent_keys_are_forgotten_once_full_again() {
        let limiter = Limiter::new(Rate::every(Duration::from_nanos(1), 1));
        for key in 0..50_000_u32 {
            limiter.take(&key).unwrap();
        }
        assert!(limiter.buckets.len() <= Limiter::<u32>::SWEEP_ABOVE + 1, "{}", limiter.buckets.len());
    }
}
