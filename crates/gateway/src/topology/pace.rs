//! How often sentinels and nodes are asked, and when one that cannot be reached is tried again.

use std::time::Duration;

use ::topology::Pace;

/// As `CLIENT LIST` of nodes and sentinels shows these connections.
pub(super) const NAME: &str = "respool-topology";

/// Between two questions to a node while requests wait for what it says.
const FAST_NODE: Duration = Duration::from_millis(4);

/// Between two questions to a sentinel while requests wait.
const FAST_SENTINEL: Duration = Duration::from_millis(100);

/// The first and the longest pause before one that cannot be reached is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The longest pause while requests wait.
const RETRY_FAST_MAX: Duration = Duration::from_millis(50);

/// What the follower wants of all links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) pace: Pace,
    /// Rises when all are to be asked now.
    pub(super) round: u64,
}

impl Wanted {
    /// Between two questions to a node, given how long that is at a calm pace.
    pub(super) fn node_period(self, calm: Duration) -> Duration {
        match self.pace {
            Pace::Calm => calm,
            Pace::Fast => calm.min(FAST_NODE),
        }
    }

    /// The same for a sentinel.
    pub(super) fn sentinel_period(self, calm: Duration) -> Duration {
        match self.pace {
            Pace::Calm => calm,
            Pace::Fast => calm.min(FAST_SENTINEL),
        }
    }
}

/// A connection that does not live this long counts as a failed attempt.
const SHORT_LIFE: Duration = Duration::from_millis(100);

/// Pauses between attempts: none at first, then doubling.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
}

impl Retry {
    /// The pause before the next attempt, after one that lasted for `lived`.
    pub(super) fn pause(&mut self, pace: Pace, lived: Duration) -> Duration {
        if lived >= SHORT_LIFE {
            self.failures = 0;
        }
        let doublings = self.failures;
        self.failures = self.failures.saturating_add(1);
        let max = match pace {
            Pace::Calm => RETRY.1,
            Pace::Fast => RETRY_FAST_MAX,
        };
        match doublings.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => RETRY.0.saturating_mul(1 << doublings.min(10)).min(max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_free_and_haste_shortens_the_others() {
        let mut retry = Retry::default();
        let pauses: Vec<u128> = (0..10).map(|_| retry.pause(Pace::Calm, Duration::ZERO).as_millis()).collect();
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(retry.pause(Pace::Fast, Duration::ZERO).as_millis(), 50);
        assert_eq!(retry.pause(Pace::Fast, SHORT_LIFE).as_millis(), 0);
    }
}
