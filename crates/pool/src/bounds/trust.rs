//! How many replies of which nobody knows how large they are may be asked for on one connection at a time. All that lies
//! behind a large one waits for it, and what is written cannot be taken back. A policy without a clock: while more are
//! waiting, trust grows with each that was small; it shrinks again when none is, and is lost with one that is large.

use std::sync::atomic::{AtomicUsize, Ordering};

/// While nobody waits for more. A crowd that asks for megabytes in the same moment is written before the first of them
/// comes back, and so many of it lie before the requests of others.
const USUAL: usize = 4;

/// Doubles with each round trip up to this, so that thousands of clients that come at once are served in time by an
/// upstream that is far away.
const MAX: usize = 64;

/// Larger replies, known as such, at a time: the upstream prepares one while the other comes.
pub(crate) const LARGE_MAX: usize = 2;

/// See the module's documentation. All connections of a pool have one.
#[derive(Debug)]
pub(crate) struct Trust(AtomicUsize);

impl Default for Trust {
    fn default() -> Self {
        Self(AtomicUsize::new(USUAL))
    }
}

impl Trust {
    /// How many there may be at a time.
    pub(crate) fn limit(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One of them was small; `is_wanted`: more wait to be asked for. What another thread does at the same time may be
    /// undone: the next ones make up for it.
    pub(crate) fn was_small(&self, is_wanted: bool) {
        let limit = self.limit();
        let next = match is_wanted {
            true => (limit + 1).min(MAX),
            false if limit > USUAL => limit - 1,
            false => (limit + 1).min(USUAL),
        };
        if next != limit {
            self.0.store(next, Ordering::Relaxed);
        }
    }

    /// One of them was large.
    pub(crate) fn was_large(&self) {
        self.0.store(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_while_more_is_wanted_and_is_lost_with_a_large_one() {
        let trust = Trust::default();
        let after = |is_wanted, count| {
            (0..count).for_each(|_| trust.was_small(is_wanted));
            trust.limit()
        };
        assert_eq!(after(false, 10), USUAL);
        assert_eq!(after(true, USUAL), 2 * USUAL);
        assert_eq!(after(true, MAX), MAX);
        assert_eq!(after(false, MAX), USUAL);
        trust.was_large();
        assert_eq!(trust.limit(), 1);
        assert_eq!((after(false, 1), after(false, MAX)), (2, USUAL));
    }
}
