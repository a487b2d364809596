//! Commands that wait: nobody waits behind them, and what they say of replicas is true.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::support::{Client, Gateway, Machine, Redis, Upstream, assert_same, pass, requests, wait};

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

/// Of Redis since 7.2, and Valkey, `WAIT` counts from the last write on its connection.
#[test]
fn wait_counts_from_a_write_of_its_own_connection_or_says_why_it_cannot() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&asked);
    let upstream = Upstream::start(move |peer| {
        while let Some(request) = peer.next_of("valkey", "8.1.1") {
            let refuses = all.lock().expect("no panic").len() > 2;
            match request.split(' ').next() {
                Some("FUNCTION") if refuses => peer.reply("-NOPERM no\r\n"),
                Some("FUNCTION") => peer.reply("+OK\r\n"),
                Some("WAIT") => peer.reply(":1\r\n"),
                Some("SET") => peer.reply("+OK\r\n"),
                _ => {
                    peer.reply("-ERR unknown command\r\n");
                    continue;
                }
            }
            all.lock().expect("no panic").push(request);
        }
    });
    let gateway = Gateway::start(&upstream.url());
    let mut client = gateway.client();
    client.expect("SET k v", "+OK\r\n");
    client.expect("WAIT 1 100", ":1\r\n");
    client.expect("WAIT 1 100", "-NOPERM no\r\n");
    client.expect("SET k v", "+OK\r\n");
    let no_functions = b"\x0a\x00\x5d\x9b\x5c\x40\x0f\x7f\xa2\xda";
    let restore = format!("FUNCTION RESTORE {}", String::from_utf8_lossy(no_functions));
    assert_eq!(
        *asked.lock().expect("no panic"),
        ["SET k v", &restore, "WAIT 1 100", &restore, "WAIT 1 100", "SET k v"]
    );
    // A write that changes nothing.
    let redis = Redis::start(&[]);
    let mut direct = redis.client();
    direct.send_raw(&[&b"*3\r\n$8\r\nFUNCTION\r\n$7\r\nRESTORE\r\n$10\r\n"[..], no_functions, b"\r\n"].concat());
    assert_eq!(direct.read_reply(), b"+OK\r\n");
    direct.expect("FUNCTION LIST", "*0\r\n");
    assert!(String::from_utf8_lossy(&direct.line("INFO persistence")).contains("rdb_changes_since_last_save:1\r\n"));
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

/// Requests that wait in Redis, and say so in ways that a search for words takes for something else.
const WAITING: [&str; 8] = [
    "XREADGROUP GROUP streams c BLOCK 0 STREAMS s >",
    "XREADGROUP GROUP g streams BLOCK 0 STREAMS s >",
    "XREADGROUP GROUP g STREAMS COUNT 1 NOACK BLOCK 0 STREAMS s >",
    "XREADGROUP BLOCK 0 GROUP block block STREAMS s >",
    "XREADGROUP GROUP block 1 block 0 STREAMS block s > >",
    "XREAD BLOCK 1 BLOCK 0 STREAMS streams $",
    "XREAD COUNT 1 BLOCK 0 STREAMS block streams $ $",
    "XREAD COUNT 9 COUNT 1 BLOCK 0 STREAMS streams $",
];

#[test]
fn nobody_waits_behind_a_stream_whatever_groups_consumers_and_streams_are_called() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::builder().upstream(&behind.url()).config("[pool]\nworkers = 1").start();
    let (mut client, mut direct, mut bystander) = (gateway.client(), beside.client(), gateway.client());
    let groups = [("s", "streams"), ("s", "g"), ("s", "block"), ("block", "block")];
    for (stream, group) in groups {
        let line = format!("XGROUP CREATE {stream} {group} $ MKSTREAM");
        client.expect(&line, "+OK\r\n");
        direct.expect(&line, "+OK\r\n");
    }
    let blocked = |of: &Redis| {
        let clients = String::from_utf8_lossy(&of.client().line("INFO clients")).into_owned();
        clients.contains("blocked_clients:1\r\n").then_some(())
    };
    for (index, line) in WAITING.iter().enumerate() {
        let [found, expected] = [(&mut client, &behind), (&mut direct, &beside)].map(|(client, redis)| {
            // No group has anything left to read.
            for (stream, group) in groups {
                redis.client().expect(&format!("XGROUP SETID {stream} {group} $"), "+OK\r\n");
            }
            client.send(&line.split(' ').collect::<Vec<_>>());
            wait(&format!("{line} to wait"), || blocked(redis));
            bystander.send_raw(&requests(&["SET k v", "GET k", "ECHO still"]));
            assert_eq!(bystander.read_replies(3).concat(), b"+OK\r\n$1\r\nv\r\n$5\r\nstill\r\n", "beside {line}");
            let mut publisher = redis.client();
            publisher.line(&format!("XADD s {}-1 f v", index + 1));
            publisher.line(&format!("XADD streams {}-1 f v", index + 1));
            client.read_reply()
        });
        assert_same(&found, &expected, line);
    }
}

#[test]
fn a_stream_request_that_redis_refuses_gets_its_words() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::builder().upstream(&behind.url()).config("[pool]\nworkers = 1").start();
    let (mut client, mut direct): (Client, Client) = (gateway.client(), beside.client());
    for line in [
        "XREAD",
        "XREAD BLOCK",
        "XREAD BLOCK 0",
        "XREAD BLOCK 0 STREAMS",
        "XREAD BLOCK 0 STREAMS s",
        "XREAD BLOCK 0 STREAMS a b $",
        "XREAD BLOCK x STREAMS s $",
        "XREAD BLOCK -1 STREAMS s $",
        "XREAD BLOCK 0x5 STREAMS s $",
        "XREAD BLOCK 0 GROUP g c STREAMS s >",
        "XREAD NOACK BLOCK 0 STREAMS s $",
        "XREAD NONSENSE BLOCK 0 STREAMS s $",
        "XREAD COUNT BLOCK 0 STREAMS s $",
        "XREADGROUP BLOCK 0 STREAMS s >",
        "XREADGROUP GROUP g BLOCK 0 STREAMS s >",
        "XREADGROUP GROUP nosuch c BLOCK 0 STREAMS s >",
        "XREADGROUP GROUP streams BLOCK 0",
        "BLPOP key 0x",
        "BLPOP key x",
        "BLPOP key inf",
    ] {
        assert_same(&client.line(line), &direct.line(line), line);
    }
}

/// The entry of a module's command in the answer to `COMMAND INFO`.
fn described(name: &str, flags: &str) -> String {
    let flags = format!("*{}\r\n+{}\r\n", flags.split(' ').count(), flags.replace(' ', "\r\n+"));
    format!("*1\r\n*6\r\n${}\r\n{name}\r\n:-2\r\n{flags}:1\r\n:1\r\n:1\r\n", name.len())
}

#[test]
fn a_command_of_a_module_that_blocks_waits_for_as_long_as_it_likes() {
    let silence = Duration::from_millis(1200);
    let upstream = Upstream::start(move |peer| {
        while let Some(request) = peer.next() {
            match request.as_str() {
                "COMMAND INFO mod.wait respool" => peer.reply(&described("mod.wait", "write module blocking")),
                "COMMAND INFO mod.set respool" => peer.reply(&described("mod.set", "write module")),
                "mod.wait k" | "mod.mute k" => {
                    pass(silence);
                    peer.reply("+element\r\n");
                }
                _ => peer.reply("+OK\r\n"),
            }
        }
    });
    let config = "[pool]\nworkers = 1\nreply_timeout_ms = 500\n[commands]\nblocking = [\"Mod.Mute\"]";
    let gateway = Gateway::builder().upstream(&upstream.url()).config(config).start();
    let (mut client, mut bystander) = (gateway.client(), gateway.client());
    client.expect("mod.set k", "+OK\r\n");
    for line in ["mod.wait k", "mod.mute k"] {
        client.send(&line.split(' ').collect::<Vec<_>>());
        bystander.expect("mod.set k", "+OK\r\n");
        assert_eq!(client.read_reply(), b"+element\r\n", "{line}");
    }
}
