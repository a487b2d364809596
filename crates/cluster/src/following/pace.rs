//! When the keeper looks at the cluster again. It is told what the time is.

use std::time::Duration;

use tokio::time::Instant;

/// Between two looks while a shard has no primary, and at least between any two.
const HASTE: Duration = Duration::from_millis(15);

/// How long after the last sign of trouble it is looked for without pause.
const HASTE_FOR: Duration = Duration::from_secs(15);

/// Between two looks that doubts ask for while nothing is known to be wrong.
const DOUBT_PAUSE: Duration = Duration::from_millis(100);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the last look began.
    last: Instant,
    /// When the next one begins.
    pub(crate) next: Instant,
}

impl Pace {
    /// After a look that began at `last` and is over `now`. There is trouble since then, if there is any.
    pub(crate) fn after(last: Instant, now: Instant, trouble: Option<Instant>, refresh: Duration) -> Self {
        let is_in_haste = trouble.is_some_and(|since| now < since + HASTE_FOR);
        Self { last, next: now + if is_in_haste { HASTE } else { refresh } }
    }

    /// Something speaks against what is known.
    pub(crate) fn doubted(&mut self) {
        self.next = self.next.min(self.last + DOUBT_PAUSE);
    }

    /// A primary is lost.
    pub(crate) fn lost(&mut self) {
        self.next = self.next.min(self.last + HASTE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(1);

    #[test]
    fn haste_has_an_end() {
        let begun = Instant::now();
        let pause = |now: Instant| Pace::after(now, now, Some(begun), REFRESH).next - now;
        assert_eq!(pause(begun), HASTE);
        assert_eq!(pause(begun + HASTE_FOR - HASTE), HASTE);
        assert_eq!(pause(begun + HASTE_FOR), REFRESH);
    }

    #[test]
    fn whatever_is_heard_there_is_a_pause_between_two_looks() {
        let last = Instant::now();
        let over = last + Duration::from_millis(2);
        let mut pace = Pace::after(last, over, None, REFRESH);
        assert_eq!(pace.next, over + REFRESH);
        (0..3).for_each(|_| pace.doubted());
        assert_eq!(pace.next, last + DOUBT_PAUSE);
        (0..3).for_each(|_| pace.lost());
        assert_eq!(pace.next, last + HASTE);
        pace.doubted();
        assert_eq!(pace.next, last + HASTE);
    }
}
