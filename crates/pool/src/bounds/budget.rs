//! A bound on bytes held by many tasks at once, of which nobody may take all. Taking is one atomic operation unless
//! it has to wait; those who wait are served in the order in which they came, and nobody who comes later passes them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::{Mutex, Notify};

use crate::bounds::share::{Grant, Large, Own, Share};

/// Bytes in use against a maximum. A share larger than half of it is granted to one at a time and counts as half, so
/// that a bound delays but never locks out, and the other half is left to everybody else. So there may be as many
/// bytes in use as the maximum, and what one share has beyond half of it.
#[derive(Debug, Default)]
pub struct Budget {
    /// As they count.
    used: AtomicUsize,
    /// What they are beyond that.
    beyond: AtomicUsize,
    shares: AtomicUsize,
    /// There is a share larger than half.
    has_large: AtomicBool,
    /// Those who wait to take. While there are any, nobody else takes.
    in_line: AtomicUsize,
    /// Held by the first in line.
    first: Mutex<()>,
    /// Held by the first of those who wait to take more than half. They join the line once it is their turn.
    first_large: Mutex<()>,
    /// Those who hold some and wait for more; they go before all who hold nothing.
    further: AtomicUsize,
    /// Those who are to be told when something is given back.
    listening: AtomicUsize,
    freed: Notify,
}

impl Budget {
    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst) + self.beyond.load(Ordering::SeqCst)
    }

    /// Shares held now.
    pub fn shares(&self) -> usize {
        self.shares.load(Ordering::Relaxed)
    }

    fn share(self: &Arc<Self>, grant: Grant) -> Share {
        self.shares.fetch_add(1, Ordering::Relaxed);
        Share { budget: Arc::clone(self), grant }
    }

    /// Adds `bytes` if they fit under `max`, or if nothing but `own` is held.
    fn add(&self, own: usize, bytes: usize, max: usize) -> bool {
        let fits = |used: usize| (used == own || used.saturating_add(bytes) <= max).then(|| used.saturating_add(bytes));
        self.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits).is_ok()
    }

    /// Adds `more` bytes for someone who holds some, if they fit now.
    pub(super) fn grant(self: &Arc<Self>, own: Own, more: usize, max: usize) -> Option<Grant> {
        let half = max / 2;
        if own.bytes.saturating_add(more) <= half {
            return self.add(own.counted, more, max).then_some(Grant { bytes: more, counted: more, large: None });
        }
        let counted = half.saturating_sub(own.counted).min(more);
        // Looked at before it is claimed: a claim that is given up again tells all who listen, the claimer too.
        if !own.is_large && self.has_large() || !self.add(own.counted, counted, max) {
            return None;
        }
        self.beyond.fetch_add(more - counted, Ordering::SeqCst);
        let mut grant = Grant { bytes: more, counted, large: None };
        if !own.is_large {
            grant.large = Large::claim(self);
            if grant.large.is_none() {
                self.give_back(&grant);
                self.tell();
                return None;
            }
        }
        Some(grant)
    }

    /// Takes `bytes` if they fit under `max` now and nobody waits for room.
    pub fn try_take(self: &Arc<Self>, bytes: usize, max: usize) -> Option<Share> {
        if self.in_line.load(Ordering::Relaxed) > 0 {
            return None;
        }
        Some(self.share(self.grant(Own::NOTHING, bytes, max)?))
    }

    /// Takes `bytes` as soon as they fit under `max` and all who have waited longer have theirs.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in line. The caller sets the deadline.
    pub async fn take(self: &Arc<Self>, bytes: usize, max: usize) -> Share {
        if let Some(share) = self.try_take(bytes, max) {
            return share;
        }
        // Those who want more than half wait for each other where nobody waits for them.
        let is_large = bytes > max / 2;
        let _first_large = if is_large { Some(self.first_large.lock().await) } else { None };
        loop {
            if is_large {
                self.once_freed(|| (!self.has_large()).then_some(())).await;
            }
            if let Some(grant) = self.in_line(bytes, max, is_large).await {
                return self.share(grant);
            }
        }
    }

    /// Waits in line for `bytes`; nothing if it would keep the line waiting for a large share of somebody else.
    async fn in_line(self: &Arc<Self>, bytes: usize, max: usize, is_large: bool) -> Option<Grant> {
        let _in_line = Counted::new(&self.in_line);
        let _first = self.first.lock().await;
        self.once_freed(|| {
            if is_large && self.has_large() {
                return Some(None);
            }
            let is_next = self.further.load(Ordering::SeqCst) == 0;
            is_next.then(|| self.grant(Own::NOTHING, bytes, max)).flatten().map(Some)
        })
        .await
    }

    /// Takes `bytes` for someone who has a share already, as soon as they fit. Goes before all who hold nothing:
    /// what has been begun has to end for anything to be given back. The share is to be joined with the one there
    /// is. Cancel-safe; the caller sets the deadline.
    pub(crate) async fn take_further(self: Arc<Self>, own: Own, bytes: usize, max: usize) -> Share {
        // Dropped last: those it went before have another look when it is done, one way or the other.
        let _told = Told(&self.freed);
        let _further = Counted::new(&self.further);
        let grant = self.once_freed(|| self.grant(own, bytes, max)).await;
        self.share(grant)
    }

    /// Waits until nothing is held, without keeping others from taking. Cancel-safe.
    pub(crate) async fn emptied(&self) {
        self.once_freed(|| (self.used() == 0).then_some(())).await;
    }

    /// Counts `bytes` whether they fit or not: for what is held already.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Share {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        self.share(Grant { bytes, counted: bytes, large: None })
    }

    async fn once_freed<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        let _listening = Counted::new(&self.listening);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the look, so that nothing freed in between is missed.
            freed.as_mut().enable();
            if let Some(found) = attempt() {
                return found;
            }
            freed.await;
        }
    }

    fn has_large(&self) -> bool {
        self.has_large.load(Ordering::SeqCst)
    }

    /// Whether the right to a large share was free; it is taken then.
    pub(super) fn claim(&self) -> bool {
        !self.has_large.swap(true, Ordering::SeqCst)
    }

    pub(super) fn end_claim(&self) {
        self.has_large.store(false, Ordering::SeqCst);
        self.tell();
    }

    pub(super) fn give_back(&self, grant: &Grant) {
        if grant.bytes > grant.counted {
            self.beyond.fetch_sub(grant.bytes - grant.counted, Ordering::SeqCst);
        }
        self.used.fetch_sub(grant.counted, Ordering::SeqCst);
    }

    pub(super) fn leave(&self) {
        self.shares.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn tell(&self) {
        if self.listening.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
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
    async fn one_large_share_leaves_half_to_the_others() {
        let budget = Arc::new(Budget::default());
        let large = budget.take(1000, 100).await;
        assert!(budget.try_take(51, 100).is_none(), "there is one already");
        let (others, none) = (budget.try_take(50, 100), budget.try_take(1, 100));
        assert!(others.is_some() && none.is_none());
        assert_eq!((budget.used(), budget.shares()), (1050, 2));
        drop(large);
        let mut large = budget.try_take(60, 100).expect("half is free, and nobody is large");
        assert!(large.grow(300, 100));
        large.shrink(50);
        assert_eq!(budget.used(), 100);
        drop(others);
        let other = budget.try_take(2000, 100);
        assert!(other.is_some(), "the first is large no more");
        assert!(!large.grow(51, 100));
        drop((large, other));
        assert_eq!((budget.used(), budget.shares()), (0, 0));
    }

    #[tokio::test]
    async fn those_who_want_more_than_half_keep_no_others_waiting() {
        let budget = Arc::new(Budget::default());
        let large = budget.take(80, 100).await;
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(70, 100).await }
        });
        yield_now().await;
        assert!(budget.try_take(30, 100).is_some());
        drop(large);
        assert_eq!(waiting.await.expect("no panic").bytes(), 70);
    }

    #[tokio::test(start_paused = true)]
    async fn who_grows_beyond_half_waits_asleep_and_not_for_one_in_line() {
        let budget = Arc::new(Budget::default());
        let (own, other) = (budget.take(30, 100).await, budget.take(40, 100).await);
        let in_line = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(80, 100).await }
        });
        yield_now().await;
        let further = Arc::clone(&budget).take_further(own.own(), 60, 100);
        tokio::pin!(further);
        let waited = timeout(Duration::from_millis(1), &mut further).await;
        assert!(waited.is_ok(), "20 of the 60 count, and the half is not passed");
        drop((waited, other, own));
        assert_eq!(in_line.await.expect("no panic").bytes(), 80);
        let (own, _other, _another) =
            (budget.take(30, 100).await, budget.take(40, 100).await, budget.take(30, 100).await);
        let further = timeout(Duration::from_millis(1), Arc::clone(&budget).take_further(own.own(), 60, 100)).await;
        assert!(further.is_err() && budget.used() == 100);
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
        let (mut own, other) = (budget.take(10, 100).await, budget.take(50, 100).await);
        let another = budget.take(40, 100).await;
        let in_line = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(30, 100).await }
        });
        yield_now().await;
        assert!(!own.grow(50, 100));
        let further = tokio::spawn(Arc::clone(&budget).take_further(own.own(), 40, 100));
        yield_now().await;
        drop(another);
        own.join(further.await.expect("no panic"));
        assert_eq!((own.bytes(), budget.used(), budget.shares(), in_line.is_finished()), (50, 100, 2, false));
        drop(other);
        drop(own);
        assert_eq!(in_line.await.expect("no panic").bytes(), 30);
    }
}
