//! A verified load for failovers: each client writes its own keys, one by one and in pipelines, and reads them again.
//! What was acknowledged has to be there in the end, no reply may be another's, and no connection may end.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Gateway, assert_own_error, pass, request, wait};

/// Clients that write at the same time.
pub const CLIENTS: usize = 20;

/// How long a client rests between two rounds of a load that goes slowly.
const REST: Duration = Duration::from_millis(50);

/// Keys whose values are asked for at a time in the end.
const ASKED: usize = 500;

/// A write that was acknowledged.
pub struct Write {
    pub client: usize,
    pub key: String,
    pub value: String,
    pub at: Instant,
}

/// What all clients were told.
#[derive(Default)]
pub struct Told {
    pub writes: Vec<Write>,
    pub errors: Vec<String>,
    /// Counts that `INCR`s of each client's counter returned, in its order.
    pub counts: Vec<Vec<i64>>,
    /// `INCR`s that got an error: they may have been executed.
    pub uncounted: Vec<usize>,
}

/// Who writes.
#[derive(Clone, Copy)]
pub struct Clients {
    pub number: usize,
    /// Whether a client sends pipelines too. Otherwise it has one request under way at a time.
    pub pipelines: bool,
}

/// The load as whoever makes the trouble sees it.
#[derive(Default)]
pub struct Load {
    /// Rounds that all clients together have had.
    rounds: AtomicUsize,
    is_slow: AtomicBool,
    is_over: AtomicBool,
}

impl Load {
    /// Has the clients rest between rounds, or not any more.
    pub fn slow_down(&self, is_slow: bool) {
        self.is_slow.store(is_slow, Ordering::Relaxed);
    }
}

/// Runs clients while `trouble` does its worst, which can see how many rounds they have had.
pub fn under_load(gateway: &Gateway, trouble: impl FnOnce(&Load)) -> Told {
    under_load_of(Clients { number: CLIENTS, pipelines: true }, gateway, trouble)
}

/// The same with these clients.
pub fn under_load_of(clients: Clients, gateway: &Gateway, trouble: impl FnOnce(&Load)) -> Told {
    let load = Load::default();
    let parts: Vec<Told> = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients.number)
            .map(|index| {
                let (client, load) = (gateway.client(), &load);
                scope.spawn(move || write_on(client, index, clients.pipelines, load))
            })
            .collect();
        let over = Over(&load);
        trouble(&load);
        drop(over);
        threads.into_iter().map(|thread| thread.join().expect("no client fails")).collect()
    });
    let mut told = Told::default();
    for part in parts {
        told.writes.extend(part.writes);
        told.errors.extend(part.errors);
        told.counts.extend(part.counts);
        told.uncounted.extend(part.uncounted);
    }
    println!("{} writes acknowledged, {} errors", told.writes.len(), told.errors.len());
    for (error, times) in told.errors_by_text() {
        println!("{times} times {error}");
    }
    told
}

/// Waits until the clients have had `each` more rounds.
pub fn more_load(load: &Load, each: usize) {
    let goal = load.rounds.load(Ordering::Relaxed) + CLIENTS * each;
    wait("the load to be there", || (load.rounds.load(Ordering::Relaxed) > goal).then_some(()));
}

/// Ends the load, also when what makes the trouble fails.
struct Over<'l>(&'l Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

fn write_on(mut client: Client, index: usize, pipelines: bool, load: &Load) -> Told {
    let mut told = Told { counts: vec![Vec::new()], uncounted: vec![0], ..Told::default() };
    for round in 0.. {
        let (key, value, counter) = (format!("c{index}:{round}"), format!("v{index}:{round}"), format!("n{index}"));
        // Alone, and then, if there are to be any, a pipeline with a transaction in it.
        let alone = client.call(&["SET", &key, &value]);
        told.note(index, alone, &key, &value);
        if pipelines {
            told.pipeline(&mut client, index, [&key, &value, &counter]);
        } else {
            let count = client.call(&["INCR", &counter]);
            told.count(&count);
        }
        load.rounds.fetch_add(1, Ordering::Relaxed);
        if load.is_over.load(Ordering::Relaxed) {
            break;
        }
        if load.is_slow.load(Ordering::Relaxed) {
            pass(REST);
        }
    }
    told
}

impl Told {
    /// Of one client: two writes and a count between them, at once.
    fn pipeline(&mut self, client: &mut Client, index: usize, [key, value, counter]: [&str; 3]) {
        let (more, last) = (format!("{key}:p"), format!("{key}:t"));
        let pipeline: [&[&str]; 6] = [
            &["SET", &more, value],
            &["INCR", counter],
            &["MULTI"],
            &["SET", &last, value],
            &["GET", &last],
            &["EXEC"],
        ];
        client.send_raw(&pipeline.iter().flat_map(|args| request(args)).collect::<Vec<_>>());
        let replies = client.read_replies(pipeline.len());
        self.note(index, replies[0].clone(), &more, value);
        self.count(&replies[1]);
        let executed = format!("*2\r\n+OK\r\n${}\r\n{value}\r\n", value.len());
        let done = if replies[5] == executed.as_bytes() { b"+OK\r\n".to_vec() } else { replies[5].clone() };
        self.note(index, done, &last, value);
    }

    /// Of one client.
    fn count(&mut self, reply: &[u8]) {
        match reply.strip_prefix(b":") {
            Some(count) => {
                self.counts[0].push(String::from_utf8_lossy(count).trim_end().parse().expect("a number"));
            }
            None => {
                self.uncounted[0] += 1;
                self.failed(reply);
            }
        }
    }

    fn note(&mut self, client: usize, reply: Vec<u8>, key: &str, value: &str) {
        if reply == b"+OK\r\n" {
            self.writes.push(Write { client, key: key.to_owned(), value: value.to_owned(), at: Instant::now() });
        } else {
            self.failed(&reply);
        }
    }

    #[track_caller]
    fn failed(&mut self, reply: &[u8]) {
        assert_own_error(reply);
        self.errors.push(String::from_utf8_lossy(reply).trim_end().to_owned());
    }

    /// Acknowledged writes that the node does not have.
    pub fn lost(&self, node: &mut Client) -> Vec<&Write> {
        let mut lost = Vec::new();
        for writes in self.writes.chunks(ASKED) {
            node.send_raw(&writes.iter().flat_map(|write| request(&["GET", &write.key])).collect::<Vec<_>>());
            for (write, found) in writes.iter().zip(node.read_replies(writes.len())) {
                if found != format!("${}\r\n{}\r\n", write.value.len(), write.value).as_bytes() {
                    lost.push(write);
                }
            }
        }
        lost
    }

    /// No `INCR` was executed twice, and none that was acknowledged is missing, but for those that got an error.
    #[track_caller]
    pub fn assert_counted_once(&self) {
        assert_eq!(self.counts_lost(), 0, "a count came twice or went back");
        self.assert_not_doubled();
    }

    /// How often a count came twice or went back: what was counted before was lost with a primary.
    pub fn counts_lost(&self) -> usize {
        self.counts.iter().flat_map(|counts| counts.windows(2)).filter(|pair| pair[0] >= pair[1]).count()
    }

    /// No `INCR` was executed twice.
    #[track_caller]
    pub fn assert_not_doubled(&self) {
        for (counts, uncounted) in self.counts.iter().zip(&self.uncounted) {
            let last = counts.last().copied().unwrap_or_default();
            let most = i64::try_from(counts.len() + uncounted).expect("a small number");
            assert!(last <= most, "{last} INCRs were executed of {most} that were sent");
        }
    }

    /// The longest time without an acknowledged write.
    pub fn gap(&self) -> Duration {
        let mut moments: Vec<Instant> = self.writes.iter().map(|write| write.at).collect();
        moments.sort();
        moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Each error, with figures left out, and how often it came.
    fn errors_by_text(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for error in &self.errors {
            *found.entry(error.replace(|char: char| char.is_ascii_digit(), "")).or_default() += 1;
        }
        found
    }

    /// Nothing got an error but what had been sent: all else waited.
    #[track_caller]
    pub fn assert_only_sent_failed(&self) {
        let other = self.errors.iter().find(|error| !error.contains("may have been executed"));
        assert!(other.is_none(), "a request that was not sent got an error: {other:?}");
    }

    #[track_caller]
    pub fn assert_no_error(&self) {
        assert!(self.errors.is_empty(), "{} errors, such as {:?}", self.errors.len(), self.errors.first());
    }
}
