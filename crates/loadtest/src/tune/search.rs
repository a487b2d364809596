//! Where to measure next, and what to make of it: brackets first, then between the best and its
//! neighbours, then rounds of the best few in turns. No I/O; measuring is the caller's.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::compare::round::median;

/// A pool this much slower than the best is as good, if it is smaller. What lies within the noise that was
/// measured is as good too.
pub const TOLERANCE: f64 = 0.03;
/// Values that are tried first.
const WORKERS: [u32; 6] = [1, 2, 4, 8, 16, 32];
const DEPTHS: [u32; 5] = [16, 64, 256, 1_024, 4_096];
/// The depth at which numbers of workers are compared: respool's default.
const DEPTH_FIRST: u32 = 1_024;
/// Measured at both ends of each round, so that rounds at different times can be compared.
const REFERENCE: Point = Point { threads: 1, workers: 2, depth: DEPTH_FIRST };
/// Rounds that the best few get, and how many these are.
const FINAL_ROUNDS: usize = 5;
const FINALISTS: usize = 5;

/// One setting of the pool. The order is that of size: threads cost most, then connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Point {
    /// `runtime.threads`
    pub threads: u32,
    /// `pool.workers`
    pub workers: u32,
    /// `pool.pipeline_depth`
    pub depth: u32,
}

/// What one measurement found. In a search, rates are relative to how fast the machine was in that round.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Found {
    /// Operations a second.
    pub rate: f64,
    /// Latency that 99 % kept, in milliseconds.
    pub p99_ms: f64,
}

/// Everything measured so far.
#[derive(Debug, Default)]
pub struct Search {
    found: BTreeMap<Point, Vec<Found>>,
    p99_ms_max: Option<f64>,
    threads_max: u32,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// The smallest pool within the tolerance of the best.
    pub point: Point,
    /// The fastest of all.
    pub best: Point,
    /// How far rounds of the same point lie apart: the median of their distances from its median, relative.
    pub noise: f64,
    /// How much slower than the fastest counted as good: 3 %, or the noise if that is more.
    pub tolerance: f64,
    /// In how many of its rounds the choice was within the tolerance of the best's median.
    pub rounds_within: usize,
    /// Its rounds.
    pub rounds: usize,
    /// Whether it keeps the p99 target, if there is one.
    pub keeps_target: bool,
}

impl Search {
    /// A search among up to `threads_max` threads for a pool that keeps `p99_ms_max`.
    pub fn new(threads_max: u32, p99_ms_max: Option<f64>) -> Self {
        Self { found: BTreeMap::new(), p99_ms_max, threads_max }
    }

    /// Looks for the answer. `measure` gives nothing when the time is over; then what was found until
    /// then decides.
    ///
    /// # Errors
    /// Those of `measure`.
    pub async fn run<E>(&mut self, mut measure: impl AsyncFnMut(Point) -> Result<Option<Found>, E>) -> Result<(), E> {
        let mut first = None;
        let mut each = async |search: &mut Self, points: Vec<Point>, rounds: usize| {
            for round in 0..rounds {
                let missing = |point: &&Point| search.found.get(point).map_or(0, Vec::len) <= round;
                let points: Vec<_> = points.iter().filter(missing).copied().collect();
                if points.is_empty() {
                    continue;
                }
                // What slows the machine down for a while slows the reference down too, before or behind.
                let Some(before) = measure(REFERENCE).await? else { return Ok(false) };
                let mut found = Vec::new();
                for point in &points {
                    match measure(*point).await? {
                        Some(one) => found.push((*point, one)),
                        None => break,
                    }
                }
                let is_whole = found.len() == points.len();
                let behind = if is_whole { measure(REFERENCE).await? } else { None };
                let (from, to) = (before.rate, behind.unwrap_or(before).rate);
                let first = *first.get_or_insert(from);
                #[expect(clippy::cast_precision_loss, reason = "a round has a handful of points")]
                let step = (to - from) / (found.len() + 1) as f64;
                let mut reference = from;
                for (point, one) in found {
                    reference += step;
                    let rate = one.rate * first / reference.max(1.0);
                    search.found.entry(point).or_default().push(Found { rate, ..one });
                }
                if behind.is_none() {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let by_workers = WORKERS.map(|workers| Point { threads: 1, workers, depth: DEPTH_FIRST });
        if !each(self, by_workers.to_vec(), 3).await? {
            return Ok(());
        }
        let workers = self.smallest().workers;
        if !each(self, DEPTHS.map(|depth| Point { threads: 1, workers, depth }).to_vec(), 3).await? {
            return Ok(());
        }
        // Between the choice and its neighbours, until that gains no more than noise.
        for _ in 0..3 {
            let before = self.smallest();
            let points = self.between(before);
            if points.is_empty() || !each(self, points, 2).await? || self.smallest() == before {
                break;
            }
        }
        let chosen = self.smallest();
        let threads = (2..=self.threads_max).map(|threads| Point { threads, ..chosen });
        if !each(self, threads.collect(), 2).await? {
            return Ok(());
        }
        for rounds in 4..=FINAL_ROUNDS {
            let finalists = self.finalists();
            if !each(self, finalists, rounds).await? {
                break;
            }
        }
        Ok(())
    }

    /// What was measured, by point.
    pub fn found(&self) -> &BTreeMap<Point, Vec<Found>> {
        &self.found
    }

    /// The answer; nothing if nothing was measured.
    pub fn choice(&self) -> Option<Choice> {
        let best = self.best()?;
        let point = self.smallest();
        let enough = self.rate(best) * (1.0 - self.tolerance());
        let rounds = self.found.get(&point)?;
        Some(Choice {
            point,
            best,
            noise: self.noise(),
            tolerance: self.tolerance(),
            rounds_within: rounds.iter().filter(|found| found.rate >= enough).count(),
            rounds: rounds.len(),
            keeps_target: self.keeps_target(point),
        })
    }

    /// The median rate of a point.
    pub fn rate(&self, point: Point) -> f64 {
        median(self.found.get(&point).into_iter().flatten().map(|found| found.rate).collect())
    }

    /// The median p99 of a point, in milliseconds.
    pub fn p99_ms(&self, point: Point) -> f64 {
        median(self.found.get(&point).into_iter().flatten().map(|found| found.p99_ms).collect())
    }

    /// How much slower than the best is as good: 3 %, or the noise if that is more.
    pub fn tolerance(&self) -> f64 {
        TOLERANCE.max(self.noise())
    }

    fn keeps_target(&self, point: Point) -> bool {
        self.p99_ms_max.is_none_or(|most| self.p99_ms(point) <= most)
    }

    /// Points that may be chosen: those that keep the target, or all if none does.
    fn eligible(&self) -> Vec<Point> {
        let keep: Vec<_> = self.found.keys().copied().filter(|point| self.keeps_target(*point)).collect();
        if keep.is_empty() { self.found.keys().copied().collect() } else { keep }
    }

    fn best(&self) -> Option<Point> {
        self.eligible().into_iter().max_by(|one, other| self.rate(*one).total_cmp(&self.rate(*other)))
    }

    fn smallest(&self) -> Point {
        let enough = self.best().map_or(0.0, |best| self.rate(best) * (1.0 - self.tolerance()));
        let first = Point { threads: 1, workers: 1, depth: DEPTH_FIRST };
        // Points are in the order of their size.
        self.eligible().into_iter().find(|point| self.rate(*point) >= enough).unwrap_or(first)
    }

    /// Points halfway to the next smaller and larger ones that were measured.
    fn between(&self, point: Point) -> Vec<Point> {
        let halves = |of: fn(&Point) -> u32, at: u32, same: &dyn Fn(&Point) -> bool| {
            let others: Vec<u32> = self.found.keys().filter(|other| same(other)).map(of).collect();
            let below = others.iter().copied().filter(|other| *other < at).max();
            let above = others.iter().copied().filter(|other| *other > at).min();
            let halves: Vec<u32> = [below, above].into_iter().flatten().map(|other| (at + other) / 2).collect();
            halves.into_iter().filter(|half| !others.contains(half)).collect::<Vec<_>>()
        };
        let is_like = |other: &Point| other.threads == point.threads;
        let workers =
            halves(|point| point.workers, point.workers, &|other| is_like(other) && other.depth == point.depth);
        let depths =
            halves(|point| point.depth, point.depth, &|other| is_like(other) && other.workers == point.workers);
        let workers = workers.into_iter().map(|workers| Point { workers, ..point });
        workers.chain(depths.into_iter().map(|depth| Point { depth, ..point })).collect()
    }

    /// The best few, and those that may turn out to be as good and smaller.
    fn finalists(&self) -> Vec<Point> {
        let best = self.best().map_or(0.0, |best| self.rate(best));
        let mut points = self.eligible();
        points.retain(|point| self.rate(*point) >= best * (1.0 - 2.0 * self.tolerance()));
        points.truncate(FINALISTS - 1);
        points.extend(self.best().filter(|best| !points.contains(best)));
        points
    }

    fn noise(&self) -> f64 {
        let distances = self.found.iter().filter(|(_, rounds)| rounds.len() > 1).flat_map(|(point, rounds)| {
            let middle = self.rate(*point);
            rounds.iter().map(move |found| (found.rate - middle).abs() / middle.max(1.0))
        });
        median(distances.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A model of a pool for 200 clients: each connection carries `depth` requests a round trip, all
    /// together no more than `most`; further connections and threads cost a little.
    async fn tuned(round_trip_s: f64, most: f64, p99_ms_max: Option<f64>) -> (Choice, usize) {
        let (mut search, mut rng, mut count) = (Search::new(2, p99_ms_max), fastrand::Rng::with_seed(3), 0);
        search
            .run(async |point: Point| {
                count += 1;
                let under_way = f64::from(point.workers * point.depth).min(200.0);
                let cost = 1.0 + f64::from(point.workers) * 0.004 + f64::from(point.threads - 1) * 0.2;
                let rate = (under_way / round_trip_s).min(most) / cost * (1.0 + (rng.f64() - 0.5) * 0.01);
                Ok::<_, Infallible>(Some(Found { rate, p99_ms: f64::from(point.depth) / 100.0 }))
            })
            .await
            .unwrap();
        (search.choice().unwrap(), count)
    }

    #[tokio::test]
    async fn near_and_far_upstreams_get_different_pools() {
        let (near, count) = tuned(0.000_1, 150_000.0, None).await;
        assert_eq!((near.point.workers, near.point.depth, near.point.threads), (1, 16, 1));
        assert!(count < 110 && near.noise < 0.01 && near.rounds_within == near.rounds, "{near:?} {count}");
        let (far, _) = tuned(0.001_5, 150_000.0, None).await;
        assert_eq!((far.point.workers, far.point.threads), (1, 1));
        assert!((200..=256).contains(&far.point.depth), "{far:?}");
    }

    #[tokio::test]
    async fn the_target_for_p99_comes_before_the_rate() {
        let (choice, _) = tuned(0.001_5, 150_000.0, Some(1.0)).await;
        assert!(choice.keeps_target && choice.point.depth <= 100, "{choice:?}");
        let (choice, _) = tuned(0.001_5, 150_000.0, Some(0.01)).await;
        assert!(!choice.keeps_target, "{choice:?}");
    }

    #[tokio::test]
    async fn a_machine_that_slows_down_changes_nothing() {
        let (mut search, mut count) = (Search::new(1, None), 0.0);
        search
            .run(async |point: Point| {
                count += 1.0;
                let rate = (f64::from(point.workers * point.depth) / 0.001).min(100_000.0) / (1.0 + count / 50.0);
                Ok::<_, Infallible>(Some(Found { rate, p99_ms: 1.0 }))
            })
            .await
            .unwrap();
        let choice = search.choice().unwrap();
        assert!(choice.point.workers == 1 && (64..=160).contains(&choice.point.depth), "{choice:?}");
        assert!(count > 20.0 && choice.noise < 0.1, "{choice:?}");
    }

    #[tokio::test]
    async fn the_end_of_the_time_leaves_an_answer() {
        let mut search = Search::new(2, None);
        let mut left = 4;
        let measure = async |_: Point| {
            left -= 1;
            Ok::<_, Infallible>((left > 0).then_some(Found { rate: 1.0, p99_ms: 1.0 }))
        };
        search.run(measure).await.unwrap();
        assert_eq!(search.choice().unwrap().rounds, 1);
    }
}
