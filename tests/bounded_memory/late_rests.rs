//! Replies that do not come, or not in time, where the client has a large one before, or a part of it: what it has is
//! followed by nothing that it could take for a part of that, by no error too many, and by no word between nodes.

use std::sync::{Arc, Condvar, Mutex};

use super::large_replies::{CONFIG, FIRST, HEAD, SIZE, is_large};
use crate::{
    at_most_once::cluster::scripted::said_of_all,
    support::{Builder, Client, DEADLINE, Gateway, Upstream, requests, wait},
};

/// Starts an upstream that says nothing more to a client that asks for `half`, of which it sends the first part, or for
/// `late`, until the door is opened. It may be taken for a cluster.
fn silent() -> (Upstream, Arc<(Mutex<bool>, Condvar)>) {
    let door = Arc::new((Mutex::new(false), Condvar::new()));
    let waits = Arc::clone(&door);
    let upstream = Upstream::start(move |peer| {
        let until_open = || {
            let open = waits.0.lock().expect("whole");
            drop(waits.1.wait_timeout_while(open, DEADLINE, |open| !*open).expect("whole"));
        };
        while let Some(line) = peer.next() {
            match line.as_str() {
                "GET large" => peer.reply(&format!("{HEAD}{}\r\n", "x".repeat(SIZE))),
                "GET half" => {
                    peer.reply(&format!("{HEAD}{}", "x".repeat(FIRST)));
                    until_open();
                    return;
                }
                "INCR late" => {
                    until_open();
                    return;
                }
                _ if line.starts_with("GET ") || line.starts_with("INCR ") => peer.reply(&format!("+{line}\r\n")),
                _ => peer.reply(said_of_all(&[peer.port()], &line).as_deref().unwrap_or("+PONG\r\n")),
            }
        }
    });
    (upstream, door)
}

/// Has all connections of that upstream go on.
fn open((is_open, waiting): &(Mutex<bool>, Condvar)) {
    *is_open.lock().expect("whole") = true;
    waiting.notify_all();
}

/// Sends requests to gateways in front of it, as one Redis and as a cluster, and has what comes of that looked at.
fn at_gateways(upstream: &Upstream, lines: &[&str], look: impl Fn(&mut Client)) {
    for url in [upstream.url(), upstream.url().replace("redis://", "redis-cluster://")] {
        let config = format!("[pool]\nreply_timeout_ms = 500\n[upstream]\ncheck_interval_ms = 0\nurl = \"{url}\"");
        let gateway = Gateway::builder().config(&config).allow_lost_upstream().start();
        let mut client = gateway.client();
        // Before its nodes are known a cluster gives any reply as a whole.
        client.expect("PING", "+PONG\r\n");
        client.send_raw(&requests(lines));
        look(&mut client);
    }
}

/// Starts a gateway that takes that upstream for a cluster, with a client once it knows its nodes.
fn of_cluster(builder: Builder, upstream: &Upstream) -> (Gateway, Client) {
    let url = upstream.url().replace("redis://", "redis-cluster://");
    let gateway = builder.config(&format!("{CONFIG}\nurl = \"{url}\"")).start();
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    (gateway, client)
}

#[test]
fn a_client_whose_large_reply_comes_to_a_halt_is_closed_and_told_nothing_else() {
    let (upstream, door) = silent();
    for lines in [
        &["GET half"][..],
        &["GET half", "GET a"],
        &["GET large", "INCR a", "GET half", "INCR b"],
        &["WATCH a", "GET large", "GET half", "GET b"],
    ] {
        at_gateways(&upstream, lines, |client| {
            let before = lines.iter().take_while(|line| **line != "GET half");
            before.for_each(|_| drop(client.read_reply()));
            let rest = client.read_to_end();
            let value = rest.strip_prefix(HEAD.as_bytes()).expect("it has begun");
            assert!(value.len() <= FIRST && value.iter().all(|byte| *byte == b'x'), "{lines:?}: {} bytes", value.len());
        });
    }
    open(&door);
}

#[test]
fn what_does_not_come_in_time_behind_a_large_reply_is_one_error_for_each_request() {
    let (upstream, door) = silent();
    for lines in [
        &["GET large", "INCR late"][..],
        &["INCR a", "GET large", "INCR b", "INCR late"],
        &["GET large", "GET large", "INCR late", "INCR late"],
    ] {
        at_gateways(&upstream, lines, |client| {
            let mut is_late = false;
            for line in lines {
                is_late |= *line == "INCR late";
                let reply = client.read_reply();
                match *line {
                    _ if is_late => assert!(reply.starts_with(b"-ERR respool: "), "{line}: {} bytes", reply.len()),
                    "GET large" => assert!(is_large(&reply, SIZE), "{lines:?}: {} bytes", reply.len()),
                    _ => assert_eq!(reply, format!("+{line}\r\n").as_bytes(), "{lines:?}"),
                }
            }
            client.send(&["QUIT"]);
            assert_eq!(client.read_to_end(), b"+OK\r\n", "{lines:?}");
        });
    }
    open(&door);
}

#[test]
fn what_a_node_of_a_cluster_refuses_behind_a_large_reply_is_asked_again_though_it_breaks_off_then() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let of_clients = Arc::clone(&asked);
    let upstream = Upstream::start(move |peer| {
        while let Some(line) = peer.next() {
            if !line.starts_with("GET ") {
                peer.reply(said_of_all(&[peer.port()], &line).as_deref().unwrap_or("+PONG\r\n"));
                continue;
            }
            let is_first = {
                let mut asked = of_clients.lock().expect("whole");
                let is_first = !asked.contains(&line);
                asked.push(line.clone());
                is_first
            };
            match line.as_str() {
                "GET large" => peer.reply(&format!("{HEAD}{}\r\n", "x".repeat(SIZE))),
                "GET later" if is_first => peer.reply("-TRYAGAIN Multiple keys request during rehashing of slot\r\n"),
                "GET broken" if is_first => return,
                _ => peer.reply(&format!("+{line}\r\n")),
            }
        }
    });
    let (_gateway, mut client) = of_cluster(Gateway::builder().allow_lost_upstream(), &upstream);
    client.send_raw(&requests(&["GET a", "GET large", "GET later", "GET broken"]));
    assert_eq!(client.read_reply(), b"+GET a\r\n");
    assert!(is_large(&client.read_reply(), SIZE));
    assert_eq!(client.read_reply(), b"+GET later\r\n");
    assert!(client.read_reply().starts_with(b"-ERR respool: connection to the upstream lost"));
    assert_eq!(asked.lock().expect("whole").iter().filter(|line| *line == "GET large").count(), 1);
}

#[test]
fn what_a_node_of_a_cluster_refuses_behind_a_large_reply_is_asked_again_and_nothing_else() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let of_clients = Arc::clone(&asked);
    let upstream = Upstream::start(move |peer| {
        while let Some(line) = peer.next() {
            let is_of_client = line.starts_with("GET ") || line.starts_with("INCR ");
            if !is_of_client {
                let said = said_of_all(&[peer.port()], &line);
                peer.reply(said.as_deref().unwrap_or("+PONG\r\n"));
                continue;
            }
            let mut asked = of_clients.lock().expect("whole");
            let is_first = !asked.contains(&line);
            match line.as_str() {
                "GET large" => peer.reply(&format!("{HEAD}{}\r\n", "x".repeat(SIZE))),
                "GET later" if is_first => peer.reply("-TRYAGAIN Multiple keys request during rehashing of slot\r\n"),
                _ => peer.reply(&format!("+{line}\r\n")),
            }
            asked.push(line);
        }
    });
    let (_gateway, mut client) = of_cluster(Gateway::builder(), &upstream);
    let lines = ["INCR a", "GET large", "INCR b", "GET later", "INCR c", "GET large", "GET later"];
    client.send_raw(&requests(&lines));
    for line in lines {
        let reply = client.read_reply();
        match line {
            "GET large" => assert!(is_large(&reply, SIZE), "{} bytes", reply.len()),
            _ => assert_eq!(reply, format!("+{line}\r\n").as_bytes()),
        }
    }
    let mut all: Vec<_> = asked.lock().expect("whole").clone();
    all.sort();
    assert_eq!(all, ["GET large", "GET large", "GET later", "GET later", "GET later", "INCR a", "INCR b", "INCR c"]);
}

#[test]
fn what_a_node_of_a_cluster_breaks_off_behind_a_large_reply_is_not_executed_twice() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let of_clients = Arc::clone(&asked);
    let upstream = Upstream::start(move |peer| {
        while let Some(line) = peer.next() {
            if line.starts_with("GET ") || line.starts_with("INCR ") {
                of_clients.lock().expect("whole").push(line.clone());
            }
            match line.as_str() {
                "GET large" => peer.reply(&format!("{HEAD}{}\r\n", "x".repeat(SIZE))),
                "INCR broken" => return,
                "INCR a" | "GET b" => peer.reply(&format!("+{line}\r\n")),
                _ => peer.reply(said_of_all(&[peer.port()], &line).as_deref().unwrap_or("+PONG\r\n")),
            }
        }
    });
    let (_gateway, mut client) = of_cluster(Gateway::builder().allow_lost_upstream(), &upstream);
    client.send_raw(&requests(&["INCR a", "GET large", "INCR broken"]));
    assert_eq!(client.read_reply(), b"+INCR a\r\n");
    assert!(is_large(&client.read_reply(), SIZE));
    let reply = client.read_reply();
    assert!(String::from_utf8_lossy(&reply).contains("may have been executed"), "{}", String::from_utf8_lossy(&reply));
    wait("another connection", || (client.line("GET b") == b"+GET b\r\n").then_some(()));
    let all: Vec<_> = asked.lock().expect("whole").iter().filter(|line| *line != "GET b").cloned().collect();
    assert_eq!(all, ["INCR a", "GET large", "INCR broken"]);
}
