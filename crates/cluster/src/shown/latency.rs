//! `LATENCY` of all primaries as that of one Redis: each event once, with the longest time that any of them took within a
//! second, as Redis keeps them; and how long commands took, of which what all primaries execute counts once.

use std::collections::BTreeMap;

use bytes::Bytes;
use resp::{Protocol, Request, Value, write_array, write_bulk, write_error, write_integer, write_map};
use route::{Commands, replies};

use crate::shown::is_of_all;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Times of one event.
    History,
    /// The last time of each event.
    Latest,
    /// How long commands took.
    Histogram,
}

impl Asked {
    /// What a request asks; `None` for one that is about something else.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        let is = |at: usize, name: &[u8]| request.arg(at).is_some_and(|word| word.eq_ignore_ascii_case(name));
        match () {
            () if !is(0, b"LATENCY") => None,
            () if is(1, b"HISTORY") => Some(Self::History),
            () if is(1, b"LATEST") => Some(Self::Latest),
            () if is(1, b"HISTOGRAM") => Some(Self::Histogram),
            () => None,
        }
    }
}

/// Appends the one reply.
pub(crate) fn merge(asked: Asked, answers: &[&[u8]], commands: &Commands, out: &mut Vec<u8>) {
    if let Some(error) = answers.iter().find(|answer| answer.starts_with(b"-")) {
        return out.extend_from_slice(error);
    }
    let values: Vec<Value> = answers
        .iter()
        .filter_map(|answer| Value::decode(&Bytes::copy_from_slice(replies(answer).next()?)).ok())
        .map(|(value, _)| value)
        .collect();
    let merged = match asked {
        _ if values.len() < answers.len() => None,
        Asked::History => history(&values, out),
        Asked::Latest => latest(&values, out),
        Asked::Histogram => histogram(&values, commands, out),
    };
    if merged.is_none() {
        write_error(out, "ERR respool: what the nodes say of their latencies does not fit together");
    }
}

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn numbers(value: &Value) -> Option<Vec<i64>> {
    items(value)?.iter().map(Value::as_integer).collect()
}

/// Pairs of a time and how long it took.
fn history(values: &[Value], out: &mut Vec<u8>) -> Option<()> {
    let mut longest = BTreeMap::new();
    for sample in values.iter().map(items).collect::<Option<Vec<_>>>()?.concat() {
        let [time, took] = numbers(&sample)?[..] else { return None };
        let known = longest.entry(time).or_insert(took);
        *known = took.max(*known);
    }
    write_array(out, longest.len());
    for (time, took) in longest {
        write_array(out, 2);
        [time, took].into_iter().for_each(|number| write_integer(out, number));
    }
    Some(())
}

/// Of each event its name, when it was last, how long it took then, and at most; of Valkey since 8.1 also how long it took in
/// all and how often it was, which are added up.
fn latest(values: &[Value], out: &mut Vec<u8>) -> Option<()> {
    let mut events: Vec<(&Bytes, Vec<i64>)> = Vec::new();
    for event in values.iter().map(items).collect::<Option<Vec<_>>>()?.into_iter().flatten() {
        let (Value::Bulk(name), numbers) = items(event)?.split_first()? else { return None };
        let numbers = numbers.iter().map(Value::as_integer).collect::<Option<Vec<_>>>()?;
        let [time, took, most, ..] = numbers[..] else { return None };
        match events.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => {
                [known[0], known[1]] = [known[0], known[1]].max([time, took]);
                known[2] = known[2].max(most);
                // A node of an earlier version does not say it.
                known.truncate(numbers.len());
                known.iter_mut().zip(numbers).skip(3).for_each(|(sum, more)| *sum = sum.saturating_add(more));
            }
            None => events.push((name, numbers)),
        }
    }
    write_array(out, events.len());
    for (name, numbers) in events {
        write_array(out, 1 + numbers.len());
        write_bulk(out, name);
        numbers.into_iter().for_each(|number| write_integer(out, number));
    }
    Some(())
}

/// How often a command was executed, and for some times how often it took no longer.
#[derive(Default)]
struct Histogram {
    calls: i64,
    within: BTreeMap<i64, i64>,
}

impl Histogram {
    fn read(value: &Value) -> Option<Self> {
        let pairs = pairs(value)?;
        let field = |name: &[u8]| pairs.iter().find(|(key, _)| key.as_bytes() == Some(name)).map(|(_, value)| *value);
        let mut within = BTreeMap::new();
        for (time, count) in self::pairs(field(b"histogram_usec")?)? {
            within.insert(time.as_integer()?, count.as_integer()?);
        }
        Some(Self { calls: field(b"calls")?.as_integer()?, within })
    }

    /// How many took no longer than so long.
    fn up_to(&self, time: i64) -> i64 {
        self.within.range(..=time).next_back().map_or(0, |(_, count)| *count)
    }

    /// This one and another, of which either is counted or both are.
    fn with(&self, other: &Self, is_of_both: bool) -> Self {
        let add = |one: i64, other: i64| if is_of_both { one.max(other) } else { one + other };
        let times = self.within.keys().chain(other.within.keys());
        let within = times.map(|time| (*time, add(self.up_to(*time), other.up_to(*time)))).collect();
        Self { calls: add(self.calls, other.calls), within }
    }
}

/// Those of a map, which is an array in RESP2.
fn pairs(value: &Value) -> Option<Vec<(&Value, &Value)>> {
    match value {
        Value::Map(pairs) => Some(pairs.iter().map(|(key, value)| (key, value)).collect()),
        Value::Array(items) => Some(items.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect()),
        _ => None,
    }
}

fn histogram(values: &[Value], commands: &Commands, out: &mut Vec<u8>) -> Option<()> {
    let is_map = values.first().is_some_and(|value| matches!(value, Value::Map(_)));
    let protocol = if is_map { Protocol::Resp3 } else { Protocol::Resp2 };
    let mut merged: Vec<(&[u8], Histogram)> = Vec::new();
    for (name, of_node) in values.iter().map(pairs).collect::<Option<Vec<_>>>()?.concat() {
        let (name, of_node) = (name.as_bytes()?, Histogram::read(of_node)?);
        match merged.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => {
                let words: Vec<&[u8]> = name.split(|byte| *byte == b'|').collect();
                *sum = sum.with(&of_node, is_of_all(&words, commands));
            }
            None => merged.push((name, of_node)),
        }
    }
    write_map(out, protocol, merged.len());
    for (name, Histogram { calls, within }) in merged {
        write_bulk(out, name);
        write_map(out, protocol, 2);
        write_bulk(out, b"calls");
        write_integer(out, calls);
        write_bulk(out, b"histogram_usec");
        write_map(out, protocol, within.len());
        within.into_iter().flat_map(|(time, count)| [time, count]).for_each(|number| write_integer(out, number));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(asked: Asked, answers: &[&str]) -> String {
        let (answers, mut out): (Vec<&[u8]>, _) =
            (answers.iter().map(|answer| answer.as_bytes()).collect(), Vec::new());
        let told = "*1\r\n*6\r\n$8\r\nflushall\r\n:-1\r\n*0\r\n:0\r\n:0\r\n:0\r\n";
        let commands = Value::decode(&Bytes::from_static(told.as_bytes())).expect("whole").0;
        merge(asked, &answers, &Commands::read(&commands).expect("commands"), &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn events_are_shown_once_with_the_longest_time_within_a_second() {
        let answers = ["*2\r\n*2\r\n:5\r\n:30\r\n*2\r\n:7\r\n:9\r\n", "*1\r\n*2\r\n:5\r\n:40\r\n", "*0\r\n"];
        assert_eq!(merged(Asked::History, &answers), "*2\r\n*2\r\n:5\r\n:40\r\n*2\r\n:7\r\n:9\r\n");
        let event =
            |time: u32, took: u32, most: u32| format!("*1\r\n*4\r\n$1\r\na\r\n:{time}\r\n:{took}\r\n:{most}\r\n");
        assert_eq!(merged(Asked::Latest, &[&event(5, 9, 9), &event(6, 2, 4), "*0\r\n"]), event(6, 2, 9));
        assert_eq!(merged(Asked::Latest, &["*0\r\n", "-NOPERM x\r\n"]), "-NOPERM x\r\n");
        let told = |time: u32, sum: u32, count: u32| {
            format!("*1\r\n*6\r\n$1\r\na\r\n:{time}\r\n:3\r\n:9\r\n:{sum}\r\n:{count}\r\n")
        };
        assert_eq!(merged(Asked::Latest, &[&told(5, 20, 4), "*0\r\n", &told(6, 12, 2)]), told(6, 32, 6));
        assert_eq!(merged(Asked::Latest, &[&told(5, 20, 4), &event(6, 2, 4)]), event(6, 2, 9));
    }

    #[test]
    fn times_of_commands_are_added_up_but_what_all_execute_counts_once() {
        let of = |name: &str, calls: u32, times: &[(u32, u32)]| {
            let times: String = times.iter().map(|(time, count)| format!(":{time}\r\n:{count}\r\n")).collect();
            let size = times.lines().count();
            format!(
                "${}\r\n{name}\r\n*4\r\n$5\r\ncalls\r\n:{calls}\r\n$14\r\nhistogram_usec\r\n*{size}\r\n{times}",
                name.len()
            )
        };
        let one = format!("*4\r\n{}{}", of("get", 3, &[(1, 2), (4, 3)]), of("flushall", 2, &[(2, 2)]));
        let other = format!("*4\r\n{}{}", of("flushall", 2, &[(1, 1), (2, 2)]), of("get", 2, &[(2, 1), (8, 2)]));
        let sum = [of("get", 5, &[(1, 2), (2, 3), (4, 4), (8, 5)]), of("flushall", 2, &[(1, 1), (2, 2)])];
        assert_eq!(merged(Asked::Histogram, &[&one, &other, "*0\r\n"]), format!("*4\r\n{}", sum.concat()));
    }
}
