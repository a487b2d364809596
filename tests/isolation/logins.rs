//! Guessing passwords: each wrong one is answered later than the one before, the last ends the connection,
//! and nobody else waits for any of it.

use std::time::{Duration, Instant};

use crate::support::{Client, DEADLINE, Gateway, Metrics, Redis, request, requests, users, wait};

const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

fn gateway(redis: &Redis, bounds: &str) -> Gateway {
    let who = users(&[("default", "right"), ("app", "also right")]);
    Gateway::builder().upstream(&redis.url()).config(bounds).config(&who).allow("login refused").start()
}

/// Nothing has come by now.
#[track_caller]
fn assert_waits(client: &mut Client) {
    client.read_timeout(Duration::from_millis(20));
    assert!(client.try_read_reply().is_err(), "answered before its time");
}

#[test]
fn wrong_passwords_are_answered_ever_later_and_the_last_ends_the_connection() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis, "[auth]\nfailure_delay_ms = 100\nfailures_max = 3");
    let mut client = gateway.client();
    for (line, at_least) in [("AUTH wrong", 100), ("AUTH app wrong", 200), ("HELLO 3 AUTH nobody wrong", 400)] {
        let started = Instant::now();
        client.expect(line, WRONG);
        assert!(started.elapsed() >= Duration::from_millis(at_least), "{line}: {:?}", started.elapsed());
    }
    client.expect_closed();
    gateway.client().expect("AUTH right", "+OK\r\n");
}

#[test]
fn nobody_waits_for_one_who_guesses_not_even_at_the_same_address() {
    let redis = Redis::start(&[]);
    let gateway = gateway(
        &redis,
        "[auth]\nlogin_timeout_ms = 600_000\nfailure_delay_ms = 600_000\n[pool]\nworkers = 1\n[metrics]\nlisten = \"127.0.0.1:0\"",
    );
    let mut known = gateway.client();
    known.expect("AUTH app also right", "-ERR syntax error\r\n");
    assert_eq!(known.call(&["AUTH", "app", "also right"]), b"+OK\r\n");
    let mut guessing: Vec<Client> = (0..50).map(|_| gateway.client()).collect();
    guessing.iter_mut().for_each(|client| client.send(&["AUTH", "wrong"]));
    let refused = || Metrics::read(gateway.metrics_address()).value("respool_logins_refused_total");
    wait("all guesses to be refused", || (refused() == 50.0).then_some(()));
    for _ in 0..100 {
        known.expect("PING", "+PONG\r\n");
        let mut new = gateway.client();
        new.expect("AUTH right", "+OK\r\n");
        new.expect("PING", "+PONG\r\n");
    }
    guessing.iter_mut().for_each(assert_waits);
}

#[test]
fn guesses_in_one_pipeline_wait_for_each_other_and_nothing_behind_the_last_is_tried() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis, "[auth]\nfailure_delay_ms = 100\nfailures_max = 2");
    let mut client = gateway.client();
    let started = Instant::now();
    client.send_raw(&requests(&["AUTH one", "AUTH two", "AUTH right", "SET owned 1"]));
    assert_eq!(String::from_utf8_lossy(&client.read_to_end()), WRONG.repeat(2));
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    redis.client().expect("GET owned", "$-1\r\n");
}

#[test]
fn neither_a_login_nor_reset_nor_a_transaction_makes_guesses_forgotten() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis, "[auth]\nfailure_delay_ms = 1\nfailures_max = 3");
    let mut client = gateway.client();
    client.expect("AUTH wrong", WRONG);
    client.expect("AUTH right", "+OK\r\n");
    client.expect("AUTH app wrong", WRONG);
    client.expect("RESET", "+RESET\r\n");
    client.expect("AUTH right", "+OK\r\n");
    client.expect("AUTH app wrong", WRONG);
    client.expect_closed();

    let mut client = gateway.client();
    client.expect("AUTH right", "+OK\r\n");
    client.send_raw(&requests(&["MULTI", "AUTH app a", "AUTH app b", "AUTH app c", "EXEC"]));
    assert_eq!(client.read_replies(4).concat(), b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    assert_eq!(String::from_utf8_lossy(&client.read_reply()), format!("*3\r\n{}", WRONG.repeat(3)));
    client.expect_closed();
}

#[test]
fn a_client_whose_replies_are_off_waits_for_its_guesses_too() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis, "[auth]\nfailure_delay_ms = 150\nfailures_max = 2");
    let mut client = gateway.client();
    client.expect("AUTH right", "+OK\r\n");
    let started = Instant::now();
    client.send_raw(&requests(&["CLIENT REPLY OFF", "AUTH app a", "AUTH app b", "SET owned 1"]));
    client.expect_closed();
    assert!(started.elapsed() >= Duration::from_millis(450), "{:?}", started.elapsed());
    redis.client().expect("GET owned", "$-1\r\n");
}

#[test]
fn the_waiting_can_be_turned_off_and_nobody_waits_where_nobody_has_to_log_in() {
    let redis = Redis::start(&[]);
    let eager = gateway(&redis, "[auth]\nfailure_delay_ms = 0\nfailures_max = 1_000_000");
    let open = Gateway::builder()
        .upstream(&redis.url())
        .config("[auth]\nfailure_delay_ms = 10_000\nfailures_max = 1")
        .allow("login refused")
        .start();
    for gateway in [eager, open] {
        let mut client = gateway.client();
        client.send_raw(&request(&["AUTH", "app", "wrong"]).repeat(500));
        assert!(client.read_replies(500).iter().all(|reply| reply == WRONG.as_bytes()));
    }
}

#[test]
fn a_drain_ends_the_waiting() {
    let redis = Redis::start(&[]);
    let mut gateway = gateway(&redis, "[auth]\nlogin_timeout_ms = 600_000\nfailure_delay_ms = 600_000");
    let mut client = gateway.client();
    client.send(&["AUTH", "wrong"]);
    gateway.logs().wait_for("login refused", DEADLINE);
    gateway.terminate();
    assert_eq!(client.read_to_end(), WRONG.as_bytes());
    gateway.wait_end(DEADLINE);
}

#[test]
fn no_more_passwords_are_tried_in_a_transaction_than_on_a_connection() {
    let redis = Redis::start(&[]);
    let config = "[auth]\nfailure_delay_ms = 1\nfailures_max = 5\n[metrics]\nlisten = \"127.0.0.1:0\"";
    let gateway = gateway(&redis, config);
    let refused = || Metrics::read(gateway.metrics_address()).value("respool_logins_refused_total");
    let mut client = gateway.client();
    client.expect("AUTH right", "+OK\r\n");
    // A wrong one that is queued is a guess once it is executed, and one guess.
    client.send_raw(&requests(&["MULTI", "HELLO 3 AUTH app wrong", "DISCARD"]));
    assert_eq!(client.read_replies(3).concat(), b"+OK\r\n+QUEUED\r\n+OK\r\n");
    assert_eq!(refused(), 0.0);
    client.send_raw(&requests(&["MULTI", "HELLO 3 AUTH app wrong", "EXEC"]));
    assert_eq!(client.read_replies(3).concat(), format!("+OK\r\n+QUEUED\r\n*1\r\n{WRONG}").into_bytes());
    assert_eq!(refused(), 1.0);
    let mut guesses = requests(&["MULTI"]);
    guesses.extend(request(&["AUTH", "app", "wrong"]).repeat(200));
    guesses.extend(request(&["HELLO", "3", "AUTH", "app", "wrong"]).repeat(200));
    guesses.extend(requests(&["AUTH app right", "EXEC"]));
    client.send_raw(&guesses);
    let rest = String::from_utf8_lossy(&client.read_to_end()).into_owned();
    assert_eq!(rest, format!("+OK\r\n{}*401\r\n{}", "+QUEUED\r\n".repeat(401), WRONG.repeat(4)));
    assert_eq!(refused(), 5.0);
}
