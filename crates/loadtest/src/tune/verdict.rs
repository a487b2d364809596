//! What to make of the readings: the smallest pool that is as good as the best, how sure that is, and
//! which points would have to be measured again to be surer. Pure arithmetic.

use std::fmt;

use serde::Serialize;

use crate::tune::{
    point::{DEPTH_DEFAULT, Point},
    readings::Readings,
};

/// A pool this much slower than the best is as good, if it is smaller.
pub const TOLERANCE: f64 = 0.03;
/// Rounds after which a point may be judged.
pub const ROUNDS_MIN: usize = 3;
/// Rounds that the choice needs before anybody may be sure.
pub const ROUNDS_SURE: usize = 8;
/// The most that the choice may be slower than the best, for each degree of certainty.
const SURE: f64 = 0.06;
const LIKELY: f64 = 0.15;
/// The best that are measured on, besides the choice.
const CONTENDERS: usize = 2;
/// Beyond this many half widths a point is certainly worse.
const CERTAINLY: f64 = 1.5;

/// How sure the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// Another search on this machine would find the same, or one as good.
    Sure,
    /// The noise leaves room for a pool that is better by some per cent.
    Likely,
    /// The noise hides what was looked for.
    NotSure,
}

impl fmt::Display for Certainty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sure => "sure",
            Self::Likely => "likely",
            Self::NotSure => "not sure",
        })
    }
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// The smallest pool that is not measurably more than 3 % slower than the best.
    pub point: Point,
    /// The best.
    pub best: Point,
    /// Rounds in which the choice was measured.
    pub rounds: usize,
    /// How far single measurements of the same pool lie apart: a standard deviation, relative.
    pub noise: f64,
    /// How much slower than the best the choice is at most, at 95 % confidence.
    pub slower_at_most: f64,
    /// How sure that is.
    pub certainty: Certainty,
    /// The least depth did as well as any with these workers, so that the default was kept.
    pub any_depth: bool,
    /// Whether it keeps the p99 target, if there is one.
    pub keeps_target: bool,
}

/// Judges readings.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'r> {
    /// What was measured.
    pub readings: &'r Readings,
    /// The target, if there is one.
    pub p99_ms_max: Option<f64>,
}

impl Judge<'_> {
    /// The answer; nothing if nothing was measured.
    pub fn choice(&self) -> Option<Choice> {
        let eligible = self.eligible();
        let best = self.best(&eligible)?;
        let good = |point: &Point| self.above(*point, best) >= 0.0;
        let smallest = eligible.iter().copied().find(good)?;
        let default = Point { depth: DEPTH_DEFAULT, ..smallest };
        let any_depth = smallest.has_least_depth() && eligible.contains(&default) && good(&default);
        let point = if any_depth { default } else { smallest };
        let (rounds, slower_at_most) = (self.readings.rounds(point), self.slower_at_most(point, best));
        let keeps_target = self.keeps_target(point);
        let certainty = match slower_at_most {
            _ if rounds < ROUNDS_SURE => Certainty::NotSure,
            slower if slower <= SURE => Certainty::Sure,
            slower if slower <= LIKELY => Certainty::Likely,
            _ => Certainty::NotSure,
        };
        let noise = self.readings.noise();
        Some(Choice { point, best, rounds, noise, slower_at_most, certainty, any_depth, keeps_target })
    }

    /// The points that decide: measured on, they make the answer surer. Those smaller than the choice that
    /// are not certainly worse, the choice, and the best few.
    pub fn undecided(&self, choice: &Choice) -> Vec<Point> {
        let mut points = self.eligible();
        let doubtful = |point: &Point| *point < choice.point && !self.is_hopeless(*point, choice);
        let mut by_rate = points.clone();
        by_rate.sort_by(|one, other| {
            self.readings.estimate(*other).high().total_cmp(&self.readings.estimate(*one).high())
        });
        by_rate.truncate(CONTENDERS);
        points.retain(|point| doubtful(point) || *point == choice.point || by_rate.contains(point));
        points
    }

    /// Whether a point is so far behind that measuring it again would not make it the choice.
    pub fn is_hopeless(&self, point: Point, choice: &Choice) -> bool {
        self.above(point, choice.best) + (CERTAINLY - 1.0) * self.readings.estimate(point).half_width < 0.0
    }

    /// How far the most that `point` may reach lies above what is enough beside `best`.
    fn above(&self, point: Point, best: Point) -> f64 {
        self.readings.estimate(point).high() - self.readings.estimate(best).low() - (1.0 - TOLERANCE).ln()
    }

    fn slower_at_most(&self, point: Point, best: Point) -> f64 {
        let (point, best) = (self.readings.estimate(point), self.readings.estimate(best));
        let slower = best.middle - point.middle + point.half_width.hypot(best.half_width);
        1.0 - (-slower.max(0.0)).exp()
    }

    fn keeps_target(&self, point: Point) -> bool {
        self.p99_ms_max.is_none_or(|most| self.readings.p99_ms(point) <= most)
    }

    /// Points that may be chosen: measured often enough and keeping the target, or as many of that as can be had.
    fn eligible(&self) -> Vec<Point> {
        let all: Vec<_> = self.readings.points().collect();
        let judged = all.iter().copied().filter(|point| self.readings.rounds(*point) >= ROUNDS_MIN);
        let keeping = judged.clone().filter(|point| self.keeps_target(*point)).collect();
        [keeping, judged.collect(), all].into_iter().find(|points: &Vec<_>| !points.is_empty()).unwrap_or_default()
    }

    /// The point that is certainly the fastest to some rate that no other certainly reaches.
    fn best(&self, points: &[Point]) -> Option<Point> {
        let low = |point: Point| self.readings.estimate(point).low();
        points.iter().copied().max_by(|one, other| low(*one).total_cmp(&low(*other)))
    }
}
