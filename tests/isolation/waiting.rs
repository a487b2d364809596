//! Commands that wait: nobody waits behind them, and what they say of replicas is true.

use std::time::{Duration, Instant};

use crate::support::{Gateway, Machine, Redis, wait};

#[test]
fn wait_tells_the_truth_about_the_sessions_last_write() {
    let primary = Redis::start(&[]);
    let port = primary.address().port().to_string();
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]);
    let gateway = Gateway::start(&primary.url());
    let mut client = gateway.client();
    client.expect("SET k 1", "+OK\r\n");
    wait("the replica to follow", || (client.line("WAIT 1 100") == b":1\r\n").then_some(()));
    replica.freeze();
    client.expect("SET k 2", "+OK\r\n");
    client.expect("WAIT 1 100", ":0\r\n");
    replica.thaw();
    client.expect("WAIT 1 60000", ":1\r\n");
}

#[test]
fn fifty_sessions_blocked_in_blpop_leave_plain_traffic_its_latency() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 2").start();
    let mut blocked: Vec<_> = (0..50).map(|_| gateway.client()).collect();
    blocked.iter_mut().for_each(|client| client.send(&["BLPOP", "nothing", "0"]));
    let mut plain = gateway.client();
    wait("all to be blocked", || {
        let clients = String::from_utf8_lossy(&plain.line("INFO clients")).into_owned();
        clients.contains("blocked_clients:50").then_some(())
    });
    let machine = Machine::watch();
    let took = (0..200).map(|_| {
        let started = Instant::now();
        plain.expect("GET none", "$-1\r\n");
        started.elapsed()
    });
    let slowest = took.max().unwrap_or_default();
    machine.assert_within(Duration::from_millis(500), slowest, "the longest that plain traffic waited");
    (0..50).for_each(|_| assert!(plain.line("RPUSH nothing x").starts_with(b":")));
    blocked.iter_mut().for_each(|client| assert_eq!(client.read_reply(), b"*2\r\n$7\r\nnothing\r\n$1\r\nx\r\n"));
}
