//! The arguments of `compare`: which systems, which workloads, and how long.

use std::{num::NonZeroU32, str::FromStr};

use clap::{Args, ValueEnum};

use crate::{
    compare::workload::Workload,
    load::arguments::{WorkArgs, rate, seconds},
    report::ReportArgs,
    system::respool::RespoolArgs,
    target::{Target, TlsArgs, Transport},
};

/// `compare`
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// Which systems.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["direct", "floor", "bare", "respool", "nutcracker", "haproxy", "stunnel"])]
    pub systems: Vec<Peer>,
    /// A further system in front of any Redis: NAME=redis://…; may be repeated.
    #[arg(long = "with", value_name = "NAME=URL", value_parser = named)]
    pub with: Vec<(String, Target)>,
    /// TLS to those.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Which workloads.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["c1", "c50", "c500", "c4000", "p16", "p100", "large", "open"])]
    pub workloads: Vec<Workload>,
    /// What carries the bytes of the clients: a list makes a table of each workload for each. Systems that do
    /// not speak it are left out of its tables.
    #[arg(long, value_enum, value_name = "HOW", value_delimiter = ',', default_values = ["tcp"])]
    pub transport: Vec<Transport>,
    /// Operations a second of the open loop, or `third` of what Redis takes directly.
    #[arg(long, value_name = "PER_SECOND", default_value = "10000")]
    pub open_rate: OpenRate,
    /// How often each system meets each workload.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// How long each time, in seconds, a fifth of it before for warm-up.
    #[arg(short, long, value_name = "S", default_value_t = 1.5, value_parser = seconds)]
    pub seconds: f64,
    /// What puts the load on: this program, or redis-benchmark with GET and SET one after the other.
    #[arg(long, value_enum, default_value = "own", conflicts_with_all = ["verify", "mix"])]
    pub generator: Generator,
    /// Which respool.
    #[command(flatten)]
    pub program: RespoolArgs,
    /// respool's pool.workers, over the file's; a list makes a system of each.
    #[arg(long, alias = "workers", value_name = "N,…", value_delimiter = ',')]
    pub respool_workers: Vec<NonZeroU32>,
    /// respool's pool.pipeline_depth, likewise.
    #[arg(long, alias = "pipeline-depth", value_name = "N,…", value_delimiter = ',')]
    pub respool_depth: Vec<NonZeroU32>,
    /// respool's runtime.threads, likewise.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub respool_threads: Vec<NonZeroU32>,
    /// What to send.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// A system that can be started here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// Redis with nothing between.
    Direct,
    /// A bare event loop with canned replies: what no gateway can cost less than.
    Floor,
    /// A bare event loop that passes batches on over one connection: what no gateway of batches can cost less than.
    Bare,
    /// This project's gateway.
    Respool,
    /// Twemproxy.
    Nutcracker,
    /// `HAProxy` in TCP mode.
    Haproxy,
    /// stunnel, over TLS alone.
    Stunnel,
}

/// What puts the load on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Generator {
    /// This program.
    Own,
    /// The one that comes with Redis.
    RedisBenchmark,
}

/// How fast the open loop is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OpenRate {
    /// So many operations a second.
    Fixed(f64),
    /// A third of what Redis takes directly from 50 connections.
    Third,
}

impl FromStr for OpenRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "third" { Ok(Self::Third) } else { rate(text).map(Self::Fixed) }
    }
}

fn named(text: &str) -> Result<(String, Target), String> {
    let (name, url) = text.split_once('=').ok_or("write NAME=redis://host:port")?;
    Ok((name.to_owned(), url.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_rate_is_a_number_or_a_third() {
        assert_eq!("third".parse(), Ok(OpenRate::Third));
        assert_eq!("2500".parse(), Ok(OpenRate::Fixed(2_500.0)));
        assert!("half".parse::<OpenRate>().is_err());
    }
}
