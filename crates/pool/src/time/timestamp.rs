//! A point in time as one number, so that it can be kept in an atomic and two of them subtracted in one
//! instruction: on the way of every job, where `Instant` costs tens at each step.

use std::{sync::OnceLock, time::Duration};

use tokio::time::Instant;

/// Whole microseconds since the process first asked; 0 for any time before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    // Of the clock outside: in a test whose own is ahead, another's would begin in the future.
    *EPOCH.get_or_init(|| std::time::Instant::now().into())
}

impl Moment {
    pub(crate) fn now() -> Self {
        Instant::now().into()
    }

    /// The same as an instant, for those who need it in both forms and often: the way from one to the other takes long.
    pub(crate) fn beside(instant: Instant) -> (Instant, Self) {
        (instant, instant.into())
    }

    /// As a number to be stored; see [`from_micros`](Self::from_micros).
    pub(crate) fn micros(self) -> u64 {
        self.0
    }

    pub(crate) fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds from `earlier` until then; 0 if that is later.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So much later, to the microsecond.
    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(micros(time)))
    }

    /// For those who wait.
    pub(crate) fn instant(self) -> Instant {
        epoch() + Duration::from_micros(self.0)
    }
}

impl From<Instant> for Moment {
    fn from(instant: Instant) -> Self {
        Self(micros(instant.saturating_duration_since(epoch())))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tells_times_apart_to_the_microsecond() {
        let first = Moment::now();
        tokio::time::advance(Duration::from_micros(1_234_567)).await;
        let second = Moment::now();
        assert_eq!((second.since(first), first.since(second)), (1_234_567, 0));
        let apart = second.instant() - first.instant();
        assert_eq!(apart, Duration::from_micros(1_234_567));
        assert_eq!((Moment::from_micros(second.micros()), first.after(apart)), (second, second));
    }
}
