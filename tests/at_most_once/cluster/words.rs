//! Errors that look like a word of a cluster and are none, and addresses that lead nowhere.

use super::nodes::{Nodes, key_of};
use crate::support::{request, requests, within};

#[test]
fn a_script_that_answers_with_a_word_of_clusters_is_executed_once() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, key) = (gateway.client(), key_of(5));
    let (other, own) = (nodes.0[1].address(), nodes.0[0].address());
    let words = [
        "TRYAGAIN x".to_owned(),
        "CLUSTERDOWN x".to_owned(),
        "LOADING x".to_owned(),
        "MASTERDOWN x".to_owned(),
        format!("MOVED 6000 {other}"),
        format!("MOVED 5 {own}"),
        format!("ASK 6000 {other}"),
        "MOVED x".to_owned(),
    ];
    let mut count = 0;
    for word in &words {
        let script = format!("redis.call('incr', KEYS[1]) return redis.error_reply('{word}')");
        let said = format!("-{word}\r\n");
        // By itself, in a transaction that was sent at once, in one that was not, and beside what is watched.
        client.send(&["EVAL", &script, "1", &key]);
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), said);
        client.send_raw(&[requests(&["MULTI"]), eval(&script, &key), requests(&["EXEC"])].concat());
        assert_eq!(String::from_utf8_lossy(&client.read_replies(3)[2]), format!("*1\r\n{said}"));
        client.expect("MULTI", "+OK\r\n");
        client.send_raw(&eval(&script, &key));
        assert_eq!(client.read_reply(), b"+QUEUED\r\n");
        client.expect("EXEC", &format!("*1\r\n{said}"));
        client.expect(&format!("WATCH {key}"), "+OK\r\n");
        client.send_raw(&eval(&script, &key));
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), said);
        client.expect("UNWATCH", "+OK\r\n");
        count += 4;
        let shown = count.to_string();
        client.expect(&format!("GET {key}"), &format!("${}\r\n{shown}\r\n", shown.len()));
    }
    // One that leads to nobody is not followed, and is not executed again to hear it once more.
    let script = "redis.call('incr', KEYS[1]) return redis.error_reply('MOVED 5 nobody.invalid:1')";
    let hasty = nodes.gateway_that_waits(500, "");
    let mut client = hasty.client();
    client.send_raw(&eval(script, &key));
    assert!(client.read_reply().starts_with(b"-ERR respool: "));
    let shown = (count + 1).to_string();
    client.expect(&format!("GET {key}"), &format!("${}\r\n{shown}\r\n", shown.len()));
}

fn eval(script: &str, key: &str) -> Vec<u8> {
    request(&["EVAL", script, "1", key])
}

#[test]
fn nodes_are_reached_elsewhere_than_where_their_cluster_says() {
    let nodes = Nodes::start();
    let mut entries = Vec::new();
    for (number, node) in nodes.0.iter().enumerate() {
        let mut client = node.client();
        client.expect(&format!("CONFIG SET cluster-announce-hostname node-{number}.invalid"), "+OK\r\n");
        client.expect("CONFIG SET cluster-preferred-endpoint-type hostname", "+OK\r\n");
        entries.push(format!("\"node-{number}.invalid:{}={}\"", node.address().port(), node.address()));
    }
    within(super::nodes::READY, "all to know the names", || {
        let knows =
            |said: &[u8]| (0..6).all(|number| String::from_utf8_lossy(said).contains(&format!("node-{number}.")));
        nodes.0.iter().all(|node| node.try_line("CLUSTER SLOTS").is_some_and(|said| knows(&said))).then_some(())
    });
    let gateway = nodes.gateway_that_waits(30_000, &format!("[cluster]\nreached_at = [{}]", entries.join(", ")));
    let mut client = gateway.client();
    for slot in [5, 6_000, 12_000] {
        client.expect(&format!("SET {} {slot}", key_of(slot)), "+OK\r\n");
    }
    nodes.move_slot(5, &nodes.0[0], &nodes.0[1], |_| client.expect(&format!("GET {}", key_of(5)), "$1\r\n5\r\n"));
    nodes.fail_over(5);
    client.expect(&format!("GET {}", key_of(12_000)), "$5\r\n12000\r\n");
    client.expect(&format!("GET {}", key_of(5)), "$1\r\n5\r\n");
}
