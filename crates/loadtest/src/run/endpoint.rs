//! The command `run`: one load, one report.

use crate::{
    drive::{Moment, drive, interrupt::Interrupt},
    load::LoadError,
    report::{deliver, failure::Failure, page, progress::Progress, table},
    run::arguments::RunArgs,
};

/// Runs it and returns the exit code.
///
/// # Errors
/// Nothing could be measured, or the report not delivered.
pub async fn run(args: &RunArgs, interrupt: &Interrupt) -> Result<u8, Failure> {
    let load = args.load().map_err(LoadError::from)?;
    let progress = Progress::of(&load);
    let outcome = drive(&load, interrupt, |moment| {
        if let Moment::Sample(sample) = moment {
            progress.show(sample);
        }
    })
    .await?;
    drop(progress);
    deliver(&args.report, &outcome, || table::outcome(&outcome), |about| page::outcome(&outcome, about))?;
    Ok(outcome.exit_code())
}
