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

use pool::Spent;
use settings::SlowLogSettings;

use crate::observe::{registry::Entry, requests::args};

/// Who was slow, and with what.
// Open: a plain value, made here and shown by the console.
#[derive(Debug, Clone)]
pub(crate) struct SlowBurst {
    pub(crate) id: u64,
    /// Seconds since 1970, at the end.
    pub(crate) time: u64,
    pub(crate) spent: Spent,
    pub(crate) requests: u32,
    pub(crate) args: Vec<String>,
    pub(crate) address: String,
    pub(crate) name: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct SlowLog(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The newest first.
    entries: VecDeque<SlowBurst>,
    /// Slow bursts so far, those included that were not kept.
    count: u64,
    /// The second of the last entry, and how many entries it has got.
    second: u64,
    in_second: usize,
}

impl SlowLog {
    /// Adds a burst of `client` that was slow and wanted `due` replies. `requests` are empty where it was given up,
    /// and they with it.
    #[cold]
    pub(crate) fn add(&self, client: &Entry, requests: &[u8], due: u32, spent: Spent, settings: SlowLogSettings) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let Some(id) = self.admit(time, settings) else { return };
        let burst = SlowBurst {
            id,
            time,
            spent,
            requests: due,
            args: args::shown(requests),
            address: client.address().to_string(),
            name: String::from_utf8_lossy(&client.details().name).into_owned(),
        };
        self.keep(burst, settings);
    }

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

    fn keep(&self, entry: SlowBurst, settings: SlowLogSettings) {
        let mut kept = self.lock();
        kept.entries.push_front(entry);
        kept.entries.truncate(settings.entries_max);
    }

    /// The newest `count` entries.
    pub(crate) fn newest(&self, count: usize) -> Vec<SlowBurst> {
        self.lock().entries.iter().take(count).cloned().collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn burst(id: u64) -> SlowBurst {
        let spent = Spent { queue_us: 1, total_us: 3 };
        SlowBurst { id, time: 0, spent, requests: 1, args: vec![], address: String::new(), name: String::new() }
    }

    #[test]
    fn it_keeps_the_newest_and_no_more_a_second_than_it_has_room_for() {
        let (log, settings) = (SlowLog::default(), SlowLogSettings { threshold_us: 0, entries_max: 2 });
        for second in [7, 7, 7, 8] {
            if let Some(id) = log.admit(second, settings) {
                log.keep(burst(id), settings);
            }
        }
        let ids: Vec<_> = log.newest(9).into_iter().map(|burst| burst.id).collect();
        assert_eq!(ids, [3, 1], "2 was one too many in its second");
        assert_eq!(log.newest(1).len(), 1);
        assert_eq!(log.newest(1)[0].spent.upstream_us(), 2);
        log.reset();
        assert_eq!((log.len(), log.admit(9, settings)), (0, Some(4)), "ids go on");
    }
}
