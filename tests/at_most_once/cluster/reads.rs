//! Reads of a cluster that go to replicas: they find a client's own writes, and every key that there is, while slots move
//! and primaries change. Primaries are never told `READONLY`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::nodes::{Node, Nodes, SHARDS, key_of};
use crate::support::{Client, Gateway, Metrics, requests, wait};

/// Two slots of the first shard and one of each other.
const SLOTS: [u16; 4] = [5, 1_000, 7_000, 12_000];

/// How often a node has executed a command.
fn calls(node: &Node, command: &str) -> usize {
    let stats = String::from_utf8_lossy(&node.client().line("INFO commandstats")).into_owned();
    let start = format!("cmdstat_{command}:calls=");
    let count = stats.lines().find_map(|line| line.strip_prefix(&start)?.split(',').next()?.parse().ok());
    count.unwrap_or_default()
}

fn gateway(nodes: &Nodes, reads: &str) -> Gateway {
    let config = format!(
        "[upstream]\nurl = \"{}\"\nreads = \"{reads}\"\nreplica_lag_max_ms = 400\nfailover_wait_ms = 30000\n[pool]\n\
         queue_timeout_ms = 40000\nreply_timeout_ms = 40000",
        nodes.url()
    );
    Gateway::builder().config(&config).metrics().allow_lost_upstream().start()
}

/// Waits until a replica of each shard answers reads.
fn wait_for_reads(nodes: &Nodes, gateway: &Gateway) {
    let mut client = gateway.client();
    SLOTS.iter().for_each(|slot| client.expect(&format!("SET {} lasts", key_of(*slot)), "+OK\r\n"));
    let replicas: Vec<&Node> = nodes.0.iter().filter(|node| !node.is_primary()).collect();
    wait("replicas to have reads", || {
        SLOTS.iter().for_each(|slot| client.expect(&format!("GET {}", key_of(*slot)), "$5\r\nlasts\r\n"));
        replicas.iter().all(|replica| calls(replica, "get") > 0).then_some(())
    });
}

/// Writes and reads its own, one after the other and in one pipeline, until it is `over`.
fn own_writes(mut client: Client, slot: u16, number: usize, over: &AtomicBool) {
    let key = format!("{{{}}}:{number}", key_of(slot));
    for round in 0.. {
        let (value, get) = (format!("{round:09}"), format!("GET {key}"));
        client.expect(&format!("SET {key} {value}"), "+OK\r\n");
        (0..20).for_each(|_| client.expect(&get, &format!("$9\r\n{value}\r\n")));
        let (again, set) = (format!("{round:08}p"), format!("SET {key} {round:08}p"));
        client.send_raw(&requests(&[&get, &set, &get, &get]));
        let expected = [format!("$9\r\n{value}\r\n"), "+OK\r\n".into(), format!("$9\r\n{again}\r\n")];
        let replies = client.read_replies(4);
        let replies: Vec<_> = replies.iter().map(|reply| String::from_utf8_lossy(reply)).collect();
        assert_eq!(replies, [&*expected[0], &*expected[1], &*expected[2], &*expected[2]], "{key}");
        if over.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Reads what nobody changes, alone and with keys of other shards.
fn reads(mut client: Client, over: &AtomicBool) {
    let all: Vec<String> = SLOTS.iter().map(|slot| key_of(*slot)).collect();
    let (mget, found) = (format!("MGET {}", all.join(" ")), format!("*4\r\n{}", "$5\r\nlasts\r\n".repeat(4)));
    while !over.load(Ordering::Relaxed) {
        all.iter().for_each(|key| client.expect(&format!("GET {key}"), "$5\r\nlasts\r\n"));
        client.expect(&mget, &found);
        client.expect(&format!("EXISTS {}", all[0]), ":1\r\n");
    }
}

#[test]
fn reads_of_replicas_miss_nothing_while_slots_move_and_primaries_change() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes, "prefer_replica");
    wait_for_reads(&nodes, &gateway);
    let told: usize = nodes.0.iter().filter(|node| node.is_primary()).map(|node| calls(node, "readonly")).sum();
    assert_eq!(told, 0, "primaries are not told READONLY");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        let writers = SLOTS.iter().enumerate().map(|(number, slot)| {
            let client = gateway.client();
            scope.spawn(move || own_writes(client, *slot, number, over))
        });
        let readers = (0..4).map(|_| gateway.client());
        let readers = readers.map(|client| scope.spawn(move || reads(client, over)));
        let threads: Vec<_> = writers.chain(readers.collect::<Vec<_>>()).collect();
        for round in 0..4 {
            let (from, to) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
            for slot in [5, 1_000] {
                nodes.move_slot(slot, &nodes.0[from], &nodes.0[to], |_| ());
                nodes.wait_until_known(slot, &nodes.0[to]);
            }
        }
        nodes.fail_over(SHARDS + 1);
        over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("no client misses anything"));
    });
    // The roles have changed, and reads go to whoever is a replica now.
    let demoted = &nodes.0[1];
    let (before, mut client) = (calls(demoted, "get"), gateway.client());
    wait("the former primary to have reads", || {
        client.expect(&format!("GET {}", key_of(7_000)), "$5\r\nlasts\r\n");
        (calls(demoted, "get") > before + 10).then_some(())
    });
    let page = Metrics::read(gateway.metrics_address());
    let pools = format!("respool_pool_up{{node=\"{}\"", demoted.address());
    let pools = page.series().filter(|series| series.starts_with(&pools)).count();
    assert_eq!(pools, 2, "it has been read from as a primary and as a replica");
}

#[test]
fn a_replica_that_is_lost_costs_no_error_and_reads_for_replicas_alone_are_refused_without_one() {
    let mut nodes = Nodes::start();
    let (preferring, insisting) = (gateway(&nodes, "prefer_replica"), gateway(&nodes, "replica"));
    wait_for_reads(&nodes, &preferring);
    wait_for_reads(&nodes, &insisting);
    let (mut preferring, mut insisting) = (preferring.client(), insisting.client());
    let get = format!("GET {}", key_of(5));
    let shown = String::from_utf8_lossy(&preferring.line("RESPOOL TOPOLOGY")).into_owned();
    assert!(shown.contains("linked") && shown.contains("lag_ms"), "{shown}");
    nodes.0[SHARDS].kill9();
    (0..50).for_each(|_| preferring.expect(&get, "$5\r\nlasts\r\n"));
    let refused = b"-ERR respool: no replica";
    wait("reads to be refused", || insisting.line(&get).starts_with(refused).then_some(()));
    // Others are as before, and so are writes.
    insisting.expect(&format!("GET {}", key_of(12_000)), "$5\r\nlasts\r\n");
    insisting.expect(&format!("SET {} new", key_of(5)), "+OK\r\n");
}
