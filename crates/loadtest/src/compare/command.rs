//! The command `compare`: starts the systems, loads them in turns so that whatever drifts on the
//! machine meets them all, and sets medians side by side.

use crate::{
    compare::{
        arguments::CompareArgs,
        comparison::{Comparison, Table},
        course, lineup, report,
    },
    drive::interrupt::Interrupt,
    load::LoadError,
    measure::outcome::Ended,
    report::{deliver, failure::Failure, progress::Progress},
    system::{SystemError, Wanted, peers},
};

/// Runs it and returns the exit code.
///
/// # Errors
/// A system does not start, or a load could not be driven.
pub async fn compare(args: &CompareArgs, interrupt: &Interrupt) -> Result<u8, Failure> {
    let mut args = args.clone();
    for (_, target) in &mut args.with {
        *target = target.clone().with_tls(&args.tls).map_err(LoadError::from)?;
    }
    let args = &args;
    let directory = tempfile::tempdir().map_err(|error| SystemError::Io("make a directory".to_owned(), error))?;
    let wanted = Wanted::new(&args.transport, directory.path(), args.tls.full_handshakes)?;
    let redis = peers::redis(directory.path(), &wanted).await?;
    let progress = Progress::new(0);
    let (systems, mut skipped) = lineup::start(args, &redis, &wanted, directory.path()).await?;
    let (courses, left_out) = course::courses(args)?;
    skipped.extend(left_out);
    skipped.extend(systems.iter().flat_map(|system| {
        let silent = args.transport.iter().filter(|transport| system.over(**transport).is_none());
        silent.map(|transport| format!("{} is not measured over {}", system.name, transport.words()))
    }));
    skipped.iter().for_each(|what| progress.line(&format!("skipped: {what}")));
    progress.set_length((courses.len() * args.rounds as usize * systems.len()) as u64);
    let mut comparison = Comparison {
        systems: systems.iter().map(|system| (system.name.clone(), system.settings.clone())).collect(),
        skipped,
        tables: Vec::new(),
        ended: Ended::Done,
        keys: Vec::new(),
    };
    let measured =
        course::measure(args, &courses, &systems, &redis, interrupt, &progress, &mut comparison.tables).await;
    comparison.keys = course::clean_strangers(args, &courses).await;
    drop(progress);
    comparison.tables.iter_mut().for_each(Table::settle);
    match measured {
        Err(LoadError::Interrupted) => comparison.ended = Ended::Interrupted,
        measured => measured?,
    }
    deliver(&args.report, &comparison, || report::text(&comparison), |about| report::html(&comparison, about))?;
    Ok(comparison.exit_code())
}
