//! The arguments of `run`, and the load that they stand for.

use std::time::Duration;

use clap::Args;
use tls::TlsError;

use crate::{
    load::{
        Load, Pace, Until,
        arguments::{WorkArgs, rate, seconds, seconds_or_none},
    },
    report::ReportArgs,
    target::{Target, TlsArgs},
};

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The endpoint: `redis://[user[:password]@]host[:port][/db]`, `rediss://…` for TLS, or `unix:///path[?db=N]`.
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:6380")]
    pub target: Target,
    /// TLS to it.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// When to send, and how long.
    #[command(flatten)]
    pub extent: ExtentArgs,
    /// What to send.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// How hard and how long.
#[derive(Debug, Clone, Args)]
pub struct ExtentArgs {
    /// Connections.
    #[arg(short, long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub connections: u32,
    /// Operations that are sent together on a connection; in an open loop, that may be under way on it.
    #[arg(short, long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub pipeline: u32,
    /// How long to measure, in seconds.
    #[arg(short, long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// Measure this many operations instead.
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// Load for this many seconds before measuring.
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds_or_none)]
    pub warmup: f64,
    /// Open loop: this many operations a second on an even schedule, latency counted from the
    /// scheduled time. Without it a connection sends when it has its answers.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// Close each connection after this many operations and make a new one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub reconnect_every: Option<u64>,
    /// Threads that drive the load.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// A connection that is silent for this long while replies are due has lost them, in ms.
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub reply_timeout_ms: u64,
    /// Longest time to make one connection, in ms.
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub connect_timeout_ms: u64,
}

impl RunArgs {
    /// The load that was asked for.
    ///
    /// # Errors
    /// A file for TLS cannot be used.
    pub fn load(&self) -> Result<Load, TlsError> {
        let (mut load, extent) = (Load::new(self.target.clone().with_tls(&self.tls)?), &self.extent);
        self.work.apply(&mut load);
        load.connections = extent.connections as usize;
        load.pipeline = extent.pipeline as usize;
        load.pace = extent.rate.map_or(Pace::Closed, Pace::Open);
        load.until = match extent.requests {
            Some(count) => Until::Count(count),
            None => Until::Time(Duration::from_secs_f64(extent.seconds)),
        };
        load.warmup = Duration::from_secs_f64(extent.warmup);
        load.reconnect_every = extent.reconnect_every;
        load.threads = extent.threads as usize;
        load.reply_timeout = Duration::from_millis(extent.reply_timeout_ms);
        load.connect_timeout = Duration::from_millis(extent.connect_timeout_ms);
        Ok(load)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: RunArgs,
    }

    fn load(typed: &str) -> Load {
        Typed::try_parse_from(typed.split(' ')).unwrap().args.load().unwrap()
    }

    #[test]
    fn what_was_typed_becomes_a_load() {
        let found = load("run --target redis://h:1 --connections 7 --rate 100 --seconds 2.5 --verify");
        assert_eq!((found.connections, found.pace, found.verify), (7, Pace::Open(100.0), true));
        assert_eq!(found.until, Until::Time(Duration::from_millis(2_500)));
        let found = load("run --rate 100 --requests 7");
        assert_eq!((found.pace, found.until), (Pace::Open(100.0), Until::Count(7)));
    }
}
