//! Limits of the upstream's own that end a connection: who passes one pays for it, and nobody else notices.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::support::{Client, Gateway, Redis, request, wait};

/// So many rounds of what passes the limit.
const ROUNDS: usize = 25;

/// Has one client pass a limit again and again while three others write and read; what the last request of that one got.
#[track_caller]
fn beside(redis: &Redis, passes: impl Fn(&mut Client) -> Vec<u8> + Sync) -> Vec<u8> {
    let config = "[pool]\nworkers = 2";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("connection lost").start();
    gateway.client().expect("PING", "+PONG\r\n");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let others: Vec<_> = (0..3)
            .map(|number| {
                let (gateway, over) = (&gateway, &over);
                scope.spawn(move || {
                    let (mut client, mut count) = (gateway.client(), 0);
                    while !over.load(Ordering::Relaxed) || count == 0 {
                        count += 1;
                        client.expect(&format!("INCR own:{number}"), &format!(":{count}\r\n"));
                        client.expect("GET small", "$5\r\nvalue\r\n");
                    }
                    count
                })
            })
            .collect();
        let mut last = Vec::new();
        for _ in 0..ROUNDS {
            last = passes(&mut gateway.client());
        }
        over.store(true, Ordering::Relaxed);
        let counts: Vec<_> = others.into_iter().map(|other| other.join().expect("nothing fails")).collect();
        println!("others were served {counts:?} times");
        last
    })
}

fn redis(args: &[&str]) -> Redis {
    let redis = Redis::start(args);
    redis.client().expect("SET small value", "+OK\r\n");
    redis
}

/// Sends a request that the other end may close the connection of; what comes of it.
fn answer(client: &mut Client, request: &[u8]) -> Vec<u8> {
    // It may close before it has read everything.
    let _ = client.try_send_raw(request);
    client.try_read_reply().ok().flatten().unwrap_or_default()
}

#[test]
fn an_argument_that_the_upstream_refuses_ends_its_senders_connection_alone() {
    let redis = redis(&["--proto-max-bulk-len", "1mb"]);
    let value = "x".repeat(3 << 19);
    let set = request(&["SET", "big", &value]);
    let reply = beside(&redis, |client| {
        let _ = client.try_send_raw(&set);
        client.read_to_end()
    });
    assert_eq!(String::from_utf8_lossy(&reply), "-ERR Protocol error: invalid bulk length\r\n");
    redis.client().expect("EXISTS big", ":0\r\n");
}

#[test]
fn a_request_that_fills_the_upstreams_buffer_fails_alone() {
    let redis = redis(&["--client-query-buffer-limit", "1mb"]);
    let names: Vec<String> = (0..30_000).map(|number| format!("{number}{}", "x".repeat(60))).collect();
    let args: Vec<&str> = ["DEL"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let del = request(&args);
    assert!(del.len() > 2 << 20);
    beside(&redis, |client| answer(client, &del));
}

#[test]
fn a_reply_that_the_upstream_does_not_hold_fails_its_request_alone() {
    let redis = redis(&["--client-output-buffer-limit", "normal 1mb 0 0"]);
    let mut direct = redis.client();
    direct.send(&["SET", "big", &"x".repeat(8 << 20)]);
    assert_eq!(direct.read_reply(), b"+OK\r\n");
    let get = request(&["GET", "big"]);
    let reply = String::from_utf8_lossy(&beside(&redis, |client| answer(client, &get))).into_owned();
    assert!(reply.starts_with("-ERR respool: connection to the upstream lost"), "{reply:?}");
}

#[test]
fn a_connection_that_the_upstream_evicts_fails_the_request_on_it_alone() {
    let redis = redis(&["--maxmemory-clients", "4mb"]);
    let mut direct = redis.client();
    direct.send(&["SET", "big", &"x".repeat(2 << 20)]);
    direct.read_reply();
    let get = request(&["GET", "big"]).repeat(8);
    beside(&redis, |client| answer(client, &get));
}

/// Where a limit is changed at the upstream itself, no connection begins anew that would learn of it.
#[test]
fn a_limit_that_is_changed_at_the_upstream_is_learnt_from_it() {
    let redis = redis(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[upstream]\ncheck_interval_ms = 100").start();
    let (mut client, set) = (gateway.client(), request(&["SET", "big", &"x".repeat(3 << 20)]));
    let mut opened = || {
        client.send_raw(&set);
        assert_eq!(client.read_reply(), b"+OK\r\n");
        let pools = gateway.client().line("RESPOOL POOLS");
        let pools = String::from_utf8_lossy(&pools).into_owned();
        pools.split("exclusive_opened\r\n:").nth(1).and_then(|rest| rest.split('\r').next()?.parse::<u64>().ok())
    };
    assert_eq!(opened(), Some(0));
    redis.client().expect("CONFIG SET client-query-buffer-limit 4mb", "+OK\r\n");
    // A connection of its own bears what the shared ones may not.
    wait("the limit to be learnt", || opened().filter(|opened| *opened > 0));
}
