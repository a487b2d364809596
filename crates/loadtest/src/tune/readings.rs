//! What was measured, with the speed of the machine at each moment taken out: whatever slows it down for
//! a while slows all points alike that are measured then. Medians, and how far these may be off.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{measure::median::median, tune::point::Point};

/// Measurements before and after one that tell how fast the machine was then.
const BESIDE: usize = 4;
/// How often speeds and medians are worked out from each other; they settle after a few times.
const PASSES: usize = 5;
/// A median lies within this many of its standard errors of the truth, 19 times of 20.
const ERRORS: f64 = 2.0;
/// The standard error of a median where that of a mean is 1.
const MEDIAN_ERROR: f64 = 1.253;
/// The median distance of two normal values from one another, in standard deviations.
const PAIR_DISTANCE: f64 = 0.954;
/// The noise that is assumed as long as nothing was measured twice.
const NOISE_UNKNOWN: f64 = 0.5;

/// What one measurement found.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Found {
    /// Operations a second.
    pub rate: f64,
    /// Latency that 99 % kept, in milliseconds.
    pub p99_ms: f64,
}

/// The logarithm of a rate, so that differences are ratios, and half of its confidence interval (95 %).
#[derive(Debug, Clone, Copy)]
pub struct Estimate {
    /// The median.
    pub middle: f64,
    /// How far the truth may be from it, either way.
    pub half_width: f64,
}

impl Estimate {
    /// The least that the truth may be.
    pub fn low(self) -> f64 {
        self.middle - self.half_width
    }

    /// The most that it may be.
    pub fn high(self) -> f64 {
        self.middle + self.half_width
    }
}

/// All readings of one search.
#[derive(Debug, Default)]
pub struct Readings {
    /// In the order of time.
    all: Vec<(Point, Found)>,
    /// Of each point, what [`Self::settle`] has worked out.
    points: BTreeMap<Point, Summary>,
    noise: Option<f64>,
}

#[derive(Debug, Default)]
struct Summary {
    /// The logarithm of its median rate on the machine at its median speed.
    middle: f64,
    rounds: usize,
    p99_ms: f64,
}

impl Readings {
    /// One more; [`Self::settle`] makes it count.
    pub fn record(&mut self, point: Point, found: Found) {
        self.all.push((point, found));
    }

    /// Works out speeds and medians: the speed at a moment is the median of how far the measurements around
    /// it lie from the medians of their points, and these are of rates from which the speed is taken out.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred measurements")]
    pub fn settle(&mut self) {
        let rates: Vec<f64> = self.all.iter().map(|(_, found)| found.rate.max(1.0).ln()).collect();
        let mut indexes: BTreeMap<Point, Vec<usize>> = BTreeMap::new();
        for (index, (point, _)) in self.all.iter().enumerate() {
            indexes.entry(*point).or_default().push(index);
        }
        let mut speeds = vec![0.0; rates.len()];
        let mut distances = vec![0.0; rates.len()];
        for _ in 0..PASSES {
            for of_point in indexes.values() {
                let middle = median(of_point.iter().map(|index| rates[*index] - speeds[*index]).collect());
                of_point.iter().for_each(|index| distances[*index] = rates[*index] - middle);
            }
            for (index, speed) in speeds.iter_mut().enumerate() {
                let around = index.saturating_sub(BESIDE)..(index + BESIDE + 1).min(distances.len());
                *speed = median(distances[around].to_vec());
            }
            let usual = median(speeds.clone());
            speeds.iter_mut().for_each(|speed| *speed -= usual);
        }
        let mut pairs = Vec::new();
        self.points.clear();
        for (point, of_point) in indexes {
            let steady: Vec<_> = of_point.iter().map(|index| rates[*index] - speeds[*index]).collect();
            for (index, one) in steady.iter().enumerate() {
                pairs.extend(steady[..index].iter().map(|other| (one - other).abs()));
            }
            let p99_ms = median(of_point.iter().map(|index| self.all[*index].1.p99_ms).collect());
            self.points.insert(point, Summary { rounds: steady.len(), middle: median(steady), p99_ms });
        }
        // The speeds were fitted to the same measurements, which makes these look closer than they are.
        let fitted = (2.0 * BESIDE as f64 + 1.0) / (2.0 * BESIDE as f64);
        self.noise = (!pairs.is_empty()).then(|| median(pairs) / PAIR_DISTANCE * fitted);
    }

    /// The points that were measured, in the order of their size.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        self.points.keys().copied()
    }

    /// How often a point was measured.
    pub fn rounds(&self, point: Point) -> usize {
        self.points.get(&point).map_or(0, |summary| summary.rounds)
    }

    /// The rate of a point.
    pub fn estimate(&self, point: Point) -> Estimate {
        #[expect(clippy::cast_precision_loss, reason = "a few dozen rounds")]
        let rounds = self.rounds(point).max(1) as f64;
        let half_width = ERRORS * MEDIAN_ERROR * self.noise() / rounds.sqrt();
        Estimate { middle: self.points.get(&point).map_or(0.0, |summary| summary.middle), half_width }
    }

    /// The rate of a point, in operations a second.
    pub fn rate(&self, point: Point) -> f64 {
        self.estimate(point).middle.exp()
    }

    /// Between which rates that of a point is, at 95 % confidence.
    pub fn rate_range(&self, point: Point) -> (f64, f64) {
        let estimate = self.estimate(point);
        (estimate.low().exp(), estimate.high().exp())
    }

    /// The median p99 of a point, in milliseconds.
    pub fn p99_ms(&self, point: Point) -> f64 {
        self.points.get(&point).map_or(0.0, |summary| summary.p99_ms)
    }

    /// How far single measurements of the same point lie apart: their standard deviation, relative, found
    /// without regard to outliers.
    pub fn noise(&self) -> f64 {
        self.noise.unwrap_or(NOISE_UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(workers: u32) -> Point {
        Point { threads: 1, workers, depth: 64 }
    }

    #[test]
    fn a_machine_that_slows_down_changes_no_ratio() {
        let (mut readings, mut rng) = (Readings::default(), fastrand::Rng::with_seed(5));
        for round in 0..12 {
            let mut order = [1, 2, 3, 4, 5];
            rng.shuffle(&mut order);
            for (workers, step) in order.into_iter().zip(round * 5..) {
                let speed = 100_000.0 * (1.0 - f64::from(step) / 100.0);
                let rate = speed * (1.0 + f64::from(workers) / 10.0);
                readings.record(point(workers), Found { rate, p99_ms: 1.0 });
            }
        }
        readings.settle();
        let ratio = readings.rate(point(5)) / readings.rate(point(1));
        assert!((ratio - 1.5 / 1.1).abs() < 0.02 && readings.noise() < 0.02, "{ratio} {}", readings.noise());
        assert_eq!((readings.rounds(point(3)), readings.points().count()), (12, 5));
    }

    #[test]
    fn noise_is_what_was_put_in_and_outliers_do_not_count() {
        let (mut readings, mut rng) = (Readings::default(), fastrand::Rng::with_seed(7));
        for step in 0..600 {
            // Of twelve uniform values the sum has a variance of 1.
            let normal = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
            let rate = if step % 20 == 0 { 300.0 } else { 1_000.0 * (1.0 + normal * 0.05) };
            readings.record(point(1 + step % 3), Found { rate, p99_ms: 1.0 });
        }
        readings.settle();
        assert!((0.045..0.06).contains(&readings.noise()), "{}", readings.noise());
        for workers in 1..=3 {
            let rate = readings.rate(point(workers));
            assert!((980.0..1_020.0).contains(&rate), "{rate}");
        }
        assert!(readings.estimate(point(1)).half_width < 0.012, "{:?}", readings.estimate(point(1)));
    }
}
