//! Where to measure next: a bracket of settings far apart, then the neighbours of the best so far, all in
//! rounds that meet every point in turn. No I/O and no clock; measuring is the caller's.

use crate::tune::{
    point::{DEPTH_DEFAULT, Point, bracket},
    readings::{Found, Readings},
    verdict::{Certainty, Choice, Judge, ROUNDS_MIN, ROUNDS_SURE},
};

/// After this many rounds more of them would tell little: the error falls with their root.
const ROUNDS_MAX: usize = 40;
/// Rounds after which a point may be left out of further ones because it is far behind.
const ROUNDS_LEAST: usize = 3;
/// Rounds of the pools just below the choice, and of those with the default depth.
const ROUNDS_SMALLER: usize = 6;

/// A search under way.
#[derive(Debug)]
pub struct Search {
    readings: Readings,
    threads_max: u32,
    p99_ms_max: Option<f64>,
    rng: fastrand::Rng,
    /// What is left of this round, last first.
    left: Vec<Point>,
}

impl Search {
    /// A search among up to `threads_max` threads for a pool that keeps `p99_ms_max`. `seed` decides the
    /// order within rounds.
    pub fn new(threads_max: u32, p99_ms_max: Option<f64>, seed: u64) -> Self {
        let (readings, rng) = (Readings::default(), fastrand::Rng::with_seed(seed));
        Self { readings, threads_max, p99_ms_max, rng, left: Vec::new() }
    }

    /// The point to measure now; nothing when the answer would not get better.
    pub fn due(&mut self) -> Option<Point> {
        if self.left.is_empty() {
            self.readings.settle();
            self.left = self.round();
            // In any order: then nothing that comes and goes on the machine meets always the same.
            self.rng.shuffle(&mut self.left);
        }
        self.left.last().copied()
    }

    /// What was found at the point that [`Self::due`] gave.
    pub fn record(&mut self, found: Found) {
        if let Some(point) = self.left.pop() {
            self.readings.record(point, found);
        }
    }

    /// Nothing more will be recorded: makes the best of what there is.
    pub fn close(&mut self) {
        self.left.clear();
        self.readings.settle();
    }

    /// What was measured.
    pub fn readings(&self) -> &Readings {
        &self.readings
    }

    /// The answer so far; nothing if nothing was measured.
    pub fn choice(&self) -> Option<Choice> {
        self.judge().choice()
    }

    fn judge(&self) -> Judge<'_> {
        Judge { readings: &self.readings, p99_ms_max: self.p99_ms_max }
    }

    /// The points of the next round: first the bracket, then what lies beside the choice, then what decides.
    fn round(&self) -> Vec<Point> {
        let Some(choice) = self.choice() else { return bracket() };
        let judge = self.judge();
        let lacking = |point: &Point| match self.readings.rounds(*point) {
            rounds if rounds < ROUNDS_LEAST => true,
            // A smaller pool, or the default, is not given up for a few measurements that something else has spoilt.
            rounds if *point < choice.point || point.depth == DEPTH_DEFAULT => rounds < ROUNDS_SMALLER,
            rounds => rounds < ROUNDS_MIN && !judge.is_hopeless(*point, &choice),
        };
        let begun = |point: &Point| self.readings.rounds(*point) < ROUNDS_LEAST;
        if bracket().iter().any(begun) {
            return bracket();
        }
        let beside = choice.point.neighbours(self.threads_max).into_iter();
        let mut points: Vec<_> = beside.filter(lacking).collect();
        let is_settled = choice.certainty == Certainty::Sure && choice.rounds >= ROUNDS_SURE;
        if !points.is_empty() || !is_settled && choice.rounds < ROUNDS_MAX {
            points.extend(judge.undecided(&choice));
        }
        points.sort_unstable();
        points.dedup();
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bracket_comes_first_and_in_rounds() {
        let mut search = Search::new(2, None, 1);
        for _ in 0..ROUNDS_MIN {
            let mut met: Vec<_> = bracket()
                .iter()
                .map(|_| {
                    let point = search.due().unwrap();
                    search.record(Found { rate: 1_000.0, p99_ms: 1.0 });
                    point
                })
                .collect();
            met.sort_unstable();
            assert_eq!(met, bracket());
        }
        search.due().unwrap();
        assert_eq!(search.readings().noise().to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn the_end_of_the_time_leaves_an_answer_that_is_not_sure() {
        let mut search = Search::new(2, None, 1);
        assert!(search.choice().is_none());
        for _ in 0..3 {
            search.due().unwrap();
            search.record(Found { rate: 1.0, p99_ms: 1.0 });
        }
        search.close();
        let choice = search.choice().unwrap();
        assert_eq!((choice.rounds, choice.certainty), (1, Certainty::NotSure));
    }
}
