//! What has to overtake does, whatever database its client is in, in the version that its client speaks; and what an
//! exclusive connection costs the upstream in requests of our own and in waiting.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::support::{Client, Gateway, Redis, Relay, pass, wait};

/// A script that does not end.
fn hang(client: &mut Client) {
    client.send(&["EVAL", "while true do end", "0"]);
}

#[test]
fn a_script_that_hangs_can_be_ended_from_any_database() {
    for (database, select) in [("", "SELECT 5"), ("/3", "SELECT 0"), ("/3", "PING"), ("", "HELLO 3")] {
        let redis = Redis::start(&["--busy-reply-threshold", "50"]);
        let gateway = Gateway::builder().upstream(&format!("{}{database}", redis.url())).start();
        let (mut hanging, mut client, mut killer) = (gateway.client(), gateway.client(), gateway.client());
        let mut direct = redis.client();
        killer.line(select);
        // An exclusive connection may be there already, or not.
        if select == "PING" {
            killer.expect("BLPOP nothing 0.01", "*-1\r\n");
        }
        hang(&mut hanging);
        wait("the script to be busy", || direct.line("GET k").starts_with(b"-BUSY ").then_some(()));
        let reply = String::from_utf8_lossy(&killer.line("FUNCTION KILL")).into_owned();
        assert!(reply.starts_with("-NOTBUSY") || reply.starts_with("-BUSY"), "{reply}");
        killer.expect("SCRIPT KILL", "+OK\r\n");
        let killed = String::from_utf8_lossy(&hanging.read_reply()).into_owned();
        assert!(killed.contains("Script killed by user"), "{killed}");
        client.expect("GET k", "$-1\r\n");
    }
}

#[test]
fn an_upstream_whose_script_hangs_can_be_shut_down_from_any_database() {
    let redis = Redis::start(&["--busy-reply-threshold", "50"]);
    let gateway = Gateway::builder().upstream(&redis.url()).allow_lost_upstream().start();
    let (mut hanging, mut killer, mut direct) = (gateway.client(), gateway.client(), redis.client());
    killer.expect("SELECT 5", "+OK\r\n");
    hang(&mut hanging);
    wait("the script to be busy", || direct.line("GET k").starts_with(b"-BUSY ").then_some(()));
    killer.send(&["SHUTDOWN", "NOSAVE"]);
    killer.expect_closed();
    wait("the end of the upstream", || TcpStream::connect(redis.address()).is_err().then_some(()));
}

#[test]
fn what_overtakes_is_answered_in_the_protocol_version_of_its_client() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut old, mut new) = (gateway.client(), gateway.client());
    new.line("HELLO 3");
    for _ in 0..2 {
        // The connection on which one has waited is the next one's.
        new.expect("BLPOP nothing 0.01", "_\r\n");
        assert!(old.line("FUNCTION STATS").starts_with(b"*4\r\n"));
        old.expect("BLPOP nothing 0.01", "*-1\r\n");
        assert!(new.line("FUNCTION STATS").starts_with(b"%2\r\n"));
    }
}

#[test]
fn a_pause_ends_when_a_client_in_another_database_says_so() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut client, mut other) = (gateway.client(), gateway.client());
    other.expect("SELECT 9", "+OK\r\n");
    let started = Instant::now();
    other.expect("CLIENT PAUSE 60000 WRITE", "+OK\r\n");
    client.send(&["SET", "k", "v"]);
    other.expect("CLIENT UNPAUSE", "+OK\r\n");
    assert_eq!(client.read_reply(), b"+OK\r\n");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// The requests that a monitor sees, but for its own beginning.
fn monitored(redis: &Redis, act: impl FnOnce()) -> Vec<String> {
    let mut monitor = redis.client();
    monitor.expect("MONITOR", "+OK\r\n");
    act();
    redis.client().line("ECHO the-end");
    let mut seen = Vec::new();
    loop {
        let line = String::from_utf8_lossy(&monitor.read_reply()).into_owned();
        let (_, request) = line.split_once("] ").expect("a line of a monitor");
        if request.contains("the-end") {
            return seen;
        }
        seen.push(request.trim_end().replace('"', ""));
    }
}

#[test]
fn a_monitor_sees_few_requests_of_our_own() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let mut client = gateway.client();
    client.expect("SET k v", "+OK\r\n");
    let seen = monitored(&redis, || client.expect("BLPOP nothing 0.01", "*-1\r\n"));
    assert_eq!(seen, ["HELLO 2 SETNAME respool-exclusive-1", "INFO server", "BLPOP nothing 0.01"]);
    // It changed nothing, so that there is nothing to be cleaned; and checks are not shown.
    let seen = monitored(&redis, || {
        client.expect("BLPOP nothing 2", "*-1\r\n");
        client.expect("BLPOP nothing 0.01", "*-1\r\n");
    });
    assert_eq!(seen, ["BLPOP nothing 2", "BLPOP nothing 0.01"]);
    let seen = monitored(&redis, || {
        client.expect("WATCH k", "+OK\r\n");
        client.expect("UNWATCH", "+OK\r\n");
        client.expect("GET k", "$1\r\nv\r\n");
    });
    assert_eq!(seen, ["WATCH k", "UNWATCH", "RESET", "HELLO 2 SETNAME respool-exclusive-1", "GET k"]);
}

#[test]
fn a_borrower_in_another_database_waits_for_no_round_trip_more() {
    let redis = Redis::start(&[]);
    let relay = Relay::start(redis.address());
    let gateway = Gateway::start(&relay.url());
    let mut client = gateway.client();
    client.expect("SELECT 7", "+OK\r\n");
    let mut transaction = |most: Duration| {
        let started = Instant::now();
        client.expect("MULTI", "+OK\r\n");
        assert!(started.elapsed() < most, "{:?}", started.elapsed());
        client.expect("EXEC", "*0\r\n");
    };
    // That the database is there has to be found out once.
    transaction(Duration::from_secs(10));
    // Each way takes 250 ms from now on, so that one round trip more would take a second.
    relay.weather(|weather| weather.delay = Duration::from_millis(250));
    for _ in 0..3 {
        // What cleans the connection is answered meanwhile. One that is idle for a second would be asked first.
        pass(Duration::from_millis(800));
        transaction(Duration::from_millis(980));
    }
}
