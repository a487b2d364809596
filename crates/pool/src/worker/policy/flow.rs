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
pub(in crate::worker) const AHEAD_BYTES: usize = 128 * 1024;

/// How long others wait in all for the caller of one reply to take it, and so much longer for each MiB that it has taken.
const PATIENCE: Duration = Duration::from_millis(20);
const PATIENCE_PER_MIB: Duration = Duration::from_millis(2);

/// How long nobody is waited for again, where others wait, once that was in vain.
const NO_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether others wait.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The replies to the job in front.
#[derive(Debug, Default)]
pub(in crate::worker) struct Flow {
    course: Course,
    /// Bytes that have been handed on of the reply at hand.
    pub(in crate::worker) torn: usize,
    /// How long others have waited for the caller.
    waited: Duration,
    /// The caller is waited for since then, and whether others waited when it was last looked.
    since: Option<(Instant, bool)>,
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
    pub(in crate::worker) fn takes(&mut self, bytes: usize, goes_in_pieces: impl FnOnce() -> bool) -> bool {
        if self.course == Course::Whole && bytes > BULKY_BYTES && goes_in_pieces() {
            self.course = Course::InPieces;
        }
        self.is_in_pieces()
    }

    pub(in crate::worker) fn is_in_pieces(&self) -> bool {
        self.course == Course::InPieces
    }

    /// Whether they have proved to be large.
    pub(in crate::worker) fn is_large(&self) -> bool {
        self.course != Course::Whole
    }

    /// Whether a caller gets the beginning of a reply while the rest is due. Not where nobody would be waited for: it
    /// comes as a whole then, or becomes an error for want of room.
    pub(in crate::worker) fn may_begin(&mut self, now: Instant, others_wait: impl FnOnce() -> bool) -> bool {
        if self.torn == 0 && self.in_vain_until > Some(now) && others_wait() {
            self.course = Course::Waits;
        }
        self.is_in_pieces()
    }

    /// The last reply to the job is there.
    pub(in crate::worker) fn ends(&mut self) {
        if self.is_large() {
            *self = Self { in_vain_until: self.in_vain_until, ..Self::default() };
        }
    }

    /// The caller has taken what was there.
    pub(in crate::worker) fn goes_on(&mut self, now: Instant) {
        if let Some((since, true)) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// The caller has not taken what was there. Until when it is waited for, or nothing if that has been long enough
    /// for the `others_wait`.
    pub(in crate::worker) fn waits(&mut self, now: Instant, others_wait: bool) -> Option<Instant> {
        let since = self.since.replace((now, others_wait)).map_or(now, |(since, _)| since);
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
        flow.goes_on(now);
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

    #[test]
    fn a_caller_that_takes_each_piece_just_in_time_keeps_others_waiting_no_longer() {
        let piece = LOOK_EVERY - Duration::from_millis(1);
        for (others_wait, pieces) in [(true, 3), (false, 1_000)] {
            let (mut flow, mut now) = (Flow::default(), Instant::now());
            assert!(flow.takes(usize::MAX, || true));
            let mut taken = 0;
            while taken < 1_000 && flow.waits(now, others_wait).is_some() {
                now += piece;
                flow.torn += AHEAD_BYTES;
                flow.goes_on(now);
                taken += 1;
            }
            assert_eq!(taken, pieces, "others wait: {others_wait}");
        }
    }

    #[test]
    fn a_reply_for_which_nobody_would_be_waited_does_not_begin_to_go_in_pieces() {
        let (mut flow, now) = (Flow::default(), Instant::now());
        let begin = |flow: &mut Flow| assert!(flow.takes(usize::MAX, || true));
        begin(&mut flow);
        assert!(flow.may_begin(now, || true), "nobody was waited for in vain");
        flow.in_vain_until = Some(now + NO_PATIENCE);
        assert!(flow.may_begin(now, || false) && flow.may_begin(now + NO_PATIENCE, || true));
        flow.torn = 1;
        assert!(flow.may_begin(now, || true), "it has begun");
        flow.torn = 0;
        assert!(!flow.may_begin(now, || true) && flow.is_large() && !flow.takes(usize::MAX, || true));
        flow.ends();
        begin(&mut flow);
    }
}
