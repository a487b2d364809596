//! The upstream lost under load: Redis killed with `kill -9` in the middle of replies and started again
//! (with an append-only file that it syncs on every write, so that what it acknowledged it must still have),
//! and connections cut anywhere.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Client, Cut, Gateway, Machine, Redis, Relay, assert_own_error, pass, request, requests, seeded, wait,
};

const CLIENTS: usize = 12;
/// With the tests, and in a soak.
const KILLS: usize = 6;
const KILLS_OF_SOAK: usize = 50;
/// How soon clients are served again once Redis answers, on an idle machine: far more than it takes.
const SERVED_AGAIN: Duration = Duration::from_secs(1);
const CUTS: usize = 60;
/// Bytes of a reply that takes its time, and is not handed on in pieces: a client that has a part is closed.
const LARGE: usize = 200_000;
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

/// An error of the gateway, or what Redis says while it reads its file.
#[track_caller]
fn assert_failed(reply: &[u8]) {
    if !reply.starts_with(b"-LOADING ") {
        assert_own_error(reply);
    }
}

impl Record {
    /// Sends one pipeline and checks that each reply is an error of the gateway or belongs to its request.
    fn round(&mut self, client: &mut Client, own: &str, large: &str, round: usize, rng: &mut fastrand::Rng) {
        let ids: Vec<String> = (0..rng.usize(1..6)).map(|index| format!("{own}-{round}-{index}")).collect();
        // The large one first: while it is on its way the writes behind it are executed and not answered,
        // which is when a kill tells whether they are ever sent again.
        let mut pipeline = request(&["GET", "large"]);
        for id in &ids {
            pipeline.extend(requests(&[&format!("RPUSH {own} {id}"), &format!("ECHO {id}"), "INCR shared"]));
        }
        client.send_raw(&pipeline);
        let got = client.read_reply();
        if !got.starts_with(b"-") {
            assert!(got == large.as_bytes(), "the large value is whole or not there");
        }
        for id in &ids {
            let (pushed, echoed, counted) = (client.read_reply(), client.read_reply(), client.read_reply());
            self.incremented += 1;
            if pushed.starts_with(b":") {
                self.acknowledged.push((id.clone(), usize::try_from(integer(&pushed)).expect("a length")));
            } else {
                assert_failed(&pushed);
                self.failed.insert(id.clone());
            }
            if !echoed.starts_with(b"-") {
                assert_eq!(echoed, format!("${}\r\n{id}\r\n", id.len()).into_bytes(), "another request's reply");
            }
            if counted.starts_with(b":") {
                self.counts.push(integer(&counted));
            } else {
                assert_failed(&counted);
            }
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

/// Ends the load, also when what makes the trouble fails.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs clients while `trouble` does its worst, which can see their rounds; what they were told.
fn under_load(gateway: &Gateway, rng: &mut fastrand::Rng, trouble: impl FnOnce(&AtomicUsize)) -> Vec<Record> {
    let value = "v".repeat(LARGE);
    gateway.client().expect(&format!("SET large {value}"), "+OK\r\n");
    let large = format!("${LARGE}\r\n{value}\r\n");
    let (over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
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
        let over = Over(&over);
        trouble(&rounds);
        serves(gateway);
        drop(over);
        threads.into_iter().map(|thread| thread.join().expect("no client fails")).collect()
    })
}

/// Waits until the clients have had `each` more rounds.
fn more_load(rounds: &AtomicUsize, each: usize) {
    let goal = rounds.load(Ordering::Relaxed) + CLIENTS * each;
    wait("the load to be there", || (rounds.load(Ordering::Relaxed) > goal).then_some(()));
}

fn serves(gateway: &Gateway) {
    wait("the upstream to serve", || gateway.client().line("PING").starts_with(b"+").then_some(()));
}

fn killed_under_load(kills: usize) {
    let mut redis = Redis::start(&DURABLE);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 3").allow_lost_upstream().start();
    let mut rng = seeded("killed under load");
    let (machine, mut chance) = (Machine::watch(), rng.fork());
    let records = under_load(&gateway, &mut rng, |rounds| {
        for _ in 0..kills {
            more_load(rounds, 5);
            pass(Duration::from_millis(chance.u64(20..150)));
            redis.kill9();
            pass(Duration::from_millis(chance.u64(0..100)));
            redis.restart();
            let started = Instant::now();
            serves(&gateway);
            machine.assert_within(SERVED_AGAIN, started.elapsed(), "from the restart until a client was served");
        }
    });
    check(&records, &mut redis.client());
}

#[test]
fn upstream_killed_mid_reply_under_load_loses_nothing_and_serves_within_a_second_of_its_restart() {
    killed_under_load(KILLS);
}

#[test]
#[ignore = "takes minutes; ./tests/run soak runs it"]
fn soak_fifty_kills_under_load_lose_nothing() {
    killed_under_load(KILLS_OF_SOAK);
}

#[test]
fn connections_cut_anywhere_under_load_lose_nothing_and_repeat_nothing() {
    let redis = Redis::start(&[]);
    let relay = Relay::start(redis.address());
    let config = "[pool]\nworkers = 3\n[upstream]\nreconnect_delay_min_ms = 1";
    let gateway = Gateway::builder().upstream(&relay.url()).config(config).allow_lost_upstream().start();
    let mut rng = seeded("cut under load");
    let mut chance = rng.fork();
    // Here Redis lives on, so that what is sent twice is executed twice.
    let records = under_load(&gateway, &mut rng, |rounds| {
        for cuts in 1..=CUTS {
            let how = [Cut::Close, Cut::Reset, Cut::HalfClose][chance.usize(..3)];
            relay.cut_after(chance.usize(..2 * LARGE), how);
            wait("the cut", || (relay.cuts() >= cuts).then_some(()));
            more_load(rounds, 1);
        }
        more_load(rounds, 5);
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
    }
    let acknowledged: usize = records.iter().map(|record| record.acknowledged.len()).sum();
    assert!(acknowledged > 50 * CLIENTS, "{acknowledged} writes were acknowledged, which tells next to nothing");
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

#[test]
fn a_request_of_which_a_part_was_sent_is_not_sent_again() {
    let mut redis = Redis::start(&[]);
    let gateway = Gateway::builder()
        .upstream(&redis.url())
        .config("[pool]\nworkers = 1\n[upstream]\ncheck_interval_ms = 0")
        .allow_lost_upstream()
        .start();
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    redis.freeze();
    // More than the kernel takes for a Redis that reads nothing.
    client.send(&["SET", "k", &"x".repeat(32 << 20)]);
    let mut operator = gateway.client();
    wait("the worker to have it", || {
        let pools = String::from_utf8_lossy(&operator.line("RESPOOL POOLS")).into_owned();
        pools.contains("in_flight\r\n:1\r\n").then_some(())
    });
    redis.kill9();
    redis.restart();
    let reply = String::from_utf8_lossy(&client.read_reply()).into_owned();
    assert!(reply.starts_with("-ERR respool: ") && reply.contains("may have been executed"), "{reply}");
    recovers(&mut client);
    client.expect("EXISTS k", ":0\r\n");
}
