//! A histogram of powers of two that many tasks count into: two relaxed additions a value, no lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::stats::tally::add;

/// Buckets with a bound; a further one takes the rest.
const BOUNDED: usize = 21;

/// Counts of values up to a first bound, twice that, four times that and so on.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The first bound, as a power of two: to divide by it would take longer.
    first_log2: u32,
    counts: [AtomicU64; BOUNDED + 1],
    sum: AtomicU64,
}

/// What a histogram had counted at some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Upper bounds, inclusive, each with the values up to it and above the bound before. The last has none.
    pub buckets: Vec<(Option<u64>, u64)>,
    /// Of all values.
    pub sum: u64,
}

impl Distribution {
    /// Values counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Counts what the other has counted too.
    pub fn add(&mut self, other: &Self) {
        self.buckets.resize(other.buckets.len().max(self.buckets.len()), (None, 0));
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *own = (more.0, own.1 + more.1);
        }
        self.sum += other.sum;
    }
}

impl Histogram {
    /// `first` is the lowest bound, a power of two.
    pub(crate) fn new(first: u64) -> Self {
        Self { first_log2: first.ilog2(), counts: [const { AtomicU64::new(0) }; BOUNDED + 1], sum: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, value: u64) {
        self.record_unsummed(value);
        add(&self.sum, value);
    }

    /// The same of values whose sum is known from others.
    pub(super) fn record_unsummed(&self, value: u64) {
        let above = value.saturating_sub(1) >> self.first_log2;
        let index = (u64::BITS - above.leading_zeros()) as usize;
        add(&self.counts[index.min(BOUNDED)], 1);
    }

    pub(crate) fn distribution(&self) -> Distribution {
        let bound = |index: usize| (index < BOUNDED).then(|| 1 << (self.first_log2 as usize + index));
        let buckets = self.counts.iter().enumerate();
        Distribution {
            buckets: buckets.map(|(index, count)| (bound(index), count.load(Ordering::Relaxed))).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

#[cfg(all(test, not(feature = "uncounted")))]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_the_last_bucket_takes_the_rest() {
        let histogram = Histogram::new(64);
        for value in [0, 64, 65, 128, 129, u64::MAX / 2] {
            histogram.record(value);
        }
        let distribution = histogram.distribution();
        assert_eq!(distribution.buckets[0], (Some(64), 2));
        assert_eq!(distribution.buckets[1], (Some(128), 2));
        assert_eq!(distribution.buckets[2], (Some(256), 1));
        assert_eq!(distribution.buckets[BOUNDED], (None, 1));
        assert_eq!(distribution.count(), 6);
    }
}
