//! The trials as tests: three seeds of a few seconds each, and `./tests/run soak` for as long as one likes,
//! a minute a seed. A trial that fails says how to run it again.

use std::{env, time::Duration};

use super::{tally::Report, trial};

/// How long a trial of the short form takes, and one of the long form.
const SHORT: Duration = Duration::from_secs(7);
const LONG: Duration = Duration::from_secs(60);

/// Runs a trial and fails with what was wrong.
#[track_caller]
fn passes(seed: u64, time: Duration) -> Report {
    let again = format!("run it again with: ./tests/run soak --seed {seed} --seconds {}", time.as_secs());
    println!("seed {seed}; {again}");
    let report = trial::run(seed, time);
    let complaints = report.complaints();
    assert!(complaints.is_empty(), "seed {seed}:\n{complaints}\n{again}\n{report}");
    report
}

#[test]
fn every_request_is_answered_once_and_rightly_whatever_breaks_first_seed() {
    println!("{}", passes(1, SHORT));
}

#[test]
fn every_request_is_answered_once_and_rightly_whatever_breaks_second_seed() {
    println!("{}", passes(2, SHORT));
}

#[test]
fn every_request_is_answered_once_and_rightly_whatever_breaks_third_seed() {
    println!("{}", passes(3, SHORT));
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
#[ignore = "takes as long as it is told to, by ./tests/run soak"]
fn soak() {
    let total = Duration::from_secs(number("RESPOOL_SOAK_SECONDS").unwrap_or(60));
    let first = number("RESPOOL_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let (mut report, mut left) = (Report::default(), total);
    for seed in first.. {
        report.add(passes(seed, left.min(LONG)));
        left = left.saturating_sub(LONG);
        if left.is_zero() {
            break;
        }
    }
    println!("{report}");
}
