//! What nodes tell of their own keys alone, whatever nodes do meanwhile: a subscriber gets keyspace events of all, and each
//! once, however it subscribes, and what is published once too, though all nodes pass it on. A client that tracks hears of
//! each key that it has read at any node.

use std::{collections::BTreeMap, time::Duration};

use super::super::nodes::{Node, Nodes, key_of};
use crate::support::{Client, DEADLINE, Gateway, requests, wait};

/// Slots of three nodes.
const SLOTS: [u16; 3] = [77, 6_000, 12_000];

const MODES: [&str; 2] = ["dedicated", "shared"];

/// How long an event may take that has come on its way.
const SOON: Duration = Duration::from_millis(300);

fn gateway(nodes: &Nodes, mode: &str) -> Gateway {
    nodes.0.iter().for_each(tell_events);
    nodes.gateway_that_waits(30_000, &format!("[pubsub]\nmode = \"{mode}\""))
}

fn tell_events(node: &Node) {
    assert_eq!(node.client().line("CONFIG SET notify-keyspace-events KEA"), b"+OK\r\n");
}

/// The bulk strings of a message, without its first.
fn words(message: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(message).into_owned();
    text.lines().skip(2).filter(|line| !line.starts_with('$')).skip(1).map(str::to_owned).collect()
}

/// Reads so many messages, in any order; how often each has come.
#[track_caller]
fn messages(client: &mut Client, count: usize) -> BTreeMap<String, usize> {
    let mut came = BTreeMap::new();
    for _ in 0..count {
        *came.entry(words(&client.read_reply()).join(" ")).or_default() += 1;
    }
    came
}

fn once(all: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    all.into_iter().map(|message| (message, 1)).collect()
}

/// Sets a key of each slot, all with this end of their names.
fn set(writer: &mut Client, end: &str) -> Vec<String> {
    let keys: Vec<String> = SLOTS.iter().map(|slot| format!("{{{}}}{end}", key_of(*slot))).collect();
    keys.iter().for_each(|key| writer.expect(&format!("SET {key} v"), "+OK\r\n"));
    keys
}

/// What comes of that for those who want all.
fn of_all(pattern: &str, keys: &[String]) -> Vec<String> {
    let two =
        |key: &String| [format!("{pattern} __keyspace@0__:{key} set"), format!("{pattern} __keyevent@0__:set {key}")];
    keys.iter().flat_map(two).collect()
}

#[test]
fn events_of_all_nodes_and_what_is_published_come_once() {
    let nodes = Nodes::start();
    for mode in MODES {
        let gateway = gateway(&nodes, mode);
        let (mut old, mut new, mut writer) = (gateway.client(), gateway.client(), gateway.client());
        old.expect("PSUBSCRIBE *", "*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n");
        new.line("HELLO 3");
        new.expect("SUBSCRIBE __keyevent@0__:set", ">3\r\n$9\r\nsubscribe\r\n$18\r\n__keyevent@0__:set\r\n:1\r\n");
        for round in ["a", "b"] {
            let keys = set(&mut writer, round);
            writer.expect(&format!("PUBLISH news {round}"), ":1\r\n");
            let published = format!("* news {round}");
            let expected = once(of_all("*", &keys).into_iter().chain([published]));
            assert_eq!(messages(&mut old, 7), expected, "{mode}");
            let expected = once(keys.iter().map(|key| format!("__keyevent@0__:set {key}")));
            assert_eq!(messages(&mut new, 3), expected, "{mode}");
        }
        // What is no more subscribed comes no more, and what is left still does.
        new.expect("UNSUBSCRIBE", ">3\r\n$11\r\nunsubscribe\r\n$18\r\n__keyevent@0__:set\r\n:0\r\n");
        set(&mut writer, "c");
        assert_eq!(messages(&mut old, 6).len(), 6, "{mode}");
        new.expect("PING", "+PONG\r\n");
        old.expect("PUNSUBSCRIBE *", "*3\r\n$12\r\npunsubscribe\r\n$1\r\n*\r\n:0\r\n");
        old.expect("PING", "+PONG\r\n");
    }
}

/// Waits until events of this slot come again, and takes them all in.
fn heard_of(subscriber: &mut Client, writer: &mut Client, slot: u16) {
    let (key, mut sent) = (key_of(slot), 0);
    subscriber.read_timeout(SOON);
    wait("events of the slot to come", || {
        sent += 1;
        // What was on its way to a primary that is lost gets an error.
        writer.line(&format!("SET {key} {sent}"));
        subscriber.try_read_reply().ok().map(|heard| assert!(heard.is_some(), "the subscriber was closed"))
    });
    subscriber.read_timeout(DEADLINE);
    // The last of them.
    writer.expect(&format!("DEL {key}"), ":1\r\n");
    let is_last = |message: Vec<u8>| words(&message).last().is_some_and(|word| word == "del");
    wait("the last event to come", || is_last(subscriber.read_reply()).then_some(()));
}

#[test]
fn events_go_on_at_other_primaries_and_at_further_ones() {
    let mut nodes = Nodes::start();
    for mode in MODES {
        let gateway = gateway(&nodes, mode);
        let (mut subscriber, mut writer) = (gateway.client(), gateway.client());
        subscriber.line("PSUBSCRIBE __keyspace@0__:*");
        let all_come_once = |subscriber: &mut Client, writer: &mut Client, round: &str| {
            for slot in SLOTS {
                heard_of(subscriber, writer, slot);
            }
            let keys = set(writer, round);
            let pattern = "__keyspace@0__:*";
            let expected = once(keys.iter().map(|key| format!("{pattern} __keyspace@0__:{key} set")));
            assert_eq!(messages(subscriber, 3), expected, "{mode} {round}");
        };
        all_come_once(&mut subscriber, &mut writer, "a");
        // A replica that has got nothing yet is none to the cluster.
        let mut replicas = || String::from_utf8_lossy(&writer.line("RESPOOL TOPOLOGY")).matches("\nreplica\r").count();
        wait("the replicas to be known", || (replicas() == 3).then_some(()));
        nodes.fail_over(if nodes.0[5].is_primary() { 2 } else { 5 });
        all_come_once(&mut subscriber, &mut writer, "b");
        let lost = if nodes.0[5].is_primary() { 5 } else { 2 };
        nodes.0[lost].kill9();
        all_come_once(&mut subscriber, &mut writer, "c");
        nodes.0[lost].restart();
        nodes.wait_until_ready();
    }
}

#[test]
fn events_of_a_slot_that_moves_to_a_further_node_come_from_there() {
    let nodes = Nodes::start();
    let further = nodes.join();
    tell_events(&further);
    for mode in MODES {
        let gateway = gateway(&nodes, mode);
        let (mut subscriber, mut writer) = (gateway.client(), gateway.client());
        subscriber.line("PSUBSCRIBE __keyspace@0__:*");
        heard_of(&mut subscriber, &mut writer, SLOTS[2]);
        nodes.move_slot(SLOTS[2], &nodes.0[2], &further, |_| ());
        heard_of(&mut subscriber, &mut writer, SLOTS[2]);
        let keys = set(&mut writer, "moved");
        let came = messages(&mut subscriber, 3);
        assert_eq!(came.len(), 3, "{keys:?} {came:?}");
        nodes.move_slot(SLOTS[2], &further, &nodes.0[2], |_| ());
        nodes.wait_until_known(SLOTS[2], &nodes.0[2]);
    }
}

fn invalid(key: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

const ALL_INVALID: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";

fn tracking(gateway: &Gateway, how: &str) -> Client {
    let mut client = gateway.client();
    client.line("HELLO 3");
    client.expect(&format!("CLIENT TRACKING ON{how}"), "+OK\r\n");
    client
}

/// Nothing has come that has not been read.
fn assert_told_no_more(client: &mut Client) {
    SLOTS.iter().for_each(|slot| client.expect(&format!("EXISTS {{{}}}no", key_of(*slot)), ":0\r\n"));
}

/// What is said to be invalid, of each key once.
fn all_invalid(client: &mut Client, keys: &[String]) {
    let mut told: Vec<_> = keys.iter().map(|_| String::from_utf8_lossy(&client.read_reply()).into_owned()).collect();
    let mut expected: Vec<_> = keys.iter().map(|key| invalid(key)).collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn keys_of_all_nodes_are_tracked_as_at_one_redis() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, mut writer) = (tracking(&gateway, ""), gateway.client());
    let keys = set(&mut writer, "");
    for (key, slot) in keys.iter().zip(SLOTS) {
        client.expect(&format!("GET {key}"), "$1\r\nv\r\n");
        writer.expect(&format!("SET {key} w"), "+OK\r\n");
        writer.expect(&format!("SET {key} v"), "+OK\r\n");
        assert_eq!(client.read_reply(), invalid(key).as_bytes());
        client.send_raw(&requests(&["MULTI", &format!("GET {key}"), "EXEC"]));
        assert_eq!(client.read_replies(3).concat(), b"+OK\r\n+QUEUED\r\n*1\r\n$1\r\nv\r\n");
        writer.expect(&format!("APPEND {key} v"), ":2\r\n");
        assert_eq!(client.read_reply(), invalid(key).as_bytes());
        // What is watched at one node depends on that, wherever the client reads meanwhile.
        for end in ["*1\r\n+OK\r\n", "_\r\n"] {
            client.expect(&format!("WATCH {key}"), "+OK\r\n");
            SLOTS.iter().for_each(|slot| client.expect(&format!("EXISTS {{{}}}no", key_of(*slot)), ":0\r\n"));
            if end == "_\r\n" {
                writer.expect(&format!("SET {key} v"), "+OK\r\n");
            }
            client.send_raw(&requests(&["MULTI", &format!("SET {{{}}}s 1", key_of(slot)), "EXEC"]));
            assert_eq!(client.read_replies(3)[2], end.as_bytes());
        }
    }
    let of_all = keys.join(" ");
    client.expect(&format!("MGET {of_all}"), "*3\r\n$1\r\nv\r\n$1\r\nv\r\n$1\r\nv\r\n");
    writer.expect(&format!("DEL {of_all}"), ":3\r\n");
    all_invalid(&mut client, &keys);
    assert_told_no_more(&mut client);

    // Its own writes are not told to a client that does not want that, and only what it opts for is tracked.
    let mut opting = tracking(&gateway, " NOLOOP OPTIN");
    let written = keys.iter().map(|key| format!("{key} v")).collect::<Vec<_>>().join(" ");
    for caches in [false, true] {
        if caches {
            opting.expect("CLIENT CACHING YES", "+OK\r\n");
        }
        opting.line(&format!("MGET {of_all}"));
        opting.expect(&format!("GET {}", keys[1]), "_\r\n");
        writer.expect(&format!("MSET {written}"), "+OK\r\n");
        if caches {
            all_invalid(&mut opting, &keys);
        }
        assert_told_no_more(&mut opting);
        writer.expect(&format!("DEL {of_all}"), ":3\r\n");
    }
    opting.expect("CLIENT CACHING YES", "+OK\r\n");
    opting.line(&format!("GET {}", keys[2]));
    opting.line(&format!("GET {}", keys[0]));
    opting.expect(&format!("MSET {written}"), "+OK\r\n");
    assert_told_no_more(&mut opting);
    client.expect("CLIENT GETREDIR", ":0\r\n");
    client.expect("CLIENT TRACKING OFF", "+OK\r\n");
    client.line(&format!("MGET {of_all}"));
    writer.expect(&format!("DEL {of_all}"), ":3\r\n");
    assert_told_no_more(&mut client);
}

#[test]
fn tracking_goes_on_where_keys_go() {
    let mut nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, mut writer) = (tracking(&gateway, ""), gateway.client());
    let keys = set(&mut writer, "");
    keys.iter().for_each(|key| client.expect(&format!("GET {key}"), "$1\r\nv\r\n"));
    nodes.move_slot(SLOTS[0], &nodes.0[0], &nodes.0[1], |step| {
        if step == "a key moved" {
            // To the node it leaves it is deleted.
            assert_eq!(client.read_reply(), invalid(&keys[0]).as_bytes());
        }
        client.expect(&format!("GET {}", keys[0]), "$1\r\nv\r\n");
    });
    writer.expect(&format!("SET {} w", keys[0]), "+OK\r\n");
    assert_eq!(client.read_reply(), invalid(&keys[0]).as_bytes());

    nodes.0[2].kill9();
    assert_eq!(client.read_reply(), ALL_INVALID);
    client.expect(&format!("GET {}", keys[1]), "$1\r\nv\r\n");
    client.expect(&format!("GET {}", keys[2]), "$1\r\nv\r\n");
    writer.expect(&format!("SET {} w", keys[2]), "+OK\r\n");
    assert_eq!(client.read_reply(), invalid(&keys[2]).as_bytes());
    writer.expect(&format!("SET {} w", keys[1]), "+OK\r\n");
    assert_eq!(client.read_reply(), invalid(&keys[1]).as_bytes());
    nodes.0[2].restart();
}
