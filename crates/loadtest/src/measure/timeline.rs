//! Rate and p99 over time: cuts the growing histograms into slices.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    load::{Load, Until},
    measure::tally::{Tally, nanoseconds},
};

/// Slices of a load of known length, about.
const SLICES: u32 = 50;

/// One slice of the measured time.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// The end of the slice, in seconds from the end of the warm-up.
    pub at_s: f64,
    /// Operations a second.
    pub rate: f64,
    /// Latency that 99 % of the slice's operations kept, in microseconds.
    pub p99_us: f64,
    /// Error replies, missing and wrong replies so far.
    pub errors: u64,
}

/// Samples of the measured time.
#[derive(Debug)]
pub struct Timeline {
    /// How long a slice is.
    pub slice: Duration,
    /// The slices so far.
    pub samples: Vec<Sample>,
    /// Operations answered in the measured time.
    pub operations: u64,
    /// Bytes received in the measured time.
    pub received: u64,
    /// The measured time in seconds.
    pub seconds: f64,
    begin: Instant,
    sampled: Instant,
    before: Histogram<u64>,
}

impl Timeline {
    /// Begins now.
    pub fn new(load: &Load) -> Self {
        let slice = match load.until {
            Until::Time(time) => (time / SLICES).clamp(Duration::from_millis(100), Duration::from_secs(1)),
            Until::Count(_) => Duration::from_millis(250),
        };
        let now = Instant::now();
        let (samples, before) = (Vec::new(), nanoseconds());
        Self { slice, samples, operations: 0, received: 0, seconds: 0.0, begin: now, sampled: now, before }
    }

    /// Closes a slice.
    pub fn sample(&mut self, tally: &Tally) -> &Sample {
        let (now, all) = (Instant::now(), tally.latency());
        let mut slice = all.clone();
        // Counts only grow, so that what was counted before can always be taken away.
        slice.subtract(&self.before).expect("histograms only grow");
        let seconds = now.duration_since(self.sampled).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let rate = if seconds > 0.0 { slice.len() as f64 / seconds } else { 0.0 };
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 ns")]
        let p99_us = slice.value_at_quantile(0.99) as f64 / 1e3;
        self.samples.push(Sample {
            at_s: now.duration_since(self.begin).as_secs_f64(),
            rate,
            p99_us,
            errors: tally.counts.error_replies + tally.counts.unanswered + tally.counts.wrong.values().sum::<u64>(),
        });
        (self.sampled, self.before) = (now, all);
        &self.samples[self.samples.len() - 1]
    }

    /// Ends the measured time: what is answered later counts for latency, not for the rate.
    pub fn close(&mut self, tally: &Tally) {
        let now = Instant::now();
        if now.duration_since(self.sampled) > self.slice / 2 {
            self.sample(tally);
        }
        self.seconds = now.duration_since(self.begin).as_secs_f64();
        self.operations = tally.operations;
        self.received = tally.bytes_received;
    }
}
