//! How long a connection may be silent before others are trusted more. A policy without a clock: it learns from the
//! silences that there are.

use std::time::Duration;

/// So long a silence says nothing.
const FLOOR: Duration = Duration::from_millis(30);

/// A connection is silent for much longer than usual when it is so for so many times as long.
const MUCH_LONGER: u32 = 4;

/// A silence that is longer than so many times the usual one counts as that: a script or a pause of seconds is no new habit,
/// nor are a few of them.
const LEARNT_MAX: u32 = 2;

/// A longer silence than usual counts for an eighth, a shorter one for a thirty-second.
const WEIGHTS: (u32, u32) = (8, 32);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// What silences with requests in flight last, but for the shorter ones.
    usual: Duration,
}

impl Patience {
    /// A silence of `silence` has ended.
    pub(crate) fn learn(&mut self, silence: Duration) {
        if silence > self.usual {
            let learnt = silence.min(self.usual.max(FLOOR) * LEARNT_MAX);
            self.usual += learnt.saturating_sub(self.usual) / WEIGHTS.0;
        } else {
            self.usual -= (self.usual - silence) / WEIGHTS.1;
        }
    }

    /// So long a silence is unusual; never more than `max`.
    pub(crate) fn limit(&self, max: Duration) -> Duration {
        (self.usual * MUCH_LONGER).max(FLOOR).min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn learns_what_is_usual_and_forgets_what_was_not() {
        let (mut patience, max) = (Patience::default(), ms(625));
        assert_eq!(patience.limit(max), FLOOR);
        (0..100).for_each(|_| patience.learn(Duration::from_micros(200)));
        assert_eq!(patience.limit(max), FLOOR, "a fast upstream");
        (0..80).for_each(|_| patience.learn(ms(50)));
        assert!((ms(190)..=ms(200)).contains(&patience.limit(max)), "a slow one: {:?}", patience.limit(max));
        (0..100).for_each(|_| patience.learn(Duration::from_micros(200)));
        assert_eq!(patience.limit(max), FLOOR, "it is fast again");
        (0..4).for_each(|_| patience.learn(ms(60_000)));
        assert!(patience.limit(max) <= ms(110), "a few times: {:?}", patience.limit(max));
        (0..100).for_each(|_| patience.learn(Duration::from_micros(200)));
        assert_eq!(patience.limit(max), FLOOR, "and forgotten");
        (0..40).for_each(|_| patience.learn(ms(60_000)));
        assert_eq!(patience.limit(max), max, "always");
        assert_eq!(patience.limit(ms(5)), ms(5));
    }
}
