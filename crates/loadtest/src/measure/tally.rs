//! What one thread has counted. Lanes write it, the control reads it between; both for so short a
//! time that its lock is never waited for in practice.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::{load::mix::Operation, measure::counts::Counts};

/// The longest time a histogram holds, in nanoseconds: ten minutes. Longer ones count as this.
const NANOS_MAX: u64 = 600_000_000_000;

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
#[derive(Debug, Clone, Default)]
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
    /// The same in the warm-up.
    pub operations_warmup: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Connections open at this moment.
    pub connected: u64,
    /// When the last reply came.
    pub last_reply: Option<Instant>,
    /// What went wrong.
    pub counts: Counts,
}

impl Tally {
    /// One operation was answered.
    pub fn record(&mut self, operation: Operation, latency: Duration) {
        self.operations += 1;
        self.latencies[operation as usize].get_or_insert_with(nanoseconds).saturating_record(as_nanos(latency));
    }

    /// Forgets what does not count because it belongs to the warm-up. Errors and wrong replies stay.
    pub fn clear_measured(&mut self) {
        self.latencies.iter_mut().flatten().for_each(Histogram::reset);
        self.queued.iter_mut().for_each(Histogram::reset);
        self.lag.iter_mut().for_each(Histogram::reset);
        self.operations_warmup += std::mem::take(&mut self.operations);
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
        self.operations_warmup += other.operations_warmup;
        self.bytes_received += other.bytes_received;
        self.connected += other.connected;
        self.last_reply = self.last_reply.max(other.last_reply);
        self.counts.merge(&other.counts);
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
        tally.counts.record_error("ERR no");
        tally.clear_measured();
        assert_eq!((tally.operations, tally.operations_warmup, tally.latency().len()), (0, 1, 0));
        assert_eq!(tally.counts.error_replies, 1);
    }
}
