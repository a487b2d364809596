//! Redis stopped where it is, and resumed: clients get the time-out error at their deadline, and no reply
//! that comes late is taken for another's.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, DEADLINE, Gateway, Machine, Redis, Relay, assert_own_error, requests, wait};

const REPLY_TIMEOUT: Duration = Duration::from_millis(600);

fn impatient_gateway(url: &str) -> Gateway {
    let config = "[pool]\nworkers = 2\nreply_timeout_ms = 600\nqueue_timeout_ms = 600";
    let gateway = Gateway::builder().upstream(url).config(config).allow_lost_upstream().start();
    // The first connection may take longer than a request may on a busy machine.
    let mut client = gateway.client();
    wait("a connection", || (client.line("PING") == b"+PONG\r\n").then_some(()));
    gateway
}

#[test]
fn frozen_upstream_times_out_at_the_deadline_and_never_shifts_replies() {
    let redis = Redis::start(&[]);
    let gateway = impatient_gateway(&redis.url());
    let mut clients: Vec<Client> = (0..30).map(|_| gateway.client()).collect();
    let machine = Machine::watch();
    for round in 0..3 {
        clients.iter_mut().for_each(|client| client.expect("PING", "+PONG\r\n"));
        redis.freeze();
        let started = Instant::now();
        for (index, client) in clients.iter_mut().enumerate() {
            client.send(&["ECHO", &format!("lost{round}x{index}")]);
            client.send(&["ECHO", &format!("also lost{round}x{index}")]);
        }
        for client in &mut clients {
            assert_own_error(&client.read_reply());
            assert_own_error(&client.read_reply());
        }
        let waited = started.elapsed();
        assert!(waited >= REPLY_TIMEOUT, "errors after {waited:?} already");
        machine.assert_within(REPLY_TIMEOUT * 4, waited, "until all had their errors");
        redis.thaw();
        // Late replies come now; from here on every reply has to be the request's own.
        thread::scope(|scope| {
            for (index, client) in clients.iter_mut().enumerate() {
                scope.spawn(move || echo_until_served(client, &format!("round{round}x{index}")));
            }
        });
    }
}

/// Echoes tokens until a few were served: each reply is the token's or an error.
fn echo_until_served(client: &mut Client, prefix: &str) {
    let (mut served, mut step) = (0, 0);
    wait("a client to be served again", || {
        step += 1;
        let token = format!("{prefix}y{step}");
        let reply = client.call(&["ECHO", &token]);
        if reply.starts_with(b"-") {
            assert_own_error(&reply);
        } else {
            assert_eq!(reply, format!("${}\r\n{token}\r\n", token.len()).into_bytes(), "another request's reply");
            served += 1;
        }
        (served == 20).then_some(())
    });
}

#[test]
fn a_short_freeze_is_not_noticed() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut client = gateway.client();
    client.expect("INCR n", ":1\r\n");
    redis.freeze();
    client.send(&["INCR", "n"]);
    client.read_timeout(Duration::from_millis(300));
    assert!(client.try_read_reply().is_err(), "nothing can have come");
    redis.thaw();
    client.read_timeout(DEADLINE);
    assert_eq!(client.read_reply(), b":2\r\n");
}

#[test]
fn an_upstream_that_swallows_everything_is_given_up_and_replaced() {
    let redis = Redis::start(&[]);
    let relay = Relay::start(redis.address());
    let gateway = impatient_gateway(&relay.url());
    let mut client = gateway.client();
    client.expect("INCR n", ":1\r\n");
    relay.weather(|weather| weather.blackhole = true);
    let (machine, started) = (Machine::watch(), Instant::now());
    assert_own_error(&client.line("INCR n"));
    machine.assert_within(REPLY_TIMEOUT * 4, started.elapsed(), "until the client had its error");
    relay.weather(|weather| weather.blackhole = false);
    // What was swallowed is gone for good: only a new connection can serve.
    echo_until_served(&mut client, "after");
    client.expect("GET n", "$1\r\n1\r\n");
}

#[test]
fn requests_that_time_out_while_a_transaction_is_open_leave_it_whole() {
    let redis = Redis::start(&[]);
    let gateway = impatient_gateway(&redis.url());
    let mut client = gateway.client();
    client.expect("SET n 0", "+OK\r\n");
    redis.freeze();
    let burst = requests(&["MULTI", "INCR n", "INCR n", "EXEC"]);
    client.send_raw(&burst);
    client.read_replies(4).iter().for_each(|reply| assert_own_error(reply));
    redis.thaw();
    echo_until_served(&mut client, "after");
    let n = client.line("GET n");
    assert!(n == b"$1\r\n0\r\n" || n == b"$1\r\n2\r\n", "half a transaction: {n:?}");
}

#[test]
fn a_blocking_request_that_asked_for_a_second_is_not_left_waiting_by_a_silent_upstream() {
    let redis = Redis::start(&[]);
    let relay = Relay::start(redis.address());
    let gateway = impatient_gateway(&relay.url());
    let (machine, mut direct) = (Machine::watch(), redis.client());
    for line in ["BLPOP nothing 1", "XREAD BLOCK 1000 STREAMS nothing $", "WAIT 1 1000"] {
        let mut client = gateway.client();
        client.send_raw(&requests(&[line]));
        wait("the client to be blocked", || {
            let clients = String::from_utf8_lossy(&direct.line("INFO clients")).into_owned();
            clients.contains("blocked_clients:1").then_some(())
        });
        relay.weather(|weather| weather.blackhole = true);
        let started = Instant::now();
        let reply = String::from_utf8_lossy(&client.read_reply()).into_owned();
        assert!(reply.starts_with("-ERR respool: reply_timeout_ms exceeded"), "{line}: {reply}");
        machine.assert_within(Duration::from_secs(1) + REPLY_TIMEOUT * 4, started.elapsed(), line);
        relay.weather(|weather| weather.blackhole = false);
        // Nothing of the client was on that connection.
        echo_until_served(&mut client, "on");
    }
    let mut watching = gateway.client();
    wait("a connection", || (watching.line("WATCH k") == b"+OK\r\n").then_some(()));
    relay.weather(|weather| weather.blackhole = true);
    watching.send(&["BLPOP", "nothing", "1"]);
    let replies = String::from_utf8_lossy(&watching.read_to_end()).into_owned();
    assert!(replies.starts_with("-ERR respool: reply_timeout_ms exceeded"), "and is closed: {replies}");
}

#[test]
fn exclusive_connections_that_went_silent_are_given_up_together() {
    const CONNECTIONS: usize = 20;
    let redis = Redis::start(&[]);
    let relay = Relay::start(redis.address());
    let config = "[upstream]\nconnect_timeout_ms = 400";
    let gateway = Gateway::builder().upstream(&relay.url()).config(config).allow_lost_upstream().start();
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| gateway.client()).collect();
    for client in &mut clients {
        wait("a connection", || (client.line("WATCH k") == b"+OK\r\n").then_some(()));
    }
    relay.weather(|weather| weather.blackhole = true);
    drop(clients);
    let mut client = gateway.client();
    wait("all to be given back", || {
        let pools = String::from_utf8_lossy(&client.line("RESPOOL POOLS")).into_owned();
        pools.contains(&format!("exclusive_idle\r\n:{CONNECTIONS}\r\n")).then_some(())
    });
    let (machine, started) = (Machine::watch(), Instant::now());
    assert_own_error(&client.line("WATCH k"));
    // To try each would take eight seconds.
    machine.assert_within(Duration::from_secs(4), started.elapsed(), "until the client had its error");
    relay.weather(|weather| weather.blackhole = false);
    wait("new connections", || (client.line("WATCH k") == b"+OK\r\n").then_some(()));
}
