//! When a connection asks the upstream what it is and whether it is there, and whether that was answered. One
//! connection asks for all; another does when the first cannot.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::time::timestamp::Moment;

/// No answer after so many periods is silence.
const PERIODS: u32 = 3;

/// Replies that speak against what is known lead to one check in this time.
const DOUBT_EVERY: Duration = Duration::from_millis(100);

/// See the module's documentation. Moments in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    asked_at: AtomicU64,
    /// The first question since the last answer; 0 if none is owed.
    owed_since: AtomicU64,
}

impl Checks {
    /// When the connection with this number, from 0, asks if nobody has asked before.
    pub(crate) fn due_at(&self, number: usize, period: Duration) -> Instant {
        let periods = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
        let asked = Moment::from_micros(self.asked_at.load(Ordering::Relaxed)).instant();
        let wait = period.saturating_mul(periods);
        asked.checked_add(wait).unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400))
    }

    /// Has the caller ask; false if somebody else has begun to. It is not asked for a doubt more than every so often.
    pub(crate) fn begin(&self, due: bool) -> bool {
        let now = Moment::now();
        let asked = self.asked_at.load(Ordering::Relaxed);
        let since = Duration::from_micros(now.since(Moment::from_micros(asked)));
        if !due && since < DOUBT_EVERY {
            return false;
        }
        let begins = self.asked_at.compare_exchange(asked, now.micros(), Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if begins {
            let _ = self.owed_since.compare_exchange(0, now.micros().max(1), Ordering::AcqRel, Ordering::Relaxed);
        }
        begins
    }

    /// Something speaks against what is known: the next connection that looks is to ask.
    pub(crate) fn doubted(&self) {
        let asked = self.asked_at.load(Ordering::Relaxed);
        if Duration::from_micros(Moment::now().since(Moment::from_micros(asked))) >= DOUBT_EVERY {
            self.asked_at.store(0, Ordering::Relaxed);
        }
    }

    /// The upstream has given a sign of life, on whatever connection.
    pub(crate) fn heard(&self) {
        if self.owed_since.load(Ordering::Relaxed) != 0 {
            self.owed_since.store(0, Ordering::Release);
        }
    }

    /// How long an answer was waited for in vain, if it was for too long.
    pub(crate) fn silence(&self, period: Duration) -> Option<Duration> {
        let owed = self.owed_since.load(Ordering::Acquire);
        let waited = Duration::from_micros(Moment::now().since(Moment::from_micros(owed)));
        let patience = period.saturating_mul(PERIODS);
        (owed > 0 && waited >= patience).then_some(patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_asks_in_each_period_and_the_next_only_when_it_does_not() {
        let checks = Checks::default();
        tokio::time::advance(SECOND).await;
        assert!(checks.begin(true));
        let now = Instant::now();
        let within = |due: Instant, after: Duration| due - now <= after && due - now > after - Duration::from_millis(1);
        assert!(within(checks.due_at(0, SECOND), SECOND) && within(checks.due_at(2, SECOND), 3 * SECOND));
        assert!(!checks.begin(false), "a doubt that follows at once");
        tokio::time::advance(DOUBT_EVERY).await;
        assert!(checks.begin(false));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_silence() {
        let checks = Checks::default();
        tokio::time::advance(SECOND).await;
        assert_eq!(checks.silence(SECOND), None);
        for _ in 0..3 {
            checks.begin(true);
            assert_eq!(checks.silence(SECOND), None);
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(checks.silence(SECOND), Some(3 * SECOND));
        checks.heard();
        assert_eq!(checks.silence(SECOND), None);
    }
}
