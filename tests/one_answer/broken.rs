//! Connections that end between and inside replies: at every byte of them, in order and by reset, and
//! while nobody uses them.

use std::time::Duration;

use crate::support::{Client, Cut, Gateway, Redis, Relay, Way, assert_own_error, pass, requests, wait};

fn gateway_behind(relay: &Relay) -> Gateway {
    // A check of the upstream would be cut in place of the replies.
    let config = "[pool]\nworkers = 1\n[upstream]\nreconnect_delay_min_ms = 1\nreconnect_delay_max_ms = 5\ncheck_interval_ms = 0";
    let gateway = Gateway::builder().upstream(&relay.url()).config(config).allow_lost_upstream().start();
    wait_for_connection(&gateway);
    gateway
}

/// The first may take longer than `connect_timeout_ms` on a busy machine.
fn wait_for_connection(gateway: &Gateway) {
    let mut client = gateway.client();
    wait("a connection", || (client.line("PING") == b"+PONG\r\n").then_some(()));
}

/// What a burst gets where nothing breaks, for a list that has `pushed` items already.
fn expected(pushed: usize, round: usize) -> [String; 5] {
    let id = format!("id{round}");
    let echo = format!("${}\r\n{id}\r\n", id.len());
    [
        format!(":{}\r\n", pushed + 1),
        echo,
        "*2\r\n:1\r\n*1\r\n$1\r\nx\r\n".into(),
        format!(":{}\r\n", pushed + 2),
        "$-1\r\n".into(),
    ]
}

/// Length of the list, asked of Redis itself.
fn length(direct: &mut Client) -> usize {
    let reply = direct.line("LLEN list");
    String::from_utf8_lossy(&reply).trim_start_matches(':').trim_end().parse().expect("an integer")
}

/// Cuts the replies to one burst after `bytes`, and checks each reply and what was executed.
fn burst_with_cut(client: &mut Client, direct: &mut Client, relay: &Relay, round: usize, bytes: usize, cut: Cut) {
    let before = length(direct);
    let expected = expected(before, round);
    let id = format!("id{round}");
    relay.cut_after(bytes, cut);
    let push = format!("RPUSH list {id}");
    let burst = [&push, &format!("ECHO {id}"), "EVAL return{1,{'x'}} 0", "RPUSH list y", "GET nothing"];
    client.send_raw(&requests(&burst));
    let mut ends = 0;
    for expected in &expected {
        let reply = client.read_reply();
        ends += expected.len();
        let came_whole = ends <= bytes;
        if reply.starts_with(b"-") {
            assert_own_error(&reply);
            // A reset may overtake what came before it.
            assert!(!came_whole || cut == Cut::Reset, "cut after {bytes}: the reply {expected:?} had come");
        } else {
            assert_eq!(String::from_utf8_lossy(&reply), *expected, "cut after {bytes}");
        }
    }
    relay.disarm();
    wait("the client to recover", || (client.line("PING") == b"+PONG\r\n").then_some(()));
    // The requests had reached Redis before its replies were cut: executed once, and never again.
    assert_eq!(length(direct), before + 2, "cut after {bytes}");
    direct.expect(&format!("LREM list 0 {id}"), ":1\r\n");
}

fn cut_at_every_byte(cut: Cut) {
    let redis = Redis::start(&[]);
    let relay = Relay::start(redis.address());
    let gateway = gateway_behind(&relay);
    let (mut client, mut direct) = (gateway.client(), redis.client());
    client.expect("PING", "+PONG\r\n");
    let total: usize = expected(0, 1000).iter().map(String::len).sum();
    for bytes in 0..=total {
        burst_with_cut(&mut client, &mut direct, &relay, 1000 + bytes, bytes, cut);
    }
    assert!(relay.cuts() >= total, "the cuts came to pass");
}

#[test]
fn connections_reset_at_every_byte_of_a_reply_give_each_request_one_reply_of_its_own() {
    cut_at_every_byte(Cut::Reset);
}

#[test]
fn connections_closed_at_every_byte_of_a_reply_give_each_request_one_reply_of_its_own() {
    cut_at_every_byte(Cut::Close);
}

#[test]
fn connections_half_closed_at_every_byte_of_a_reply_give_each_request_one_reply_of_its_own() {
    cut_at_every_byte(Cut::HalfClose);
}

/// Cuts a burst off after any of its bytes: what is executed is a beginning of it, executed once, and whoever is
/// told that a request was not sent can rely on that.
fn cut_requests_at_every_byte(cut: Cut) {
    let redis = Redis::start(&[]);
    let relay = Relay::start(redis.address());
    let gateway = gateway_behind(&relay);
    let (mut client, mut direct) = (gateway.client(), redis.client());
    client.expect("PING", "+PONG\r\n");
    let burst = requests(&["RPUSH list a", "RPUSH list b", "RPUSH list c"]);
    for bytes in 0..=burst.len() {
        relay.cut(Way::Requests, bytes, cut);
        client.send_raw(&burst);
        let replies = client.read_replies(3);
        relay.disarm();
        wait("the client to recover", || (client.line("PING") == b"+PONG\r\n").then_some(()));
        let executed = length(&mut direct);
        assert!(executed <= 3, "cut after {bytes}: executed twice");
        for (index, reply) in replies.iter().enumerate() {
            let text = String::from_utf8_lossy(reply).into_owned();
            if reply.starts_with(b":") {
                assert!(index < executed && text == format!(":{}\r\n", index + 1), "cut after {bytes}: {text}");
            } else {
                assert_own_error(reply);
                let never = text.contains("was not sent") || text.contains("upstream is down");
                assert!(!never || index >= executed, "cut after {bytes}: executed, and said not to be");
            }
        }
        direct.line("DEL list");
    }
    assert!(relay.cuts() >= burst.len(), "the cuts came to pass");
}

#[test]
fn requests_reset_at_every_byte_are_executed_at_most_once() {
    cut_requests_at_every_byte(Cut::Reset);
}

#[test]
fn requests_cut_off_at_every_byte_are_executed_at_most_once() {
    cut_requests_at_every_byte(Cut::Close);
}

#[test]
fn reads_alone_survive_a_broken_connection() {
    let redis = Redis::start(&[]);
    let relay = Relay::start(redis.address());
    let gateway = gateway_behind(&relay);
    let mut client = gateway.client();
    client.expect("MSET a 1 b 2", "+OK\r\n");
    for bytes in 0..=25 {
        relay.cut_after(bytes, Cut::Reset);
        client.send_raw(&requests(&["GET a", "MGET a b"]));
        assert_eq!(client.read_reply(), b"$1\r\n1\r\n", "cut after {bytes}");
        assert_eq!(client.read_reply(), b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n", "cut after {bytes}");
        relay.disarm();
    }
}

#[test]
fn connections_that_end_while_idle_are_replaced_before_anybody_notices() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 3").start();
    let (mut client, mut direct) = (gateway.client(), redis.client());
    for _ in 0..20 {
        wait("all workers to be connected", || (worker_ids(&mut direct).len() == 3).then_some(()));
        let before = worker_ids(&mut direct);
        direct.line("CLIENT KILL TYPE normal SKIPME yes");
        wait("connections to be replaced", || {
            let now = worker_ids(&mut direct);
            (now.len() == 3 && now.iter().all(|id| !before.contains(id))).then_some(())
        });
        client.expect("SET k v", "+OK\r\n");
    }
}

/// The upstream's ids of the workers' connections, which it knows by their names.
fn worker_ids(direct: &mut Client) -> Vec<String> {
    let list = String::from_utf8_lossy(&direct.line("CLIENT LIST")).into_owned();
    let lines = list.lines().filter(|line| line.contains(" name=respool-worker-"));
    lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_upstream_sees_its_connections_by_name() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 3";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow_lost_upstream().start();
    let mut direct = redis.client();
    wait_for_connection(&gateway);
    wait("three named connections", || {
        let list = String::from_utf8_lossy(&direct.line("CLIENT LIST")).into_owned();
        (1..=3).all(|index| list.contains(&format!(" name=respool-worker-{index} "))).then_some(())
    });
}

#[test]
fn an_upstream_that_closes_idle_connections_is_kept_awake() {
    let redis = Redis::start(&["--timeout", "2"]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let (mut client, mut direct) = (gateway.client(), redis.client());
    wait("the worker to be connected", || (worker_ids(&mut direct).len() == 1).then_some(()));
    let before = worker_ids(&mut direct);
    // Longer than the upstream's own time-out, which it checks every second or so; the direct
    // connection has to be kept awake as well.
    for _ in 0..8 {
        pass(Duration::from_millis(500));
        direct.expect("PING", "+PONG\r\n");
    }
    assert_eq!(worker_ids(&mut direct), before, "the connection lives");
    client.expect("SET k v", "+OK\r\n");
}

#[test]
fn connections_are_renewed_at_the_end_of_their_life_without_a_failed_request() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 2\n[upstream]\nlifetime_ms = 100";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let (mut client, mut direct) = (gateway.client(), redis.client());
    let (mut count, mut seen) = (0, Vec::new());
    wait("twenty connections to have come and gone", || {
        for _ in 0..20 {
            count += 1;
            client.expect("INCR n", &format!(":{count}\r\n"));
        }
        seen.extend(worker_ids(&mut direct));
        seen.sort();
        seen.dedup();
        (seen.len() > 20).then_some(())
    });
}
