//! One reply made of those of several shards. An error of one of them is the answer to all: what a part failed to say is
//! never made up.

use resp::{write_array, write_integer};
use thiserror::Error;

use crate::replies::{integer, is_error, items, replies};

/// How the replies of several shards become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// The first, if none is an error.
    AllSucceeded,
    /// The first that is no error; else the first that is more than `NOTBUSY`.
    OneSucceeded,
    /// 1 where all say 1, for each item where they are arrays.
    And,
    /// 1 where one says 1, likewise.
    Or,
    /// The smallest number, likewise.
    Min,
    /// The largest number, likewise.
    Max,
    /// The sum, likewise.
    Sum,
    /// Arrays, whose items are put into one in no particular order.
    Concat,
    /// Arrays with an item for each key, put into the order of the keys.
    ByKey,
    /// Arrays of names and numbers; the numbers are added up.
    Counts,
}

/// The replies of the shards are not alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the replies of several shards to one request do not fit together")]
pub struct Mismatch;

impl Merge {
    /// As the tip `response_policy` calls it; `None` for one that is special or not known.
    pub(crate) fn of(policy: &[u8]) -> Option<Self> {
        Some(match policy {
            b"all_succeeded" => Self::AllSucceeded,
            b"one_succeeded" => Self::OneSucceeded,
            b"agg_logical_and" => Self::And,
            b"agg_logical_or" => Self::Or,
            b"agg_min" => Self::Min,
            b"agg_max" => Self::Max,
            b"agg_sum" => Self::Sum,
            _ => return None,
        })
    }

    fn numbers(self, one: i64, other: i64) -> Option<i64> {
        match self {
            Self::And => Some(i64::from(one != 0 && other != 0)),
            Self::Or => Some(i64::from(one != 0 || other != 0)),
            Self::Min => Some(one.min(other)),
            Self::Max => Some(one.max(other)),
            Self::Sum | Self::Counts => one.checked_add(other),
            Self::AllSucceeded | Self::OneSucceeded | Self::Concat | Self::ByKey => None,
        }
    }
}

/// Appends one reply made of `parts`, each of which is one whole reply, to `out`. `order` tells for each item of each
/// part in turn which place it has in the whole, where the parts are arrays by key.
///
/// # Errors
/// The parts do not fit together; nothing is appended.
pub fn merge(how: Merge, parts: &[&[u8]], order: &[u32], out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let (first, rest) = parts.split_first().ok_or(Mismatch)?;
    let chosen = match how {
        Merge::OneSucceeded => {
            let told = |part: &&&[u8]| !is_error(part);
            // Who has nothing to do says less than who refuses to do it.
            let refused = |part: &&&[u8]| !part.starts_with(b"-NOTBUSY");
            Some(parts.iter().find(told).or_else(|| parts.iter().find(refused)).unwrap_or(first))
        }
        _ => parts.iter().find(|part| is_error(part)),
    };
    if let Some(chosen) = chosen {
        out.extend_from_slice(chosen);
        return Ok(());
    }
    let at = out.len();
    let fits = match how {
        Merge::AllSucceeded | Merge::OneSucceeded => {
            out.extend_from_slice(first);
            Some(())
        }
        Merge::And | Merge::Or | Merge::Min | Merge::Max | Merge::Sum | Merge::Counts => combine(how, first, rest, out),
        Merge::Concat => concatenate(parts, out),
        Merge::ByKey => by_key(parts, order, out),
    };
    fits.ok_or_else(|| {
        out.truncate(at);
        Mismatch
    })
}

fn combine(how: Merge, first: &[u8], rest: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    if let Some(mut number) = integer(first) {
        for part in rest {
            number = how.numbers(number, integer(part)?)?;
        }
        write_integer(out, number);
        return Some(());
    }
    let (count, body) = items(first)?;
    let mut combined: Vec<&[u8]> = replies(body).collect();
    let mut sums: Vec<Option<i64>> = combined.iter().map(|item| integer(item)).collect();
    for part in rest {
        let (others, body) = items(part)?;
        if others != count {
            return None;
        }
        for ((item, mine), sum) in replies(body).zip(&mut combined).zip(&mut sums) {
            match sum {
                Some(sum) => *sum = how.numbers(*sum, integer(item)?)?,
                // Names: they are the same, as they stood in the request.
                None if how == Merge::Counts && item == *mine => {}
                None => return None,
            }
        }
    }
    out.extend_from_slice(&first[..first.len() - body.len()]);
    for (item, sum) in combined.iter().zip(sums) {
        match sum {
            Some(sum) => write_integer(out, sum),
            None => out.extend_from_slice(item),
        }
    }
    Some(())
}

fn concatenate(parts: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    let kind = parts.first()?.first()?;
    let (mut count, mut bytes) = (0, 0);
    for part in parts {
        let (more, body) = items(part)?;
        if part.first() != Some(kind) {
            return None;
        }
        count += more;
        bytes += body.len();
    }
    out.reserve(bytes + 24);
    let at = out.len();
    write_array(out, if *kind == b'%' { count / 2 } else { count });
    out[at] = *kind;
    for part in parts {
        out.extend_from_slice(items(part)?.1);
    }
    Some(())
}

fn by_key(parts: &[&[u8]], order: &[u32], out: &mut Vec<u8>) -> Option<()> {
    let mut placed: Vec<&[u8]> = vec![b""; order.len()];
    let mut places = order.iter();
    for part in parts {
        let (count, body) = items(part)?;
        let mut found = 0;
        for item in replies(body) {
            *placed.get_mut(*places.next()? as usize)? = item;
            found += 1;
        }
        if found != count {
            return None;
        }
    }
    if places.next().is_some() || placed.iter().any(|item| item.is_empty()) {
        return None;
    }
    write_array(out, placed.len());
    placed.iter().for_each(|item| out.extend_from_slice(item));
    Some(())
}

/// Which of several shards' `RANDOMKEY` is the answer, given how many keys each has: each key is as likely as any
/// other. `random` is any number. `None` where all are empty.
pub fn pick_key<'r>(keys: &[(&'r [u8], u64)], random: u64) -> Option<&'r [u8]> {
    let is_key = |reply: &[u8]| reply.starts_with(b"$") && !reply.starts_with(b"$-");
    let full = || keys.iter().filter(|(reply, _)| is_key(reply));
    // A key that came just now is counted by nobody yet.
    let weight = |size: u64| u128::from(size.max(1));
    let total: u128 = full().map(|(_, size)| weight(*size)).sum();
    let mut left = (u128::from(random) * total) >> 64;
    full().find_map(|(reply, size)| match left.checked_sub(weight(*size)) {
        Some(rest) => {
            left = rest;
            None
        }
        None => Some(*reply),
    })
}
