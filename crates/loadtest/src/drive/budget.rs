//! How much more a load may send, over all of its threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How much more may be sent.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
    stopped: AtomicBool,
    by_count: bool,
}

/// Operations that a lane may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// How many; 0 means that the load is over.
    pub count: u64,
    /// Whether they count: those of the warm-up of a load by count do not, so that its count is exact.
    pub measured: bool,
}

impl Budget {
    /// No limit yet. If the load is `by_count`, what is taken before there is one is not measured.
    pub fn new(by_count: bool) -> Self {
        Self { left: AtomicU64::new(u64::MAX), stopped: AtomicBool::new(false), by_count }
    }

    /// Takes up to `wanted` operations.
    pub fn take(&self, wanted: u64) -> Grant {
        if self.is_stopped() {
            return Grant { count: 0, measured: true };
        }
        let take = |left: u64| (left != u64::MAX).then(|| left.saturating_sub(wanted));
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(left) => Grant { count: left.min(wanted), measured: true },
            Err(_) => Grant { count: wanted, measured: !self.by_count },
        }
    }

    /// From now on only `count` operations may be sent.
    pub fn limit(&self, count: u64) {
        self.left.store(count, Ordering::Relaxed);
    }

    /// Nothing more is to be sent.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether nothing more is to be sent.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_no_more_than_it_has() {
        let budget = Budget::new(true);
        assert_eq!(budget.take(7), Grant { count: 7, measured: false });
        budget.limit(10);
        assert_eq!([7, 7, 7].map(|wanted| budget.take(wanted).count), [7, 3, 0]);
        budget.limit(10);
        budget.stop();
        assert_eq!(budget.take(1).count, 0);
        assert!(Budget::new(false).take(1).measured);
    }
}
