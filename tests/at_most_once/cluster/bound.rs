//! What binds a client to one node (a transaction that has been begun, channels that are subscribed) while its keys are
//! at another: each request is answered once, and a transaction of which any request was refused is not executed.

use super::nodes::{Nodes, key_of};
use crate::support::{Client, Gateway, assert_own_error, requests};

/// Slots of two nodes that do not have what begins without a key.
const FAR: u16 = 12_000;
const NEAR: u16 = 77;

const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

fn gateway(nodes: &Nodes, more: &str) -> Gateway {
    let config = "[pool]\nqueue_timeout_ms = 40000\nreply_timeout_ms = 40000\npause_timeout_ms = 200";
    let builder = Gateway::builder().upstream(&nodes.url()).config(config).config(more);
    builder.allow("paused").allow_lost_upstream().start()
}

/// The connection is in step, and in no transaction.
#[track_caller]
fn assert_goes_on(client: &mut Client) {
    client.expect("ECHO on", "$2\r\non\r\n");
    client.expect("EXEC", "-ERR EXEC without MULTI\r\n");
}

#[test]
fn a_transaction_of_which_a_request_was_refused_is_executed_at_no_node() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes, "");
    let mut client = gateway.client();
    let (near, far) = (key_of(NEAR), key_of(FAR));
    let (set, across) = (format!("SET {far} v"), format!("MSET {near} v {far} v"));
    for refused in ["RESPOOL CLIENTS", "SUBSCRIBE", &across] {
        client.expect("MULTI", "+OK\r\n");
        let reply = client.line(refused);
        assert!(reply.starts_with(b"-"), "{refused}: {reply:?}");
        client.expect(&set, "+QUEUED\r\n");
        client.expect("EXEC", ABORTED);
        client.expect(&format!("EXISTS {near} {far}"), ":0\r\n");
    }

    // While nothing is lent, neither a request nor the end of a transaction can go on elsewhere.
    let mut operator = gateway.client();
    client.expect("MULTI", "+OK\r\n");
    operator.line("RESPOOL PAUSE");
    assert_own_error(&client.line(&set));
    operator.expect("RESPOOL RESUME", "+OK\r\n");
    assert_own_error(&client.line(&set));
    client.expect("EXEC", ABORTED);
    assert_goes_on(&mut client);
    client.expect(&format!("SET {near} 1"), "+OK\r\n");
    client.expect("MULTI", "+OK\r\n");
    client.expect(&format!("INCR {near}"), "+QUEUED\r\n");
    nodes.move_slot(NEAR, &nodes.0[0], &nodes.0[1], |step| {
        if step == "a key moved" {
            operator.line("RESPOOL PAUSE");
            assert_own_error(&client.line("EXEC"));
            operator.expect("RESPOOL RESUME", "+OK\r\n");
            assert_goes_on(&mut client);
        }
    });
    client.expect(&format!("GET {near}"), "$1\r\n1\r\n");
}

#[test]
fn a_subscriber_is_answered_about_keys_of_other_nodes_and_stays_subscribed() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes, "[pubsub]\nmode = \"dedicated\"");
    let (mut subscriber, mut publisher) = (gateway.client(), gateway.client());
    let gets: Vec<String> = [NEAR, 6_000, FAR].map(|slot| format!("GET {}", key_of(slot))).into();
    subscriber.expect("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    subscriber.send_raw(&requests(&[&gets[0], &gets[1], &gets[2], "PING"]));
    let replies = subscriber.read_replies(4);
    assert!(replies[..3].iter().all(|reply| reply.starts_with(b"-ERR ")), "{replies:?}");
    assert_eq!(replies[3], b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");

    let mut newer = gateway.client();
    newer.line("HELLO 3");
    newer.expect("SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    newer.expect("MULTI", "+OK\r\n");
    assert_own_error(&newer.line(&gets[2]));
    newer.expect("EXEC", ABORTED);
    assert_goes_on(&mut newer);
    publisher.line("PUBLISH c m");
    assert_eq!(newer.read_reply(), b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
    assert_eq!(subscriber.read_reply(), b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
}
