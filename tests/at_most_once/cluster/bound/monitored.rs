//! `MONITOR` shows what any primary executes, and nothing that the gateway asks of its own accord.

use super::super::nodes::{Nodes, key_of};
use crate::support::{Client, Gateway, wait};

/// One slot of each shard.
const SLOTS: [u16; 3] = [5, 6_000, 12_000];

/// What is shown to a monitor up to the request that ends with these words.
fn shown_up_to(monitor: &mut Client, last: &str) -> Vec<String> {
    let mut shown = Vec::new();
    while !shown.last().is_some_and(|line: &String| line.ends_with(last)) {
        shown.push(String::from_utf8_lossy(&monitor.read_reply()).trim_end().to_owned());
    }
    shown
}

fn monitor(gateway: &Gateway) -> Client {
    let mut monitor = gateway.client();
    monitor.expect("MONITOR", "+OK\r\n");
    monitor
}

/// Sets a key of this slot, until the monitor is shown it.
fn wait_until_shown(gateway: &Gateway, monitor: &mut Client, slot: u16) {
    let (mut client, key) = (gateway.client(), key_of(slot));
    let mut round = 0;
    wait("the primary to be monitored", || {
        round += 1;
        client.expect(&format!("SET {key} {round}"), "+OK\r\n");
        client.expect("ECHO round", "$5\r\nround\r\n");
        let shown = shown_up_to(monitor, "\"ECHO\" \"round\"");
        shown.iter().any(|line| line.contains(&format!("\"SET\" \"{key}\""))).then_some(())
    });
}

#[test]
fn a_monitor_is_shown_what_every_primary_executes() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut shown, mut other) = (monitor(&gateway), gateway.client());
    for slot in SLOTS {
        let key = key_of(slot);
        other.expect(&format!("SET {key} v"), "+OK\r\n");
        shown_up_to(&mut shown, &format!("\"SET\" \"{key}\" \"v\""));
        other.send(&["EVAL", "return redis.call('get', KEYS[1])", "1", &key]);
        assert_eq!(other.read_reply(), b"$1\r\nv\r\n");
        shown_up_to(&mut shown, &format!("lua] \"get\" \"{key}\""));
    }
    // What all execute is shown once.
    for line in ["FLUSHALL", "SCRIPT FLUSH"] {
        other.expect(line, "+OK\r\n");
    }
    for slot in SLOTS {
        other.expect(&format!("GET {}", key_of(slot)), "$-1\r\n");
    }
    other.expect("ECHO end", "$3\r\nend\r\n");
    let mut lines = shown_up_to(&mut shown, "\"ECHO\" \"end\"");
    let are_all = |lines: &[String]| lines.iter().filter(|line| line.contains("\"GET\"")).count() == SLOTS.len();
    while !are_all(&lines) {
        lines.push(String::from_utf8_lossy(&shown.read_reply()).trim_end().to_owned());
    }
    let times = |of: &str| lines.iter().filter(|line| line.contains(of)).count();
    assert_eq!(["\"FLUSHALL\"", "\"FLUSH\""].map(times), [1; 2], "{lines:?}");
    // After RESET it is shown nothing, and the connections are closed.
    let lent = || gateway.client().line("RESPOOL POOLS");
    assert!(String::from_utf8_lossy(&lent()).contains("exclusive_monitor"));
    shown.expect("RESET", "+RESET\r\n");
    let monitors =
        |node: usize| String::from_utf8_lossy(&nodes.0[node].client().line("CLIENT LIST")).contains("flags=O");
    wait("all connections to be closed", || (!(0..3).any(monitors)).then_some(()));
    SLOTS.iter().for_each(|slot| other.expect(&format!("SET {} w", key_of(*slot)), "+OK\r\n"));
    shown.expect("PING", "+PONG\r\n");
    // So they are when the client goes.
    let gone = monitor(&gateway);
    wait("all to be monitored", || (0..3).all(monitors).then_some(()));
    drop(gone);
    wait("all to be closed again", || (!(0..3).any(monitors)).then_some(()));
}

#[test]
fn a_monitor_follows_the_primaries_that_there_are() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut shown = monitor(&gateway);
    // The replica of the second shard takes over, by order.
    nodes.fail_over(4);
    wait_until_shown(&gateway, &mut shown, SLOTS[1]);
    let mut other = gateway.client();
    // The former primary, which executes what it is told as a replica, shows nothing any more.
    let key = key_of(SLOTS[1]);
    wait("its monitor to be closed", || {
        let list = String::from_utf8_lossy(&nodes.0[1].client().line("CLIENT LIST")).into_owned();
        (!list.contains("flags=O")).then_some(())
    });
    other.expect(&format!("SET {key} once"), "+OK\r\n");
    other.expect("ECHO end", "$3\r\nend\r\n");
    let mut lines = shown_up_to(&mut shown, "\"ECHO\" \"end\"");
    other.expect(&format!("SET {key} again"), "+OK\r\n");
    lines.extend(shown_up_to(&mut shown, "\"again\""));
    let times = lines.iter().filter(|line| line.ends_with("\"once\"")).count();
    assert_eq!(times, 1, "{lines:?}");
    // So it is when a primary is lost.
    let mut nodes = nodes;
    nodes.0[2].kill9();
    wait_until_shown(&gateway, &mut shown, SLOTS[2]);
    // The connection to the first one is that of the client.
    nodes.0[0].kill9();
    shown.read_to_end();
}

#[test]
fn a_monitor_is_not_shown_what_the_gateway_asks_of_its_own_accord() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut direct: Vec<Client> = nodes.0[..3].iter().map(super::super::nodes::Node::client).collect();
    direct.iter_mut().for_each(|node| node.expect("MONITOR", "+OK\r\n"));
    let (mut shown, mut other) = (monitor(&gateway), gateway.client());
    // Connections are made, prepared and cleaned.
    let mut waiting: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    for (client, slot) in waiting.iter_mut().zip(SLOTS) {
        client.expect("CLIENT SETNAME waiting", "+OK\r\n");
        client.expect(&format!("WATCH {}", key_of(slot)), "+OK\r\n");
        client.expect("UNWATCH", "+OK\r\n");
    }
    // What others say is shown, whatever it is.
    nodes.0[0].client().line("CLUSTER SLOTS");
    // The follower asks each node in turn.
    for node in &mut direct {
        shown_up_to(node, "\"CLUSTER\" \"NODES\"");
        shown_up_to(node, "\"CLUSTER\" \"NODES\"");
    }
    other.expect("ECHO end", "$3\r\nend\r\n");
    let lines = shown_up_to(&mut shown, "\"ECHO\" \"end\"");
    let own = ["\"CLUSTER\" \"NODES\"", "\"HELLO\"", "\"RESET\"", "respool-", "\"INFO\" \"server\""];
    let told: Vec<&String> = lines.iter().filter(|line| own.iter().any(|own| line.contains(own))).collect();
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(lines.iter().filter(|line| line.contains("\"CLUSTER\" \"SLOTS\"")).count(), 1, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains("\"WATCH\"")).count(), 3, "{lines:?}");
    shown.expect("RESET", "+RESET\r\n");
}

#[test]
fn a_monitor_is_shown_multi_as_the_client_has_written_it_and_nothing_of_how_commands_are_looked_up() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut shown, mut other) = (monitor(&gateway), gateway.client());
    let key = key_of(SLOTS[1]);
    let requests = ["multi".to_owned(), format!("SET {key} v"), "exec".into(), "Multi".into(), "nosuch x".into()];
    requests.iter().for_each(|line| drop(other.line(line)));
    assert!(other.line("Exec").starts_with(b"-EXECABORT"));
    other.expect("CLIENT REPLY ON", "+OK\r\n");
    let lines = shown_up_to(&mut shown, "\"CLIENT\" \"REPLY\" \"ON\"");
    let requests: Vec<_> = lines.iter().map(|line| line.split_once("] ").expect("a request").1).collect();
    let set = format!("\"SET\" \"{key}\" \"v\"");
    let expected = ["\"multi\"", &set, "\"exec\"", "\"Multi\"", "\"Exec\"", "\"CLIENT\" \"REPLY\" \"ON\""];
    assert_eq!(requests, expected);
}
