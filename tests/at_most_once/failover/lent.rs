//! Clients with a connection of their own when the primary changes: they end as with a Redis that closes its clients,
//! except subscribers of shared pub/sub, who are moved.

use std::time::Duration;

use super::service::{Sentinel, Service};
use crate::support::{Client, DEADLINE, Gateway, Redis, requests, wait};

fn moved(gateway: &Gateway, service: &Service) {
    service.fail_over(0);
    wait("the new primary", || (gateway.logs().count("primary is another") == 2).then_some(()));
}

#[track_caller]
fn expect_lost(client: &mut Client) {
    let reply = String::from_utf8_lossy(&client.read_reply()).into_owned();
    assert!(reply.starts_with("-ERR respool: ") && reply.contains("another node is the primary now"), "{reply}");
}

#[test]
fn what_is_bound_to_the_old_primary_ends_with_it() {
    let service = Service::start(&[]);
    let gateway = Gateway::start(&service.url());
    let clients = || gateway.client();
    let (mut multi, mut watch, mut blocked, mut subscriber) = (clients(), clients(), clients(), clients());
    multi.expect("MULTI", "+OK\r\n");
    multi.expect("SET m 1", "+QUEUED\r\n");
    watch.expect("WATCH w", "+OK\r\n");
    subscriber.expect("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    blocked.send(&["BLPOP", "l", "0"]);
    let mut direct = service.direct(0);
    wait("it to block", || {
        let clients = direct.line("CLIENT LIST");
        String::from_utf8_lossy(&clients).contains("cmd=blpop").then_some(())
    });
    moved(&gateway, &service);
    // A blocking command has no state: its client may go on.
    expect_lost(&mut blocked);
    blocked.expect("SET b 1", "+OK\r\n");
    for mut bound in [multi, watch, subscriber] {
        bound.expect_closed();
    }
    let mut client = gateway.client();
    client.expect("GET m", "$-1\r\n");
}

/// Their requests would be executed where nobody reads any more.
#[test]
fn what_is_bound_to_an_upstream_ends_when_the_url_leads_to_another() {
    let (old, new) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&old.url());
    let [mut multi, mut watch, mut blocked, mut subscriber, mut writes] = [(); 5].map(|()| gateway.client());
    multi.expect("MULTI", "+OK\r\n");
    multi.expect("SET m 1", "+QUEUED\r\n");
    watch.expect("WATCH w", "+OK\r\n");
    writes.expect("WATCH w", "+OK\r\n");
    subscriber.expect("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let id = String::from_utf8_lossy(&blocked.line("CLIENT ID")).trim_start_matches(':').trim().to_owned();
    blocked.send(&["BLPOP", "l", "0"]);
    let mut direct = old.client();
    direct.expect("CLIENT PAUSE 600000 WRITE", "+OK\r\n");
    writes.send(&["SET", "under", "way"]);
    for command in ["cmd=blpop", "cmd=set"] {
        wait("it to be under way", || {
            String::from_utf8_lossy(&direct.line("CLIENT LIST")).contains(command).then_some(())
        });
    }
    let mut operator = gateway.client();
    operator.call(&["RESPOOL", "CONFIG", "SET", "upstream.url", &new.url()]);
    expect_lost(&mut blocked);
    blocked.expect("SET b 1", "+OK\r\n");
    operator.expect(&format!("CLIENT UNBLOCK {id}"), ":0\r\n");
    for mut bound in [multi, watch, subscriber] {
        bound.expect_closed();
    }
    // Its request is executed in any case.
    direct.expect("CLIENT UNPAUSE", "+OK\r\n");
    assert_eq!(writes.read_reply(), b"+OK\r\n");
    writes.expect_closed();
    direct.expect("EXISTS m b under", ":1\r\n");
    new.client().expect("EXISTS m b under", ":1\r\n");
}

#[test]
fn a_transaction_under_way_is_never_executed_on_two_nodes() {
    let service = Service::start(&[]);
    let gateway = Gateway::start(&service.url());
    let mut client = gateway.client();
    client.expect("MULTI", "+OK\r\n");
    client.expect("INCR n", "+QUEUED\r\n");
    service.fail_over(1);
    gateway.logs().wait_for("a failover from", DEADLINE);
    // Held until the failover is over, and then its connection is another's.
    client.send(&["EXEC"]);
    expect_lost(&mut client);
    client.expect_closed();
    gateway.client().expect("GET n", "$-1\r\n");
}

/// Its node refuses what each of them sends, before the gateway knows why.
#[test]
fn no_client_hears_what_a_replica_says_to_a_connection_of_its_own() {
    let mut service = Service::start(&[]);
    let builder = Gateway::builder().upstream(&service.url()).allow("not ready").allow("sentinel does not answer");
    // Nothing but a refusal tells it.
    let gateway = builder.config("[sentinel]\nrefresh_ms = 60_000\n[upstream]\ncheck_interval_ms = 60_000").start();
    let [mut watch, mut multi, mut tracking, mut script] = [(); 4].map(|()| gateway.client());
    watch.expect("WATCH w", "+OK\r\n");
    multi.expect("MULTI", "+OK\r\n");
    multi.expect("INCR m", "+QUEUED\r\n");
    tracking.call(&["HELLO", "3"]);
    tracking.expect("CLIENT TRACKING ON", "+OK\r\n");
    script.expect("WATCH s", "+OK\r\n");
    // Whose words prove nothing.
    let words = "READONLY You can't write against a read only replica.";
    let said = script.call(&["EVAL", &format!("return redis.error_reply(\"{words}\")"), "0"]);
    assert_eq!(String::from_utf8_lossy(&said), format!("-{words}\r\n"));
    service.sentinels.iter_mut().for_each(Sentinel::kill9);
    let mut old = service.direct(0);
    old.expect("CLIENT PAUSE 600000 WRITE", "+OK\r\n");
    watch.send(&["SET", "w", "1"]);
    multi.send(&["EXEC"]);
    tracking.send_raw(&requests(&["INCR t", "PUBLISH c m"]));
    wait("them to be under way", || {
        let clients = old.line("INFO clients");
        String::from_utf8_lossy(&clients).contains("blocked_clients:3\r\n").then_some(())
    });
    old.expect(&format!("REPLICAOF 127.0.0.1 {}", service.nodes[1].address().port()), "+OK\r\n");
    old.expect("CLIENT UNPAUSE", "+OK\r\n");
    for mut bound in [watch, multi, tracking] {
        expect_lost(&mut bound);
        bound.expect_closed();
    }
}

/// The node closes it behind what it says.
#[test]
fn a_connection_on_which_a_node_has_ended_the_waiting_serves_nobody_else() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).allow("not ready").start();
    let (mut blocked, mut operator, mut direct) = (gateway.client(), gateway.client(), redis.client());
    blocked.send(&["BLPOP", "l", "0"]);
    wait("it to block", || String::from_utf8_lossy(&direct.line("CLIENT LIST")).contains("cmd=blpop").then_some(()));
    direct.expect("REPLICAOF 127.0.0.1 1", "+OK\r\n");
    let reply = String::from_utf8_lossy(&blocked.read_reply()).into_owned();
    assert!(reply.starts_with("-UNBLOCKED force unblock"), "{reply}");
    let pools = String::from_utf8_lossy(&operator.line("RESPOOL POOLS")).into_owned();
    assert!(pools.contains("exclusive_idle\r\n:0\r\n"), "{pools}");
}

#[test]
fn subscribers_of_shared_pubsub_are_moved() {
    let service = Service::start(&[]);
    let config = "[pubsub]\nmode = \"shared\"";
    let builder = Gateway::builder().upstream(&service.url()).config(config).allow("shared pub/sub connection lost");
    let gateway = builder.start();
    let (mut subscriber, mut publisher) = (gateway.client(), gateway.client());
    subscriber.expect("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    moved(&gateway, &service);
    wait("the subscription to be there again", || (publisher.line("PUBLISH c hi") == b":1\r\n").then_some(()));
    subscriber.read_timeout(Duration::from_secs(10));
    assert_eq!(subscriber.read_reply(), b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n");
}
