//! The command line: the commands, each of which has its arguments beside it.

use clap::{Parser, Subcommand};

use crate::{
    compare::arguments::CompareArgs,
    report::difference::DiffArgs,
    run::{arguments::RunArgs, in_process::PoolArgs},
    serve::{floor::FloorArgs, relay::RelayArgs},
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
    /// Load one endpoint and report rate, latency and wrong replies. Writes keys there; --clean removes them.
    Run(Box<RunArgs>),
    /// Push commands into the queue of the pool library, in this process.
    Pool(Box<PoolArgs>),
    /// Start several systems in front of one Redis, load them in turns, and set them side by side.
    Compare(Box<CompareArgs>),
    /// Find pool.workers, pool.pipeline_depth and runtime.threads for an upstream by measuring. Writes keys
    /// there; --clean removes them.
    Tune(Box<TuneArgs>),
    /// Compare two results that --json=FILE has written: what is better, what is worse.
    Diff(DiffArgs),
    /// Pass connections on to an upstream and hold its replies back, to have a far one at hand.
    Relay(Box<RelayArgs>),
    /// Answer requests at once with canned replies: what no gateway can cost less than. A system of compare.
    Floor(FloorArgs),
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
    fn arguments_that_make_no_sense_are_refused() {
        for bad in ["--connections 0", "--seconds 0", "--rate -1", "--mix nope", "--requests 5 --seconds 1", "--size x"]
        {
            let typed = format!("respool-loadtest run {bad}");
            assert!(Cli::try_parse_from(typed.split(' ')).is_err(), "{bad}");
        }
    }
}
