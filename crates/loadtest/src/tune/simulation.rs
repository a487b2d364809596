//! Searches on simulated machines whose truth is known: upstreams near and far, noise, drift, outliers.
//! Everything is seeded, so that a failure comes again.

use crate::tune::{
    point::{DEPTH_DEFAULT, Point},
    readings::Found,
    search::Search,
    verdict::{Certainty, Choice, TOLERANCE},
};

/// Measurements that fit into the default budget.
const MEASUREMENTS: usize = 200;
const THREADS_MAX: u32 = 2;

/// A respool in front of an upstream.
#[derive(Debug, Clone, Copy)]
struct Machine {
    clients: f64,
    round_trip_s: f64,
    /// Operations a second that one thread carries, and that one connection does.
    thread_most: f64,
    connection_most: f64,
    /// What twice the workers cost, and what a second thread brings.
    worker_cost: f64,
    second_thread: f64,
}

const NEAR: Machine = Machine {
    clients: 200.0,
    round_trip_s: 0.000_4,
    thread_most: 120_000.0,
    connection_most: 1e9,
    worker_cost: 0.01,
    second_thread: 0.85,
};
const FAR: Machine = Machine { round_trip_s: 0.001_5, ..NEAR };

impl Machine {
    /// Something that there might be.
    fn any(rng: &mut fastrand::Rng) -> Self {
        let thread_most = 50_000.0 + rng.f64() * 150_000.0;
        Self {
            clients: [50.0, 200.0, 1_000.0, 4_000.0][rng.usize(..4)],
            round_trip_s: 0.000_05 * 60_f64.powf(rng.f64()),
            thread_most,
            // Every third upstream has several threads, and serves one connection with one of them.
            connection_most: if rng.u8(..3) == 0 { thread_most / (1.5 + rng.f64() * 3.0) } else { 1e9 },
            worker_cost: rng.f64() * 0.04,
            second_thread: if rng.bool() { 1.3 + rng.f64() * 0.3 } else { 0.7 + rng.f64() * 0.25 },
        }
    }

    fn rate(&self, point: Point) -> f64 {
        let (workers, depth) = (f64::from(point.workers), f64::from(point.depth));
        let flowing = (workers * depth).min(self.clients) / self.round_trip_s;
        let threads = if point.threads == 1 { 1.0 } else { self.second_thread };
        let most = (self.thread_most * threads).min(workers * self.connection_most);
        flowing.min(most) * (1.0 - self.worker_cost).powf(workers.log2())
    }

    /// What the fastest pool of all reaches.
    fn best(&self) -> f64 {
        grid().iter().map(|point| self.rate(*point)).fold(0.0, f64::max)
    }

    /// Whether the answer is the smallest pool within some tolerance from nothing to what it admits.
    fn is_right(&self, choice: &Choice) -> bool {
        let (all, best) = (grid(), self.best());
        let admitted = (0..=100).map(|step| choice.slower_at_most * f64::from(step) / 100.0);
        admitted.into_iter().any(|tolerance| {
            let is_good = |point: &&Point| self.rate(**point) >= best * (1.0 - tolerance) - 1e-6;
            let Some(smallest) = all.iter().find(is_good).copied() else { return false };
            let default = Point { depth: DEPTH_DEFAULT, ..smallest };
            choice.point == if choice.any_depth { default } else { smallest }
        })
    }
}

/// All pools that there are.
fn grid() -> Vec<Point> {
    (1..=THREADS_MAX)
        .flat_map(|threads| (0..8).map(move |power| (threads, 1 << power)))
        .filter(|(threads, workers)| workers >= threads)
        .flat_map(|(threads, workers)| (2..9).map(move |power| Point { threads, workers, depth: 1 << (2 * power) }))
        .collect()
}

/// Searches on `machine` with this much noise, besides a drift of a quarter and a measurement in thirty that
/// something else has halved.
fn tuned(machine: Machine, noise: f64, p99_ms_max: Option<f64>, seed: u64) -> Choice {
    let (mut search, mut rng) = (Search::new(THREADS_MAX, p99_ms_max, seed), fastrand::Rng::with_seed(seed));
    let (period, phase) = (40.0 + rng.f64() * 100.0, rng.f64());
    for index in 0..MEASUREMENTS {
        let Some(point) = search.due() else { break };
        // Of twelve uniform values the sum has a variance of 1.
        let normal = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
        let drift = 1.0 + 0.25 * ((index as f64 / period + phase) * std::f64::consts::TAU).sin();
        let outlier = if rng.u8(..30) == 0 { 0.5 } else { 1.0 };
        let rate = machine.rate(point) * (normal * noise).exp() * drift * outlier;
        search
            .record(Found { rate, p99_ms: f64::from(point.workers * point.depth) / 100.0 * (1.0 + rng.f64() * noise) });
    }
    search.close();
    search.choice().unwrap()
}

#[test]
fn the_answer_is_right_on_simulated_machines() {
    let mut rng = fastrand::Rng::with_seed(11);
    let (mut wrong, mut not_sure) = (Vec::new(), 0);
    for seed in 0..200 {
        let (machine, noise) = (Machine::any(&mut rng), 0.05 + 0.05 * rng.f64());
        let choice = tuned(machine, noise, None, seed);
        if !machine.is_right(&choice) {
            wrong.push(format!("{noise:.3} {machine:?}\n  {choice:?}"));
        }
        not_sure += u32::from(choice.certainty == Certainty::NotSure);
    }
    assert!(wrong.len() <= 10, "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(not_sure <= 20, "{not_sure} not sure");
}

#[test]
fn what_is_written_is_as_fast_as_the_best_of_all_pools() {
    let mut rng = fastrand::Rng::with_seed(13);
    let (mut written, mut slower) = (0, Vec::new());
    for seed in 0..200 {
        let (machine, noise) = (Machine::any(&mut rng), 0.02 + 0.2 * rng.f64());
        let choice = tuned(machine, noise, None, seed);
        if choice.certainty == Certainty::Sure {
            written += 1;
            let lacks = 1.0 - machine.rate(choice.point) / machine.best();
            if lacks > TOLERANCE {
                slower.push((lacks, noise));
            }
        }
    }
    assert!(slower.is_empty() && written >= 40, "{} of {written} are slower: {slower:.3?}", slower.len());
}

#[test]
fn what_is_admitted_holds_against_the_best_of_all_pools() {
    let mut rng = fastrand::Rng::with_seed(14);
    let mut broken = Vec::new();
    for seed in 0..200 {
        let (machine, noise) = (Machine::any(&mut rng), 0.02 + 0.2 * rng.f64());
        let choice = tuned(machine, noise, None, seed);
        let lacks = 1.0 - machine.rate(choice.point) / machine.best();
        if lacks > choice.slower_at_most {
            broken.push((lacks, choice.slower_at_most, noise, choice.certainty));
        }
    }
    assert!(broken.len() <= 10, "{} of 200: {broken:.3?}", broken.len());
}

#[test]
fn noise_that_hides_the_answer_is_admitted() {
    let mut rng = fastrand::Rng::with_seed(12);
    let answers = (0..200).map(|seed| tuned(Machine::any(&mut rng), 0.3, None, seed).certainty);
    let not_sure = answers.filter(|certainty| *certainty == Certainty::NotSure).count();
    assert!(not_sure >= 195, "{not_sure} of 200");
}

#[test]
fn repeated_searches_agree_and_tell_near_from_far() {
    for (machine, workers, depth) in [(NEAR, 1, 64), (FAR, 1, 256)] {
        let answers: Vec<_> = (0..40).map(|seed| tuned(machine, 0.05, None, seed)).collect();
        let same = |choice: &&Choice| choice.point == Point { threads: 1, workers, depth };
        let (agreeing, sure) = (
            answers.iter().filter(same).count(),
            answers.iter().filter(|choice| choice.certainty == Certainty::Sure).count(),
        );
        assert!(agreeing >= 38 && sure >= 36, "{agreeing} agree, {sure} sure: {:#?}", answers[0]);
    }
}

#[test]
fn a_depth_that_makes_no_difference_stays_what_it_was() {
    let machine = Machine { round_trip_s: 0.000_05, ..NEAR };
    let answers: Vec<_> = (0..50).map(|seed| tuned(machine, 0.05, None, seed)).collect();
    let kept = answers.iter().filter(|choice| choice.any_depth && choice.point.depth == DEPTH_DEFAULT).count();
    assert!(kept >= 47, "{kept} of 50: {answers:#?}");
}

#[test]
fn the_target_for_p99_comes_before_the_rate() {
    let choice = tuned(FAR, 0.05, Some(1.0), 1);
    assert!(choice.keeps_target && choice.point.workers * choice.point.depth == 64, "{choice:?}");
    let choice = tuned(FAR, 0.05, Some(0.01), 1);
    assert!(!choice.keeps_target, "{choice:?}");
}

#[test]
fn a_quiet_machine_needs_few_rounds() {
    let mut search = Search::new(THREADS_MAX, None, 1);
    let mut count = 0;
    while let Some(point) = search.due() {
        search.record(Found { rate: NEAR.rate(point), p99_ms: 1.0 });
        count += 1;
        assert!(count < 150, "endless");
    }
    assert!(search.choice().is_some_and(|choice| choice.certainty == Certainty::Sure && choice.point.depth == 64));
}
