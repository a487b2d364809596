//! `respool-loadtest`: reads the command line, runs the command, and turns its end into an exit code.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use loadtest::{
    cli::{Cli, Command},
    compare,
    drive::interrupt::Interrupt,
    report::{difference, failure::Failure},
    run::{self, in_process},
    serve::{floor, relay},
    system::usage::raise_file_limit,
    tune,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If nobody can read the message, the exit code still says it.
            error.print().ok();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    raise_file_limit();
    match execute(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("respool-loadtest: {error:#}");
            ExitCode::from(error.downcast_ref::<Failure>().map_or(70, Failure::exit_code))
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let (interrupt, _listening) = Interrupt::listen().context("cannot listen for signals")?;
        Ok(match cli.command {
            Command::Run(args) => run::endpoint::run(&args, &interrupt).await?,
            Command::Pool(args) => in_process::in_process(&args, &interrupt).await?,
            Command::Compare(args) => compare::compare(&args, &interrupt).await?,
            Command::Tune(args) => tune::tune(&args, &interrupt).await?,
            Command::Diff(args) => difference::diff(&args)?,
            Command::Relay(args) => relay::relay(&args, &interrupt).await?,
            Command::Floor(args) => floor::floor(&args, &interrupt).await?,
        })
    })
}
