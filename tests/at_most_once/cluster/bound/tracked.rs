//! A client that tracks has a connection of each node whose keys it uses: what holds for one holds for all of them, and
//! what it has begun or relies on at one of them is not lost without its knowing, whatever becomes of that.

use super::super::nodes::{Nodes, key_of};
use crate::support::{Client, Gateway, assert_own_error, requests, wait};

/// Slots of three nodes.
const SLOTS: [u16; 3] = [77, 6_000, 12_000];

const ALL_INVALID: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";

fn gateway(nodes: &Nodes) -> Gateway {
    let config = "[pool]\nqueue_timeout_ms = 40000\nreply_timeout_ms = 40000\npause_timeout_ms = 200";
    Gateway::builder().upstream(&nodes.url()).config(config).allow("paused").allow_lost_upstream().start()
}

fn tracking(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.line("HELLO 3");
    client.expect("CLIENT TRACKING ON", "+OK\r\n");
    client
}

fn get(slot: u16) -> String {
    format!("GET {}", key_of(slot))
}

/// It is told of the next change of a key that it has read.
#[track_caller]
fn assert_told(client: &mut Client, writer: &mut Client, slot: u16) {
    let key = key_of(slot);
    client.line(&get(slot));
    writer.expect(&format!("SET {key} told"), "+OK\r\n");
    assert_eq!(String::from_utf8_lossy(&client.read_reply()), pushed(&key));
}

fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).into_owned()
}

/// What one hears of a key that is invalid.
fn pushed(key: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

#[test]
fn what_is_refused_for_lack_of_a_connection_leaves_a_client_that_tracks_as_it_was() {
    let mut nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let (mut client, mut writer, mut operator) = (tracking(&gateway), gateway.client(), gateway.client());
    writer.expect(&format!("SET {} v", key_of(SLOTS[0])), "+OK\r\n");
    client.line(&get(SLOTS[0]));
    nodes.move_slot(SLOTS[0], &nodes.0[0], &nodes.0[1], |step| {
        if step == "a key moved" {
            assert!(client.read_reply().starts_with(b">2\r\n$10\r\ninvalidate\r\n"));
            operator.line("RESPOOL PAUSE");
            assert_own_error(&client.line(&get(SLOTS[0])));
            operator.expect("RESPOOL RESUME", "+OK\r\n");
            client.expect("EXEC", "-ERR EXEC without MULTI\r\n");
            client.expect(&get(SLOTS[0]), "$1\r\nv\r\n");
        }
    });
    assert_told(&mut client, &mut writer, SLOTS[0]);

    // One that has no connection but of the node that is lost.
    let mut client = tracking(&gateway);
    client.line(&get(SLOTS[0] + 1));
    nodes.0[0].kill9();
    assert_eq!(client.read_reply(), ALL_INVALID);
    operator.line("RESPOOL PAUSE");
    assert_own_error(&client.line(&get(SLOTS[1])));
    assert_own_error(&client.line("MULTI"));
    operator.expect("RESPOOL RESUME", "+OK\r\n");
    client.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    assert_told(&mut client, &mut writer, SLOTS[1]);
    assert_told(&mut client, &mut writer, SLOTS[2]);
    nodes.0[0].restart();
}

#[test]
fn keys_that_are_watched_at_a_node_that_is_not_in_use_are_not_forgotten() {
    let mut nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let (mut client, mut off, mut writer) = (tracking(&gateway), tracking(&gateway), gateway.client());
    let key = key_of(SLOTS[2]);
    for client in [&mut client, &mut off] {
        client.expect(&format!("WATCH {key}"), "+OK\r\n");
        client.expect(&get(SLOTS[0]), "_\r\n");
    }
    off.expect("CLIENT TRACKING OFF", "+OK\r\n");
    off.expect(&get(SLOTS[1]), "_\r\n");
    writer.expect(&format!("SET {key} v"), "+OK\r\n");
    off.send_raw(&requests(&["MULTI", &format!("SET {key} w"), "EXEC"]));
    assert_eq!(off.read_replies(3)[2], b"_\r\n");
    off.send_raw(&requests(&["MULTI", &get(SLOTS[1]), "EXEC"]));
    assert_eq!(off.read_replies(3)[2], b"*1\r\n_\r\n");
    nodes.0[2].kill9();
    client.expect_closed();
    nodes.0[2].restart();
}

#[test]
fn what_was_executed_in_part_is_said_to_be_and_a_client_that_is_killed_is_not_waited_for() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let (mut client, mut operator) = (tracking(&gateway), gateway.client());
    let id = String::from_utf8_lossy(&client.line("CLIENT ID")).trim_matches([':', '\r', '\n']).to_owned();
    let set = |value: &str| format!("MSET {}", SLOTS.map(|slot| format!("{} {value}", key_of(slot))).join(" "));
    client.expect(&format!("GET {{{}}}2", key_of(SLOTS[0])), "_\r\n");
    operator.line("RESPOOL PAUSE");
    let said = client.line(&set("v"));
    assert_own_error(&said);
    assert!(said.ends_with(b" (a part of the command was executed at other shards)\r\n"));
    operator.expect("RESPOOL RESUME", "+OK\r\n");
    client.expect(&set("v"), "+OK\r\n");
    nodes.0[2].freeze();
    client.send_raw(&requests(&[&set("w")]));
    wait("the others to have it", || (nodes.0[1].client().line(&get(SLOTS[1])) == b"$1\r\nw\r\n").then_some(()));
    operator.expect(&format!("CLIENT KILL ID {id}"), ":1\r\n");
    client.expect_closed();
    nodes.0[2].thaw();
}

#[test]
fn a_client_that_tracks_speaks_one_protocol_at_all_nodes_and_subscribes_in_no_transaction() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let (mut client, mut writer) = (tracking(&gateway), gateway.client());
    for (hello, nil) in [("HELLO 3", "_\r\n"), ("HELLO 2", "$-1\r\n"), ("HELLO 3", "_\r\n")] {
        client.line(hello);
        SLOTS.iter().for_each(|slot| client.expect(&get(*slot), nil));
    }
    client.expect("MULTI", "+OK\r\n");
    assert_own_error(&client.line("SUBSCRIBE c"));
    client.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    client.expect("SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    assert_told(&mut client, &mut writer, SLOTS[1]);
    client.expect("UNSUBSCRIBE c", ">3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n");
    assert_told(&mut client, &mut writer, SLOTS[2]);
}

/// What a client that speaks RESP2 hears of these keys on the channel of invalidations.
fn invalid(key: &str) -> String {
    format!("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

#[test]
fn what_is_invalid_at_any_node_is_redirected() {
    let mut nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let (mut target, mut client, mut writer) = (gateway.client(), gateway.client(), gateway.client());
    let id = String::from_utf8_lossy(&target.line("CLIENT ID")).trim_matches([':', '\r', '\n']).to_owned();
    target.line("SUBSCRIBE __redis__:invalidate");
    for mode in ["", "BCAST "] {
        client.expect(&format!("CLIENT TRACKING ON {mode}REDIRECT {id} NOLOOP"), "+OK\r\n");
        client.expect("CLIENT GETREDIR", &format!(":{id}\r\n"));
        for (slot, key) in SLOTS.map(|slot| (slot, key_of(slot))) {
            client.line(&get(slot));
            client.expect(&format!("SET {key} own"), "+OK\r\n");
            client.line(&get(slot));
            writer.expect(&format!("SET {key} v"), "+OK\r\n");
            assert_eq!(String::from_utf8_lossy(&target.read_reply()), invalid(&key));
            client.expect("CLIENT GETREDIR", &format!(":{id}\r\n"));
        }
        client.expect("CLIENT TRACKING OFF", "+OK\r\n");
    }
    client.expect(&format!("CLIENT TRACKING ON REDIRECT {id}"), "+OK\r\n");
    client.line(&get(SLOTS[0]));
    client.line(&get(SLOTS[1]));
    nodes.0[0].kill9();
    client.expect_closed();
    nodes.0[0].restart();
}

#[test]
fn a_client_that_wants_what_is_invalid_of_all_keys_hears_of_those_of_all_nodes() {
    let mut nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let (mut client, mut narrow, mut writer) = (gateway.client(), gateway.client(), gateway.client());
    for (client, tracking) in [(&mut client, "BCAST"), (&mut narrow, "BCAST PREFIX none PREFIX {")] {
        client.line("HELLO 3");
        client.expect(&format!("CLIENT TRACKING ON {tracking}"), "+OK\r\n");
    }
    for key in SLOTS.map(key_of) {
        writer.expect(&format!("SET {key} v"), "+OK\r\n");
        writer.expect(&format!("SET {{{key}}} v"), "+OK\r\n");
        let told = |key: &str| format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len());
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), told(&key));
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), told(&format!("{{{key}}}")));
        assert_eq!(String::from_utf8_lossy(&narrow.read_reply()), told(&format!("{{{key}}}")));
    }
    client.expect("ECHO on", "$2\r\non\r\n");
    narrow.expect("CLIENT TRACKING OFF", "+OK\r\n");
    nodes.0[2].kill9();
    client.expect_closed();
    narrow.expect("ECHO on", "$2\r\non\r\n");
    nodes.0[2].restart();
}

#[test]
fn what_holds_for_a_transaction_holds_at_whichever_node_it_goes_to() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let mut writer = gateway.client();
    for slot in SLOTS {
        let (mut client, key) = (gateway.client(), key_of(slot));
        client.line("HELLO 3");
        client.expect("CLIENT TRACKING ON OPTIN", "+OK\r\n");
        for is_kept in [true, false] {
            writer.expect(&format!("SET {key} v"), "+OK\r\n");
            if is_kept {
                client.expect("CLIENT CACHING YES", "+OK\r\n");
            }
            client.send_raw(&requests(&["MULTI", &get(slot), "EXEC"]));
            client.read_replies(3);
            writer.expect(&format!("SET {key} w"), "+OK\r\n");
            if is_kept {
                assert_eq!(String::from_utf8_lossy(&client.read_reply()), pushed(&key));
            }
            client.expect("ECHO next", "$4\r\nnext\r\n");
        }
    }
}

#[test]
fn what_is_read_where_a_slot_goes_is_told_of_as_elsewhere() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let (mut client, mut writer, slot) = (gateway.client(), gateway.client(), SLOTS[1]);
    let key = key_of(slot);
    let mut untold = gateway.client();
    client.line("HELLO 3");
    client.expect("CLIENT TRACKING ON OPTIN", "+OK\r\n");
    untold.expect("CLIENT TRACKING ON OPTIN", "+OK\r\n");
    writer.expect(&format!("SET {key} v"), "+OK\r\n");
    nodes.move_slot(slot, &nodes.0[1], &nodes.0[2], |step| {
        if ["a key moved", "given"].contains(&step) {
            client.expect("CLIENT CACHING YES", "+OK\r\n");
            client.expect(&get(slot), "$1\r\nv\r\n");
            // In RESP2 it is told nothing, as by Redis.
            untold.expect("CLIENT CACHING YES", "+OK\r\n");
            untold.expect(&get(slot), "$1\r\nv\r\n");
            untold.expect("ECHO next", "$4\r\nnext\r\n");
        }
        match step {
            // It is told of nothing later.
            "a key moved" => assert_eq!(client.read_reply(), ALL_INVALID),
            "given" => {
                writer.expect(&format!("SET {key} w"), "+OK\r\n");
                assert_eq!(String::from_utf8_lossy(&client.read_reply()), pushed(&key));
            }
            _ => {}
        }
        client.expect("ECHO next", "$4\r\nnext\r\n");
    });
}

#[test]
fn what_becomes_invalid_while_a_request_goes_to_its_nodes_is_told_behind_the_reply() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let (mut client, mut owner) = (tracking(&gateway), nodes.0[0].client());
    let (key, stuck) = (key_of(SLOTS[0]), SLOTS[0] + 1);
    owner.expect(&format!("SET {key} v"), "+OK\r\n");
    // The other node does not take it: what has a key of this slot is sent again until it stays.
    owner.expect(&format!("CLUSTER SETSLOT {stuck} MIGRATING {}", nodes.0[1].id()), "+OK\r\n");
    client.send_raw(&requests(&[&format!("MGET {key} {}", key_of(stuck))]));
    wait("the first part to be executed", || {
        text(&owner.line("INFO stats")).contains("tracking_total_keys:1\r").then_some(())
    });
    owner.expect(&format!("SET {key} w"), "+OK\r\n");
    owner.expect(&format!("CLUSTER SETSLOT {stuck} STABLE"), "+OK\r\n");
    assert_eq!(text(&client.read_reply()), "*2\r\n$1\r\nv\r\n_\r\n");
    assert_eq!(text(&client.read_reply()), pushed(&key));
}

#[test]
fn what_is_to_be_tracked_is_tracked_also_where_nobody_could_be_told_that_it_is_not() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let (mut target, mut client, mut several) = (gateway.client(), gateway.client(), gateway.client());
    let (mut writer, slot) = (gateway.client(), SLOTS[1]);
    let key = key_of(slot);
    let id = String::from_utf8_lossy(&target.line("CLIENT ID")).trim_matches([':', '\r', '\n']).to_owned();
    target.line("SUBSCRIBE __redis__:invalidate");
    client.expect(&format!("CLIENT TRACKING ON REDIRECT {id} OPTIN"), "+OK\r\n");
    several.line("HELLO 3");
    several.expect("CLIENT TRACKING ON OPTIN", "+OK\r\n");
    writer.expect(&format!("SET {key} v"), "+OK\r\n");
    // How often the node that the key has left was asked for it.
    let asked = || {
        let said = String::from_utf8_lossy(&nodes.0[1].client().line("INFO errorstats")).into_owned();
        let count = said.split_once("errorstat_ASK:count=").and_then(|(_, rest)| rest.lines().next());
        count.map_or(0, |count| count.parse::<usize>().expect("a number"))
    };
    let send = |client: &mut Client, request: &[&str]| {
        client.expect("CLIENT CACHING YES", "+OK\r\n");
        let before = asked();
        client.send(request);
        wait("it to be answered, or asked for in vain", || {
            (client.has_arrived() || asked() > before + 9).then_some(())
        });
    };
    nodes.move_slot(slot, &nodes.0[1], &nodes.0[2], |step| {
        if step == "a key moved" {
            send(&mut client, &["GET", &key]);
            send(&mut several, &["MGET", &key, &key_of(SLOTS[0])]);
        }
    });
    assert_eq!(client.read_reply(), b"$1\r\nv\r\n");
    assert_eq!(several.read_reply(), b"*2\r\n$1\r\nv\r\n_\r\n");
    writer.expect(&format!("SET {key} w"), "+OK\r\n");
    assert_eq!(String::from_utf8_lossy(&target.read_reply()), invalid(&key));
    assert_eq!(String::from_utf8_lossy(&several.read_reply()), pushed(&key));
    for client in [&mut client, &mut several] {
        client.expect("ECHO next", "$4\r\nnext\r\n");
    }
}

/// What all nodes have said so far has come to the gateway, which has looked at it.
fn settle(nodes: &Nodes, other: &mut Client) {
    nodes.0.iter().for_each(|node| node.client().expect("PING", "+PONG\r\n"));
    (0..4).for_each(|_| other.expect("PING", "+PONG\r\n"));
}

#[test]
fn a_flush_of_all_nodes_is_told_once() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let (mut client, mut writer) = (tracking(&gateway), gateway.client());
    // At all nodes, at none since the last one, and at some.
    for slots in [&SLOTS[..], &[], &SLOTS[1..2], &SLOTS[..2]] {
        slots.iter().for_each(|slot| client.expect(&get(*slot), "_\r\n"));
        writer.expect("FLUSHALL", "+OK\r\n");
        settle(&nodes, &mut writer);
        assert_eq!(text(&client.read_reply()), text(ALL_INVALID), "{slots:?}");
        SLOTS.iter().for_each(|slot| client.expect(&format!("STRLEN {}", key_of(*slot)), ":0\r\n"));
        // It has nothing left of what was read for this.
        writer.expect("FLUSHALL", "+OK\r\n");
        settle(&nodes, &mut writer);
        assert_eq!(text(&client.read_reply()), text(ALL_INVALID), "{slots:?}");
    }
    client.send_raw(&requests(&["MULTI", "FLUSHDB", "EXEC"]));
    assert_eq!(client.read_replies(3)[2], b"*1\r\n+OK\r\n");
    settle(&nodes, &mut writer);
    assert_eq!(text(&client.read_reply()), text(ALL_INVALID));
    client.expect("PING", "+PONG\r\n");
}

#[test]
fn what_is_read_at_a_node_after_another_was_flushed_is_told_to_be_invalid() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let (mut client, mut writer) = (tracking(&gateway), gateway.client());
    let flush = |at: usize| nodes.0[at].client().expect("FLUSHALL", "+OK\r\n");
    for is_out in [false, true] {
        writer.expect(&format!("SET {} v", key_of(SLOTS[1])), "+OK\r\n");
        client.expect(&get(SLOTS[1] + 1), "_\r\n");
        client.expect(&get(SLOTS[0]), "_\r\n");
        if is_out {
            nodes.0[1].freeze();
            client.send_raw(&requests(&[&get(SLOTS[1])]));
            wait("it to be sent", || {
                writer.line("CLIENT LIST").windows(7).any(|part| part == b"cmd=get").then_some(())
            });
        }
        flush(0);
        assert_eq!(text(&client.read_reply()), text(ALL_INVALID));
        match is_out {
            false => client.expect(&get(SLOTS[1]), "$1\r\nv\r\n"),
            true => {
                nodes.0[1].thaw();
                assert_eq!(text(&client.read_reply()), "$1\r\nv\r\n");
            }
        }
        flush(1);
        assert_eq!(text(&client.read_reply()), text(ALL_INVALID));
    }
    client.expect("PING", "+PONG\r\n");
}

#[test]
fn who_tracks_what_others_read_is_told_of_each_node_that_is_flushed() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes);
    let mut client = gateway.client();
    client.line("HELLO 3");
    client.expect("CLIENT TRACKING ON BCAST", "+OK\r\n");
    for at in [0, 1, 2, 1] {
        nodes.0[at].client().expect("FLUSHALL", "+OK\r\n");
        assert_eq!(text(&client.read_reply()), text(ALL_INVALID));
    }
}
