//! The command line. What was typed becomes a [`Load`] here and nowhere else.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{
    compare::CompareArgs,
    load::{Load, Pace, Until, keys::KeyChoice, mix::Mix, size::ValueSize},
    run::in_process::PoolArgs,
    serve::relay::RelayArgs,
    target::Target,
    tune::TuneArgs,
};

/// Loads RESP endpoints, checks every reply, compares systems and finds a pool size by measuring.
#[derive(Debug, Parser)]
#[command(name = "respool-loadtest", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The things it can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load one endpoint and report rate, latency and wrong replies.
    Run(Box<RunArgs>),
    /// Push commands into the queue of the pool library, in this process.
    Pool(Box<PoolArgs>),
    /// Start several systems in front of one Redis, load them in turns, and set them side by side.
    Compare(Box<CompareArgs>),
    /// Find pool.workers, pool.pipeline_depth and runtime.threads for an upstream by measuring.
    Tune(Box<TuneArgs>),
    /// Pass connections on to an upstream and hold its replies back, to have a far one at hand.
    Relay(RelayArgs),
}

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The endpoint: `redis://[user[:password]@]host[:port][/db]` or `unix:///path`.
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:6380")]
    pub target: Target,
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

/// What the requests are.
#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    /// Operations with weights: ping, get, set, incr, mget, lpush, lrange, transaction, blocking.
    #[arg(long, default_value = "get:10,set:1")]
    pub mix: Mix,
    /// Bytes of a value, or a range of them: 64, 16k, 100-2000.
    #[arg(long, value_name = "BYTES", default_value = "64")]
    pub size: ValueSize,
    /// Different keys.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub keys: u64,
    /// How they are chosen: uniform, zipf, zipf:EXPONENT.
    #[arg(long, value_name = "HOW", default_value = "uniform")]
    pub key_choice: KeyChoice,
    /// What the names of the keys begin with.
    #[arg(long, value_name = "TEXT", default_value = "loadtest:")]
    pub key_prefix: String,
    /// Write all keys once before the load, so that no `get` finds nothing.
    #[arg(long)]
    pub fill: bool,
    /// RESP version: 2 or 3.
    #[arg(long, value_name = "VERSION", default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    pub protocol: u8,
    /// Check every reply: each value carries its key, writer and version. Any wrong reply makes the
    /// exit code 1. Nobody else may write the same keys meanwhile.
    #[arg(long)]
    pub verify: bool,
    /// Where the random choices begin.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Where the result goes.
#[derive(Debug, Clone, Default, Args)]
pub struct ReportArgs {
    /// Print JSON instead of tables, or write it to a file with --json=FILE.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub json: Option<PathBuf>,
    /// Write one self-contained page with plots.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl WorkArgs {
    /// Puts what was typed into `load`.
    pub fn apply(&self, load: &mut Load) {
        load.mix = self.mix.clone();
        load.sizes = self.size;
        load.keys = self.keys;
        load.key_choice = self.key_choice;
        load.key_prefix.clone_from(&self.key_prefix);
        load.fill = self.fill;
        load.protocol = self.protocol;
        load.verify = self.verify;
        load.seed = self.seed;
    }
}

impl RunArgs {
    /// The load that was asked for.
    pub fn load(&self) -> Load {
        let (mut load, extent) = (Load::new(self.target.clone()), &self.extent);
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
        load
    }
}

/// Reads a number between two bounds; `what` begins the sentence about one that is not.
pub(crate) fn within(text: &str, least: f64, most: f64, what: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("{what} from {least} to {most}")),
    }
}

/// Reads a time of at least 100 ms and at most a day.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.1, 86_400.0, "seconds are a number")
}

/// Reads a time of at most a day.
pub(crate) fn seconds_or_none(text: &str) -> Result<f64, String> {
    within(text, 0.0, 86_400.0, "seconds are a number")
}

/// Reads a rate.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.1, 10_000_000.0, "a rate is a number of operations a second")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_was_typed_becomes_a_load() {
        let typed = "respool-loadtest run --target redis://h:1 --connections 7 --rate 100 --seconds 2.5 --verify";
        let Command::Run(args) = Cli::try_parse_from(typed.split(' ')).unwrap().command else { panic!("not run") };
        let load = args.load();
        assert_eq!((load.connections, load.pace, load.verify), (7, Pace::Open(100.0), true));
        assert_eq!(load.until, Until::Time(Duration::from_millis(2_500)));
        let typed = "respool-loadtest run --rate 100 --requests 7";
        let Command::Run(args) = Cli::try_parse_from(typed.split(' ')).unwrap().command else { panic!("not run") };
        assert_eq!((args.load().pace, args.load().until), (Pace::Open(100.0), Until::Count(7)));
        for bad in ["--connections 0", "--seconds 0", "--rate -1", "--mix nope", "--requests 5 --seconds 1", "--size x"]
        {
            let typed = format!("respool-loadtest run {bad}");
            assert!(Cli::try_parse_from(typed.split(' ')).is_err(), "{bad}");
        }
    }
}
