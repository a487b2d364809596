//! Slots move from node to node while clients use their keys.

use super::{
    failover::served,
    nodes::{Node, Nodes, key_of},
};
use crate::support::{Client, Gateway, requests, wait};

/// A slot of the first node.
const SLOT: u16 = 77;

fn words_of_clusters(replies: &[Vec<u8>]) -> Vec<String> {
    let shown = replies.iter().map(|reply| String::from_utf8_lossy(reply).into_owned());
    shown.filter(|reply| ["MOVED", "ASK ", "TRYAGAIN", "CLUSTERDOWN"].iter().any(|word| reply.contains(word))).collect()
}

/// Everything that a client may do with keys of one slot, and elsewhere, in one pipeline.
fn use_all(client: &mut Client, tag: &str, round: usize) {
    let (one, two, far) = (format!("{{{tag}}}1"), format!("{{{tag}}}2"), key_of(12_000));
    let lines = [
        format!("SET {one} a{round}"),
        format!("GET {one}"),
        format!("SET {far} b{round}"),
        format!("MSET {one} c{round} {two} d{round} {far} e{round}"),
        format!("MGET {two} {far} {one}"),
        format!("INCR {{{tag}}}n"),
        "MULTI".to_owned(),
        format!("APPEND {one} x"),
        format!("GET {one}"),
        "EXEC".to_owned(),
        format!("EXISTS {one} {two} {far}"),
        format!("GET {far}"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    client.send_raw(&requests(&lines));
    let replies = client.read_replies(lines.len());
    assert_eq!(words_of_clusters(&replies), Vec::<String>::new());
    let bulk = |text: String| format!("${}\r\n{text}\r\n", text.len());
    let expected = [
        "+OK\r\n".to_owned(),
        bulk(format!("a{round}")),
        "+OK\r\n".to_owned(),
        "+OK\r\n".to_owned(),
        format!("*3\r\n{}{}{}", bulk(format!("d{round}")), bulk(format!("e{round}")), bulk(format!("c{round}"))),
        format!(":{round}\r\n"),
        "+OK\r\n".to_owned(),
        "+QUEUED\r\n".to_owned(),
        "+QUEUED\r\n".to_owned(),
        format!("*2\r\n:{}\r\n{}", format!("c{round}x").len(), bulk(format!("c{round}x"))),
        ":3\r\n".to_owned(),
        bulk(format!("e{round}")),
    ];
    let shown: Vec<String> = replies.iter().map(|reply| String::from_utf8_lossy(reply).into_owned()).collect();
    assert_eq!(shown, expected, "round {round}");
}

#[test]
fn a_slot_that_moves_is_moved_under_its_clients_without_a_word() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, tag) = (gateway.client(), key_of(SLOT));
    let mut round = 0;
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        nodes.move_slot(SLOT, &nodes.0[from], &nodes.0[to], |step| {
            // A transaction waits while its keys are on two nodes: only what moves them on ends that.
            if !matches!(step, "migrating" | "a key moved") {
                round += 1;
                use_all(&mut client, &tag, round);
            }
        });
    }
    assert_eq!(round, 9);
}

#[test]
fn single_keys_are_found_wherever_they_are_while_their_slot_is_on_its_way() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, tag) = (gateway.client(), key_of(SLOT));
    for number in 0..8 {
        client.expect(&format!("SET {{{tag}}}{number} {number}"), "+OK\r\n");
    }
    let mut steps = 0;
    nodes.move_slot(SLOT, &nodes.0[0], &nodes.0[1], |_| {
        steps += 1;
        let lines: Vec<String> = (0..8)
            .flat_map(|number| [format!("INCR {{{tag}}}{number}"), format!("GET {{{tag}}}{number}")])
            .chain([format!("GET {{{tag}}}none"), format!("SETNX {{{tag}}}new 1")])
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        client.send_raw(&requests(&lines));
        let replies = client.read_replies(lines.len());
        for (number, pair) in replies.chunks(2).take(8).enumerate() {
            let value = (number + steps).to_string();
            assert_eq!(pair[0], format!(":{value}\r\n").into_bytes());
            assert_eq!(pair[1], format!("${}\r\n{value}\r\n", value.len()).into_bytes());
        }
        assert_eq!(replies[16], b"$-1\r\n");
        assert_eq!(replies[17], if steps == 1 { b":1\r\n" } else { b":0\r\n" });
    });
    assert!(steps > 8, "{steps}");
}

#[test]
fn a_transaction_that_waits_for_its_slot_is_executed_once_where_that_has_come() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, tag) = (gateway.client(), key_of(SLOT));
    client.expect(&format!("SET {{{tag}}}n 5"), "+OK\r\n");
    let (mut whole, mut stepwise) = (gateway.client(), gateway.client());
    let mut watching = gateway.client();
    watching.expect(&format!("WATCH {{{tag}}}n"), "+OK\r\n");
    stepwise.expect("MULTI", "+OK\r\n");
    stepwise.expect("PING", "+QUEUED\r\n");
    // They are whole but for their end, one of them where no further connection is lent.
    let alone = Gateway::builder().upstream(&nodes.url()).config("[pool]\nexclusive_max = 1\nqueue_timeout_ms = 40000");
    let alone = alone.allow_lost_upstream().start();
    let mut begun = [gateway.client(), alone.client()];
    for client in &mut begun {
        client.expect("MULTI", "+OK\r\n");
        client.expect(&format!("EXISTS {{{tag}}}n"), "+QUEUED\r\n");
    }
    let incr = format!("INCR {{{tag}}}n");
    nodes.move_slot(SLOT, &nodes.0[0], &nodes.0[1], |step| match step {
        "a key moved" => {
            whole.send_raw(&requests(&["MULTI", &incr, &incr, "EXEC"]));
            stepwise.send_raw(&requests(&[&incr]));
            begun.iter_mut().for_each(|client| client.send_raw(&requests(&["EXEC", "ECHO on"])));
        }
        "given" => {
            let replies = whole.read_replies(4);
            assert_eq!(replies[3], b"*2\r\n:6\r\n:7\r\n", "{replies:?}");
            assert_eq!(stepwise.read_reply(), b"+QUEUED\r\n");
            stepwise.expect("EXEC", "*2\r\n+PONG\r\n:8\r\n");
            for client in &mut begun {
                assert_eq!(client.read_replies(2).concat(), b"*1\r\n:1\r\n$2\r\non\r\n");
            }
            // What it watches has gone from its node: it has to look again.
            watching.expect("MULTI", "+OK\r\n");
            watching.expect(&incr, "+QUEUED\r\n");
            watching.expect("EXEC", "*-1\r\n");
        }
        _ => {}
    });
    client.expect(&format!("GET {{{tag}}}n"), "$1\r\n8\r\n");
}

/// What several keys of a slot are asked for waits while they are on two nodes, and so does what stands behind it.
#[test]
fn nothing_passes_a_request_that_waits_for_its_slot() {
    // What is sent, what is read then, and the replies to all; the keys 1 and 2 are not on the same node.
    let cases: [(&[&str], &str, &str); 6] = [
        (&["DEL 1 2", "SET 2 new"], "GET 2", ":2\r\n+OK\r\n$3\r\nnew\r\n"),
        (&["MGET 1 2", "SET 2 new", "GET 2"], "GET 2", "*2\r\n$1\r\n7\r\n$1\r\n7\r\n+OK\r\n$3\r\nnew\r\n$3\r\nnew\r\n"),
        (&["MSET 1 9 none 9", "SET 1 10"], "MGET none 1", "+OK\r\n+OK\r\n*2\r\n$1\r\n9\r\n$2\r\n10\r\n"),
        (&["RENAME 1 2", "INCR 1"], "GET 2", "+OK\r\n:1\r\n$1\r\n7\r\n"),
        (
            &["MULTI", "DEL 1", "DEL 2", "EXEC", "INCR 2"],
            "GET 2",
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:1\r\n:1\r\n$1\r\n1\r\n",
        ),
        (&["MULTI", "INCR 1", "EXEC", "INCR 1"], "GET 1", "+OK\r\n+QUEUED\r\n*1\r\n:8\r\n:9\r\n$1\r\n9\r\n"),
    ];
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let tag = key_of(SLOT);
    let named = |case: usize, line: &str| {
        let word = |word: &str| match word {
            "1" | "2" | "none" => format!("{{{tag}}}{case}-{word}"),
            other => other.to_owned(),
        };
        line.split(' ').map(word).collect::<Vec<_>>().join(" ")
    };
    let mut clients: Vec<Client> = cases.iter().map(|_| gateway.client()).collect();
    for key in ["1", "2"] {
        for (case, client) in clients.iter_mut().enumerate() {
            client.expect(&named(case, &format!("SET {key} 7")), "+OK\r\n");
            // From now on it sends many requests at a time.
            client.send_raw(&requests(&["PING"; 64]));
            assert_eq!(client.read_replies(64).len(), 64);
        }
    }
    let mut moved = 0;
    nodes.move_slot(SLOT, &nodes.0[0], &nodes.0[1], |step| {
        moved += usize::from(step == "a key moved");
        if step != "a key moved" || moved != cases.len() {
            return;
        }
        for (case, (client, (lines, ..))) in clients.iter_mut().zip(&cases).enumerate() {
            let lines: Vec<String> = lines.iter().map(|line| named(case, line)).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            client.send_raw(&requests(&lines));
        }
    });
    for (case, (client, (lines, read, expected))) in clients.iter_mut().zip(&cases).enumerate() {
        client.send_raw(&requests(&[&named(case, read)]));
        let replies = client.read_replies(lines.len() + 1).concat();
        assert_eq!(String::from_utf8_lossy(&replies), *expected, "{lines:?}");
    }
}

/// Waits until so many clients are blocked at a node.
fn blocked(node: &Node, count: usize) {
    let expected = format!("blocked_clients:{count}\r\n");
    wait("them to wait", || {
        let said = node.client().line("INFO clients");
        String::from_utf8_lossy(&said).contains(&expected).then_some(())
    });
}

/// What pops this value answers.
fn popped(list: &str, value: &str) -> Vec<u8> {
    format!("*2\r\n${}\r\n{list}\r\n${}\r\n{value}\r\n", list.len(), value.len()).into_bytes()
}

#[test]
fn who_waits_in_a_list_waits_on_where_its_slot_goes() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut before, mut single, mut several) = (gateway.client(), gateway.client(), gateway.client());
    let (mut timed, mut other) = (gateway.client(), gateway.client());
    let list = |name: &str| format!("{{{}}}{name}", key_of(SLOT));
    before.send(&["BLPOP", &list("before"), "0"]);
    blocked(&nodes.0[0], 1);
    other.expect(&format!("SET {} v", list("kept")), "+OK\r\n");
    nodes.move_slot(SLOT, &nodes.0[0], &nodes.0[1], |step| {
        if step == "migrating" {
            timed.expect(&format!("BLPOP {} 0.05", list("none")), "*-1\r\n");
            single.send(&["BLPOP", &list("single"), "0"]);
            blocked(&nodes.0[1], 1);
            other.expect(&format!("RPUSH {} v", list("single")), ":1\r\n");
            assert_eq!(single.read_reply(), popped(&list("single"), "v"));
            single.send(&["BLPOP", &list("single"), "0"]);
            blocked(&nodes.0[1], 1);
            several.send(&["BLPOP", &list("several"), &list("other"), "0"]);
        }
    });
    blocked(&nodes.0[1], 3);
    for (name, client) in [("before", &mut before), ("several", &mut several), ("single", &mut single)] {
        other.expect(&format!("RPUSH {} {name}", list(name)), ":1\r\n");
        assert_eq!(client.read_reply(), popped(&list(name), name));
    }
}

/// No node takes what names several keys that are not there while their slot is on its way: it waits here.
#[test]
fn who_waits_in_several_lists_waits_as_long_as_it_says_for_their_slot() {
    let nodes = Nodes::start();
    let gateway = Gateway::builder().upstream(&nodes.url()).config("[pool]\nqueue_timeout_ms = 300");
    let gateway = gateway.allow_lost_upstream().start();
    let (mut timed, mut waiting, mut gone) = (gateway.client(), gateway.client(), gateway.client());
    let list = |name: &str| format!("{{{}}}{name}", key_of(SLOT));
    served(&gateway, SLOT);
    timed.expect(&format!("SET {} v", list("kept")), "+OK\r\n");
    nodes.move_slot(SLOT, &nodes.0[0], &nodes.0[1], |step| {
        if step == "migrating" {
            for client in [&mut waiting, &mut gone] {
                client.send(&["BLPOP", &list("a"), &list("b"), "0"]);
            }
            for (line, nil) in [("HELLO 2", "*-1\r\n"), ("HELLO 3", "_\r\n")] {
                timed.line(line);
                let began = std::time::Instant::now();
                timed.expect(&format!("BLPOP {} {} 0.8", list("a"), list("b")), nil);
                assert!(began.elapsed().as_millis() >= 800, "{:?}", began.elapsed());
            }
            let asks = |gateway: &Gateway| gateway.client().line("CLIENT LIST");
            let count = |said: &[u8]| String::from_utf8_lossy(said).matches(" cmd=blpop ").count();
            assert_eq!(count(&asks(&gateway)), 2);
            drop(std::mem::replace(&mut gone, gateway.client()));
            wait("it to be noticed", || (count(&asks(&gateway)) == 1).then_some(()));
        }
    });
    timed.expect(&format!("RPUSH {} v", list("b")), ":1\r\n");
    assert_eq!(waiting.read_reply(), popped(&list("b"), "v"));
    waiting.expect("ECHO on", "$2\r\non\r\n");
}

#[test]
fn who_waits_at_a_primary_waits_on_at_the_one_that_takes_over() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut waiting, list) = (gateway.client(), key_of(SLOT));
    waiting.send(&["BLPOP", &list, "0"]);
    blocked(&nodes.0[0], 1);
    nodes.fail_over(3);
    blocked(&nodes.0[3], 1);
    gateway.client().expect(&format!("RPUSH {list} v"), ":1\r\n");
    assert_eq!(waiting.read_reply(), popped(&list, "v"));
    waiting.expect("ECHO on", "$2\r\non\r\n");
}

#[test]
fn who_waits_for_a_group_waits_on_where_its_stream_goes_and_is_told_of_its_end() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut waiting, mut other, stream) = (gateway.client(), gateway.client(), key_of(SLOT));
    other.expect(&format!("XGROUP CREATE {stream} g $ MKSTREAM"), "+OK\r\n");
    let read = ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", &stream, ">"];
    waiting.send(&read);
    blocked(&nodes.0[0], 1);
    nodes.move_slot(SLOT, &nodes.0[0], &nodes.0[1], |_| {});
    blocked(&nodes.0[1], 1);
    other.line(&format!("XADD {stream} 5-1 f v"));
    assert!(String::from_utf8_lossy(&waiting.read_reply()).contains("\r\n5-1\r\n"));
    waiting.send(&read);
    blocked(&nodes.0[1], 1);
    other.expect(&format!("DEL {stream}"), ":1\r\n");
    let told = String::from_utf8_lossy(&waiting.read_reply()).into_owned();
    assert!(told.starts_with("-UNBLOCKED the stream") || told.starts_with("-NOGROUP"), "{told}");

    // What takes its place is told of in the node's own words.
    let beside = format!("{{{stream}}}beside");
    let mut direct = nodes.0[1].client();
    for (client, stream) in [(&mut waiting, &stream), (&mut direct, &beside)] {
        other.expect(&format!("XGROUP CREATE {stream} g $ MKSTREAM"), "+OK\r\n");
        client.send(&["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", stream, ">"]);
    }
    blocked(&nodes.0[1], 2);
    other.expect(&format!("SET {stream} v"), "+OK\r\n");
    other.expect(&format!("SET {beside} v"), "+OK\r\n");
    assert_eq!(waiting.read_reply(), direct.read_reply());
    waiting.expect("ECHO on", "$2\r\non\r\n");
}

#[test]
fn who_reads_what_comes_at_the_end_of_a_stream_misses_nothing_on_the_way() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut other = gateway.client();
    let stream = |name: &str| format!("{{{}}}{name}", key_of(SLOT));
    other.expect(&format!("XADD {} 5-1 f old", stream("old")), "$3\r\n5-1\r\n");
    let mut waiting: Vec<(String, Client)> = ["old", "none"].map(|name| (stream(name), gateway.client())).into();
    for (name, client) in &mut waiting {
        client.send(&["XREAD", "BLOCK", "0", "STREAMS", &stream("quiet"), name, "$", "$"]);
    }
    blocked(&nodes.0[0], 2);
    nodes.move_slot(SLOT, &nodes.0[0], &nodes.0[1], |step| {
        // The new node has the slot, and the former one does not know it.
        if step == "taken" {
            let mut there = nodes.0[1].client();
            there.expect(&format!("XADD {} 6-1 f new", stream("old")), "$3\r\n6-1\r\n");
            there.expect(&format!("XADD {} 6-1 f new", stream("none")), "$3\r\n6-1\r\n");
        }
    });
    for (name, client) in &mut waiting {
        let read = String::from_utf8_lossy(&client.read_reply()).into_owned();
        assert!(read.contains("6-1") && !read.contains("5-1"), "{name}: {read}");
        client.expect("ECHO on", "$2\r\non\r\n");
    }
}

#[test]
fn a_watch_that_no_node_takes_is_refused_and_so_is_its_transaction() {
    let nodes = Nodes::start();
    let gateway = Gateway::builder().upstream(&nodes.url()).config("[pool]\nqueue_timeout_ms = 300");
    let gateway = gateway.allow_lost_upstream().start();
    let (mut client, tag) = (gateway.client(), key_of(SLOT));
    served(&gateway, SLOT);
    nodes.move_slot(SLOT, &nodes.0[0], &nodes.0[1], |step| {
        if step == "migrating" {
            client.send_raw(&requests(&[&format!("WATCH {{{tag}}}none"), "MULTI", "PING", "EXEC"]));
            let replies = client.read_replies(4);
            let told = String::from_utf8_lossy(&replies[0]).into_owned();
            assert!(told.starts_with("-ERR respool: no node of the cluster took the request"), "{told}");
            assert!(replies[3].starts_with(b"-EXECABORT"), "{replies:?}");
        }
    });
}
