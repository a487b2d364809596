//! What several jobs have in common whose caller waits for all of them: it is woken once, by the last that is answered,
//! and at once by one that fails.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::Context,
};

use atomic_waker::AtomicWaker;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Together {
    /// Jobs that are not answered yet.
    left: AtomicUsize,
    /// One has failed since the last look.
    has_failed: AtomicBool,
    waker: AtomicWaker,
}

impl Together {
    /// Of so many jobs.
    pub(crate) fn new(jobs: usize) -> Self {
        Self { left: AtomicUsize::new(jobs), has_failed: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// One is answered, and its answer is there.
    pub(super) fn answered(&self, has_failed: bool) {
        if has_failed {
            self.has_failed.store(true, Ordering::Release);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 || has_failed {
            self.waker.wake();
        }
    }

    /// One is none of them any more, or never was sent.
    pub(crate) fn leave(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether all are answered, or one has failed since the last look; otherwise the task is woken then.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.has_failed.swap(false, Ordering::AcqRel) || self.left.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        task::{Wake, Waker},
    };

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_last_one_wakes_and_each_that_fails() {
        let (together, wakes) = (Together::new(5), Arc::<Wakes>::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let look = || together.poll(&Context::from_waker(&waker));
        let count = || wakes.0.load(Ordering::Relaxed);
        assert!(!look());
        together.answered(false);
        assert!(!look() && count() == 0);
        together.answered(true);
        assert!(look() && count() == 1 && !look());
        together.leave();
        together.answered(false);
        assert!(!look() && count() == 1);
        together.answered(false);
        assert!(look() && look() && count() == 2);
    }
}
