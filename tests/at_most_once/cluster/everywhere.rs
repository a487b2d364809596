//! What is about all nodes of a cluster reaches all of them.

use std::time::Duration;

use super::nodes::{Nodes, key_of, text};
use crate::support::wait;

#[test]
fn what_overtakes_reaches_every_primary() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    client.expect("CONFIG SET busy-reply-threshold 50", "+OK\r\n");
    client
        .expect("CONFIG SET nonsense 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'\r\n");
    for node in &nodes.0[..3] {
        let said = node.client().line("CONFIG GET busy-reply-threshold");
        assert!(said.ends_with(b"$2\r\n50\r\n"), "{}", String::from_utf8_lossy(&said));
    }
    client.expect("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.\r\n");
    // A script that does not end is ended wherever it runs.
    for slot in [5, 7_000, 12_000] {
        let mut busy = gateway.client();
        busy.send(&["EVAL", "while redis.call('exists', KEYS[1]) == 0 do end", "1", &key_of(slot)]);
        wait("the script to be ended", || (client.line("SCRIPT KILL") == b"+OK\r\n").then_some(()));
        let ended = busy.read_reply();
        assert!(String::from_utf8_lossy(&ended).contains("Script killed by user"), "{ended:?}");
    }
    // A pause holds writes up at every primary.
    client.expect("CLIENT PAUSE 60000 WRITE", "+OK\r\n");
    let mut writers: Vec<_> = [5, 7_000, 12_000].map(|slot| (gateway.client(), key_of(slot))).into();
    for (writer, key) in &mut writers {
        writer.send(&["SET", key, "v"]);
        writer.read_timeout(Duration::from_millis(50));
        assert!(writer.try_read_reply().is_err(), "it is held up");
        writer.read_timeout(Duration::from_secs(20));
    }
    client.expect("CLIENT UNPAUSE", "+OK\r\n");
    for (writer, key) in &mut writers {
        assert_eq!(writer.read_reply(), b"+OK\r\n");
        assert_eq!(text(&client.line(&format!("GET {key}"))), "v");
    }
}
