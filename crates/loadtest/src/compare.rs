//! The command `compare`: starts the systems, loads them in turns so that whatever drifts on the
//! machine meets them all, and sets medians side by side.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    cli::{ReportArgs, WorkArgs, seconds},
    drive::drive,
    failure::Failure,
    fill::fill,
    interrupt::Interrupt,
    load::{Load, LoadError, Until},
    outcome::Ended,
    progress::Progress,
    report::deliver,
    system::{
        System, SystemError, peers,
        respool::{Respool, Trial},
    },
    target::Target,
};

pub mod report;
pub mod round;
pub mod workload;

use round::{Figures, Round, medians, round};
use workload::Workload;

/// `compare`
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// Which systems.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["direct", "respool", "nutcracker", "haproxy"])]
    pub systems: Vec<Peer>,
    /// A further system in front of any Redis: NAME=redis://…; may be repeated.
    #[arg(long = "with", value_name = "NAME=URL", value_parser = named)]
    pub with: Vec<(String, Target)>,
    /// Which workloads.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["c50", "c500", "c4000", "p16", "p100", "large", "open"])]
    pub workloads: Vec<Workload>,
    /// How often each system meets each workload.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// How long each time, in seconds, a fifth of it before for warm-up.
    #[arg(short, long, value_name = "S", default_value_t = 1.5, value_parser = seconds)]
    pub seconds: f64,
    /// respool's program; otherwise beside this one or in PATH.
    #[arg(long, value_name = "PATH")]
    pub respool: Option<PathBuf>,
    /// respool's configuration; address, upstream and log are replaced.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// respool's pool.workers, over the file's.
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZeroU32>,
    /// respool's pool.pipeline_depth, over the file's.
    #[arg(long, value_name = "N")]
    pub pipeline_depth: Option<NonZeroU32>,
    /// respool's runtime.threads, over the file's.
    #[arg(long, value_name = "N")]
    pub respool_threads: Option<NonZeroU32>,
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
    /// This project's gateway.
    Respool,
    /// Twemproxy.
    Nutcracker,
    /// `HAProxy` in TCP mode.
    Haproxy,
}

fn named(text: &str) -> Result<(String, Target), String> {
    let (name, url) = text.split_once('=').ok_or("write NAME=redis://host:port")?;
    Ok((name.to_owned(), url.parse()?))
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Names and settings of the systems, in the order of every table.
    pub systems: Vec<(String, String)>,
    /// Systems that were asked for and are not here, with the reason.
    pub skipped: Vec<String>,
    /// One table for each workload.
    pub tables: Vec<Table>,
    /// How it ended.
    pub ended: Ended,
}

/// The systems under one workload.
#[derive(Debug, Serialize)]
pub struct Table {
    /// The workload.
    pub title: String,
    /// The load in words.
    pub load: String,
    /// One row for each system.
    pub rows: Vec<Row>,
}

/// One system under one workload.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The system.
    pub system: String,
    /// Medians over the rounds.
    pub medians: Figures,
    /// The rate relative to direct's.
    pub rate_to_direct: Option<f64>,
    /// All rounds.
    pub rounds: Vec<Round>,
}

/// Runs it and returns the exit code.
///
/// # Errors
/// A system does not start, or a load could not be driven.
pub async fn compare(args: &CompareArgs, interrupt: &Interrupt) -> Result<u8, Failure> {
    let directory = tempfile::tempdir().map_err(|error| SystemError::Io("make a directory".to_owned(), error))?;
    let redis = peers::redis(directory.path()).await?;
    let steps = args.workloads.len() * args.rounds as usize * (args.systems.len() + args.with.len());
    let progress = Progress::new(steps as u64);
    let (systems, skipped) = start(args, &redis, directory.path(), &progress).await?;
    let mut comparison = Comparison {
        systems: systems.iter().map(|system| (system.name.clone(), system.settings.clone())).collect(),
        skipped,
        tables: Vec::new(),
        ended: Ended::Done,
    };
    let measured = measure(args, &systems, &redis, interrupt, &progress, &mut comparison.tables).await;
    drop(progress);
    comparison.tables.iter_mut().for_each(Table::settle);
    match measured {
        Err(LoadError::Interrupted) => comparison.ended = Ended::Interrupted,
        measured => measured?,
    }
    deliver(&args.report, &comparison, || report::text(&comparison), || report::html(&comparison))?;
    Ok(comparison.exit_code())
}

async fn start(
    args: &CompareArgs,
    redis: &System,
    directory: &std::path::Path,
    progress: &Progress,
) -> Result<(Vec<System>, Vec<String>), Failure> {
    let (mut systems, mut skipped) = (Vec::new(), Vec::new());
    let upstream = redis.target.address_text();
    for peer in &args.systems {
        let system = match peer {
            Peer::Direct => Ok(System {
                name: redis.name.clone(),
                target: redis.target.clone(),
                process: None,
                settings: redis.settings.clone(),
            }),
            Peer::Respool => {
                let respool = Respool::new(args.respool.as_deref(), args.config.as_deref(), redis.target.clone())?;
                let (workers, pipeline_depth) = (args.workers, args.pipeline_depth);
                Ok(respool.start(directory, Trial { workers, pipeline_depth, threads: args.respool_threads }).await?)
            }
            Peer::Nutcracker => peers::nutcracker(directory, &upstream).await,
            Peer::Haproxy => peers::haproxy(directory, &upstream).await,
        };
        match system {
            Ok(system) => systems.push(system),
            Err(absent @ SystemError::Absent(..)) => {
                progress.line(&format!("skipped: {absent}"));
                skipped.push(absent.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    systems.extend(args.with.iter().map(|(name, target)| System {
        name: name.clone(),
        target: target.clone(),
        process: None,
        settings: format!("at {target}"),
    }));
    Ok((systems, skipped))
}

async fn measure(
    args: &CompareArgs,
    systems: &[System],
    redis: &System,
    interrupt: &Interrupt,
    progress: &Progress,
    tables: &mut Vec<Table>,
) -> Result<(), LoadError> {
    let time = Duration::from_secs_f64(args.seconds);
    let load_of = |workload: Workload, target: &Target, rate| workload.load(target.clone(), &args.work, time, rate);
    let mut open_rate = 1.0;
    if args.workloads.contains(&Workload::Open) {
        let mut load = load_of(Workload::C50, &redis.target, 1.0);
        fill(&Load { fill: true, ..load.clone() }).await?;
        load.until = Until::Time(time.min(Duration::from_secs(1)));
        open_rate = (drive(&load, interrupt, |_| {}).await?.rate / 3.0).max(1.0);
    }
    let mut step = 0;
    for workload in &args.workloads {
        for target in [&redis.target].into_iter().chain(args.with.iter().map(|(_, target)| target)) {
            fill(&Load { fill: true, ..load_of(*workload, target, open_rate) }).await?;
        }
        let rows = systems.iter().map(|system| Row::new(&system.name)).collect();
        let load = load_of(*workload, &redis.target, open_rate).to_string();
        tables.push(Table { title: workload.title().to_owned(), load, rows });
        for turn in 0..args.rounds as usize {
            // Each round begins with another system.
            for index in (0..systems.len()).map(|index| (index + turn) % systems.len()) {
                let system = &systems[index];
                progress.step(step, format!("{}: {}", workload.title(), system.name));
                step += 1;
                let done = round(&load_of(*workload, &system.target, open_rate), system, redis, interrupt).await?;
                let interrupted = done.outcome.ended == Ended::Interrupted;
                if let Some(table) = tables.last_mut() {
                    table.rows[index].rounds.push(done);
                }
                if interrupted {
                    return Err(LoadError::Interrupted);
                }
            }
        }
    }
    Ok(())
}

impl Row {
    fn new(system: &str) -> Self {
        Self { system: system.to_owned(), medians: Figures::default(), rate_to_direct: None, rounds: Vec::new() }
    }
}

impl Table {
    /// Works out medians and ratios.
    fn settle(&mut self) {
        for row in &mut self.rows {
            row.medians = medians(&row.rounds);
        }
        let direct = self.rows.iter().find(|row| row.system == "direct").map(|row| row.medians.rate);
        for row in &mut self.rows {
            row.rate_to_direct = direct.filter(|rate| *rate > 0.0).map(|rate| row.medians.rate / rate);
        }
    }
}

impl Comparison {
    fn exit_code(&self) -> u8 {
        let outcomes = || self.tables.iter().flat_map(|table| &table.rows).flat_map(|row| &row.rounds);
        if outcomes().any(|round| round.outcome.wrong_total() > 0) {
            1
        } else if self.ended == Ended::Interrupted {
            130
        } else {
            u8::from(outcomes().any(|round| round.outcome.is_target_failing())) * 2
        }
    }
}
