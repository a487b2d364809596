//! The replies to one unit, made of those to its pieces.

use resp::write_error;
use route::{Cursor, ScanReply, merge, pick_key, replies};
use topology::Layout;

use crate::{
    round::unit::{Making, Unit},
    standalone::info,
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
        Making::Merged(how, order) => {
            let at = out.len();
            if let Err(mismatch) = merge(*how, answers, order, out) {
                write_error(out, &format!("ERR respool: {mismatch}"));
            }
            let failed = |reply: &[u8]| reply.starts_with(b"-");
            if !only_reads && failed(&out[at..]) && answers.iter().any(|answer| !failed(answer)) {
                out.truncate(out.len() - b"\r\n".len());
                out.extend_from_slice(IN_PART);
            }
        }
        Making::Scan(slot) => scanned(*slot, first, layout, out),
        Making::RandomKey => random_key(answers, random, out),
        Making::Info => info(first, out),
        Making::Refused(text) => write_error(out, text),
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
