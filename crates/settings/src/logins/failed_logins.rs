//! What wrong passwords cost the connection that they come on: a wait before the answer that doubles with
//! each, and in the end the connection. A policy without a clock; the session waits. Nothing is kept of anybody
//! else, so that nobody has to wait for one who guesses, not even at the same address.

use std::time::Duration;

/// What one connection may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginBounds {
    /// Before the answer to the first wrong password.
    pub delay_min: Duration,
    /// Before any answer.
    pub delay_max: Duration,
    /// With this many wrong passwords the connection is closed.
    pub failures_max: u32,
}

/// The wrong passwords of one connection. Neither a right one nor `RESET` makes them forgotten, or whoever can
/// log in could go on guessing other users' passwords.
#[derive(Debug, Default)]
pub struct FailedLogins {
    count: u32,
    /// So many have been waited for.
    settled: u32,
}

/// What is due for wrong passwords.
#[derive(Debug, PartialEq, Eq)]
pub struct Penalty {
    /// Before the answer.
    pub delay: Duration,
    /// With the answer the connection ends.
    pub close: bool,
}

impl FailedLogins {
    /// Takes note of a wrong password.
    pub fn add(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// Whether there are so many that the connection is to be closed.
    pub fn are_too_many(&self, bounds: LoginBounds) -> bool {
        self.count >= bounds.failures_max
    }

    /// What is due for those that came since this was last asked, if any did.
    pub fn settle(&mut self, bounds: LoginBounds) -> Option<Penalty> {
        if self.settled == self.count {
            return None;
        }
        self.settled = self.count;
        let delay = bounds.delay_min.saturating_mul(2_u32.saturating_pow(self.count - 1)).min(bounds.delay_max);
        Some(Penalty { delay, close: self.are_too_many(bounds) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: LoginBounds =
        LoginBounds { delay_min: Duration::from_millis(100), delay_max: Duration::from_millis(300), failures_max: 4 };

    fn penalty(delay: u64, close: bool) -> Option<Penalty> {
        Some(Penalty { delay: Duration::from_millis(delay), close })
    }

    #[test]
    fn waits_double_up_to_their_bound_and_the_last_closes() {
        let mut failed = FailedLogins::default();
        assert_eq!(failed.settle(BOUNDS), None);
        for expected in [penalty(100, false), penalty(200, false), penalty(300, false), penalty(300, true)] {
            failed.add();
            assert_eq!(failed.settle(BOUNDS), expected);
            assert_eq!(failed.settle(BOUNDS), None, "once is enough");
        }
    }

    #[test]
    fn many_at_once_cost_as_much_as_the_last_of_them() {
        let mut failed = FailedLogins::default();
        (0..1000).for_each(|_| failed.add());
        assert_eq!(failed.settle(BOUNDS), penalty(300, true));
    }
}
