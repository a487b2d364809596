//! Starts the systems of a comparison in front of one Redis; respool once for each setting asked for.

use std::{num::NonZeroU32, path::Path};

use crate::{
    compare::arguments::{CompareArgs, Peer},
    report::failure::Failure,
    system::{
        System, SystemError, Wanted, peers,
        respool::{Respool, Trial},
    },
};

/// Starts the systems; those that are not installed come back as reasons.
///
/// # Errors
/// A system that is installed does not start.
pub async fn start(
    args: &CompareArgs,
    redis: &System,
    wanted: &Wanted,
    directory: &Path,
) -> Result<(Vec<System>, Vec<String>), Failure> {
    let (mut systems, mut skipped) = (Vec::new(), Vec::new());
    let upstream = redis.target.address_text();
    for peer in &args.systems {
        let system = match peer {
            Peer::Direct => Ok(System {
                name: redis.name.clone(),
                target: redis.target.clone(),
                further: redis.further.clone(),
                process: None,
                settings: redis.settings.clone(),
                is_canned: false,
            }),
            Peer::Respool => {
                let respool = Respool::new(&args.program, redis.target.clone())?;
                for (name, trial) in trials(args) {
                    systems.push(respool.start(&name, directory, wanted, trial).await?);
                }
                continue;
            }
            Peer::Floor if args.work.verify => {
                skipped.push("floor: --verify would find its canned replies wrong".to_owned());
                continue;
            }
            Peer::Floor => peers::floor(directory, wanted).await,
            Peer::Bare => peers::bare(directory, wanted, &upstream).await,
            Peer::Nutcracker => peers::nutcracker(directory, wanted, &upstream).await,
            Peer::Haproxy => peers::haproxy(directory, wanted, &upstream).await,
            Peer::Stunnel if wanted.certificates.is_none() => {
                skipped.push("stunnel: it speaks TLS alone, see --transport".to_owned());
                continue;
            }
            Peer::Stunnel => peers::stunnel(directory, wanted, &upstream).await,
        };
        match system {
            Ok(system) => systems.push(system),
            Err(absent @ SystemError::Absent(..)) => skipped.push(absent.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    systems.extend(args.with.iter().map(|(name, target)| System {
        name: name.clone(),
        target: target.clone(),
        further: Vec::new(),
        process: None,
        settings: format!("at {target}"),
        is_canned: false,
    }));
    Ok((systems, skipped))
}

/// Every combination of the settings in the lists, named by those of which there are several.
fn trials(args: &CompareArgs) -> Vec<(String, Trial)> {
    let of = |list: &[NonZeroU32]| -> Vec<Option<NonZeroU32>> {
        if list.is_empty() { vec![None] } else { list.iter().copied().map(Some).collect() }
    };
    let word = |letter: char, list: &[NonZeroU32], value: Option<NonZeroU32>| match value {
        Some(value) if list.len() > 1 => format!(" {letter}{value}"),
        _ => String::new(),
    };
    let mut trials = Vec::new();
    for threads in of(&args.respool_threads) {
        for workers in of(&args.respool_workers) {
            for pipeline_depth in of(&args.respool_depth) {
                let name = [
                    word('t', &args.respool_threads, threads),
                    word('w', &args.respool_workers, workers),
                    word('d', &args.respool_depth, pipeline_depth),
                ];
                trials.push((format!("respool{}", name.concat()), Trial { workers, pipeline_depth, threads }));
            }
        }
    }
    trials
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: CompareArgs,
    }

    fn names(typed: &str) -> Vec<String> {
        let typed = Typed::try_parse_from(["compare"].into_iter().chain(typed.split_whitespace())).unwrap();
        trials(&typed.args).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_list_of_settings_makes_a_system_of_each() {
        assert_eq!(names(""), ["respool"]);
        assert_eq!(names("--respool-workers 2 --respool-depth 64"), ["respool"]);
        assert_eq!(names("--respool-workers 1,8"), ["respool w1", "respool w8"]);
        assert_eq!(
            names("--respool-workers 1,8 --respool-threads 1,2"),
            ["respool t1 w1", "respool t1 w8", "respool t2 w1", "respool t2 w8"]
        );
    }
}
