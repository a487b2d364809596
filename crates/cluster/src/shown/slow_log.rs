//! The slow log of all primaries as that of one Redis, and so each log of commands of Valkey: the last entries, each
//! command once, without the gateway's own. Nodes say when, to a second, so what several have executed tells what was before
//! it and what after it.

use std::collections::HashMap;

use pool::{Ours, OwnRequests};
use resp::{Request, write_array, write_error, write_integer, write_request};
use route::{Commands, replies};

use crate::{round::items, shown::is_of_all};

/// Entries that are shown if nobody says how many.
const ENTRIES: usize = 10;

/// How many times as many a node is asked for, and how many more, as some are the gateway's own.
const OWN_MORE: usize = 4;
const OWN_ROOM: usize = 128;

/// A log of commands that a node keeps.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    command: &'static str,
    /// The last word of each request for it.
    kind: Option<&'static str>,
    /// The parameter that says how many entries it has at most.
    bound: &'static str,
}

const fn kept(command: &'static str, kind: Option<&'static str>, bound: &'static str) -> Kept {
    Kept { command, kind, bound }
}

/// The slow log, and those of Valkey since 8.1, the first of which is the slow log too.
static KEPT: [Kept; 4] = [
    kept("SLOWLOG", None, "slowlog-max-len"),
    kept("COMMANDLOG", Some("SLOW"), "commandlog-slow-execution-max-len"),
    kept("COMMANDLOG", Some("LARGE-REQUEST"), "commandlog-large-request-max-len"),
    kept("COMMANDLOG", Some("LARGE-REPLY"), "commandlog-large-reply-max-len"),
];

/// What is wanted of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    of: &'static Kept,
    /// At most so many entries, the last ones; `None`: how many there are.
    last: Option<usize>,
}

impl Wanted {
    /// What a request wants; `None` for one that is about something else, or for which Redis has an error.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        let is = |at: usize, name: &str| request.arg(at).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        let end = request.len().checked_sub(1)?;
        let of = KEPT.iter().find(|kept| is(0, kept.command) && kept.kind.is_none_or(|kind| is(end, kind)))?;
        // Without the kind.
        let words = request.len() - usize::from(of.kind.is_some());
        let last = match words {
            2 if is(1, "LEN") => None,
            2 if is(1, "GET") && of.kind.is_none() => Some(ENTRIES),
            3 if is(1, "GET") => {
                let count: i64 = request.arg(2).and_then(resp::parse_integer)?;
                // One that is negative wants all.
                Some((count >= -1).then(|| usize::try_from(count).unwrap_or(usize::MAX))?)
            }
            _ => return None,
        };
        Some(Self { of, last })
    }

    /// Whether it wants to know how many entries there are.
    pub(crate) fn is_length(self) -> bool {
        self.last.is_none()
    }

    /// What a node is asked for it, with two replies: entries, and how many it keeps.
    pub(crate) fn question(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let count = match self.last {
            Some(count) if count < usize::MAX => count.saturating_mul(OWN_MORE).saturating_add(OWN_ROOM).to_string(),
            Some(_) | None => "-1".to_owned(),
        };
        let words = [self.of.command, "GET", &count];
        let words: Vec<&str> = words.into_iter().chain(self.of.kind).collect();
        write_request(&mut bytes, &words);
        write_request(&mut bytes, &["CONFIG", "GET", self.of.bound]);
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

/// Appends the one reply, where nodes have answered so to the question, or to its first request alone.
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
    let count = wanted.last.map_or(kept, |count| count.min(kept));
    let mut merged = Vec::new();
    while merged.len() < count
        && let Some(entry) = take_last(&mut logs)
    {
        merged.push(entry);
    }
    if wanted.is_length() {
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
    use resp::{Decoded, RequestDecoder, RequestLimits, Value};

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

    fn wanted(line: &str) -> Option<Wanted> {
        let (mut bytes, mut decoder) = (Vec::new(), RequestDecoder::new(RequestLimits::accepted()));
        write_request(&mut bytes, &line.split(' ').collect::<Vec<_>>());
        assert!(matches!(decoder.decode(&bytes), Ok(Decoded::Request { .. })), "{line}");
        Wanted::of(&decoder.request(&bytes))
    }

    fn shown(line: &str, nodes: &[String]) -> Vec<String> {
        let wanted = wanted(line).expect(line);
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
    fn each_log_is_asked_for_in_its_own_words() {
        for (line, asked, bound) in [
            ("slowlog get", "SLOWLOG GET 168", "slowlog-max-len"),
            ("SLOWLOG LEN", "SLOWLOG GET -1", "slowlog-max-len"),
            ("COMMANDLOG GET 3 slow", "COMMANDLOG GET 140 SLOW", "commandlog-slow-execution-max-len"),
            ("commandlog get -1 Large-Reply", "COMMANDLOG GET -1 LARGE-REPLY", "commandlog-large-reply-max-len"),
            ("COMMANDLOG LEN large-request", "COMMANDLOG GET -1 LARGE-REQUEST", "commandlog-large-request-max-len"),
        ] {
            let mut question = Vec::new();
            write_request(&mut question, &asked.split(' ').collect::<Vec<_>>());
            write_request(&mut question, &["CONFIG", "GET", bound]);
            assert_eq!(wanted(line).expect(line).question(), question, "{line}");
        }
        // For these the upstream has the words, or another rule holds.
        for line in [
            "SLOWLOG",
            "SLOWLOG GET -2",
            "SLOWLOG GET x",
            "SLOWLOG GET 1 2",
            "SLOWLOG RESET",
            "COMMANDLOG GET slow",
            "COMMANDLOG GET 1",
            "COMMANDLOG GET 1 fast",
            "COMMANDLOG GET 1 2 slow",
            "COMMANDLOG LEN",
            "COMMANDLOG RESET slow",
            "GET slow",
        ] {
            assert_eq!(wanted(line), None, "{line}");
        }
        let nodes = [node(3, &[(7, "get a"), (6, "flushall")]), node(3, &[(6, "flushall"), (5, "get b")])];
        assert_eq!(shown("COMMANDLOG GET 2 large-reply", &nodes), ["get a", "flushall"]);
        assert_eq!(shown("COMMANDLOG LEN slow", &nodes), [":3"]);
    }

    #[test]
    fn what_the_gateway_asks_for_itself_is_left_out() {
        let nodes = [
            node(100, &[(7, "get a"), (7, "info server"), (7, "hello 2 setname respool-worker-1"), (5, "info server")]),
            node(100, &[(6, "hello 3"), (6, "client setname respool-topology"), (6, "client setname app")]),
        ];
        assert_eq!(shown("SLOWLOG GET 9", &nodes), ["get a", "hello 3", "client setname app", "info server"]);
        assert_eq!(shown("SLOWLOG LEN", &nodes), [":4"]);
        assert_eq!(shown("SLOWLOG GET 2", &nodes), ["get a", "hello 3"]);
    }

    #[test]
    fn what_all_have_executed_is_one_entry_and_parts_what_was_before_from_what_was_after() {
        let nodes = [
            node(100, &[(7, "get b"), (7, "flushall"), (7, "flushall"), (5, "get a")]),
            node(100, &[(7, "flushall"), (7, "get y"), (7, "flushall"), (6, "get x")]),
            node(100, &[(7, "flushall")]),
        ];
        let all = ["get b", "flushall", "get y", "flushall", "get x", "get a"];
        assert_eq!(shown("SLOWLOG GET -1", &nodes), all);
        assert_eq!(shown("SLOWLOG GET 2", &nodes), all[..2]);
        assert_eq!(shown("SLOWLOG LEN", &nodes), [":6"]);
        assert_eq!(shown("SLOWLOG LEN", &[node(3, &[(7, "get a")]), node(3, &[(1, "get b"); 3])]), [":3"]);
        // In another order at each node.
        let crossed =
            [node(9, &[(7, "flushall"), (7, "flushall async")]), node(9, &[(7, "flushall async"), (7, "flushall")])];
        assert_eq!(shown("SLOWLOG GET 9", &crossed).len(), 3, "one of them is shown twice");
    }
}
