//! The slow log: requests that took long, with the time that each waited for a connection and the time that
//! the upstream took. Kept in memory, within bounds. Sessions add to it, `RESPOOL SLOWLOG` shows it.
//!
//! What is measured is a burst, so an entry stands for all its requests and shows the first. Blocking
//! commands wait because they were asked to and are left out.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use pool::{Spent, micros};
use settings::SlowLogSettings;
use tokio::time::Instant;

use crate::{
    console::rows::{Cell, Row, number, text},
    exclusive::request::Single,
    observe::slow_args,
    session::session::Session,
};

/// Who was slow, and with what.
#[derive(Debug)]
struct Entry {
    id: u64,
    /// Seconds since 1970, at the end.
    time: u64,
    spent: Spent,
    requests: u32,
    args: Vec<String>,
    address: String,
    name: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct SlowLog(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The newest first.
    entries: VecDeque<Entry>,
    /// Slow bursts so far, those included that were not kept.
    count: u64,
    /// The second of the last entry, and how many entries it has got.
    second: u64,
    in_second: usize,
}

impl SlowLog {
    /// Counts a slow burst; its id, if it is to be kept. When everything is slow, writing it all down must not
    /// make it slower: as many entries a second as there is room for are enough.
    fn admit(&self, second: u64, settings: SlowLogSettings) -> Option<u64> {
        let mut kept = self.lock();
        kept.count += 1;
        if kept.second != second {
            (kept.second, kept.in_second) = (second, 0);
        }
        kept.in_second += 1;
        (kept.in_second <= settings.entries_max).then_some(kept.count - 1)
    }

    fn keep(&self, entry: Entry, settings: SlowLogSettings) {
        let mut kept = self.lock();
        kept.entries.push_front(entry);
        kept.entries.truncate(settings.entries_max);
    }

    /// The newest `count` entries.
    pub(crate) fn rows(&self, count: usize) -> Vec<Row> {
        self.lock().entries.iter().take(count).map(Entry::row).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    pub(crate) fn reset(&self) {
        self.lock().entries.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn row(&self) -> Row {
        vec![
            ("id", number(self.id)),
            ("time", number(self.time)),
            ("total_us", number(self.spent.total_us)),
            ("queue_us", number(self.spent.queue_us)),
            ("upstream_us", number(self.spent.upstream_us())),
            ("requests", number(self.requests)),
            ("command", Cell::List(self.args.clone())),
            ("addr", text(self.address.as_str())),
            ("name", text(self.name.as_str())),
        ]
    }
}

impl<S> Session<S> {
    /// Adds what was executed on an exclusive connection from `began` on, if it was slow.
    pub(crate) fn note_if_slow(&self, single: &Single, began: Instant) {
        let queue_us = micros(single.waited);
        let spent = Spent { queue_us, total_us: queue_us.saturating_add(micros(began.elapsed())) };
        if spent.total_us >= self.settings.slow_log.threshold_us && !single.waits() {
            self.note_slow(&single.requests, single.due, spent);
        }
    }

    /// Adds a slow burst to the log. `requests` are empty where it was given up, and they with it.
    #[cold]
    pub(crate) fn note_slow(&self, requests: &[u8], due: u32, spent: Spent) {
        let settings = self.settings.slow_log;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let Some(id) = self.context.slow_log.admit(time, settings) else { return };
        let entry = Entry {
            id,
            time,
            spent,
            requests: due,
            args: slow_args::shown(requests),
            address: self.entry.address.to_string(),
            name: String::from_utf8_lossy(&self.entry.details().name).into_owned(),
        };
        self.context.slow_log.keep(entry, settings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64) -> Entry {
        let spent = Spent { queue_us: 1, total_us: 3 };
        Entry { id, time: 0, spent, requests: 1, args: vec![], address: String::new(), name: String::new() }
    }

    #[test]
    fn it_keeps_the_newest_and_no_more_a_second_than_it_has_room_for() {
        let (log, settings) = (SlowLog::default(), SlowLogSettings { threshold_us: 0, entries_max: 2 });
        for second in [7, 7, 7, 8] {
            if let Some(id) = log.admit(second, settings) {
                log.keep(entry(id), settings);
            }
        }
        let ids: Vec<_> = log.rows(9).into_iter().map(|row| row[0].1.clone()).collect();
        assert_eq!(ids, [number(3), number(1)], "2 was one too many in its second");
        assert_eq!(log.rows(1).len(), 1);
        assert_eq!(log.rows(1)[0][4], ("upstream_us", number(2)));
        log.reset();
        assert_eq!((log.len(), log.admit(9, settings)), (0, Some(4)), "ids go on");
    }
}
