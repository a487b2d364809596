//! One measurement of one system under one workload, and the medians of several.

use serde::Serialize;
use tokio::time::sleep;

use crate::{
    compare::redis_benchmark::RedisBenchmark,
    drive::{Moment, drive, interrupt::Interrupt},
    load::{Load, LoadError, Until, mix::Operation},
    measure::{median::median, outcome::Outcome},
    system::{
        System,
        process::Process,
        usage::{Usage, connections_to, reset_peak, usage},
    },
};

/// The figures of one round, or the median of each over several.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Operations a second.
    pub rate: f64,
    /// Median latency, in microseconds.
    pub p50_us: f64,
    /// Latency that 99 % kept, in microseconds.
    pub p99_us: f64,
    /// Latency that 99.9 % kept, in microseconds.
    pub p99_9_us: f64,
    /// Processor time of the system for each operation, in microseconds; nothing for direct and strangers.
    pub system_cpu_us: Option<f64>,
    /// The part of it that was spent in the program itself and not in the kernel.
    pub system_user_us: Option<f64>,
    /// The processor time of Redis for each operation, in microseconds.
    pub redis_cpu_us: Option<f64>,
    /// How much of its core the harness used, from 0 to 1 for each thread.
    pub harness_busy: f64,
    /// How late the harness itself was, in an open loop: what 99 % of its operations kept, in microseconds.
    pub lag_p99_us: Option<f64>,
    /// Peak memory of the system, in bytes.
    pub peak_bytes: Option<f64>,
    /// Connections of the system to Redis.
    pub upstream_connections: Option<f64>,
}

/// One round.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// What was measured around the load.
    pub figures: Figures,
    /// What came of the load; nothing if another generator put it on.
    pub outcome: Option<Outcome>,
}

/// What puts the load on.
#[derive(Debug, Clone)]
pub enum Loader {
    /// This program.
    Own,
    /// redis-benchmark, with one operation.
    RedisBenchmark(RedisBenchmark, Operation),
}

impl Loader {
    /// What reports call a workload of this title and load.
    pub fn words(&self, title: &str, load: &Load) -> (String, String) {
        match self {
            Self::Own => (title.to_owned(), load.to_string()),
            Self::RedisBenchmark(_, operation) => {
                let name = operation.name().to_uppercase();
                let load = format!("redis-benchmark, {} B values, {} keys", load.sizes.max, load.keys);
                (format!("{title}, {name}"), load)
            }
        }
    }
}

/// Whose usage is read.
struct Watched {
    system: Option<u32>,
    redis: Option<u32>,
}

#[derive(Default)]
struct Reading {
    system: Option<Usage>,
    redis: Option<Usage>,
    harness: Option<Usage>,
}

impl Watched {
    fn read(&self) -> Reading {
        Reading {
            system: self.system.and_then(usage),
            redis: self.redis.and_then(usage),
            harness: usage(std::process::id()),
        }
    }
}

/// Measures `system`, behind which `redis` works.
///
/// # Errors
/// The load could not be driven.
pub async fn round(
    loader: &Loader,
    load: &Load,
    system: &System,
    redis: &System,
    interrupt: &Interrupt,
) -> Result<Round, LoadError> {
    let redis_pid = redis.process.as_ref().map(Process::id);
    let is_direct = system.target == redis.target;
    let pid = if is_direct { redis_pid } else { system.process.as_ref().map(Process::id) };
    let connected = if is_direct && matches!(loader, Loader::Own) { Some(std::process::id()) } else { pid };
    let watched = Watched { system: pid, redis: redis_pid };
    pid.into_iter().for_each(reset_peak);
    let port = if is_direct { load.target.port() } else { redis.target.port() };
    let midway = connections_midway(load, connected, port, interrupt);
    let (loaded, upstream_connections) = tokio::join!(put_on(loader, load, &watched, interrupt), midway);
    let Loaded { figures, operations, before, after, outcome } = loaded?;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let per_operation = |before: Option<Usage>, after: Option<Usage>, time: fn(Usage) -> f64| {
        Some((time(after?) - time(before?)) * 1e6 / operations.max(1) as f64)
    };
    #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
    let peak_bytes = after.system.map(|usage| usage.peak_bytes as f64);
    let figures = Figures {
        system_cpu_us: if is_direct { None } else { per_operation(before.system, after.system, |usage| usage.cpu_s) },
        system_user_us: if is_direct { None } else { per_operation(before.system, after.system, |usage| usage.user_s) },
        // A stranger has an upstream of its own, and a canned system none.
        redis_cpu_us: pid
            .filter(|_| !system.is_canned)
            .and_then(|_| per_operation(before.redis, after.redis, |usage| usage.cpu_s)),
        peak_bytes,
        upstream_connections: upstream_connections.filter(|connections| *connections > 0.0),
        ..figures
    };
    Ok(Round { figures, outcome })
}

/// What a load has left.
struct Loaded {
    /// Those that the generator itself knows.
    figures: Figures,
    operations: u64,
    before: Reading,
    after: Reading,
    outcome: Option<Outcome>,
}

async fn put_on(loader: &Loader, load: &Load, watched: &Watched, interrupt: &Interrupt) -> Result<Loaded, LoadError> {
    let (mut before, mut after) = (Reading::default(), Reading::default());
    if let Loader::RedisBenchmark(benchmark, operation) = loader {
        // The first run is the warm-up, and shows how many requests will take the time that was asked for.
        let first = benchmark.run(load, *operation, requests_first(load), interrupt).await?;
        let Until::Time(time) = load.until else { return Err(LoadError::Driver) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and far below 2^63")]
        let requests = (first.rate * time.as_secs_f64()) as u64;
        before = watched.read();
        let found = benchmark.run(load, *operation, requests.max(first.operations), interrupt).await?;
        after = watched.read();
        let figures = Figures {
            rate: found.rate,
            p50_us: found.p50_us,
            p99_us: found.p99_us,
            p99_9_us: found.p99_9_us,
            harness_busy: found.cpu_s / found.seconds.max(0.001),
            ..Figures::default()
        };
        return Ok(Loaded { figures, operations: found.operations, before, after, outcome: None });
    }
    let outcome = drive(load, interrupt, |moment| match moment {
        Moment::Begin => before = watched.read(),
        Moment::End => after = watched.read(),
        Moment::Sample(_) => {}
    })
    .await?;
    let harness = before.harness.zip(after.harness).map_or(0.0, |(before, after)| after.cpu_s - before.cpu_s);
    let figures = Figures {
        rate: outcome.rate,
        p50_us: outcome.latency.p50_us,
        p99_us: outcome.latency.p99_us,
        p99_9_us: outcome.latency.p99_9_us,
        harness_busy: if outcome.seconds > 0.0 { harness / outcome.seconds } else { 0.0 },
        lag_p99_us: outcome.lag.as_ref().map(|lag| lag.p99_us),
        ..Figures::default()
    };
    Ok(Loaded { figures, operations: outcome.operations, before, after, outcome: Some(outcome) })
}

/// Enough to know a rate: some turns of every connection.
fn requests_first(load: &Load) -> u64 {
    (load.connections as u64 * load.pipeline as u64 * 20).max(2_000)
}

/// Counts in the middle of the load how many connections `pid` has to Redis, which listens on `port`.
async fn connections_midway(load: &Load, pid: Option<u32>, port: Option<u16>, interrupt: &Interrupt) -> Option<f64> {
    let Until::Time(time) = load.until else { return None };
    tokio::select! {
        () = sleep(load.warmup + time / 2) => {}
        () = interrupt.come() => return None,
    }
    let count = connections_to(pid?, port?)?;
    u32::try_from(count).ok().map(f64::from)
}

/// The median of each figure.
pub fn medians(rounds: &[Round]) -> Figures {
    let figure = |pick: fn(&Figures) -> f64| median(rounds.iter().map(|round| pick(&round.figures)).collect());
    let some = |pick: fn(&Figures) -> Option<f64>| {
        let found: Option<Vec<_>> = rounds.iter().map(|round| pick(&round.figures)).collect();
        found.filter(|found| !found.is_empty()).map(median)
    };
    Figures {
        rate: figure(|figures| figures.rate),
        p50_us: figure(|figures| figures.p50_us),
        p99_us: figure(|figures| figures.p99_us),
        p99_9_us: figure(|figures| figures.p99_9_us),
        system_cpu_us: some(|figures| figures.system_cpu_us),
        system_user_us: some(|figures| figures.system_user_us),
        redis_cpu_us: some(|figures| figures.redis_cpu_us),
        harness_busy: figure(|figures| figures.harness_busy),
        lag_p99_us: some(|figures| figures.lag_p99_us),
        peak_bytes: some(|figures| figures.peak_bytes),
        upstream_connections: some(|figures| figures.upstream_connections),
    }
}
