//! How long to pause before the next attempt to connect. A policy without a clock.

use std::time::Duration;

/// Counts failed attempts; the pause doubles with each, and half of it is chance, so that workers
/// and gateways that failed together do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause before the next attempt: none before the first; `chance` is from 0 to 1.
    pub(crate) fn pause(&self, min: Duration, max: Duration, chance: f64) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else { return Duration::ZERO };
        let full = min.saturating_mul(1_u32.checked_shl(doublings.min(31)).unwrap_or(u32::MAX)).min(max.max(min));
        full.mul_f64(0.5 + chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_maximum_and_jitters_by_half() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(50));
        let mut backoff = Backoff::default();
        assert_eq!(backoff.pause(min, max, 1.0), Duration::ZERO);
        for full in [10, 20, 40, 50, 50] {
            backoff.failed();
            assert_eq!(backoff.pause(min, max, 1.0), Duration::from_millis(full));
            assert_eq!(backoff.pause(min, max, 0.0), Duration::from_millis(full) / 2);
        }
        backoff.reset();
        assert_eq!(backoff.pause(min, max, 1.0), Duration::ZERO);
    }
}
