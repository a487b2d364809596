//! Latencies that are known beforehand come out as they are.

use std::time::Duration;

use loadtest::{
    drive::drive,
    interrupt::Interrupt,
    load::{Pace, Until},
    outcome::Outcome,
};

use crate::scripted::{Act, Scripted};

/// Holds a latency against a delay, with what a busy machine may add. The delays here are further apart.
fn assert_about(found_us: f64, delay_ms: f64) {
    let (due, slack) = (delay_ms * 1e3, 2_500.0 + delay_ms * 300.0);
    assert!(found_us >= due * 0.999 && found_us <= due + slack, "{found_us} us where {due} us were due");
}

/// Of ten requests one takes 20 ms, of a hundred one takes 60 ms, the others 4 ms.
fn known_delays(index: u64, _: &[Vec<u8>]) -> Act {
    Act::Late(Duration::from_millis(match index {
        _ if index % 100 == 50 => 60,
        _ if index % 10 == 5 => 20,
        _ => 4,
    }))
}

fn assert_known_delays(outcome: &Outcome) {
    assert_about(outcome.latency.min_us, 4.0);
    assert_about(outcome.latency.p50_us, 4.0);
    assert_about(outcome.latency.p99_9_us, 60.0);
    let at = |wanted: f64| outcome.quantiles.iter().find(|(quantile, _)| *quantile >= wanted).unwrap().1;
    assert_about(at(0.94), 20.0);
    assert_eq!(outcome.wrong_total() + outcome.error_replies, 0);
}

#[tokio::test]
async fn a_closed_loop_reports_known_delays() {
    let upstream = Scripted::start(known_delays).await;
    let mut load = upstream.load();
    (load.connections, load.until) = (10, Until::Count(1_000));
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert_eq!((outcome.operations, outcome.latency.count), (1_000, 1_000));
    assert_known_delays(&outcome);
}

#[tokio::test]
async fn an_open_loop_reports_known_delays() {
    let upstream = Scripted::start(known_delays).await;
    let mut load = upstream.load();
    // Enough connections that none has to wait for the one before it.
    (load.connections, load.pace) = (100, Pace::Open(500.0));
    load.until = Until::Time(Duration::from_secs(2));
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert_eq!(outcome.latency.count, 1_000);
    assert_known_delays(&outcome);
}

#[tokio::test]
async fn an_open_loop_shows_a_stall_of_a_second() {
    let upstream =
        Scripted::start(|index, _| if index == 500 { Act::Stall(Duration::from_secs(1)) } else { Act::Answer }).await;
    let mut load = upstream.load();
    (load.pace, load.reply_timeout) = (Pace::Open(1_000.0), Duration::from_secs(4));
    load.until = Until::Time(Duration::from_secs(2));
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    // Every operation is counted. Half of them are due during the stall, evenly, so that a tenth of all
    // waits for more than 800 ms.
    assert_eq!((outcome.latency.count, outcome.unsent), (2_000, 0));
    assert!((780e3..900e3).contains(&outcome.latency.p90_us), "{}", outcome.latency.p90_us);
    assert!((960e3..1_150e3).contains(&outcome.latency.p99_us), "{}", outcome.latency.p99_us);
    assert_about(outcome.latency.max_us, 1_000.0);
}

#[tokio::test]
async fn the_rate_over_time_adds_up() {
    let upstream = Scripted::start(|_, _| Act::Answer).await;
    let mut load = upstream.load();
    load.pace = Pace::Open(2_000.0);
    let mut told = 0;
    let outcome = drive(&load, &Interrupt::never(), |_| told += 1).await.unwrap();
    assert!((1_900.0..2_100.0).contains(&outcome.rate), "{}", outcome.rate);
    assert!((8..=11).contains(&outcome.timeline.len()), "{}", outcome.timeline.len());
    assert!(told > outcome.timeline.len());
    let mean = outcome.timeline.iter().map(|sample| sample.rate).sum::<f64>() / outcome.timeline.len() as f64;
    assert!((1_800.0..2_200.0).contains(&mean), "{mean}");
}
