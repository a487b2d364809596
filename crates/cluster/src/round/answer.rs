//! The replies to one unit, made of those to its pieces.

use resp::{Request, write_array, write_error, write_integer};
use route::{Cursor, Merge, ScanReply, merge, pick_key, replies};
use topology::Layout;

use crate::{
    map::Map,
    round::unit::{Making, Unit, making_of_all},
    scripts::Scripts,
    shown::{
        latency, slow_log,
        standalone::{info, info_of_all},
    },
};

/// Said of what failed in part and is not taken back.
const IN_PART: &[u8] = b" (a part of the command was executed at other shards)\r\n";

/// Appends the replies to a unit, of whose pieces, which may change something or only read, these are the `answers`.
/// `random` is any number.
pub(super) fn write(unit: &Unit, only_reads: bool, answers: &[&[u8]], layout: &Layout, random: u64, out: &mut Vec<u8>) {
    let first = answers.first().copied().unwrap_or_default();
    match &unit.making {
        Making::AsTheyAre => out.extend_from_slice(first),
        Making::Replaced(refused) => {
            for (at, reply) in replies(first).enumerate() {
                match refused.iter().find(|(place, _)| usize::try_from(*place) == Ok(at)) {
                    // What the node itself says of being down, or not reached, says more.
                    Some((_, text)) if reply.starts_with(b"-ERR unknown") => write_error(out, text),
                    Some(_) | None => out.extend_from_slice(reply),
                }
            }
        }
        Making::Shown(infos) => shown(infos, first, out),
        Making::Merged(how, order) => write_parts(*how, only_reads, answers, order, out),
        Making::Scan(slot) => scanned(*slot, first, layout, out),
        Making::RandomKey => random_key(answers, random, out),
        Making::Info { hides } => info_of_all(answers, *hides, out),
        Making::Exist(kept) => {
            let at = out.len();
            write_merged(Merge::Or, answers, &[], out);
            known(kept, at, out);
        }
        Making::SlowLog(wanted, commands, ours) => slow_log::merge(*wanted, answers, (commands, ours), out),
        Making::Latency(asked, commands) => latency::merge(*asked, answers, commands, out),
        Making::Refused(text) => write_error(out, text),
    }
}

/// Appends the one reply to a request that several nodes have executed, each with one of these `answers`.
pub(crate) fn write_of_all(
    request: &Request<'_>,
    (how, only_reads): (Merge, bool),
    (map, scripts): (&Map, &Scripts),
    answers: &[&[u8]],
    out: &mut Vec<u8>,
) {
    let making = match making_of_all(request, how, map, scripts) {
        // There it says itself how many they are.
        Making::SlowLog(wanted, ..) if wanted.is_length() => Making::Merged(how, Vec::new()),
        making => making,
    };
    let unit = Unit { making, pieces: 0..0, scripts: Vec::new() };
    write(&unit, only_reads, answers, &Layout::default(), 0, out);
}

/// The replies to a transaction, in which those to requests at these places are about the node.
fn shown(infos: &[usize], said: &[u8], out: &mut Vec<u8>) {
    let mut all: Vec<&[u8]> = replies(said).collect();
    let exec = all.pop().unwrap_or_default();
    all.iter().for_each(|reply| out.extend_from_slice(reply));
    let mut queued = all.iter().enumerate().filter(|(_, reply)| reply.starts_with(b"+QUEUED")).map(|(place, _)| place);
    let mut items = items(exec).peekable();
    if items.peek().is_none() {
        return out.extend_from_slice(exec);
    }
    let head = exec.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    out.extend_from_slice(&exec[..head]);
    for item in items {
        match queued.next() {
            Some(place) if infos.contains(&place) => info(item, out),
            Some(_) | None => out.extend_from_slice(item),
        }
    }
}

/// What has been executed of a unit with these replies: of each of its requests the reply, which those of a transaction have
/// within that to `EXEC`.
pub(super) fn executed(said: &[u8], is_transaction: bool) -> Vec<Option<&[u8]>> {
    let mut all: Vec<&[u8]> = replies(said).collect();
    if !is_transaction {
        return all.into_iter().map(Some).collect();
    }
    let mut items = items(all.pop().unwrap_or_default());
    all.into_iter().map(|reply| if reply.starts_with(b"+QUEUED") { items.next() } else { None }).collect()
}

/// Appends the one reply to a request of whose parts these are the `answers`.
pub(crate) fn write_parts(how: Merge, only_reads: bool, answers: &[&[u8]], order: &[u32], out: &mut Vec<u8>) {
    let at = out.len();
    write_merged(how, answers, order, out);
    let failed = |reply: &[u8]| reply.starts_with(b"-");
    if !only_reads && failed(&out[at..]) && answers.iter().any(|answer| !failed(answer)) {
        out.truncate(out.len() - b"\r\n".len());
        out.extend_from_slice(IN_PART);
    }
}

fn write_merged(how: Merge, answers: &[&[u8]], order: &[u32], out: &mut Vec<u8>) {
    if let Err(mismatch) = merge(how, answers, order, out) {
        write_error(out, &format!("ERR respool: {mismatch}"));
    }
}

/// The items of an array.
pub(crate) fn items(reply: &[u8]) -> impl Iterator<Item = &[u8]> {
    let head = reply.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    replies(if reply.starts_with(b"*") { &reply[head..] } else { &[] })
}

/// Of the numbers at the end of `out` those are 1 whose scripts are kept here.
fn known(kept: &[bool], at: usize, out: &mut Vec<u8>) {
    let merged = out.split_off(at);
    if !merged.starts_with(b"*") {
        return out.extend_from_slice(&merged);
    }
    write_array(out, kept.len());
    for (item, kept) in items(&merged).zip(kept) {
        if *kept { write_integer(out, 1) } else { out.extend_from_slice(item) }
    }
}

/// The shard at hand is scanned on, or the next one is.
fn scanned(slot: u16, reply: &[u8], layout: &Layout, out: &mut Vec<u8>) {
    let Some(read) = ScanReply::read(reply) else { return out.extend_from_slice(reply) };
    let next = match read.inner {
        0 => layout.shard_of(slot).and_then(|shard| layout.first_slot(shard + 1)).map(|slot| Cursor { slot, inner: 0 }),
        inner => Some(Cursor { slot, inner }),
    };
    match next.map(|cursor| cursor.number()) {
        None => read.write(0, out),
        Some(Some(number)) => read.write(number, out),
        Some(None) => write_error(out, "ERR respool: the cursor of a node of the cluster has no room for its shard"),
    }
}

fn random_key(answers: &[&[u8]], random: u64, out: &mut Vec<u8>) {
    let mut keys = Vec::with_capacity(answers.len());
    for answer in answers {
        let mut said = replies(answer);
        let (Some(key), Some(size)) = (said.next(), said.next()) else { continue };
        if let Some(error) = [key, size].into_iter().find(|reply| reply.starts_with(b"-")) {
            return out.extend_from_slice(error);
        }
        let count = size.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b"\r\n")).and_then(resp::parse_integer);
        keys.push((key, count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0)));
    }
    let none = keys.first().map_or(&b"$-1\r\n"[..], |(key, _)| key);
    out.extend_from_slice(pick_key(&keys, random).unwrap_or(none));
}
