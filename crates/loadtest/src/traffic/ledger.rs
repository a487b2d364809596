//! What verified replies are held against. Every key has one writer, the connection with the key's
//! number modulo the number of connections; so a reader knows the oldest version that it may see
//! (what was acknowledged when it asked) and the newest (what was sent when the answer came).

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// The versions of one key.
#[derive(Debug, Default)]
pub struct Register {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    /// A write of this key was lost on its way: no one knows which of its versions will be seen.
    unsure: AtomicBool,
}

impl Register {
    /// The version of a write that is about to be sent.
    pub fn next_version(&self) -> u64 {
        self.sent.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The write of `version` was answered.
    pub fn acknowledge(&self, version: u64) {
        self.acknowledged.fetch_max(version, Ordering::AcqRel);
    }

    /// A write was answered with an error or not at all: it may have happened, now or later.
    pub fn lose_track(&self) {
        self.unsure.store(true, Ordering::Release);
    }

    /// The oldest version that a read sent now may be answered with: for the writer itself all it
    /// has sent, since one connection's requests are executed in order.
    pub fn floor(&self, own: bool) -> u64 {
        if self.is_unsure() {
            0
        } else if own {
            self.sent.load(Ordering::Acquire)
        } else {
            self.acknowledged.load(Ordering::Acquire)
        }
    }

    /// The newest version that an answer arriving now may hold.
    pub fn ceiling(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Whether old versions have to be let pass.
    pub fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Acquire)
    }
}

/// A counter of which nothing is known.
const UNKNOWN: i64 = i64::MIN;

/// A counter that one connection increments.
#[derive(Debug)]
pub struct Counter(AtomicI64);

impl Default for Counter {
    fn default() -> Self {
        Self(AtomicI64::new(UNKNOWN))
    }
}

impl Counter {
    /// Takes in the answer to an `INCR`; gives what it should have been if it was something else.
    pub fn advance(&self, found: i64) -> Option<i64> {
        let before = self.0.swap(found, Ordering::AcqRel);
        (before != UNKNOWN && before + 1 != found).then_some(before + 1)
    }

    /// An `INCR` was answered with an error or not at all.
    pub fn lose_track(&self) {
        self.0.store(UNKNOWN, Ordering::Release);
    }
}

/// The truth of one run about all of its keys.
#[derive(Debug)]
pub struct Ledger {
    /// Drawn for each run; see [`crate::traffic::stamp::Stamp::run`].
    pub run: u32,
    /// The connections that write.
    pub writers: u64,
    /// Of `SET` and `GET`, by key.
    pub texts: Vec<Register>,
    /// Of `LPUSH` and `LRANGE`, by key.
    pub lists: Vec<Register>,
    /// Of `INCR`, by key.
    pub counters: Vec<Counter>,
}

impl Ledger {
    /// A ledger of `keys` keys, at least as many as `writers`.
    pub fn new(run: u32, writers: usize, keys: usize) -> Self {
        Self {
            run,
            writers: writers as u64,
            texts: std::iter::repeat_with(Register::default).take(keys).collect(),
            lists: std::iter::repeat_with(Register::default).take(keys).collect(),
            counters: std::iter::repeat_with(Counter::default).take(keys).collect(),
        }
    }

    /// The key nearest to `key` that `writer` may write.
    pub fn owned(&self, key: u64, writer: u32) -> u64 {
        let owned = key - key % self.writers + u64::from(writer);
        if owned < self.texts.len() as u64 { owned } else { owned - self.writers }
    }

    /// Whether `writer` is the one that writes `key`.
    pub fn is_own(&self, key: u64, writer: u32) -> bool {
        key % self.writers == u64::from(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_one_writer() {
        let ledger = Ledger::new(1, 3, 10);
        for (key, writer) in (0..10).flat_map(|key| (0..3).map(move |writer| (key, writer))) {
            let owned = ledger.owned(key, writer);
            assert!(owned < 10 && ledger.is_own(owned, writer), "{key} {writer} {owned}");
        }
    }

    #[test]
    fn floors_follow_what_is_known() {
        let register = Register::default();
        assert_eq!(register.next_version(), 1);
        assert_eq!((register.floor(false), register.floor(true), register.ceiling()), (0, 1, 1));
        register.acknowledge(1);
        assert_eq!(register.floor(false), 1);
        register.lose_track();
        assert_eq!(register.floor(true), 0);
    }

    #[test]
    fn counters_go_up_by_one() {
        let counter = Counter::default();
        assert_eq!(counter.advance(7), None);
        assert_eq!(counter.advance(8), None);
        assert_eq!(counter.advance(10), Some(9));
        counter.lose_track();
        assert_eq!(counter.advance(1), None);
    }
}
