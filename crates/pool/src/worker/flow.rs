//! How a large reply reaches its caller as it comes: in pieces, of which the next is read once the caller has taken the
//! last. What lies behind it waits meanwhile. So a caller has little time where others wait. When that is over, the rest
//! is read into memory like any other reply, and handed on when it is whole. There is room for it where its size was
//! known, because that was claimed as a whole. Otherwise it may find none, and is thrown away then: its client, which has
//! the beginning of it, is closed. A policy without a clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::queue::expected::BULKY_BYTES;

/// Bytes that are read while a caller has not taken what came before: so that it and the worker do not take turns for
/// each read.
pub(super) const AHEAD_BYTES: usize = 128 * 1024;

/// How long others wait in all for the caller of one reply to take it, and so much longer for each MiB that it has taken.
const PATIENCE: Duration = Duration::from_millis(20);
const PATIENCE_PER_MIB: Duration = Duration::from_millis(2);

/// How long nobody is waited for again, where others wait, once that was in vain.
const NO_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether others wait.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The replies to the job in front.
#[derive(Debug, Default)]
pub(super) struct Flow {
    course: Course,
    /// Bytes that have been handed on of the reply at hand.
    pub(super) torn: usize,
    /// How long others have waited for the caller.
    waited: Duration,
    /// The caller is waited for since then.
    since: Option<Instant>,
    /// No caller is waited for until then, where others wait.
    in_vain_until: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// They are small, as far as is known.
    #[default]
    Whole,
    /// One is handed on in pieces.
    InPieces,
    /// They are handed on when they are there: the caller did not take them in time.
    Waits,
}

impl Flow {
    /// Whether replies of `bytes`, as far as they are known, are to be handed on in pieces; those of a job that can.
    pub(super) fn takes(&mut self, bytes: usize, goes_in_pieces: impl FnOnce() -> bool) -> bool {
        if self.course == Course::Whole && bytes > BULKY_BYTES && goes_in_pieces() {
            self.course = Course::InPieces;
        }
        self.is_in_pieces()
    }

    pub(super) fn is_in_pieces(&self) -> bool {
        self.course == Course::InPieces
    }

    /// The last reply to the job is there.
    pub(super) fn ends(&mut self) {
        if self.course != Course::Whole {
            *self = Self { in_vain_until: self.in_vain_until, ..Self::default() };
        }
    }

    /// The caller has taken what was there.
    pub(super) fn goes_on(&mut self) {
        self.since = None;
    }

    /// The caller has not taken what was there. Until when it is waited for, or nothing if that has been long enough
    /// for the `others_wait`.
    pub(super) fn waits(&mut self, now: Instant, others_wait: bool) -> Option<Instant> {
        let since = self.since.replace(now).unwrap_or(now);
        if !others_wait {
            return Some(now + LOOK_EVERY);
        }
        self.waited += now.saturating_duration_since(since);
        let patience = PATIENCE + PATIENCE_PER_MIB * u32::try_from(self.torn >> 20).unwrap_or(u32::MAX);
        let left = patience.saturating_sub(self.waited);
        if !left.is_zero() && self.in_vain_until <= Some(now) {
            return Some(now + left.min(LOOK_EVERY));
        }
        if left.is_zero() {
            self.in_vain_until = Some(now + NO_PATIENCE);
        }
        self.course = Course::Waits;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_its_time_while_others_wait_and_any_time_otherwise() {
        let (mut flow, mut now) = (Flow::default(), Instant::now());
        assert!(!flow.takes(BULKY_BYTES, || true) && !flow.takes(BULKY_BYTES + 1, || false));
        assert!(flow.takes(BULKY_BYTES + 1, || true) && flow.takes(1, || false));
        for _ in 0..1_000 {
            assert_eq!(flow.waits(now, false), Some(now + LOOK_EVERY));
            now += LOOK_EVERY;
        }
        flow.goes_on();
        now += LOOK_EVERY;
        flow.torn = 3 << 20;
        let first = now;
        while let Some(until) = flow.waits(now, true) {
            assert!(until > now && until <= now + LOOK_EVERY);
            now = until;
        }
        assert_eq!(now - first, PATIENCE + 3 * PATIENCE_PER_MIB);
        assert!(!flow.is_in_pieces() && !flow.takes(usize::MAX, || true), "the rest comes as a whole");
        flow.ends();
        assert!(flow.takes(usize::MAX, || true) && flow.waits(now, false).is_some());
        assert_eq!(flow.waits(now, true), None, "it was in vain just now");
        flow.ends();
        assert!(flow.takes(usize::MAX, || true) && flow.waits(now + NO_PATIENCE, true).is_some());
    }
}
