//! What the gateway answers itself: it keeps no more of it than bounds allow, and others have their turns meanwhile.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Gateway, Machine, Redis, assert_own_error, request};

const MIB: usize = 1 << 20;

fn many(gateway: &Gateway, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.expect("PING", "+PONG\r\n"));
    clients
}

/// The longest that a `PING` of one client takes while `busy` runs.
fn longest_wait(gateway: &Gateway, busy: impl FnOnce() + Send) -> Duration {
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    thread::scope(|scope| {
        let busy = scope.spawn(busy);
        let mut longest = Duration::ZERO;
        while !busy.is_finished() {
            let started = Instant::now();
            client.expect("PING", "+PONG\r\n");
            longest = longest.max(started.elapsed());
        }
        longest
    })
}

#[test]
fn nobody_waits_for_one_who_has_a_hundred_thousand_filters() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let _clients = many(&gateway, 500);
    let filters = ["ADDR", "192.0.2.1:5"].repeat(50_000);
    let kill = request(&[&["CLIENT", "KILL"][..], &filters].concat());
    let mut client = gateway.client();
    let machine = Machine::watch();
    let longest = longest_wait(&gateway, || {
        for _ in 0..3 {
            client.send_raw(&kill);
            assert_eq!(client.read_reply(), b":0\r\n");
        }
    });
    machine.assert_within(Duration::from_millis(400), longest, "the longest that another waited");
}

#[test]
fn lists_in_a_transaction_cost_no_more_than_one_and_others_have_their_turns() {
    const LISTS: usize = 500;
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let clients = many(&gateway, 300);
    let mut client = gateway.client();
    client.small_buffers();
    client.expect("MULTI", "+OK\r\n");
    client.send_raw(&request(&["CLIENT", "LIST"]).repeat(LISTS));
    client.read_replies(LISTS).iter().for_each(|reply| assert_eq!(reply, b"+QUEUED\r\n"));
    let before = gateway.process().rss_bytes();
    let machine = Machine::watch();
    let longest = longest_wait(&gateway, || {
        client.send(&["EXEC"]);
        let reply = client.read_reply();
        let head = format!("*{LISTS}\r\n");
        assert!(reply.starts_with(head.as_bytes()));
        let lines = reply.iter().filter(|byte| **byte == b'\n').count();
        // Of each list a head, an end, and all clients: those, the two here, and who asks.
        assert!(lines >= LISTS * (clients.len() + 2), "{lines} lines");
    });
    let grown = gateway.process().peak_rss_bytes().saturating_sub(before);
    println!("{grown} bytes more memory");
    assert!(grown < 16 * MIB as u64, "{grown} bytes more memory");
    machine.assert_within(Duration::from_millis(200), longest, "the longest that another waited");
}

#[test]
fn a_long_request_that_a_monitor_has_no_room_for_is_not_written_out_for_it() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut monitor, mut client) = (gateway.client(), gateway.client());
    // Each byte is four when it is shown.
    let named = request(&["CLIENT", "SETNAME", &"\0".repeat(32 * MIB)]);
    let ask = |client: &mut Client| {
        client.send_raw(&named);
        assert!(client.read_reply().starts_with(b"-ERR"));
        gateway.process().peak_rss_bytes()
    };
    let before = ask(&mut client);
    monitor.expect("MONITOR", "+OK\r\n");
    let grown = ask(&mut client).saturating_sub(before);
    println!("{grown} bytes more memory");
    assert!(grown < 48 * MIB as u64, "{grown} bytes more memory");
    client.expect("CLIENT SETNAME short", "+OK\r\n");
    assert!(monitor.read_reply().ends_with(b"\"CLIENT\" \"SETNAME\" \"short\"\r\n"));
}

/// Bytes that the upstream has sent since its start.
fn sent(direct: &mut Client) -> u64 {
    let stats = String::from_utf8_lossy(&direct.line("INFO stats")).into_owned();
    let bytes = stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).expect("shown");
    bytes.trim().parse().expect("a number")
}

#[test]
fn lists_in_a_transaction_cost_the_upstream_next_to_nothing() {
    const LISTS: usize = 200;
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut direct, mut client) = (redis.client(), gateway.client());
    let others: Vec<Client> = (0..100).map(|_| redis.client()).collect();
    let list = String::from_utf8_lossy(&direct.line("CLIENT LIST")).into_owned();
    assert!(list.len() > others.len() * 100, "{list}");
    let before = sent(&mut direct);
    client.send_raw(&[request(&["MULTI"]), request(&["CLIENT", "LIST"]).repeat(LISTS), request(&["EXEC"])].concat());
    let executed = client.read_replies(LISTS + 2).pop().expect("there are some");
    assert!(executed.starts_with(format!("*{LISTS}\r\n").as_bytes()));
    let sent = sent(&mut direct) - before;
    assert!(sent < (2 * list.len()) as u64, "{sent} bytes");
    // Redis knows the option, whatever it is asked with.
    client.send_raw(&[request(&["MULTI"]), request(&["CLIENT", "LIST", "TYPE", "x"]), request(&["EXEC"])].concat());
    assert_eq!(client.read_replies(3)[2], b"*1\r\n-ERR Unknown client type 'x'\r\n");
}

#[test]
fn names_are_bounded_and_a_transaction_keeps_none_that_is_too_long() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut client = gateway.client();
    let (longest, too_long) = ("n".repeat(1024), "n".repeat(4 * MIB));
    for (name, line) in [(&longest, ["CLIENT", "SETNAME"]), (&too_long, ["CLIENT", "SETNAME"])] {
        client.send(&[line[0], line[1], name]);
        let reply = client.read_reply();
        if name.len() == 1024 {
            assert_eq!(reply, b"+OK\r\n");
        } else {
            assert_own_error(&reply);
        }
    }
    client.send(&["HELLO", "2", "SETNAME", &too_long]);
    assert_own_error(&client.read_reply());
    assert!(client.line("CLIENT GETNAME").len() > 1024);
    client.expect("MULTI", "+OK\r\n");
    let before = gateway.process().rss_bytes();
    for _ in 0..16 {
        client.send(&["CLIENT", "SETNAME", &too_long]);
        assert_own_error(&client.read_reply());
    }
    let grown = gateway.process().rss_bytes().saturating_sub(before);
    assert!(grown < 32 * MIB as u64, "{grown} bytes more memory");
    client.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
}

#[test]
fn what_a_transaction_keeps_counts_with_unfinished_requests() {
    let redis = Redis::start(&[]);
    let config = format!("[clients]\nrequest_bytes_max = {}\ninput_bytes_max = {}", 16 * MIB, 64 * MIB);
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).start();
    let mut client = gateway.client();
    let long = "a".repeat(6 * MIB);
    client.expect("MULTI", "+OK\r\n");
    for expected in ["+QUEUED\r\n", "+QUEUED\r\n", "-ERR respool: requests of this transaction"] {
        client.send(&["CLIENT", "KILL", "ADDR", &long]);
        let reply = client.read_reply();
        assert!(reply.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&reply));
    }
    // Others that keep as much: one after the other has to go, those that hold the most first.
    let mut others: Vec<Client> = (0..12).map(|_| gateway.client()).collect();
    let before = gateway.process().rss_bytes();
    for other in &mut others {
        other.expect("MULTI", "+OK\r\n");
        for _ in 0..2 {
            if other.try_send_raw(&request(&["CLIENT", "KILL", "ADDR", &long])).is_ok() {
                let _ = other.try_read_reply();
            }
        }
    }
    let grown = gateway.process().rss_bytes().saturating_sub(before);
    assert!(grown < 96 * MIB as u64, "{grown} bytes more memory");
}
