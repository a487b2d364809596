//! The command `compare`: starts the systems, loads them in turns so that whatever drifts on the
//! machine meets them all, and sets medians side by side.

use std::{num::NonZeroU32, str::FromStr};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    cli::{ReportArgs, WorkArgs, rate, seconds},
    compare::{
        course, lineup, report,
        round::{Figures, Round, median, medians},
        workload::Workload,
    },
    drive::interrupt::Interrupt,
    load::LoadError,
    measure::outcome::Ended,
    report::{deliver, failure::Failure, progress::Progress},
    system::{SystemError, peers, respool::RespoolArgs},
    target::Target,
};

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
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["c1", "c50", "c500", "c4000", "p16", "p100", "large", "open"])]
    pub workloads: Vec<Workload>,
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
    /// This project's gateway.
    Respool,
    /// Twemproxy.
    Nutcracker,
    /// `HAProxy` in TCP mode.
    Haproxy,
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

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Names and settings of the systems, in the order of every table.
    pub systems: Vec<(String, String)>,
    /// What was asked for and is not here, with the reason.
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

/// One system under one workload. The ratios are medians of those of each round.
#[derive(Debug, Default, Serialize)]
pub struct Row {
    /// The system.
    pub system: String,
    /// Medians over the rounds.
    pub medians: Figures,
    /// The rate relative to direct's.
    pub rate_to_direct: Option<f64>,
    /// The system's processor time for each operation, relative to that of Redis when loaded directly.
    pub system_cpu_to_direct: Option<f64>,
    /// The same of the Redis behind the system.
    pub redis_cpu_to_direct: Option<f64>,
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
    let progress = Progress::new(0);
    let (systems, mut skipped) = lineup::start(args, &redis, directory.path()).await?;
    let (courses, left_out) = course::courses(args)?;
    skipped.extend(left_out);
    skipped.iter().for_each(|what| progress.line(&format!("skipped: {what}")));
    progress.set_length((courses.len() * args.rounds as usize * systems.len()) as u64);
    let mut comparison = Comparison {
        systems: systems.iter().map(|system| (system.name.clone(), system.settings.clone())).collect(),
        skipped,
        tables: Vec::new(),
        ended: Ended::Done,
    };
    let measured =
        course::measure(args, &courses, &systems, &redis, interrupt, &progress, &mut comparison.tables).await;
    drop(progress);
    comparison.tables.iter_mut().for_each(Table::settle);
    match measured {
        Err(LoadError::Interrupted) => comparison.ended = Ended::Interrupted,
        measured => measured?,
    }
    deliver(&args.report, &comparison, || report::text(&comparison), || report::html(&comparison))?;
    Ok(comparison.exit_code())
}

impl Table {
    /// Works out medians and ratios.
    fn settle(&mut self) {
        let direct: Vec<Figures> = self
            .rows
            .iter()
            .filter(|row| row.system == "direct")
            .flat_map(|row| row.rounds.iter().map(|round| round.figures.clone()))
            .collect();
        for row in &mut self.rows {
            row.medians = medians(&row.rounds);
            let ratio = |figure: fn(&Figures) -> Option<f64>, base: fn(&Figures) -> Option<f64>| {
                let rounds = row.rounds.iter().zip(&direct);
                let ratios = rounds.filter_map(|(round, direct)| {
                    Some(figure(&round.figures)? / base(direct).filter(|base| *base > 0.0)?)
                });
                let ratios: Vec<_> = ratios.collect();
                (!ratios.is_empty()).then(|| median(ratios))
            };
            row.rate_to_direct = ratio(|figures| Some(figures.rate), |direct| Some(direct.rate));
            row.system_cpu_to_direct = ratio(|figures| figures.system_cpu_us, |direct| direct.redis_cpu_us);
            row.redis_cpu_to_direct = ratio(|figures| figures.redis_cpu_us, |direct| direct.redis_cpu_us);
        }
    }
}

impl Comparison {
    fn exit_code(&self) -> u8 {
        let rounds = self.tables.iter().flat_map(|table| &table.rows).flat_map(|row| &row.rounds);
        let outcomes = || rounds.clone().filter_map(|round| round.outcome.as_ref());
        if outcomes().any(|outcome| outcome.counts.wrong_total() > 0) {
            1
        } else if self.ended == Ended::Interrupted {
            130
        } else {
            u8::from(outcomes().any(crate::measure::outcome::Outcome::is_target_failing)) * 2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(system: &str, figures: &[(f64, Option<f64>, f64)]) -> Row {
        let round = |(rate, system_cpu_us, redis_cpu_us): &(f64, Option<f64>, f64)| Round {
            figures: Figures {
                rate: *rate,
                system_cpu_us: *system_cpu_us,
                redis_cpu_us: Some(*redis_cpu_us),
                ..Figures::default()
            },
            outcome: None,
        };
        Row { system: system.to_owned(), rounds: figures.iter().map(round).collect(), ..Row::default() }
    }

    #[test]
    fn ratios_are_of_rounds_and_relative_to_redis_alone() {
        let direct = row("direct", &[(100.0, None, 4.0), (50.0, None, 8.0), (200.0, None, 2.0)]);
        let other = row("other", &[(50.0, Some(2.0), 1.0), (25.0, Some(4.0), 2.0), (10.0, Some(1.0), 0.5)]);
        let mut table = Table { title: String::new(), load: String::new(), rows: vec![direct, other] };
        table.settle();
        assert_eq!((table.rows[0].rate_to_direct, table.rows[0].system_cpu_to_direct), (Some(1.0), None));
        let other = &table.rows[1];
        assert_eq!((other.rate_to_direct, other.system_cpu_to_direct), (Some(0.5), Some(0.5)));
        assert_eq!(other.redis_cpu_to_direct, Some(0.25));
    }

    #[test]
    fn an_open_rate_is_a_number_or_a_third() {
        assert_eq!("third".parse(), Ok(OpenRate::Third));
        assert_eq!("2500".parse(), Ok(OpenRate::Fixed(2_500.0)));
        assert!("half".parse::<OpenRate>().is_err());
    }
}
