//! Clients that go away: at once, in the middle of a request, while their replies are due. What they had
//! sent whole is executed, and nobody else gets what was theirs.

use std::thread;

use crate::support::{Client, Gateway, Redis, raise_descriptor_limit, requests, seeded, wait};

#[test]
fn ten_thousand_sets_of_clients_that_close_at_once_are_all_executed() {
    const THREADS: usize = 4;
    const EACH: usize = 2500;
    raise_descriptor_limit();
    let redis = Redis::start(&[]);
    // On a busy machine all of them may come before most of them get a turn.
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nqueue_timeout_ms = 60000").start();
    let address = gateway.address();
    thread::scope(|scope| {
        for part in 0..THREADS {
            scope.spawn(move || {
                for index in 0..EACH {
                    let mut client = Client::connect(address);
                    client.send(&["SET", &format!("key{part}x{index}"), "v"]);
                }
            });
        }
    });
    let mut direct = redis.client();
    let all = format!(":{}\r\n", THREADS * EACH).into_bytes();
    wait("ten thousand keys", || (direct.line("DBSIZE") == all).then_some(()));
}

#[test]
fn pipelines_of_clients_that_close_at_once_are_executed_to_the_end() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nbatch_max = 7").start();
    for _ in 0..50 {
        let mut client = gateway.client();
        client.send_raw(&requests(&["INCR n"]).repeat(100));
    }
    let mut direct = redis.client();
    wait("five thousand INCRs", || (direct.line("GET n") == b"$4\r\n5000\r\n").then_some(()));
}

#[test]
fn reads_of_a_client_that_has_gone_are_not_executed_and_what_stands_behind_them_is() {
    const READS: usize = 200;
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut direct = redis.client();
    assert_eq!(direct.call(&["SET", "large", &"x".repeat(1 << 20)]), b"+OK\r\n");
    let mut client = gateway.client();
    client.small_buffers();
    client.send_raw(&[requests(&["GET large"]).repeat(READS), requests(&["INCR n"])].concat());
    let mut reads = || {
        let stats = String::from_utf8_lossy(&direct.line("INFO commandstats")).into_owned();
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
        line.and_then(|line| line.split(',').next()?.parse::<usize>().ok()).unwrap_or(0)
    };
    // As they are not read, not all are executed yet.
    wait("some to be executed", || (reads() > 0).then_some(()));
    client.reset();
    let mut other = gateway.client();
    wait("the last request", || (other.line("EXISTS n") == b":1\r\n").then_some(()));
    let executed = reads();
    assert!(executed < READS / 2, "{executed} of {READS} for nobody");
}

#[test]
fn a_client_that_has_said_its_last_word_still_gets_its_replies() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut client = gateway.client();
    client.send_raw(&requests(&["SET k v", "GET k"]));
    client.send_raw(b"PING\r\n");
    client.half_close();
    assert_eq!(client.read_to_end(), b"+OK\r\n$1\r\nv\r\n+PONG\r\n");
}

#[test]
fn half_a_request_of_a_client_that_goes_is_never_executed() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let whole = requests(&["INCR n"]);
    let mut bystander = gateway.client();
    for at in 0..whole.len() {
        let mut client = gateway.client();
        client.send_raw(&whole[..at]);
        if at % 2 == 0 {
            client.reset();
        }
        bystander.expect("PING", "+PONG\r\n");
    }
    bystander.expect("GET n", "$-1\r\n");
}

#[test]
fn clients_that_go_while_their_replies_are_due_disturb_nobody() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let mut rng = seeded("clients that go");
    let mut stayers: Vec<Client> = (0..10).map(|_| gateway.client()).collect();
    stayers.iter_mut().for_each(|client| client.expect("PING", "+PONG\r\n"));
    for round in 0..20 {
        redis.freeze();
        let mut leavers = Vec::new();
        for (index, stayer) in stayers.iter_mut().enumerate() {
            let mut leaver = gateway.client();
            leaver.send_raw(&requests(&["INCR left", "ECHO not-yours", "GET left"]));
            leavers.push(leaver);
            stayer.send(&["ECHO", &format!("r{round}x{index}")]);
        }
        for leaver in leavers {
            if rng.bool() {
                leaver.reset();
            }
        }
        redis.thaw();
        for (index, stayer) in stayers.iter_mut().enumerate() {
            let token = format!("r{round}x{index}");
            assert_eq!(stayer.read_reply(), format!("${}\r\n{token}\r\n", token.len()).into_bytes());
        }
    }
    // A reset may overtake what was sent before it; an orderly end may not.
    let executed = stayers[0].line("GET left");
    assert!(executed.len() >= 8, "most were executed: {executed:?}");
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    gateway.client().expect("PING", "+PONG\r\n");
    let rush = || {
        for index in 0..500 {
            let mut client = gateway.client();
            client.send(&["SET", &format!("k{index}"), &"x".repeat(10_000)]);
            if index % 3 == 0 {
                client.read_reply();
            }
        }
        wait("all descriptors to be closed", || (gateway.process().descriptors() < 30).then_some(()));
    };
    (0..3).for_each(|_| rush());
    let before = gateway.process().rss_bytes();
    (0..3).for_each(|_| rush());
    let after = gateway.process().rss_bytes();
    assert!(after < before + (8 << 20), "memory grew from {before} to {after}");
}
