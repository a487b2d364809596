//! The way through a comparison: every workload in turn, and in each as many rounds as asked for, in which
//! every system has its turn.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    compare::{
        arguments::{CompareArgs, Generator, OpenRate},
        comparison::{Row, Table},
        redis_benchmark::RedisBenchmark,
        round::{Loader, round},
        workload::Workload,
    },
    drive::{drive, interrupt::Interrupt},
    load::{Load, LoadError, Until, mix::Operation},
    measure::{outcome::Ended, written_keys::WrittenKeys},
    report::{failure::Failure, progress::Progress},
    system::System,
    target::{Target, Transport},
    traffic::{clean::clean, fill::fill},
};

/// One table to be.
#[derive(Debug)]
pub struct Course {
    workload: Workload,
    transport: Transport,
    loader: Loader,
}

impl Course {
    /// What reports call it.
    fn title(&self) -> String {
        match self.transport {
            Transport::Tcp => self.workload.title().to_owned(),
            other => format!("{}, over {}", self.workload.title(), other.words()),
        }
    }
}

/// What is to be measured, and what cannot be.
///
/// # Errors
/// The generator is not installed.
pub fn courses(args: &CompareArgs) -> Result<(Vec<Course>, Vec<String>), Failure> {
    let (mut courses, mut left_out) = (Vec::new(), Vec::new());
    let benchmark = match args.generator {
        Generator::Own => None,
        Generator::RedisBenchmark => Some(RedisBenchmark::find()?),
    };
    for (transport, workload) in
        args.transport.iter().flat_map(|transport| args.workloads.iter().map(|one| (*transport, *one)))
    {
        match &benchmark {
            None => courses.push(Course { workload, transport, loader: Loader::Own }),
            Some(_) if workload == Workload::Open => left_out.push("open: redis-benchmark has no open loop".to_owned()),
            Some(_) if transport != Transport::Tcp => {
                left_out.push(format!("{}: redis-benchmark is used over TCP only here", transport.words()));
            }
            // SET first, so that GET finds values.
            Some(benchmark) => courses.extend([Operation::Set, Operation::Get].map(|operation| {
                let loader = Loader::RedisBenchmark(benchmark.clone(), operation);
                Course { workload, transport, loader }
            })),
        }
    }
    left_out.dedup();
    Ok((courses, left_out))
}

/// Measures everything; what was measured is in `tables` even if it ends before time.
///
/// # Errors
/// A load could not be driven, or Ctrl-C came.
pub async fn measure(
    args: &CompareArgs,
    courses: &[Course],
    systems: &[System],
    redis: &System,
    interrupt: &Interrupt,
    progress: &Progress,
    tables: &mut Vec<Table>,
) -> Result<(), LoadError> {
    let time = Duration::from_secs_f64(args.seconds);
    let open_rate = open_rate(args, courses, redis, time, interrupt).await?;
    let load_of = |course: &Course, target: &Target| course.workload.load(target.clone(), &args.work, time, open_rate);
    let mut step = 0;
    for course in courses {
        // Canned values get the size of those of the load.
        for system in systems.iter().filter(|system| system.is_canned) {
            fill(&Load { fill: true, keys: 1, verify: false, ..load_of(course, &system.target) }).await?;
        }
        for target in [&redis.target].into_iter().chain(args.with.iter().map(|(_, target)| target)) {
            fill(&Load { fill: true, ..load_of(course, target) }).await?;
        }
        let taking_part: Vec<_> =
            systems.iter().filter_map(|system| Some((system, system.over(course.transport)?))).collect();
        let rows =
            taking_part.iter().map(|(system, _)| Row { system: system.name.clone(), ..Row::default() }).collect();
        let (title, load) = course.loader.words(&course.title(), &load_of(course, &redis.target));
        tables.push(Table { title, load, rows });
        for turn in 0..args.rounds as usize {
            // Each round begins with another system.
            for index in (0..taking_part.len()).map(|index| (index + turn) % taking_part.len()) {
                let (system, target) = taking_part[index];
                progress.step(step, format!("{}: {}", course.title(), system.name));
                step += 1;
                let done = round(&course.loader, &load_of(course, target), system, redis, interrupt).await?;
                let interrupted = done.outcome.as_ref().is_some_and(|outcome| outcome.ended == Ended::Interrupted);
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

/// Removes from the systems that somebody else has started what the loads have written there, if that is
/// asked for, and tells what became of it.
pub async fn clean_strangers(args: &CompareArgs, courses: &[Course]) -> Vec<(String, WrittenKeys)> {
    let mut found = Vec::new();
    for (name, target) in &args.with {
        let mut by_prefix: BTreeMap<String, Load> = BTreeMap::new();
        for course in courses {
            let load = course.workload.load(target.clone(), &args.work, Duration::ZERO, 1.0);
            let widest = by_prefix.entry(load.key_prefix.clone()).or_insert_with(|| load.clone());
            widest.connections = widest.connections.max(load.connections);
        }
        for load in by_prefix.into_values() {
            let load = Load { fill: true, clean: args.work.clean, ..load };
            let mut keys = WrittenKeys::of(&load);
            clean(&load, &mut keys).await;
            found.push((name.clone(), keys));
        }
    }
    found
}

/// The rate of the open loop; measured, if it is to be a third of direct's.
async fn open_rate(
    args: &CompareArgs,
    courses: &[Course],
    redis: &System,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<f64, LoadError> {
    match args.open_rate {
        OpenRate::Fixed(rate) => Ok(rate),
        OpenRate::Third if courses.iter().all(|course| course.workload != Workload::Open) => Ok(1.0),
        OpenRate::Third => {
            let mut load = Workload::C50.load(redis.target.clone(), &args.work, time, 1.0);
            fill(&Load { fill: true, ..load.clone() }).await?;
            load.until = Until::Time(time.min(Duration::from_secs(1)));
            Ok((drive(&load, interrupt, |_| {}).await?.rate / 3.0).max(1.0))
        }
    }
}
