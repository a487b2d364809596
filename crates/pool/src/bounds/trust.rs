//! How many replies of which nobody knows how large they are may be asked for on one connection at a time. All that lies
//! behind a large one waits for it, and what is written cannot be taken back. A policy without a clock: trust grows with
//! each that was small, and is lost with one that is large.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Before anything is known. Doubles with each round trip that brings nothing large.
const FIRST: usize = 16;

/// A crowd that asks for megabytes in the same moment is written before the first of them comes back.
const MAX: usize = 64;

/// Larger replies, known as such, at a time: the upstream prepares one while the other comes.
pub(crate) const LARGE_MAX: usize = 2;

/// See the module's documentation. All connections of a pool have one.
#[derive(Debug)]
pub(crate) struct Trust(AtomicUsize);

impl Default for Trust {
    fn default() -> Self {
        Self(AtomicUsize::new(FIRST))
    }
}

impl Trust {
    /// How many there may be at a time.
    pub(crate) fn limit(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One of them was small. Another thread may undo what this adds: it only grows again.
    pub(crate) fn grow(&self) {
        let limit = self.limit();
        if limit < MAX {
            self.0.store(limit + 1, Ordering::Relaxed);
        }
    }

    /// One of them was large.
    pub(crate) fn lose(&self) {
        self.0.store(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_while_replies_are_small_and_is_lost_with_a_large_one() {
        let trust = Trust::default();
        assert_eq!(trust.limit(), FIRST);
        (0..MAX).for_each(|_| trust.grow());
        assert_eq!(trust.limit(), MAX);
        trust.lose();
        assert_eq!(trust.limit(), 1);
        trust.grow();
        assert_eq!(trust.limit(), 2);
    }
}
