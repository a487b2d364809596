//! Redis killed with `kill -9` in the middle of replies, under load, and started again. It keeps an
//! append-only file that it syncs on every write, so that what it acknowledged it must still have.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use crate::support::{Client, Gateway, Redis, assert_own_error, pass, seeded, wait};

const CLIENTS: usize = 12;
const KILLS: usize = 4;
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// What one client did and was told.
#[derive(Default)]
struct Record {
    /// Ids of acknowledged pushes, with the length that the list had then.
    acknowledged: Vec<(String, usize)>,
    /// Ids whose push got an error.
    failed: HashSet<String>,
    /// What acknowledged `INCR`s of the counter that all share returned.
    counts: Vec<u64>,
    /// `INCR`s sent.
    incremented: usize,
}

fn integer(reply: &[u8]) -> u64 {
    let text = std::str::from_utf8(reply).expect("text");
    text.trim_start_matches(':').trim_end().parse().expect("an integer")
}

impl Record {
    /// Sends one pipeline and checks that each reply is an error of the gateway or belongs to its request.
    fn round(&mut self, client: &mut Client, own: &str, large: &str, round: usize, rng: &mut fastrand::Rng) {
        let ids: Vec<String> = (0..rng.usize(1..6)).map(|index| format!("{own}-{round}-{index}")).collect();
        for id in &ids {
            client.send(&["RPUSH", own, id]);
            client.send(&["ECHO", id]);
            client.send(&["INCR", "shared"]);
        }
        client.send(&["GET", "large"]);
        for id in &ids {
            let (pushed, echoed, counted) = (client.read_reply(), client.read_reply(), client.read_reply());
            self.incremented += 1;
            if pushed.starts_with(b":") {
                self.acknowledged.push((id.clone(), usize::try_from(integer(&pushed)).expect("a length")));
            } else {
                assert_own_error(&pushed);
                self.failed.insert(id.clone());
            }
            if !echoed.starts_with(b"-") {
                assert_eq!(echoed, format!("${}\r\n{id}\r\n", id.len()).into_bytes(), "another request's reply");
            }
            if counted.starts_with(b":") {
                self.counts.push(integer(&counted));
            } else {
                assert_own_error(&counted);
            }
        }
        let got = client.read_reply();
        if !got.starts_with(b"-") {
            assert!(got == large.as_bytes(), "the large value is whole or not there");
        }
    }

    /// Compares with what Redis has in the end.
    fn check(&self, own: &str, direct: &mut Client) {
        direct.send(&["LRANGE", own, "0", "-1"]);
        let reply = direct.read_reply();
        let text = String::from_utf8_lossy(&reply);
        let list: Vec<&str> = text.split("\r\n").filter(|line| line.starts_with(own)).collect();
        let distinct: HashSet<&str> = list.iter().copied().collect();
        assert_eq!(distinct.len(), list.len(), "a push was executed twice");
        for (id, length) in &self.acknowledged {
            assert_eq!(list.get(length - 1), Some(&id.as_str()), "an acknowledged write is lost or moved");
        }
        let known = self.acknowledged.len() + self.failed.len();
        assert!(
            list.len() <= known
                && list
                    .iter()
                    .all(|id| { self.failed.contains(*id) || self.acknowledged.iter().any(|(known, _)| known == id) })
        );
    }
}

#[test]
fn upstream_killed_mid_reply_under_load_loses_nothing() {
    let mut redis = Redis::start(&DURABLE);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 3").allow_lost_upstream().start();
    let value = "v".repeat(200_000);
    gateway.client().expect(&format!("SET large {value}"), "+OK\r\n");
    let large = format!("$200000\r\n{value}\r\n");
    let (over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut rng = seeded("killed under load");
    let records: Vec<Record> = thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|index| {
                let (mut client, mut rng) = (gateway.client(), rng.fork());
                let (over, rounds, large) = (&over, &rounds, &large);
                scope.spawn(move || {
                    let (own, mut record) = (format!("c{index}"), Record::default());
                    for round in 0.. {
                        record.round(&mut client, &own, large, round, &mut rng);
                        rounds.fetch_add(1, Ordering::Relaxed);
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    recovers(&mut client);
                    record
                })
            })
            .collect();
        for _ in 0..KILLS {
            // Under load again: every client has had a few rounds since the last restart.
            let goal = rounds.load(Ordering::Relaxed) + CLIENTS * 5;
            wait("the load to be there", || (rounds.load(Ordering::Relaxed) > goal).then_some(()));
            wait("the upstream to serve", || gateway.client().line("PING").starts_with(b"+").then_some(()));
            pass(Duration::from_millis(rng.u64(20..150)));
            redis.kill9();
            pass(Duration::from_millis(rng.u64(0..100)));
            redis.restart();
        }
        wait("the upstream to serve", || gateway.client().line("PING").starts_with(b"+").then_some(()));
        over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("no client fails")).collect()
    });
    check(&records, &mut redis.client());
}

/// The client's own connection serves again.
fn recovers(client: &mut Client) {
    wait("a client to recover", || (client.line("PING") == b"+PONG\r\n").then_some(()));
}

fn check(records: &[Record], direct: &mut Client) {
    for (index, record) in records.iter().enumerate() {
        record.check(&format!("c{index}"), direct);
        assert!(record.acknowledged.len() > 20, "client {index} did next to nothing");
    }
    let counts: Vec<u64> = records.iter().flat_map(|record| record.counts.iter().copied()).collect();
    let distinct: HashSet<u64> = counts.iter().copied().collect();
    assert_eq!(distinct.len(), counts.len(), "two INCRs returned the same count");
    direct.send(&["INCRBY", "shared", "0"]);
    let last = integer(&direct.read_reply());
    let sent: usize = records.iter().map(|record| record.incremented).sum();
    assert!(counts.iter().all(|count| *count <= last), "an acknowledged INCR is lost");
    assert!(
        (counts.len() as u64..=sent as u64).contains(&last),
        "{last} executed, {sent} sent: one was executed twice"
    );
    let failed: usize = records.iter().map(|record| record.failed.len()).sum();
    println!("{sent} INCRs sent, {} acknowledged, {last} executed, {failed} pushes failed", counts.len());
}

#[test]
fn clients_survive_a_restart_that_they_do_not_notice() {
    let mut redis = Redis::start(&DURABLE);
    let gateway = Gateway::builder().upstream(&redis.url()).allow_lost_upstream().start();
    let mut clients: Vec<Client> = (0..20).map(|_| gateway.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("SELECT {}", index % 3), "+OK\r\n");
        client.expect(&format!("SET k{index} {index}"), "+OK\r\n");
    }
    redis.kill9();
    redis.restart();
    clients.iter_mut().for_each(recovers);
    // Database and protocol are those of the session, whatever connection it gets.
    for (index, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("GET k{index}"), &format!("${}\r\n{index}\r\n", index.to_string().len()));
    }
}
