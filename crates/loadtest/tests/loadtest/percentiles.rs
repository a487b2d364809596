//! Latencies that are known beforehand come out as they are.

use std::time::Duration;

use loadtest::{
    drive::{drive, interrupt::Interrupt},
    load::{Pace, Until},
    measure::outcome::Outcome,
};

use crate::{
    lateness::Lateness,
    scripted::{Act, Scripted},
};

/// What is added to a delay between the upstream and the harness even on a quiet machine.
const BETWEEN_MS: f64 = 15.0;

/// Of ten requests one takes 100 ms, of a hundred one takes 300 ms, the others 20 ms.
fn known_delays(index: u64, _: &[Vec<u8>]) -> Act {
    Act::Late(Duration::from_millis(match index {
        _ if index % 100 == 50 => 300,
        _ if index % 10 == 5 => 100,
        _ => 20,
    }))
}

/// Holds quantiles against the delays: never less than what was asked for, and not more than what the
/// upstream, on this machine at this time, really took.
fn assert_known_delays(outcome: &Outcome, upstream: &Scripted, lateness: &Lateness) {
    assert_eq!(outcome.counts.wrong_total() + outcome.counts.error_replies, 0);
    assert!(outcome.latency.min_us >= 20e3 * 0.999, "{}", outcome.latency.min_us);
    let late_ms = lateness.of_an_operation().as_secs_f64() * 1e3;
    for (wanted, delay_ms) in [(0.5, 20.0), (0.94, 100.0), (0.992, 300.0)] {
        let (quantile, us) = *outcome.quantiles.iter().find(|(quantile, _)| *quantile >= wanted).unwrap();
        let (found_ms, given_ms) = (us / 1e3, upstream.delay_at(quantile).as_secs_f64() * 1e3);
        assert!(found_ms >= delay_ms * 0.999, "{quantile}: {found_ms} ms where {delay_ms} ms were due");
        let most = given_ms * 1.001 + late_ms + BETWEEN_MS;
        assert!(found_ms <= most, "{quantile}: {found_ms} ms where the upstream took {given_ms} ms");
    }
}

#[tokio::test]
async fn a_closed_loop_reports_known_delays() {
    let (upstream, lateness) = (Scripted::start(known_delays).await, Lateness::measure());
    let mut load = upstream.load();
    (load.connections, load.until) = (40, Until::Count(1_000));
    load.reply_timeout = Duration::from_secs(10);
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert_eq!((outcome.operations, outcome.latency.count), (1_000, 1_000));
    assert_known_delays(&outcome, &upstream, &lateness);
}

#[tokio::test]
async fn an_open_loop_reports_known_delays() {
    let (upstream, lateness) = (Scripted::start(known_delays).await, Lateness::measure());
    let mut load = upstream.load();
    // Enough connections that none has to wait for the one before it: each has 800 ms for its operation.
    (load.connections, load.pace) = (400, Pace::Open(500.0));
    (load.keys, load.reply_timeout) = (1_000, Duration::from_secs(10));
    load.until = Until::Time(Duration::from_secs(2));
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert_eq!(outcome.latency.count, 1_000);
    assert_known_delays(&outcome, &upstream, &lateness);
}

#[tokio::test]
async fn an_open_loop_by_count_sends_exactly_that() {
    let upstream = Scripted::start(|_, _| Act::Answer).await;
    let mut load = upstream.load();
    (load.pace, load.until, load.threads) = (Pace::Open(2_000.0), Until::Count(501), 2);
    load.warmup = Duration::from_millis(100);
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert_eq!((outcome.operations, outcome.latency.count, outcome.exit_code()), (501, 501, 0));
    // On schedule, not as fast as it goes: 501 operations are a quarter of a second.
    assert!(outcome.seconds > 0.24, "{}", outcome.seconds);
}

#[tokio::test]
async fn an_open_loop_shows_a_stall_of_a_second() {
    let lateness = Lateness::measure();
    let upstream =
        Scripted::start(|index, _| if index == 500 { Act::Stall(Duration::from_secs(1)) } else { Act::Answer }).await;
    let mut load = upstream.load();
    (load.pace, load.reply_timeout) = (Pace::Open(1_000.0), Duration::from_secs(4));
    load.until = Until::Time(Duration::from_secs(2));
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    // Every operation is counted. Half of them are due during the stall, evenly, so that a tenth of all
    // waits for more than 800 ms.
    assert_eq!((outcome.latency.count, outcome.counts.unsent), (2_000, 0));
    let longer = (upstream.delay_at(1.0) + lateness.of_an_operation()).as_secs_f64() * 1e6 - 1e6 + BETWEEN_MS * 1e3;
    assert!((780e3..900e3 + longer).contains(&outcome.latency.p90_us), "{}", outcome.latency.p90_us);
    assert!((960e3..1_000e3 + longer).contains(&outcome.latency.p99_us), "{}", outcome.latency.p99_us);
    assert!(outcome.latency.max_us >= 999e3, "{}", outcome.latency.max_us);
}

#[tokio::test]
async fn the_rate_over_time_adds_up() {
    let (upstream, lateness) = (Scripted::start(|_, _| Act::Answer).await, Lateness::measure());
    let mut load = upstream.load();
    (load.pace, load.reply_timeout) = (Pace::Open(2_000.0), Duration::from_secs(10));
    let mut told = 0;
    let outcome = drive(&load, &Interrupt::never(), |_| told += 1).await.unwrap();
    // What is answered late counts for latency and not for the rate.
    assert_eq!(outcome.latency.count, 2_000);
    let late_s = lateness.of_an_operation().as_secs_f64();
    let (answered, least) = (outcome.operations as f64, 1_900.0 - 2_000.0 * late_s);
    assert!(answered <= 2_000.0 && answered >= least, "{answered}, and {late_s} s late");
    assert!((outcome.rate - answered / outcome.seconds).abs() < 0.01, "{}", outcome.rate);
    assert!((1..=11).contains(&outcome.timeline.len()) && told > outcome.timeline.len(), "{}", outcome.timeline.len());
    let begins = std::iter::once(0.0).chain(outcome.timeline.iter().map(|sample| sample.at_s));
    let slices = outcome.timeline.iter().zip(begins).map(|(sample, begin)| sample.rate * (sample.at_s - begin));
    let sum = slices.sum::<f64>();
    assert!(sum <= answered + 0.5 && sum >= least - 200.0, "{sum} of {answered}, and {late_s} s late");
}
