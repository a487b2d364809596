//! The end: on SIGTERM or SIGINT what was accepted is answered within the grace period, nothing new is
//! taken, and the exit code tells whether anything had to be given up.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, DEADLINE, Gateway, Machine, Redis, assert_own_error, pass, requests, wait};

/// What one client pushed: ids that were answered, in order.
fn push_until_the_end(client: &mut Client, own: &str, rounds: &AtomicUsize) -> Vec<String> {
    let mut answered = Vec::new();
    for round in 0.. {
        let ids: Vec<String> = (0..5).map(|index| format!("{own}-{round}-{index}")).collect();
        let burst: Vec<u8> = ids.iter().flat_map(|id| requests(&[&format!("RPUSH {own} {id}")])).collect();
        if client.try_send_raw(&burst).is_err() {
            break;
        }
        for id in ids {
            match client.try_read_reply() {
                Ok(Some(reply)) if reply.starts_with(b":") => answered.push(id),
                Ok(Some(reply)) => assert_own_error(&reply),
                // Not accepted any more: the end, or a reset because nobody read what was sent.
                Ok(None) | Err(_) => return answered,
            }
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    answered
}

#[test]
fn sigterm_under_load_answers_what_was_accepted() {
    let redis = Redis::start(&[]);
    let mut gateway = Gateway::start(&redis.url());
    let rounds = AtomicUsize::new(0);
    let answered: Vec<Vec<String>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|index| {
                let (mut client, rounds) = (gateway.client(), &rounds);
                scope.spawn(move || push_until_the_end(&mut client, &format!("c{index}"), rounds))
            })
            .collect();
        wait("the load to be there", || (rounds.load(Ordering::Relaxed) > 500).then_some(()));
        gateway.terminate();
        threads.into_iter().map(|thread| thread.join().expect("no client fails")).collect()
    });
    gateway.wait_end(DEADLINE);
    let mut direct = redis.client();
    for (index, answered) in answered.iter().enumerate() {
        let list = direct.line(&format!("LRANGE c{index} 0 -1"));
        let text = String::from_utf8_lossy(&list).into_owned();
        let executed: Vec<&str> = text.split("\r\n").filter(|line| line.starts_with('c')).collect();
        assert_eq!(executed, *answered, "client {index}: executed, and answered");
    }
}

#[test]
fn what_is_in_flight_at_sigterm_is_answered_when_the_upstream_resumes() {
    let redis = Redis::start(&[]);
    let mut gateway =
        Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 2\npipeline_depth = 8").start();
    let mut clients: Vec<Client> = (0..50).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.expect("PING", "+PONG\r\n"));
    redis.freeze();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send_raw(&requests(&["INCR n", &format!("ECHO {index}"), "SELECT 0", "PING"]));
    }
    gateway.terminate();
    gateway.logs().wait_for("draining", DEADLINE);
    pass(Duration::from_millis(300));
    redis.thaw();
    for (index, client) in clients.iter_mut().enumerate() {
        assert!(client.read_reply().starts_with(b":"));
        let text = index.to_string();
        assert_eq!(client.read_reply(), format!("${}\r\n{text}\r\n", text.len()).into_bytes());
        assert_eq!(client.read_reply(), b"+OK\r\n");
        assert_eq!(client.read_reply(), b"+PONG\r\n");
        client.expect_closed();
    }
    gateway.wait_end(DEADLINE);
}

/// The end that was asked for comes without waiting for anything.
#[track_caller]
fn assert_ends_at_once(gateway: &mut Gateway) {
    let machine = Machine::watch();
    let took = gateway.wait_end(DEADLINE);
    machine.assert_within(Duration::from_secs(2), took, "to end with nothing to do");
}

/// Waits until the gateway has read the requests of so many clients, whose replies are due.
fn wait_under_way(operator: &mut Client, count: usize) {
    wait("the requests to be under way", || {
        let pools = String::from_utf8_lossy(&operator.line("RESPOOL POOLS")).into_owned();
        let figures = pools.split("cl_active\r\n:").nth(1)?.split_once("\r\n")?.0.parse();
        (figures == Ok(count)).then_some(())
    });
}

#[test]
fn an_idle_gateway_ends_at_once_on_either_signal() {
    let redis = Redis::start(&[]);
    for signal in [Gateway::terminate, Gateway::interrupt] {
        let mut gateway = Gateway::start(&redis.url());
        let mut idle: Vec<Client> = (0..20).map(|_| gateway.client()).collect();
        idle.iter_mut().for_each(|client| client.expect("PING", "+PONG\r\n"));
        signal(&gateway);
        assert_ends_at_once(&mut gateway);
        idle.iter_mut().for_each(Client::expect_closed);
    }
}

#[test]
fn a_client_in_the_middle_of_a_request_does_not_hold_the_end_up() {
    let redis = Redis::start(&[]);
    let mut gateway = Gateway::start(&redis.url());
    let mut client = gateway.client();
    client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nhalf of it");
    gateway.client().expect("PING", "+PONG\r\n");
    gateway.terminate();
    assert_ends_at_once(&mut gateway);
    client.expect_closed();
}

#[test]
fn while_it_drains_nobody_is_accepted() {
    let redis = Redis::start(&[]);
    let mut gateway = Gateway::start(&redis.url());
    let (mut client, mut operator) = (gateway.client(), gateway.client());
    client.expect("PING", "+PONG\r\n");
    redis.freeze();
    client.send(&["INCR", "n"]);
    wait_under_way(&mut operator, 1);
    gateway.terminate();
    gateway.logs().wait_for("draining", DEADLINE);
    wait("connections to be refused", || Client::try_connect(gateway.address()).is_err().then_some(()));
    redis.thaw();
    assert_eq!(client.read_reply(), b":1\r\n");
    gateway.wait_end(DEADLINE);
}

#[test]
fn at_the_end_of_the_grace_period_it_gives_up_and_says_what() {
    let redis = Redis::start(&[]);
    let config = "[shutdown]\ngrace_period_ms = 700";
    let mut gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("abandoned").start();
    let mut clients: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.expect("PING", "+PONG\r\n"));
    redis.freeze();
    clients.iter_mut().for_each(|client| client.send(&["INCR", "n"]));
    wait_under_way(&mut gateway.client(), 3);
    gateway.expect_exit_code(1);
    let (machine, started) = (Machine::watch(), Instant::now());
    gateway.terminate();
    gateway.wait_end(DEADLINE);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(700), "gave up after {took:?}");
    machine.assert_within(Duration::from_secs(3), took, "to give up");
    let line = gateway.logs().wait_for("abandoned", DEADLINE);
    assert!(line.contains("\"abandoned\":3"), "{line}");
    for client in &mut clients {
        let rest = client.read_to_end();
        assert!(rest.is_empty() || rest.starts_with(b"-ERR respool: "), "{rest:?}");
    }
}

#[test]
fn an_upstream_that_is_down_does_not_hold_the_end_up() {
    let mut redis = Redis::start(&[]);
    let mut gateway = Gateway::builder().upstream(&redis.url()).allow_lost_upstream().start();
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    redis.kill9();
    wait("the gateway to notice", || client.line("GET k").starts_with(b"-ERR respool: upstream is down").then_some(()));
    gateway.terminate();
    assert_ends_at_once(&mut gateway);
}

#[test]
fn connections_to_the_upstream_are_closed_in_order() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    gateway.client().expect("PING", "+PONG\r\n");
    drop(gateway);
    let mut direct = redis.client();
    wait("the upstream to be rid of them", || {
        let list = String::from_utf8_lossy(&direct.line("CLIENT LIST")).into_owned();
        (!list.contains("respool-worker")).then_some(())
    });
}

#[test]
fn the_embedded_upstream_ends_with_its_gateway() {
    let mut gateway = Gateway::builder().start();
    let mut client = gateway.client();
    client.expect("SET k v", "+OK\r\n");
    gateway.terminate();
    assert_ends_at_once(&mut gateway);
    client.expect_closed();
}
