//! What came of a load, in the form of its report and of `--json`.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    load::{Load, Pace, mix::Operation},
    measure::{
        counts::Counts,
        tally::Tally,
        timeline::{Sample, Timeline},
        written_keys::WrittenKeys,
    },
};

/// Why the measured time ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// As agreed.
    Done,
    /// By Ctrl-C or SIGTERM.
    Interrupted,
    /// No connection was left and none could be made.
    Dead,
}

/// A distribution of times, in microseconds.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Times {
    pub count: u64,
    pub min_us: f64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    pub p99_99_us: f64,
    pub max_us: f64,
}

impl Times {
    /// The figures of a histogram of nanoseconds.
    pub fn new(nanos: &Histogram<u64>) -> Self {
        let at = |quantile| us(nanos.value_at_quantile(quantile));
        Self {
            count: nanos.len(),
            min_us: us(nanos.min()),
            mean_us: nanos.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: us(nanos.max()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 ns")]
fn us(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// The result of a load.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The target, without its password.
    pub target: String,
    /// The load in words.
    pub load: String,
    /// How it ended.
    pub ended: Ended,
    /// The measured time in seconds.
    pub seconds: f64,
    /// Operations answered without an error within it.
    pub operations: u64,
    /// The same by the second.
    pub rate: f64,
    /// Operations that were answered without an error after it; they count for latency, not for the rate.
    pub operations_late: u64,
    /// Operations that were answered without an error in the warm-up; they count for nothing.
    pub operations_warmup: u64,
    /// The rate that an open loop was to keep.
    pub rate_wanted: Option<f64>,
    /// Latency of all operations.
    pub latency: Times,
    /// Latency by operation.
    pub by_operation: BTreeMap<Operation, Times>,
    /// Latency at ever finer quantiles: pairs of quantile and microseconds.
    pub quantiles: Vec<(f64, f64)>,
    /// How long jobs waited for a worker, in the in-process form.
    pub queued: Option<Times>,
    /// How long connecting took.
    pub connecting: Option<Times>,
    /// How late the harness itself was in an open loop.
    pub lag: Option<Times>,
    /// Rate and p99 over time.
    pub timeline: Vec<Sample>,
    /// Bytes received within the measured time, by the second.
    pub received_per_s: f64,
    /// What happened to the keys that the load has written.
    pub keys: WrittenKeys,
    /// Whether replies were verified.
    pub verify: bool,
    /// What went wrong, the warm-up included.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Outcome {
    /// Puts together what a driven load has left.
    pub fn new(load: &Load, tally: &Tally, timeline: &Timeline, ended: Ended) -> Self {
        let latency = tally.latency();
        let per_second = |count: u64| {
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let count = count as f64;
            if timeline.seconds > 0.0 { count / timeline.seconds } else { 0.0 }
        };
        Self {
            target: load.target.to_string(),
            load: load.to_string(),
            ended,
            seconds: timeline.seconds,
            operations: timeline.operations,
            rate: per_second(timeline.operations),
            operations_late: latency.len().saturating_sub(timeline.operations),
            operations_warmup: tally.operations_warmup,
            rate_wanted: match load.pace {
                Pace::Closed => None,
                Pace::Open(rate) => Some(rate),
            },
            latency: Times::new(&latency),
            by_operation: tally.by_operation().map(|(operation, times)| (operation, Times::new(times))).collect(),
            quantiles: latency
                .iter_quantiles(2)
                .map(|step| (step.quantile_iterated_to(), us(step.value_iterated_to())))
                .take_while(|(quantile, _)| *quantile < 1.0)
                .collect(),
            queued: tally.queued.as_ref().map(Times::new),
            connecting: tally.connects.as_ref().map(Times::new),
            lag: tally.lag.as_ref().map(Times::new),
            timeline: timeline.samples.clone(),
            received_per_s: per_second(timeline.received),
            keys: WrittenKeys::of(load),
            verify: load.verify,
            counts: tally.counts.clone(),
        }
    }

    /// Whether the target failed: errors, losses, keys that it did not let be removed, or an end before time.
    pub fn is_target_failing(&self) -> bool {
        self.ended == Ended::Dead
            || self.counts.has_failures()
            || self.keys.not_removed.is_some()
            || (self.operations == 0 && self.ended == Ended::Done)
    }

    /// The exit code: see the README's table.
    pub fn exit_code(&self) -> u8 {
        if self.counts.wrong_total() > 0 {
            1
        } else if self.ended == Ended::Interrupted {
            130
        } else {
            u8::from(self.is_target_failing()) * 2
        }
    }
}
