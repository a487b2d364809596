//! A bound on bytes held by many tasks at once. Taking is one atomic operation unless it has to wait.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// Bytes in use against a maximum. One share larger than the maximum is granted when nothing else is
/// held, so that a bound delays but never locks out.
#[derive(Debug, Default)]
pub struct Budget {
    used: AtomicUsize,
    shares: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// Bytes taken from a [`Budget`], given back on drop.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Shares held now.
    pub fn shares(&self) -> usize {
        self.shares.load(Ordering::Relaxed)
    }

    fn share(self: &Arc<Self>, bytes: usize) -> Share {
        self.shares.fetch_add(1, Ordering::Relaxed);
        Share { budget: Arc::clone(self), bytes }
    }

    /// Takes `bytes` if they fit under `max` now.
    pub fn try_take(self: &Arc<Self>, bytes: usize, max: usize) -> Option<Share> {
        let fits = |used: usize| (used == 0 || used.saturating_add(bytes) <= max).then(|| used.saturating_add(bytes));
        self.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits).is_ok().then(|| self.share(bytes))
    }

    /// Takes `bytes` as soon as they fit under `max`. Cancel-safe; the caller sets the deadline.
    pub async fn take(self: &Arc<Self>, bytes: usize, max: usize) -> Share {
        if let Some(share) = self.try_take(bytes, max) {
            return share;
        }
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the second look, so that nothing freed in between is missed.
            freed.as_mut().enable();
            if let Some(share) = self.try_take(bytes, max) {
                return share;
            }
            freed.await;
        }
    }

    /// Counts `bytes` whether they fit or not: for what is held already.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Share {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        self.share(bytes)
    }
}

impl Share {
    /// Makes it a share of `bytes` if that fits under `max` now; it never shrinks.
    pub fn grow(&mut self, bytes: usize, max: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let own = self.bytes;
        let fits = |used: usize| (used == own || used.saturating_add(more) <= max).then(|| used.saturating_add(more));
        let grown = self.budget.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits).is_ok();
        if grown {
            self.bytes += more;
        }
        grown
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.shares.fetch_sub(1, Ordering::Relaxed);
        self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
        if self.budget.waiting.load(Ordering::SeqCst) > 0 {
            self.budget.freed.notify_waiters();
        }
    }
}

struct Waiting<'b>(&'b AtomicUsize);

impl<'b> Waiting<'b> {
    fn new(count: &'b AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_gets_what_is_given_back() {
        let budget = Arc::new(Budget::default());
        let first = budget.take(60, 100).await;
        assert!(budget.try_take(60, 100).is_none());
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(60, 100).await }
        });
        tokio::task::yield_now().await;
        drop(first);
        let second = waiting.await.expect("no panic");
        assert_eq!(budget.used(), 60);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn one_oversized_share_passes_alone() {
        let budget = Arc::new(Budget::default());
        let large = budget.take(1000, 100).await;
        assert!(budget.try_take(1, 100).is_none());
        drop(large);
        assert!(budget.try_take(1, 100).is_some());
    }
}
