//! The mix of operations that an upstream has executed so far, from its own statistics, so that it can
//! be tuned for what its clients do.

use std::time::Duration;

use resp::Value;

use crate::{
    load::{
        LoadError,
        mix::{Mix, Operation},
    },
    report::failure::Failure,
    target::Target,
};

/// The operations that the upstream has executed, in their proportions.
///
/// # Errors
/// It does not answer, or has executed nothing that is known here.
pub async fn recorded_mix(upstream: &Target, limit: Duration) -> Result<Mix, Failure> {
    let answer = upstream.ask(&["INFO", "commandstats"], limit).await.map_err(LoadError::from)?;
    let text = match &answer {
        Value::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    };
    mix_of(&text).map_err(|error| {
        Failure::Load(LoadError::Arguments(format!("--recorded-mix: the upstream has executed nothing known: {error}")))
    })
}

/// Weights in thousandths of the calls, at least 1.
fn mix_of(commandstats: &str) -> Result<Mix, String> {
    let calls = |line: &str| {
        let (name, figures) = line.trim().strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let operation = match name {
            "ping" => Operation::Ping,
            "get" | "getrange" | "hget" => Operation::Get,
            "set" | "setex" | "psetex" | "setnx" | "hset" => Operation::Set,
            "incr" | "decr" | "incrby" | "decrby" => Operation::Incr,
            "mget" | "hmget" => Operation::Mget,
            "lpush" | "rpush" => Operation::Lpush,
            "lrange" => Operation::Lrange,
            "exec" => Operation::Transaction,
            "blpop" | "brpop" | "blmove" => Operation::Blocking,
            _ => return None,
        };
        Some((operation, figures.split(',').next()?.parse::<u64>().ok()?))
    };
    let mut sums = std::collections::BTreeMap::new();
    for (operation, count) in commandstats.lines().filter_map(calls) {
        *sums.entry(operation).or_insert(0_u64) += count;
    }
    let total = sums.values().sum::<u64>().max(1);
    let weight = |count: u64| u32::try_from(u128::from(count) * 1_000 / u128::from(total)).unwrap_or(1_000).max(1);
    Mix::new(sums.into_iter().map(|(operation, count)| (operation, weight(count))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_from_what_was_executed() {
        let stats = "# Commandstats\r\ncmdstat_get:calls=900,usec=1\r\ncmdstat_set:calls=90,usec=1\r\n\
                     cmdstat_setex:calls=10,usec=1\r\ncmdstat_info:calls=7,usec=1\r\n";
        assert_eq!(mix_of(stats).unwrap().to_string(), "get:900,set:100");
        assert!(mix_of("").is_err());
    }
}
