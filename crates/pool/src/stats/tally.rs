//! What is counted of one class of requests: how many came, what became of them, and how long they took.
//! Relaxed additions and no lock, so that counting costs the same however many classes there are. Used
//! for the bursts that go through the queue and, by a gateway, for what goes past it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::stats::histogram::{Distribution, Histogram};

/// The lowest bound of the histograms of times, in microseconds.
const TIME_FIRST: u64 = 32;

/// False in a build that is made to measure what counting costs.
pub(crate) const COUNTED: bool = cfg!(not(feature = "uncounted"));

/// Counts of one class since the start.
#[derive(Debug)]
pub struct Tally {
    requests: AtomicU64,
    replied: AtomicU64,
    failed: AtomicU64,
    queue_time: Histogram,
    upstream_time: Histogram,
    /// Of values that are those of the other two together, and so is their sum.
    total_time: Histogram,
}

/// What a [`Tally`] had counted at some time. `requests` are those replied to, those failed and those
/// under way.
///
/// Times are counted once for each job: of all that were answered, and of those that failed because a
/// time was exceeded. What failed at once is not among them, or an upstream that is down would seem fast.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassTotals {
    /// Requests that have come.
    pub requests: u64,
    /// Requests to which there was a reply.
    pub replied: u64,
    /// Requests without one.
    pub failed: u64,
    /// From a job's beginning until a worker took it, or a connection was lent to it, in microseconds.
    pub queue_time: Distribution,
    /// From there until its last reply, in microseconds.
    pub upstream_time: Distribution,
    /// Both together.
    pub total_time: Distribution,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            requests: AtomicU64::default(),
            replied: AtomicU64::default(),
            failed: AtomicU64::default(),
            queue_time: Histogram::new(TIME_FIRST),
            upstream_time: Histogram::new(TIME_FIRST),
            total_time: Histogram::new(TIME_FIRST),
        }
    }
}

impl Tally {
    /// Requests have come.
    pub fn began(&self, requests: u32) {
        add(&self.requests, requests.into());
    }

    /// Of those that had come, so many have a reply now.
    pub fn replied(&self, requests: u32) {
        add(&self.replied, requests.into());
    }

    /// And so many will never have one.
    pub fn failed(&self, requests: u32) {
        add(&self.failed, requests.into());
    }

    /// A job waited for `queue` microseconds and was then at the upstream for `upstream`.
    pub fn took(&self, queue: u64, upstream: u64) {
        self.queue_time.record(queue);
        self.upstream_time.record(upstream);
        self.total_time.record_unsummed(queue.saturating_add(upstream));
    }

    /// A job waited for `queue` and was not taken.
    pub fn waited_in_vain(&self, queue: Duration) {
        self.queue_time.record(micros(queue));
        self.total_time.record_unsummed(micros(queue));
    }

    /// What has been counted so far.
    pub fn totals(&self) -> ClassTotals {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Ends before beginnings, so that no more seem to have ended than began.
        let (replied, failed) = (load(&self.replied), load(&self.failed));
        let (queue_time, upstream_time) = (self.queue_time.distribution(), self.upstream_time.distribution());
        let sum = queue_time.sum.wrapping_add(upstream_time.sum);
        let total_time = Distribution { sum, ..self.total_time.distribution() };
        ClassTotals { requests: load(&self.requests), replied, failed, queue_time, upstream_time, total_time }
    }
}

impl ClassTotals {
    /// Takes in what was counted elsewhere of the same.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.replied += other.replied;
        self.failed += other.failed;
        self.queue_time.add(&other.queue_time);
        self.upstream_time.add(&other.upstream_time);
        self.total_time.add(&other.total_time);
    }

    /// Requests that have neither a reply nor failed.
    pub fn under_way(&self) -> u64 {
        self.requests.saturating_sub(self.replied + self.failed)
    }
}

/// A relaxed addition.
pub(crate) fn add(counter: &AtomicU64, number: u64) {
    if COUNTED {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}

/// A duration as the histograms of times count it.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(feature = "uncounted")))]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_what_ended_and_what_is_under_way() {
        let tally = Tally::default();
        tally.began(10);
        tally.replied(4);
        tally.failed(3);
        tally.took(100, 50);
        tally.waited_in_vain(Duration::from_millis(1));
        let totals = tally.totals();
        assert_eq!((totals.requests, totals.replied, totals.failed, totals.under_way()), (10, 4, 3, 3));
        assert_eq!((totals.queue_time.sum, totals.queue_time.count()), (1100, 2));
        assert_eq!((totals.upstream_time.sum, totals.upstream_time.count()), (50, 1));
        assert_eq!((totals.total_time.sum, totals.total_time.count()), (1150, 2));
    }
}
