//! Primaries change, by order or because one is lost.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::nodes::{Nodes, key_of};
use crate::support::{Client, Gateway, Machine, Metrics, requests, wait};

/// Slots whose keys are counted up, two of each shard.
pub(super) const COUNTED: [u16; 6] = [5, 1_000, 6_000, 7_000, 12_000, 16_000];

/// What a client that counts has seen. Nothing counts twice, whatever happens.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The last number that it was told.
    last: i64,
    /// Errors since then: each may have counted.
    unsure: i64,
    pub(super) errors: Vec<String>,
    pub(super) told: u32,
    /// Numbers that it was told and that were not there the next time.
    pub(super) lost: i64,
}

/// Counts up a key of `slot` until `over`. Each reply is the one before plus one, and one more at most for each error.
fn count(mut client: Client, slot: u16, over: &AtomicBool) -> Seen {
    let (mut seen, incr) = (Seen::default(), format!("INCR {}", key_of(slot)));
    while !over.load(Ordering::Relaxed) {
        let reply = client.line(&incr);
        match reply.strip_prefix(b":").map(String::from_utf8_lossy) {
            Some(number) => {
                let number: i64 = number.trim_end().parse().expect("a number");
                assert!(number <= seen.last + 1 + seen.unsure, "{number} after {seen:?}");
                seen.lost += (seen.last + 1 - number).max(0);
                (seen.last, seen.unsure) = (number, 0);
                seen.told += 1;
            }
            None => {
                let text = String::from_utf8_lossy(&reply).into_owned();
                assert!(text.starts_with("-ERR respool: "), "{text}");
                seen.unsure += 1;
                seen.errors.push(text);
            }
        }
    }
    seen
}

/// Says that it is over when it goes.
struct Ends<'o>(&'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Counters in all shards while `meanwhile` runs, and a moment before and after.
pub(super) fn under_load(gateway: &Gateway, meanwhile: impl FnOnce()) -> Vec<Seen> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let counting: Vec<_> = COUNTED
            .iter()
            .map(|slot| {
                let (client, over) = (gateway.client(), &over);
                scope.spawn(move || count(client, *slot, over))
            })
            .collect();
        // However it ends, so do those who count.
        let _ends = Ends(&over);
        meanwhile();
        over.store(true, Ordering::Relaxed);
        counting.into_iter().map(|counting| counting.join().expect("it saw nothing wrong")).collect()
    })
}

/// All counters go on.
pub(super) fn goes_on(gateway: &Gateway) {
    for slot in COUNTED {
        let number = || {
            let reply = gateway.client().line(&format!("GETRANGE {} 0 -1", key_of(slot)));
            String::from_utf8_lossy(&reply).lines().nth(1).and_then(|number| number.parse::<i64>().ok()).unwrap_or(0)
        };
        let before = number();
        wait("a counter to go on", || (number() > before + 10).then_some(()));
    }
}

pub(super) fn served(gateway: &Gateway, slot: u16) {
    wait("the slot to be served", || {
        let reply = gateway.client().line(&format!("EXISTS {}", key_of(slot)));
        (!reply.starts_with(b"-")).then_some(())
    });
}

#[test]
fn a_failover_by_order_costs_no_client_an_error() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let seen = under_load(&gateway, || {
        goes_on(&gateway);
        for replica in [3, 4, 0] {
            nodes.fail_over(replica);
            goes_on(&gateway);
        }
    });
    let errors: Vec<_> = seen.iter().flat_map(|seen| &seen.errors).collect();
    assert!(errors.is_empty() && seen.iter().all(|seen| seen.told > 10 && seen.lost == 0), "{seen:?}");
}

#[test]
fn a_primary_that_is_killed_is_followed_to_its_replica_and_nothing_counts_twice() {
    let mut nodes = Nodes::start();
    let gateway = nodes.gateway();
    served(&gateway, 5);
    let (other, slot) = (key_of(7_000), key_of(5));
    let killed = std::cell::RefCell::new(&mut nodes);
    let seen = under_load(&gateway, || {
        wait("all to count", || {
            let told = gateway.client().line(&format!("MGET {other} {slot}"));
            (!told.windows(3).any(|part| part == b"$-1")).then_some(())
        });
        killed.borrow_mut().0[0].kill9();
        // Others are served meanwhile.
        let began = Instant::now();
        let (mut client, machine) = (gateway.client(), Machine::watch());
        while began.elapsed() < Duration::from_millis(500) {
            let asked = Instant::now();
            assert_eq!(client.line("SET {k}other 1"), b"+OK\r\n", "of a shard that is alive");
            machine.assert_within(Duration::from_secs(2), asked.elapsed(), "a request beside the dead node");
        }
        served(&gateway, 5);
    });
    // What was on its way when the node died; what came later waited.
    let errors: usize = seen.iter().map(|seen| seen.errors.len()).sum();
    assert!(errors <= 4, "{errors}: {seen:?}");
    assert!(seen.iter().all(|seen| seen.lost == 0), "{seen:?}");
    killed.borrow_mut().0[0].restart();
}

#[test]
fn a_frozen_primary_delays_no_other_and_its_clients_go_on_with_the_next() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    served(&gateway, 12_000);
    nodes.0[2].freeze();
    let (mut client, machine) = (gateway.client(), Machine::watch());
    for _ in 0..200 {
        let asked = Instant::now();
        client.expect(&format!("INCRBY {} 0", key_of(5)), ":0\r\n");
        machine.assert_within(Duration::from_secs(2), asked.elapsed(), "a request beside the frozen node");
    }
    served(&gateway, 12_000);
    nodes.0[2].thaw();
}

#[test]
fn shards_that_fail_over_at_once_need_no_more_room_than_they_have() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway_that_waits(30_000, "pools_max = 3");
    [5, 7_000, 12_000].iter().for_each(|slot| served(&gateway, *slot));
    // The former primaries are in use until there is a way to those that take over.
    for replica in [4, 5] {
        nodes.0[replica].client().expect("CLUSTER FAILOVER", "+OK\r\n");
    }
    [4, 5].iter().for_each(|replica| nodes.fail_over(*replica));
    [7_000, 12_000, 5].iter().for_each(|slot| served(&gateway, *slot));
}

#[test]
fn a_failed_part_is_an_error_and_never_data() {
    let mut nodes = Nodes::start();
    let gateway = Gateway::builder()
        .config(&format!("[upstream]\nurl = \"{}\"\nfailover_wait_ms = 0", nodes.url()))
        .allow_lost_upstream()
        .start();
    served(&gateway, 12_000);
    served(&gateway, 5);
    let (dead, alive) = (key_of(12_000), key_of(5));
    gateway.client().expect(&format!("MSET {dead} 1 {alive} 2"), "+OK\r\n");
    nodes.0[5].kill9();
    nodes.0[2].kill9();
    let mut client = gateway.client();
    for line in [
        format!("MGET {alive} {dead}"),
        format!("EXISTS {alive} {dead}"),
        format!("DEL {dead} nosuch"),
        format!("MSET {alive} 2 {dead} 3"),
        "DBSIZE".to_owned(),
        "KEYS *".to_owned(),
        "RANDOMKEY".to_owned(),
        format!("GET {dead}"),
    ] {
        let reply = client.line(&line);
        assert!(reply.starts_with(b"-ERR respool: "), "{line}: {}", String::from_utf8_lossy(&reply));
        let says_so = reply.ends_with(b" (a part of the command was executed at other shards)\r\n");
        assert_eq!(says_so, line.starts_with("MSET"), "{line}");
    }
    client.expect(&format!("GET {alive}"), "$1\r\n2\r\n");
}

#[test]
fn reads_that_a_lost_node_had_are_asked_again_unless_a_write_stands_behind_them() {
    let mut nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (read, written, other) = (key_of(12_000), key_of(12_001), key_of(5));
    let mut client = gateway.client();
    client.expect(&format!("MSET {read} 1 {written} 1"), "+OK\r\n");
    wait("the replica to have it", || {
        let mut replica = nodes.0[5].client();
        replica.expect("READONLY", "+OK\r\n");
        let mut has = |key| replica.line(&format!("GET {key}")) == b"$1\r\n1\r\n";
        (has(&read) && has(&written)).then_some(())
    });
    nodes.0[2].freeze();
    let lines = [
        format!("GET {read}"),
        format!("SET {other} v"),
        format!("GET {written}"),
        format!("INCR {written}"),
        format!("GET {written}"),
    ];
    client.send_raw(&requests(&lines.each_ref().map(String::as_str)));
    let in_flight = format!("respool_pool_in_flight{{node=\"{}\",login=\"\",kind=\"node\"}}", nodes.0[2].address());
    wait("all to be sent", || {
        let in_flight = Metrics::read(gateway.metrics_address()).value(&in_flight);
        (in_flight >= 4.0).then_some(())
    });
    nodes.0[2].kill9();
    let replies = client.read_replies(5);
    let shown: Vec<_> = replies.iter().map(|reply| String::from_utf8_lossy(reply).into_owned()).collect();
    assert_eq!((shown[0].as_str(), shown[1].as_str()), ("$1\r\n1\r\n", "+OK\r\n"));
    // It might have seen what was written behind it.
    assert!(shown[2].starts_with("-ERR respool: ") && shown[3].starts_with("-ERR respool: "), "{shown:?}");
    assert_eq!(shown[4], "$1\r\n1\r\n", "what stands behind the write sees what there is");
    nodes.0[2].restart();
}

#[test]
fn what_belongs_to_no_slot_goes_on_while_the_whole_first_shard_is_lost() {
    let mut nodes = Nodes::start();
    let gateway = nodes.gateway_that_waits(4_000, "");
    let (mut client, [lost, other]) = (gateway.client(), [5, 7_000].map(key_of));
    client.expect(&format!("SET {lost} v"), "+OK\r\n");
    client.expect(&format!("SET {other} v"), "+OK\r\n");
    [3, 0].iter().for_each(|node| nodes.0[*node].kill9());
    // Whoever comes now waits for somebody to take over, and goes elsewhere when nobody does.
    client.expect("PING", "+PONG\r\n");
    for (line, reply) in [("PUBLISH c m", ":0\r\n"), ("EVAL return+1 0", ":1\r\n"), ("SUBSCRIBE c", "*3\r\n")] {
        let words: Vec<String> = line.split(' ').map(|word| word.replace('+', " ")).collect();
        let said = gateway.client().call(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.starts_with(reply.as_bytes()), "{line}: {said:?}");
    }
    client.expect(&format!("GET {other}"), "$1\r\nv\r\n");
    let said = String::from_utf8_lossy(&client.line(&format!("GET {lost}"))).into_owned();
    assert!(said.starts_with("-ERR respool: no primary within failover_wait_ms (4000 ms): "), "{said}");
    [0, 3].iter().for_each(|node| nodes.0[*node].restart());
    wait("the shard to be there again", || (client.line(&format!("GET {lost}")) == b"$-1\r\n").then_some(()));
    client.expect("PING", "+PONG\r\n");
}

#[test]
fn what_has_been_begun_goes_on_where_the_news_of_a_loss_comes_together_with_the_next_request() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (watch, set) = (format!("WATCH {}", key_of(6_000)), format!("SET {} v", key_of(6_000)));
    let begun: [(&[&str], &[&str], &str); 4] = [
        (&["MULTI", &set], &["EXEC"], "*1\r\n+OK\r\n"),
        (&["MULTI", &set], &[&set, "EXEC"], "*2\r\n+OK\r\n+OK\r\n"),
        (&[&watch], &["MULTI", &set, "EXEC"], "*-1\r\n"),
        (&[&watch], &["UNWATCH"], "+OK\r\n"),
    ];
    let mut clients = begun.map(|(lines, ..)| {
        let mut client = gateway.client();
        client.send_raw(&requests(lines));
        client.read_replies(lines.len());
        client
    });
    gateway.freeze();
    nodes.0[1].client().line("CLIENT KILL TYPE normal");
    for (client, (_, lines, _)) in clients.iter_mut().zip(begun) {
        client.send_raw(&requests(lines));
    }
    gateway.thaw();
    for (client, (_, lines, end)) in clients.iter_mut().zip(begun) {
        let replies = client.read_replies(lines.len());
        assert_eq!(String::from_utf8_lossy(replies.last().expect("replies")), end, "{lines:?}: {replies:?}");
    }
}
