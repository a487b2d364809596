//! The arguments of `tune`.

use std::path::PathBuf;

use clap::Args;

use crate::{
    load::arguments::{WorkArgs, seconds},
    report::ReportArgs,
    system::respool::RespoolArgs,
    target::{Target, TlsArgs},
};

/// `tune`
#[derive(Debug, Clone, Args)]
pub struct TuneArgs {
    /// The Redis to put respool in front of.
    #[arg(long, value_name = "URL")]
    pub upstream: Target,
    /// TLS to it.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Write the found values into this configuration file; its comments and other keys stay. Nothing is
    /// written if the answer is not sure: then the exit code is 3.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Write them even if the answer is not sure, or if no pool keeps the p99 that was asked for.
    #[arg(long, requires = "write")]
    pub force: bool,
    /// Only pools that keep this p99, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub p99_ms: Option<f64>,
    /// Clients during the measurements.
    #[arg(short, long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub connections: u32,
    /// Operations that a client sends together.
    #[arg(short, long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub pipeline: u32,
    /// How long one measurement takes, in seconds, a quarter of it before for warm-up.
    #[arg(short, long, value_name = "S", default_value_t = 0.4, value_parser = seconds)]
    pub seconds: f64,
    /// After this many seconds no further measurement begins.
    #[arg(long, value_name = "S", default_value_t = 115.0, value_parser = seconds)]
    pub budget: f64,
    /// Take the mix from what the upstream has executed so far (INFO commandstats), instead of --mix.
    #[arg(long, conflicts_with = "mix")]
    pub recorded_mix: bool,
    /// Which respool. Without a configuration it gets the file to write, if that is there.
    #[command(flatten)]
    pub program: RespoolArgs,
    /// What to send.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub report: ReportArgs,
}
