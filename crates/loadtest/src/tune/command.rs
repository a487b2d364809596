//! The command `tune`: measures respool with one pool after another in front of the given upstream,
//! and writes the smallest that is as good as the best.

use std::{
    num::NonZeroU32,
    path::Path,
    time::{Duration, Instant},
};

use toml_edit::DocumentMut;

use crate::{
    drive::{drive, interrupt::Interrupt},
    load::{Load, LoadError, Until},
    measure::{outcome::Ended, written_keys::WrittenKeys},
    report::{deliver, failure::Failure, progress::Progress},
    system::{
        SystemError, Wanted,
        respool::{Respool, Trial, read},
    },
    target::Target,
    traffic::{clean::clean, fill::fill},
    tune::{
        arguments::TuneArgs,
        point::Point,
        readings::Found,
        recorded::recorded_mix,
        report,
        search::Search,
        tuned::{Measured, Tuned, Written},
    },
};

/// The configuration that is written when there is no file yet.
const NEW_FILE: &str = "# respool: a pool size found by measuring. Keys that are not here have their defaults.\n";
/// The most threads that are tried.
const THREADS_MAX: usize = 4;

/// The exit code of an answer that nobody should rely on.
const NOT_SURE: u8 = 3;

/// Measurements one after the other in which nothing is answered that are too many.
const SILENT_MAX: u32 = 3;

/// Runs it and returns the exit code.
///
/// # Errors
/// respool or the upstream is not there, nothing could be measured, or the file not be written.
pub async fn tune(args: &TuneArgs, interrupt: &Interrupt) -> Result<u8, Failure> {
    let directory = tempfile::tempdir().map_err(|error| SystemError::Io("make a directory".to_owned(), error))?;
    let mut program = args.program.clone();
    program.config = program.config.or(args.write.clone().filter(|file| file.exists()));
    let mut document: DocumentMut = match args.write.as_deref().filter(|file| file.exists()) {
        Some(file) => read(file)?,
        None => NEW_FILE.parse().unwrap_or_default(),
    };
    let upstream = args.upstream.clone().with_tls(&args.tls).map_err(LoadError::from)?;
    let respool = Respool::new(&program, upstream.clone())?;
    let load = load(args, upstream).await?;
    let all = Load { fill: true, clean: args.work.clean, ..load.clone() };
    fill(&all).await?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let mut search = Search::new(u32::try_from(threads).unwrap_or(1), args.p99_ms, args.work.seed);
    let ended_early = measure(args, &respool, &load, directory.path(), &mut search, interrupt).await;
    let mut keys = WrittenKeys::of(&all);
    clean(&all, &mut keys).await;
    let ended_early = ended_early?;
    search.close();
    let Some(choice) = search.choice() else { return Err(LoadError::Interrupted.into()) };
    let readings = search.readings();
    let found = readings.points().map(|point| Measured {
        point,
        rounds: readings.rounds(point),
        rate: readings.rate(point),
        rate_range: readings.rate_range(point),
        p99_ms: readings.p99_ms(point),
    });
    let mut tuned = Tuned {
        upstream: args.upstream.to_string(),
        load: load.to_string(),
        choice,
        p99_ms_max: args.p99_ms,
        curve: found.collect(),
        ended_early,
        written: Written::NotAsked,
        keys,
    };
    if let Some(file) = &args.write {
        tuned.written = write(args.force, interrupt, file, &mut document, &tuned)?;
    }
    deliver(&args.report, &tuned, || report::text(&tuned), |about| report::html(&tuned, about))?;
    Ok(match tuned.doubt() {
        _ if interrupt.has_come() => 130,
        Some(_) if !matches!(tuned.written, Written::To(_)) => NOT_SURE,
        _ => u8::from(tuned.keys.not_removed.is_some()) * 2,
    })
}

/// Writes the answer to `file`, unless there is a reason not to.
fn write(
    force: bool,
    interrupt: &Interrupt,
    file: &Path,
    document: &mut DocumentMut,
    tuned: &Tuned,
) -> Result<Written, SystemError> {
    if interrupt.has_come() {
        return Ok(Written::Refused("the search was interrupted".to_owned()));
    }
    if let Some(doubt) = tuned.doubt().filter(|_| !force) {
        return Ok(Written::Refused(format!("{doubt}; --force writes it nevertheless")));
    }
    trial(tuned.choice.point).apply(document);
    replace(file, &document.to_string())?;
    Ok(Written::To(file.to_owned()))
}

/// The load of every measurement, on a target that is still to come.
async fn load(args: &TuneArgs, upstream: Target) -> Result<Load, Failure> {
    let mut load = Load::new(upstream);
    args.work.apply(&mut load);
    if args.recorded_mix {
        load.mix = recorded_mix(&load.target, load.connect_timeout).await?;
    }
    (load.fill, load.clean) = (false, false);
    load.connections = args.connections as usize;
    load.pipeline = args.pipeline as usize;
    load.until = Until::Time(Duration::from_secs_f64(args.seconds));
    load.warmup = Duration::from_secs_f64(args.seconds / 4.0);
    Ok(load)
}

/// Searches until it is through, the time is over, or Ctrl-C; tells which of the latter.
async fn measure(
    args: &TuneArgs,
    respool: &Respool,
    load: &Load,
    directory: &Path,
    search: &mut Search,
    interrupt: &Interrupt,
) -> Result<Option<String>, Failure> {
    let (begun, budget) = (Instant::now(), Duration::from_secs_f64(args.budget));
    let progress = Progress::new(u64::try_from(budget.as_millis()).unwrap_or(u64::MAX));
    let mut silent = 0;
    while let Some(point) = search.due() {
        if begun.elapsed() > budget {
            return Ok(Some(format!("the budget of {} s is spent", args.budget)));
        }
        progress.step(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), point.to_string());
        let system = respool.start("respool", directory, &Wanted::default(), trial(point)).await?;
        let load = Load { target: system.target.clone(), ..load.clone() };
        let outcome = match drive(&load, interrupt, |_| {}).await {
            Err(LoadError::Interrupted) => return Ok(Some("interrupted".to_owned())),
            outcome => outcome?,
        };
        if outcome.ended == Ended::Interrupted {
            return Ok(Some("interrupted".to_owned()));
        }
        // Somebody else may have had the machine for once, but not again and again.
        silent = if outcome.operations == 0 { silent + 1 } else { 0 };
        if outcome.counts.wrong_total() > 0 || outcome.counts.has_failures() || silent >= SILENT_MAX {
            let text = outcome.counts.example().map_or("no replies", String::as_str);
            return Err(Failure::Measurement(format!("{point}: {text}")));
        }
        search.record(Found { rate: outcome.rate, p99_ms: outcome.latency.p99_us / 1e3 });
    }
    Ok(None)
}

fn trial(point: Point) -> Trial {
    Trial {
        workers: NonZeroU32::new(point.workers),
        pipeline_depth: NonZeroU32::new(point.depth),
        threads: NonZeroU32::new(point.threads),
    }
}

/// Replaces a file at once, so that nobody ever reads half of it. Its mode stays, and a link to it stays a link.
fn replace(file: &Path, text: &str) -> Result<(), SystemError> {
    let failed = |error| SystemError::Io(format!("write {}", file.display()), error);
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let beside = file.with_extension("toml.new");
    std::fs::write(&beside, text).map_err(failed)?;
    if let Ok(before) = file.metadata() {
        std::fs::set_permissions(&beside, before.permissions()).map_err(failed)?;
    }
    std::fs::rename(&beside, &file).map_err(failed)
}
