//! The upstream becomes a replica, or the address leads to another node: found out once and for all connections, by
//! what the node says of its role.

use std::time::{Duration, Instant};

use crate::support::{Client, DEADLINE, Gateway, Metrics, Redis, Relay, get, pass, requests, wait};

const READONLY: &[u8] = b"-READONLY You can't write against a read only replica.\r\n";

/// A figure of the upstream's `INFO`.
fn figure(direct: &mut Client, name: &str) -> u64 {
    let info = String::from_utf8_lossy(&direct.line("INFO stats")).into_owned();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).expect("the figure is shown");
    line.trim().parse().expect("a number")
}

fn not_ready(gateway: &Gateway) -> Vec<String> {
    let lines = gateway.logs().lines();
    lines.into_iter().filter(|line| line.contains("upstream is not ready")).collect()
}

/// The role that the gateway's `HELLO` tells.
fn role(client: &mut Client) -> String {
    let hello = String::from_utf8_lossy(&client.line("HELLO 2")).into_owned();
    let (_, rest) = hello.split_once("role\r\n").expect("a role");
    rest.lines().nth(1).expect("its name").to_owned()
}

#[test]
fn an_upstream_that_turns_into_a_replica_costs_no_connections_and_one_line_that_says_why() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().allow("upstream is not ready").start();
    let (mut client, mut direct) = (gateway.client(), redis.client());
    client.expect("SET k v", "+OK\r\n");
    let idle = || Metrics::read(gateway.metrics_address()).by("respool_workers", "state")["idle"];
    wait("all workers to be connected", || (idle() >= 4.0).then_some(()));
    let (metrics, opened) = (gateway.metrics_address(), figure(&mut direct, "total_connections_received"));
    direct.expect("REPLICAOF 127.0.0.1 1", "+OK\r\n");
    let started = Instant::now();
    for _ in 0..200 {
        assert_eq!(client.line("SET k w"), READONLY);
    }
    client.expect("GET k", "$1\r\nv\r\n");
    // A look at where the address leads in each second, a few more on a busy machine, and not one for each refusal.
    let looks = figure(&mut direct, "total_connections_received") - opened;
    assert!(looks <= 10 + started.elapsed().as_secs(), "{looks} connections");
    wait("the role to be known", || (get(metrics, "/readyz").0 == 503).then_some(()));
    for _ in 0..10 {
        let (status, why) = get(metrics, "/readyz");
        assert_eq!((status, why.trim()), (503, "the upstream is a replica of 127.0.0.1:1, not a primary"));
    }
    assert_eq!(role(&mut client), "replica");
    let lines = not_ready(&gateway);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("a replica of 127.0.0.1:1"), "{lines:?}");
    // Nobody tells that it is a primary again; it is looked at.
    direct.expect("REPLICAOF NO ONE", "+OK\r\n");
    wait("readiness", || (get(metrics, "/readyz").0 == 200).then_some(()));
    // An answer that was under way may have said once more what was.
    wait("the role", || (role(&mut client) == "master").then_some(()));
    client.expect("SET k w", "+OK\r\n");
    gateway.logs().wait_for_count("upstream is up", 2, DEADLINE);
    assert_eq!(gateway.logs().count("upstream is up"), 2, "at the start, and now");
}

#[test]
fn what_a_script_says_is_no_news_of_the_upstream() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().start();
    let (mut client, mut direct) = (gateway.client(), redis.client());
    let metrics = gateway.metrics_address();
    client.expect("SET k v", "+OK\r\n");
    client.expect("BLPOP nothing 0.01", "*-1\r\n");
    wait("all workers", || (get(metrics, "/status").1.contains("\"sv_idle\":4")).then_some(()));
    let opened = figure(&mut direct, "total_connections_received");
    for words in ["READONLY x", "LOADING x", "MASTERDOWN x", "MOVED 1 127.0.0.1:1"] {
        let script = format!("return redis.error_reply('{words}')");
        for _ in 0..100 {
            assert_eq!(client.call(&["EVAL", &script, "0"]), format!("-{words}\r\n").into_bytes());
            assert_eq!(get(metrics, "/readyz").0, 200);
        }
        // The same on a connection of its own.
        for _ in 0..20 {
            client.send_raw(&requests(&["WATCH k"]));
            client.read_reply();
            assert_eq!(client.call(&["EVAL", &script, "0"]), format!("-{words}\r\n").into_bytes());
            client.expect("UNWATCH", "+OK\r\n");
        }
    }
    assert_eq!(figure(&mut direct, "total_connections_received"), opened);
    assert_eq!(gateway.logs().count("upstream is up"), 1);
}

#[test]
fn what_one_connection_learns_holds_for_all() {
    // The old one lives on as a replica, and then as a primary that the address no longer leads to.
    for demoted in [true, false] {
        let (old, new) = (Redis::start(&[]), Redis::start(&[]));
        let relay = Relay::start(old.address());
        let gateway = Gateway::builder().upstream(&relay.url()).allow_lost_upstream().start();
        let (mut client, mut at_old) = (gateway.client(), old.client());
        client.expect("SET k old", "+OK\r\n");
        // What is borrowed leads to the old one.
        let mut borrowers: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
        borrowers.iter_mut().for_each(|client| client.expect("WATCH x", "+OK\r\n"));
        new.client().expect("SET k new", "+OK\r\n");
        relay.lead_to(new.address());
        if demoted {
            at_old.expect(&format!("REPLICAOF 127.0.0.1 {}", new.address().port()), "+OK\r\n");
        }
        // This one needs a further connection, which is the first that comes to the new one.
        let mut first = gateway.client();
        for (line, reply) in [("WATCH x", "+OK"), ("MULTI", "+OK"), ("INCR n", "+QUEUED"), ("EXEC", "*1\r\n:1")] {
            first.expect(line, &format!("{reply}\r\n"));
        }
        for (number, client) in borrowers.iter_mut().enumerate() {
            // What it watched is watched no more.
            client.expect_closed();
            *client = gateway.client();
            let reply = format!("*1\r\n:{}\r\n", number + 2);
            for (line, reply) in [("MULTI", "+OK\r\n"), ("INCR n", "+QUEUED\r\n"), ("EXEC", &reply)] {
                client.expect(line, reply);
            }
        }
        // From then on everybody does.
        for _ in 0..100 {
            client.expect("GET n", "$1\r\n4\r\n");
            client.expect("GET k", "$3\r\nnew\r\n");
        }
        wait("all workers to have moved", || {
            let list = String::from_utf8_lossy(&at_old.line("CLIENT LIST")).into_owned();
            (!list.contains("name=respool-worker")).then_some(())
        });
        gateway.logs().wait_for("upstream is another node now", DEADLINE);
        assert_eq!(gateway.logs().count("upstream is another node now"), 1);
    }
}

#[test]
fn an_address_that_leads_to_a_primary_and_a_replica_in_turns_is_used_for_the_primary() {
    let primary = Redis::start(&[]);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &primary.address().port().to_string()]);
    let relay = Relay::start(primary.address());
    let config = "[pool]\nworkers = 4\n[upstream]\nlifetime_ms = 100";
    let gateway =
        Gateway::builder().upstream(&relay.url()).config(config).metrics().allow("connection attempt failed").start();
    let (mut client, metrics) = (gateway.client(), gateway.metrics_address());
    // A gateway that has met nothing but the replica takes it for what there is.
    client.expect("SET k v", "+OK\r\n");
    let until = Instant::now() + Duration::from_secs(3);
    let mut turn = 0;
    while Instant::now() < until {
        turn += 1;
        relay.lead_to(if turn % 2 == 0 { primary.address() } else { replica.address() });
        client.expect("SET k v", "+OK\r\n");
        assert_eq!(get(metrics, "/readyz").0, 200);
        pass(Duration::from_millis(5));
    }
}
