//! Clients with a connection of their own when the primary changes: they end as with a Redis that closes its clients,
//! except subscribers of shared pub/sub, who are moved.

use std::time::Duration;

use super::service::Service;
use crate::support::{Client, DEADLINE, Gateway, wait};

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
