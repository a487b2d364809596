//! So many requests a second, of all that come together: a bucket of tokens that fills evenly and holds a second's worth.
//! Told the time and has no clock. Requests that come together are let in together while there is any token, and those
//! after them wait until it is paid back, so that the bound holds over time whatever the size of a burst.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

const SECOND: Duration = Duration::from_secs(1);

/// See the module's documentation. An empty one has a second's worth.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    /// When it will be full again.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes `tokens`, of which there are so many more every second.
    ///
    /// # Errors
    /// There is none; holds when there will be one.
    pub fn take(&mut self, tokens: u32, per_second: NonZeroU32, now: Instant) -> Result<(), Duration> {
        let each = SECOND / per_second.get();
        let lacking = self.lacking(now);
        match (lacking + each).checked_sub(SECOND) {
            None | Some(Duration::ZERO) => {
                self.owe(tokens, per_second, now);
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }

    /// Takes `tokens` whether they are there or not: those who come next wait for them.
    pub fn owe(&mut self, tokens: u32, per_second: NonZeroU32, now: Instant) {
        let price = SECOND.saturating_mul(tokens) / per_second.get();
        self.full_at = now.checked_add(self.lacking(now).saturating_add(price));
    }

    /// How long it takes to be full.
    fn lacking(&self, now: Instant) -> Duration {
        self.full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_one_after_another() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        assert!((0..10).all(|_| bucket.take(1, TEN, start).is_ok()));
        assert_eq!(bucket.take(1, TEN, start), Err(millis(100)));
        assert_eq!(bucket.take(1, TEN, start + millis(40)), Err(millis(60)));
        assert_eq!(bucket.take(1, TEN, start + millis(100)), Ok(()));
        assert_eq!(bucket.take(1, TEN, start + millis(100)), Err(millis(100)));
        assert!((0..10).all(|_| bucket.take(1, TEN, start + millis(5_000)).is_ok()), "no more than a second's worth");
        assert!(bucket.take(1, TEN, start + millis(5_000)).is_err());
    }

    #[test]
    fn what_was_taken_together_is_paid_back_before_anything_else() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        assert_eq!(bucket.take(30, TEN, start), Ok(()));
        assert_eq!(bucket.take(1, TEN, start), Err(millis(2_100)));
        bucket.owe(10, TEN, start);
        assert_eq!(bucket.take(1, TEN, start), Err(millis(3_100)));
        assert_eq!(bucket.take(1, TEN, start + millis(3_100)), Ok(()));
    }

    #[test]
    fn any_number_of_requests_and_any_rate_can_be_had() {
        for rate in [1, 3, u32::MAX].map(|rate| NonZeroU32::new(rate).unwrap()) {
            let (mut bucket, mut now, mut taken) = (Bucket::default(), Instant::now(), 0_u64);
            for _ in 0..1000 {
                taken += u64::from(bucket.take(1, rate, now).is_ok());
                now += millis(10);
            }
            let most = 11 * u64::from(rate.get());
            assert!(taken <= most && taken >= (10 * u64::from(rate.get())).min(999), "{taken} at {rate}");
            bucket.owe(u32::MAX, rate, now);
            let _ = bucket.take(u32::MAX, rate, now);
        }
    }
}
