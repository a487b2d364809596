//! What one thread has counted. Lanes write it, the control reads it between; both for so short a
//! time that its lock is never waited for in practice.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{check::Wrong, mix::Operation};

/// The longest time a histogram holds, in nanoseconds: ten minutes. Longer ones count as this.
const NANOS_MAX: u64 = 600_000_000_000;
/// Distinct error replies that are kept.
const TEXTS_MAX: usize = 8;
/// Descriptions of wrong replies that are kept.
const EXAMPLES_MAX: usize = 10;

/// A histogram of nanoseconds, exact to three digits.
pub fn nanoseconds() -> Histogram<u64> {
    // The bounds are constants within what the library accepts.
    Histogram::new_with_bounds(64, NANOS_MAX, 3).expect("bounds that a histogram may have")
}

/// A duration as a histogram holds it.
pub fn as_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NANOS_MAX).clamp(1, NANOS_MAX)
}

/// Counts and histograms; what belongs to the measured time is cleared when the warm-up ends.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Latency by operation, made when the first is recorded.
    latencies: [Option<Histogram<u64>>; Operation::ALL.len()],
    /// How long after its schedule the pacer found an arrival: what the harness itself adds.
    pub lag: Option<Histogram<u64>>,
    /// How long jobs waited for a worker, in the in-process form.
    pub queued: Option<Histogram<u64>>,
    /// How long connecting took, log-in included.
    pub connects: Option<Histogram<u64>>,
    /// Operations answered without an error.
    pub operations: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Replies that were checked.
    pub verified: u64,
    /// Error replies.
    pub error_replies: u64,
    /// Some of their texts, with how often each came.
    pub error_texts: BTreeMap<String, u64>,
    /// Operations that were sent and not answered before their connection or the load ended.
    pub unanswered: u64,
    /// Operations of an open loop's schedule that were never sent.
    pub unsent: u64,
    /// Connections that ended although nobody wanted it.
    pub connections_lost: u64,
    /// Why the last of them ended.
    pub last_loss: Option<String>,
    /// Connections made again, on purpose or not.
    pub reconnects: u64,
    /// Connections open at this moment.
    pub connected: u64,
    /// When the last reply came.
    pub last_reply: Option<Instant>,
    /// Wrong replies by kind.
    pub wrong: BTreeMap<Wrong, u64>,
    /// Some of them in words.
    pub examples: Vec<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            latencies: std::array::from_fn(|_| None),
            lag: None,
            queued: None,
            connects: None,
            operations: 0,
            bytes_received: 0,
            verified: 0,
            error_replies: 0,
            error_texts: BTreeMap::new(),
            unanswered: 0,
            unsent: 0,
            connections_lost: 0,
            last_loss: None,
            reconnects: 0,
            connected: 0,
            last_reply: None,
            wrong: BTreeMap::new(),
            examples: Vec::new(),
        }
    }
}

impl Tally {
    /// One operation was answered.
    pub fn record(&mut self, operation: Operation, latency: Duration) {
        self.operations += 1;
        self.latencies[operation as usize].get_or_insert_with(nanoseconds).saturating_record(as_nanos(latency));
    }

    /// One error reply came.
    pub fn record_error(&mut self, text: &str) {
        self.error_replies += 1;
        if self.error_texts.len() < TEXTS_MAX || self.error_texts.contains_key(text) {
            *self.error_texts.entry(text.to_owned()).or_default() += 1;
        }
    }

    /// Something wrong was found.
    pub fn record_wrong(&mut self, wrong: Wrong, example: impl FnOnce() -> String) {
        *self.wrong.entry(wrong).or_default() += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }

    /// Forgets what does not count because it belongs to the warm-up. Errors and wrong replies stay.
    pub fn clear_measured(&mut self) {
        self.latencies.iter_mut().flatten().for_each(Histogram::reset);
        self.queued.iter_mut().for_each(Histogram::reset);
        self.lag.iter_mut().for_each(Histogram::reset);
        self.operations = 0;
        self.bytes_received = 0;
    }

    /// Latency of each operation that was recorded.
    pub fn by_operation(&self) -> impl Iterator<Item = (Operation, &Histogram<u64>)> {
        Operation::ALL.into_iter().zip(&self.latencies).filter_map(|(operation, latencies)| {
            latencies.as_ref().filter(|latencies| !latencies.is_empty()).map(|latencies| (operation, latencies))
        })
    }

    /// Latency of all operations together.
    pub fn latency(&self) -> Histogram<u64> {
        let mut all = nanoseconds();
        for (_, latencies) in self.by_operation() {
            add(&mut all, latencies);
        }
        all
    }

    /// Takes in what another thread has counted.
    pub fn merge(&mut self, other: &Self) {
        for (into, from) in self.latencies.iter_mut().zip(&other.latencies) {
            merge_histograms(into, from.as_ref());
        }
        merge_histograms(&mut self.lag, other.lag.as_ref());
        merge_histograms(&mut self.queued, other.queued.as_ref());
        merge_histograms(&mut self.connects, other.connects.as_ref());
        self.operations += other.operations;
        self.bytes_received += other.bytes_received;
        self.verified += other.verified;
        self.error_replies += other.error_replies;
        for (text, count) in &other.error_texts {
            *self.error_texts.entry(text.clone()).or_default() += count;
        }
        self.unanswered += other.unanswered;
        self.unsent += other.unsent;
        self.connections_lost += other.connections_lost;
        self.last_loss = other.last_loss.clone().or(self.last_loss.take());
        self.reconnects += other.reconnects;
        self.connected += other.connected;
        self.last_reply = self.last_reply.max(other.last_reply);
        for (wrong, count) in &other.wrong {
            *self.wrong.entry(*wrong).or_default() += count;
        }
        self.examples.extend(other.examples.iter().take(EXAMPLES_MAX.saturating_sub(self.examples.len())).cloned());
    }
}

fn add(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    // All histograms here have the same bounds, so that none can be too small for another.
    into.add(from).expect("histograms of equal bounds");
}

fn merge_histograms(into: &mut Option<Histogram<u64>>, from: Option<&Histogram<u64>>) {
    if let Some(from) = from {
        add(into.get_or_insert_with(nanoseconds), from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        for micros in 1..=100_000_u64 {
            let tally = if micros % 2 == 0 { &mut one } else { &mut other };
            tally.record(Operation::ALL[(micros % 3) as usize], Duration::from_micros(micros));
        }
        one.merge(&other);
        let all = one.latency();
        assert_eq!((all.len(), one.operations, one.by_operation().count()), (100_000, 100_000, 3));
        for percent in [1_u32, 10, 50, 90, 99] {
            let (found, due) = (all.value_at_quantile(f64::from(percent) / 100.0), u64::from(percent) * 1_000_000);
            assert!(found.abs_diff(due) <= due / 1_000 + 64, "{percent}%: {found} ns, not {due}");
        }
    }

    #[test]
    fn the_warm_up_is_forgotten_and_its_failures_are_not() {
        let mut tally = Tally::default();
        tally.record(Operation::Get, Duration::from_millis(1));
        tally.record_error("ERR no");
        tally.record_wrong(Wrong::Stale, || "old".to_owned());
        tally.clear_measured();
        assert_eq!((tally.operations, tally.latency().len()), (0, 0));
        assert_eq!((tally.error_replies, tally.wrong[&Wrong::Stale], tally.examples.len()), (1, 1, 1));
    }
}
