//! A bound on bytes held by many tasks at once. Taking is one atomic operation unless it has to wait; those
//! who wait are served in the order in which they came, and nobody who comes later passes them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Mutex, Notify};

/// Bytes in use against a maximum. One share larger than the maximum is granted when nothing else is
/// held, so that a bound delays but never locks out.
#[derive(Debug, Default)]
pub struct Budget {
    used: AtomicUsize,
    shares: AtomicUsize,
    /// Those who wait to take. While there are any, nobody else takes.
    in_line: AtomicUsize,
    /// Held by the first in line.
    first: Mutex<()>,
    /// Those who hold some and wait for more; they go before all who hold nothing.
    further: AtomicUsize,
    /// Those who are to be told when something is given back.
    listening: AtomicUsize,
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
        self.used.load(Ordering::SeqCst)
    }

    /// Shares held now.
    pub fn shares(&self) -> usize {
        self.shares.load(Ordering::Relaxed)
    }

    fn share(self: &Arc<Self>, bytes: usize) -> Share {
        self.shares.fetch_add(1, Ordering::Relaxed);
        Share { budget: Arc::clone(self), bytes }
    }

    /// Adds `bytes` if they fit under `max`, or if nothing but `own` is held.
    fn add(&self, own: usize, bytes: usize, max: usize) -> bool {
        let fits = |used: usize| (used == own || used.saturating_add(bytes) <= max).then(|| used.saturating_add(bytes));
        self.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits).is_ok()
    }

    /// Takes `bytes` if they fit under `max` now and nobody waits for room.
    pub fn try_take(self: &Arc<Self>, bytes: usize, max: usize) -> Option<Share> {
        (self.in_line.load(Ordering::Relaxed) == 0 && self.add(0, bytes, max)).then(|| self.share(bytes))
    }

    /// Takes `bytes` as soon as they fit under `max` and all who have waited longer have theirs.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in line. The caller sets the deadline.
    pub async fn take(self: &Arc<Self>, bytes: usize, max: usize) -> Share {
        if let Some(share) = self.try_take(bytes, max) {
            return share;
        }
        let _in_line = Counted::new(&self.in_line);
        let _first = self.first.lock().await;
        self.once_freed(|| self.further.load(Ordering::SeqCst) == 0 && self.add(0, bytes, max)).await;
        self.share(bytes)
    }

    /// Takes `bytes` for someone who holds `own` already, as soon as they fit. Goes before all who hold nothing:
    /// what has been begun has to end for anything to be given back. Cancel-safe; the caller sets the deadline.
    pub(crate) async fn take_further(self: Arc<Self>, own: usize, bytes: usize, max: usize) -> Share {
        // Dropped last: those it went before have another look when it is done, one way or the other.
        let _told = Told(&self.freed);
        let _further = Counted::new(&self.further);
        self.once_freed(|| self.add(own, bytes, max)).await;
        self.share(bytes)
    }

    /// Waits until nothing is held, without keeping others from taking. Cancel-safe.
    pub(crate) async fn emptied(&self) {
        self.once_freed(|| self.used() == 0).await;
    }

    /// Counts `bytes` whether they fit or not: for what is held already.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Share {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        self.share(bytes)
    }

    async fn once_freed(&self, mut attempt: impl FnMut() -> bool) {
        let _listening = Counted::new(&self.listening);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the look, so that nothing freed in between is missed.
            freed.as_mut().enable();
            if attempt() {
                return;
            }
            freed.await;
        }
    }
}

impl Share {
    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it a share of `bytes` if that fits under `max` now; it never shrinks.
    pub fn grow(&mut self, bytes: usize, max: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let grown = more == 0 || self.budget.add(self.bytes, more, max);
        if grown {
            self.bytes += more;
        }
        grown
    }

    /// Makes one of two shares of the same budget.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.shares.fetch_sub(1, Ordering::Relaxed);
        self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
        if self.budget.listening.load(Ordering::SeqCst) > 0 {
            self.budget.freed.notify_waiters();
        }
    }
}

/// Counts as one while it lives.
struct Counted<'b>(&'b AtomicUsize);

impl<'b> Counted<'b> {
    fn new(count: &'b AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Tells all who listen when it goes.
struct Told<'b>(&'b Notify);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        task::{JoinSet, yield_now},
        time::{sleep, timeout},
    };

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
        yield_now().await;
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

    #[tokio::test(start_paused = true)]
    async fn a_large_share_has_its_turn_under_a_steady_load_of_small_ones() {
        let budget = Arc::new(Budget::default());
        let large = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move {
                sleep(Duration::from_millis(500)).await;
                timeout(Duration::from_secs(1), budget.take(90, 100)).await.map(drop)
            }
        });
        // Of these, ten hold their share at any time: a large one never finds room by chance.
        let mut small = JoinSet::new();
        for number in 0..12 {
            let budget = Arc::clone(&budget);
            small.spawn(async move {
                sleep(Duration::from_micros(300 * number)).await;
                loop {
                    let _share = budget.take(10, 100).await;
                    sleep(Duration::from_millis(3)).await;
                }
            });
        }
        assert!(large.await.expect("no panic").is_ok(), "it was passed until its time was over");
        small.shutdown().await;
        assert_eq!((budget.used(), budget.shares()), (0, 0));
    }

    #[tokio::test]
    async fn who_gives_up_waiting_keeps_nobody_else_from_taking() {
        let budget = Arc::new(Budget::default());
        let _held = budget.take(60, 100).await;
        assert!(timeout(Duration::from_millis(1), budget.take(60, 100)).await.is_err());
        assert!(budget.try_take(40, 100).is_some());
    }

    #[tokio::test]
    async fn who_waits_for_the_end_of_all_keeps_nobody_from_taking() {
        let budget = Arc::new(Budget::default());
        let held = budget.take(60, 100).await;
        let emptied = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.emptied().await }
        });
        yield_now().await;
        let further = budget.try_take(10, 100);
        assert!(further.is_some());
        drop((held, further));
        emptied.await.expect("no panic");
    }

    #[tokio::test]
    async fn who_holds_some_gets_more_before_those_in_line() {
        let budget = Arc::new(Budget::default());
        let (mut own, other) = (budget.take(50, 100).await, budget.take(50, 100).await);
        let in_line = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(30, 100).await }
        });
        yield_now().await;
        assert!(!own.grow(90, 100));
        let further = tokio::spawn(Arc::clone(&budget).take_further(50, 40, 100));
        yield_now().await;
        drop(other);
        own.join(further.await.expect("no panic"));
        assert_eq!((own.bytes(), budget.used(), budget.shares(), in_line.is_finished()), (90, 90, 1, false));
        drop(own);
        assert_eq!(in_line.await.expect("no panic").bytes(), 30);
    }
}
