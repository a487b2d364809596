//! The harness against redis-benchmark on the same Redis, in turns: it must not be what limits the rate.
//! `cargo bench --package respool-loadtest --bench generators` prints, for each pipeline, medians of the
//! rate and of the processor time that each of them needs for one operation. Takes about a minute.

use std::time::Duration;

use anyhow::Context;
use loadtest::{
    compare::redis_benchmark::RedisBenchmark,
    drive::{Moment, drive, interrupt::Interrupt},
    load::{
        Load, Until,
        mix::{Mix, Operation},
    },
    measure::median::median,
    report::table::{columns, rate},
    system::{
        Wanted, peers,
        usage::{raise_file_limit, usage},
    },
    traffic::fill::fill,
};

const PIPELINES: [usize; 3] = [1, 16, 100];
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_millis(1_500);

/// Rate, and processor time for one operation in microseconds.
type Figures = (f64, f64);

fn main() -> anyhow::Result<()> {
    raise_file_limit();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(compare())
}

async fn compare() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let redis = peers::redis(directory.path(), &Wanted::default()).await?;
    let benchmark = RedisBenchmark::find()?;
    let mut load = Load::new(redis.target.clone());
    load.mix = Mix::new(vec![(Operation::Get, 1)]).map_err(anyhow::Error::msg)?;
    (load.until, load.warmup) = (Until::Time(TIME), TIME / 5);
    fill(&Load { fill: true, ..load.clone() }).await?;
    benchmark.run(&load, Operation::Set, 200_000, &Interrupt::never()).await?;
    let head =
        ["GET, 50 connections", "harness /s", "redis-benchmark /s", "ratio", "harness us/op", "redis-benchmark us/op"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for pipeline in PIPELINES {
        load.pipeline = pipeline;
        let first = benchmark.run(&load, Operation::Get, 50_000, &Interrupt::never()).await?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and far below 2^63")]
        let requests = (first.rate * TIME.as_secs_f64()) as u64;
        let (mut own, mut known) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(harness(&load).await?);
            let found = benchmark.run(&load, Operation::Get, requests, &Interrupt::never()).await?;
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            known.push((found.rate, found.cpu_s * 1e6 / found.operations as f64));
        }
        let middle = |figures: &[Figures], pick: fn(&Figures) -> f64| median(figures.iter().map(pick).collect());
        let ratio = median(own.iter().zip(&known).map(|(own, known)| own.0 / known.0).collect());
        rows.push(vec![
            format!("pipeline {pipeline}"),
            rate(middle(&own, |figures| figures.0)),
            rate(middle(&known, |figures| figures.0)),
            format!("{ratio:.2}"),
            format!("{:.2}", middle(&own, |figures| figures.1)),
            format!("{:.2}", middle(&known, |figures| figures.1)),
        ]);
    }
    println!("{}", columns(&rows));
    Ok(())
}

async fn harness(load: &Load) -> anyhow::Result<Figures> {
    let read = || usage(std::process::id()).map_or(0.0, |usage| usage.cpu_s);
    let (mut begin, mut end, never) = (0.0, 0.0, Interrupt::never());
    let outcome = drive(load, &never, |moment| match moment {
        Moment::Begin => begin = read(),
        Moment::End => end = read(),
        Moment::Sample(_) => {}
    });
    let outcome = outcome.await.context("the harness could not load Redis")?;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let operations = outcome.operations.max(1) as f64;
    Ok((outcome.rate, (end - begin) * 1e6 / operations))
}
