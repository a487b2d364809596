//! The slow log of all primaries as that of one Redis: the last entries, each command once, without the gateway's own. Nodes say when, to a second, so
//! what several have executed tells what was before it and what after it.

use std::collections::HashMap;

use pool::{Ours, OwnRequests};
use resp::{Request, write_array, write_error, write_integer, write_request};
use route::{Commands, replies};

use crate::{round::items, shown::is_of_all};

/// Entries that are shown if nobody says how many.
const ENTRIES: i64 = 10;

/// How many times as many a node is asked for, and how many more, as some are the gateway's own.
const OWN_MORE: usize = 4;
const OWN_ROOM: usize = 128;

/// What is wanted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// How many entries it has.
    Length,
    /// At most so many, the last ones.
    Last(usize),
}

impl Wanted {
    /// What a request wants; `None` for one that is about something else, or for which Redis has an error.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        let is = |at: usize, name: &[u8]| request.arg(at).is_some_and(|word| word.eq_ignore_ascii_case(name));
        match request.len() {
            _ if !is(0, b"SLOWLOG") => None,
            2 if is(1, b"LEN") => Some(Self::Length),
            2 | 3 if is(1, b"GET") => {
                let count = request.arg(2).map_or(Some(ENTRIES), resp::parse_integer)?;
                // One that is negative wants all.
                (count >= -1).then_some(Self::Last(usize::try_from(count).unwrap_or(usize::MAX)))
            }
            _ => None,
        }
    }

    /// What a node is asked for it, with two replies: entries, and how many it keeps.
    pub(crate) fn question(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let count = match self {
            Self::Last(count) if count < usize::MAX => {
                count.saturating_mul(OWN_MORE).saturating_add(OWN_ROOM).to_string()
            }
            Self::Last(_) | Self::Length => "-1".to_owned(),
        };
        write_request(&mut bytes, &["SLOWLOG", "GET", &count]);
        write_request(&mut bytes, &["CONFIG", "GET", "slowlog-max-len"]);
        bytes
    }
}

/// One entry.
struct Entry<'r> {
    reply: &'r [u8],
    time: i64,
    /// Its command, if that is one which all nodes execute.
    of_all: Option<&'r [u8]>,
}

/// What one node has, the last one first; and how many it has of each command that all execute.
struct Log<'r> {
    entries: Vec<Entry<'r>>,
    next: usize,
    left: HashMap<&'r [u8], usize>,
}

/// Appends the one reply, where nodes have answered so to the question, or to `SLOWLOG GET` alone.
pub(crate) fn merge(wanted: Wanted, answers: &[&[u8]], (commands, ours): (&Commands, &Ours), out: &mut Vec<u8>) {
    let (mut logs, mut kept) = (Vec::with_capacity(answers.len()), usize::MAX);
    for answer in answers {
        let mut said = replies(answer);
        let entries = said.next().unwrap_or_default();
        if !entries.starts_with(b"*") {
            return match entries.is_empty() {
                true => write_error(out, "ERR respool: the slow log of a node is not readable"),
                false => out.extend_from_slice(entries),
            };
        }
        kept = kept.min(said.next().and_then(number_at_end).unwrap_or(usize::MAX));
        logs.push(Log::read(entries, commands, ours));
    }
    let count = match wanted {
        Wanted::Length => kept,
        Wanted::Last(count) => count.min(kept),
    };
    let mut merged = Vec::new();
    while merged.len() < count
        && let Some(entry) = take_last(&mut logs)
    {
        merged.push(entry);
    }
    if wanted == Wanted::Length {
        return write_integer(out, i64::try_from(merged.len()).unwrap_or(i64::MAX));
    }
    write_array(out, merged.len());
    merged.iter().for_each(|entry| out.extend_from_slice(entry));
}

/// Takes the last entry of all that are left. One that several nodes have is taken from all of them, and only once it is the
/// last one of each.
fn take_last<'r>(logs: &mut [Log<'r>]) -> Option<&'r [u8]> {
    let is_free = |entry: &Entry<'_>| {
        entry.of_all.is_none_or(|command| {
            let waits = |log: &Log<'_>| {
                log.left.get(command).is_some_and(|left| *left > 0)
                    && log.head().is_some_and(|head| head.of_all != Some(command))
            };
            !logs.iter().any(waits)
        })
    };
    let heads = || logs.iter().filter_map(Log::head);
    let latest = |free: bool| heads().filter(|entry| !free || is_free(entry)).map(|entry| entry.time).max();
    // Two clients may have had theirs executed in another order by each node.
    let has_free = latest(true).is_some();
    let time = latest(has_free)?;
    let found = heads().find(|entry| entry.time == time && (!has_free || is_free(entry)))?;
    let (reply, of_all) = (found.reply, found.of_all);
    for log in logs {
        let is_it = |head: &Entry<'_>| match of_all {
            Some(command) => head.of_all == Some(command),
            None => std::ptr::eq(head.reply, reply),
        };
        if log.head().is_some_and(is_it) {
            log.next += 1;
            of_all.and_then(|command| log.left.get_mut(command)).into_iter().for_each(|left| *left -= 1);
        }
    }
    Some(reply)
}

impl<'r> Log<'r> {
    fn read(reply: &'r [u8], commands: &Commands, ours: &Ours) -> Self {
        let (mut left, mut own) = (HashMap::new(), OwnRequests::default());
        let mut entries: Vec<_> = items(reply).collect();
        // The first one first: what a login asks stands behind its beginning.
        entries.reverse();
        let read = entries.into_iter().filter_map(|entry| {
            let mut parts = items(entry).skip(1);
            let time = parts.next().and_then(integer).unwrap_or_default();
            let args = parts.nth(1).unwrap_or_default();
            let words: Vec<&[u8]> = items(args).take(5).map(bulk).collect();
            let address = parts.next().map(bulk).unwrap_or_default();
            let is_own = own.is_own(address, &words, ours);
            let of_all = is_of_all(&words[..words.len().min(2)], commands).then_some(args);
            (!is_own).then_some(Entry { reply: entry, time, of_all })
        });
        let mut entries: Vec<_> = read.collect();
        entries.reverse();
        for command in entries.iter().filter_map(|entry| entry.of_all) {
            *left.entry(command).or_default() += 1;
        }
        Self { entries, next: 0, left }
    }

    fn head(&self) -> Option<&Entry<'r>> {
        self.entries.get(self.next)
    }
}

fn integer(reply: &[u8]) -> Option<i64> {
    resp::parse_integer(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The bytes of a bulk string.
fn bulk(reply: &[u8]) -> &[u8] {
    let from = reply.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    reply.get(from..).and_then(|rest| rest.strip_suffix(b"\r\n")).unwrap_or_default()
}

/// The number that a bulk string at the end of a reply holds.
fn number_at_end(reply: &[u8]) -> Option<usize> {
    let text = reply.strip_suffix(b"\r\n")?.rsplit(|byte| *byte == b'\n').next()?;
    usize::try_from(resp::parse_integer(text)?).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use resp::Value;

    use super::*;

    /// What a node answers that keeps `kept` entries, each a time and a command, the last one first.
    fn node(kept: usize, entries: &[(u32, &str)]) -> String {
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        let entry = |(time, line): &(u32, &str)| {
            let words: Vec<&str> = line.split(' ').collect();
            let args: String = words.iter().map(|word| bulk(word)).collect();
            format!("*6\r\n:1\r\n:{time}\r\n:9\r\n*{}\r\n{args}{}{}", words.len(), bulk("a"), bulk(""))
        };
        let entries_text: String = entries.iter().map(entry).collect();
        let config = format!("*2\r\n{}{}", bulk("slowlog-max-len"), bulk(&kept.to_string()));
        format!("*{}\r\n{entries_text}{config}", entries.len())
    }

    fn commands() -> Commands {
        let told = "*2\r\n*6\r\n$3\r\nget\r\n:2\r\n*0\r\n:1\r\n:1\r\n:1\r\n*6\r\n$8\r\nflushall\r\n:-1\r\n*0\r\n:0\r\n:0\r\n:0\r\n";
        Commands::read(&Value::decode(&Bytes::from_static(told.as_bytes())).expect("whole").0).expect("commands")
    }

    fn shown(wanted: Wanted, nodes: &[String]) -> Vec<String> {
        let (answers, mut out): (Vec<&[u8]>, _) = (nodes.iter().map(String::as_bytes).collect(), Vec::new());
        merge(wanted, &answers, (&commands(), &Ours::default()), &mut out);
        if out.starts_with(b":") {
            return vec![String::from_utf8_lossy(&out).trim_end().to_owned()];
        }
        let line = |entry: &[u8]| {
            let args = items(entry).nth(3).expect("arguments");
            items(args).map(|word| String::from_utf8_lossy(bulk(word)).into_owned()).collect::<Vec<_>>().join(" ")
        };
        items(&out).map(line).collect()
    }

    #[test]
    fn what_the_gateway_asks_for_itself_is_left_out() {
        let nodes = [
            node(100, &[(7, "get a"), (7, "info server"), (7, "hello 2 setname respool-worker-1"), (5, "info server")]),
            node(100, &[(6, "hello 3"), (6, "client setname respool-topology"), (6, "client setname app")]),
        ];
        assert_eq!(shown(Wanted::Last(9), &nodes), ["get a", "hello 3", "client setname app", "info server"]);
        assert_eq!(shown(Wanted::Length, &nodes), [":4"]);
        assert_eq!(shown(Wanted::Last(2), &nodes), ["get a", "hello 3"]);
    }

    #[test]
    fn what_all_have_executed_is_one_entry_and_parts_what_was_before_from_what_was_after() {
        let nodes = [
            node(100, &[(7, "get b"), (7, "flushall"), (7, "flushall"), (5, "get a")]),
            node(100, &[(7, "flushall"), (7, "get y"), (7, "flushall"), (6, "get x")]),
            node(100, &[(7, "flushall")]),
        ];
        let all = ["get b", "flushall", "get y", "flushall", "get x", "get a"];
        assert_eq!(shown(Wanted::Last(usize::MAX), &nodes), all);
        assert_eq!(shown(Wanted::Last(2), &nodes), all[..2]);
        assert_eq!(shown(Wanted::Length, &nodes), [":6"]);
        assert_eq!(shown(Wanted::Length, &[node(3, &[(7, "get a")]), node(3, &[(1, "get b"); 3])]), [":3"]);
        // In another order at each node.
        let crossed =
            [node(9, &[(7, "flushall"), (7, "flushall async")]), node(9, &[(7, "flushall async"), (7, "flushall")])];
        assert_eq!(shown(Wanted::Last(9), &crossed).len(), 3, "one of them is shown twice");
    }
}
