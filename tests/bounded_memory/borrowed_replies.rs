//! Large replies on connections that clients borrow: in transactions, where keys are watched or tracked, to requests that
//! wait. They reach a client as they come, as all others do.

use std::sync::{Mutex, mpsc};

use super::large_replies::{
    CONFIG, FIRST, HEAD, MIB, SIZE, UNDISTURBED, breaks_off, comes_in_two, is_large, with_values,
};
use crate::{
    at_most_once::cluster::{nodes::Nodes, scripted::said_of_all},
    support::{Builder, Client, DEADLINE, Gateway, Machine, Upstream, requests, wait},
};

type Asked = (&'static [&'static str], &'static str, &'static str);

/// What is sent before a request that gets a large reply, that request, and what its reply begins with.
const ASKED: [Asked; 4] = [
    (&["WATCH large"], "GET large", ""),
    (&["MULTI", "GET large"], "EXEC", "*2\r\n:7\r\n"),
    (&["WATCH large", "MULTI", "GET large"], "EXEC", "*2\r\n:7\r\n"),
    (&[], "BLPOP large 0", "*2\r\n$5\r\nlarge\r\n"),
];

/// A transaction that is sent at once, which goes with others'.
const AT_ONCE: [&str; 3] = ["MULTI", "GET large", "EXEC"];

/// Starts an upstream that sends the first part of such a reply, waits for a word, and then sends the rest if that says so.
/// It may be taken for a cluster.
fn halting() -> (Upstream, mpsc::Sender<bool>) {
    let (word, words) = mpsc::channel::<bool>();
    let words = Mutex::new(words);
    let upstream = Upstream::start(move |peer| {
        let mut queues = false;
        while let Some(line) = peer.next() {
            let asked = ASKED.iter().find(|(_, asked, _)| *asked == line);
            queues = (queues || line == "MULTI") && line != "EXEC";
            let Some((.., begins)) = asked.filter(|_| !queues) else {
                let said = said_of_all(&[peer.port()], &line);
                let queued = if line == "MULTI" || line == "WATCH large" { "+OK\r\n" } else { "+QUEUED\r\n" };
                let known = if queues || line == "WATCH large" { queued } else { "+PONG\r\n" };
                peer.reply(said.as_deref().unwrap_or(known));
                continue;
            };
            peer.reply(&format!("{begins}{HEAD}{}", "x".repeat(FIRST)));
            if !words.lock().expect("whole").recv_timeout(DEADLINE).expect("the test says so") {
                return;
            }
            peer.reply(&format!("{}\r\n", "y".repeat(SIZE - FIRST)));
        }
    });
    (upstream, word)
}

/// Gateways in front of it, as one Redis and as a cluster.
fn gateways(upstream: &Upstream) -> impl Iterator<Item = Builder> {
    let urls = [upstream.url(), upstream.url().replace("redis://", "redis-cluster://")];
    urls.into_iter().map(|url| Gateway::builder().config(&format!("{CONFIG}\nurl = \"{url}\"")))
}

/// Sends requests one by one, each of which gets a short reply.
fn send_before(client: &mut Client, lines: &[&str]) {
    for line in lines {
        let reply = client.line(line);
        assert!(matches!(reply.as_slice(), b"+OK\r\n" | b"+QUEUED\r\n"), "{line}");
    }
}

#[test]
fn the_beginning_of_a_large_reply_on_a_borrowed_connection_is_there_before_its_end_has_come() {
    let (upstream, word) = halting();
    for builder in gateways(&upstream) {
        let gateway = builder.start();
        for (before, asked, begins) in ASKED {
            for behind in [&["GET a", "GET b"][..], &[]] {
                let mut client = gateway.client();
                send_before(&mut client, before);
                client.send_raw(&[requests(&[asked]), requests(behind)].concat());
                comes_in_two(&mut client, &word, begins, behind);
            }
        }
    }
}

#[test]
fn so_it_is_in_a_transaction_that_is_sent_at_once() {
    let (upstream, word) = halting();
    let gateway = gateways(&upstream).next().expect("one Redis").allow_lost_upstream().start();
    for (behind, is_whole) in [(&["PING", "PING"][..], true), (&[], true), (&[], false), (&["PING"], false)] {
        let (mut bystander, mut client) = (gateway.client(), gateway.client());
        client.send_raw(&requests(&AT_ONCE));
        client.send_raw(&requests(behind));
        let begins = "+OK\r\n+QUEUED\r\n*2\r\n:7\r\n";
        if is_whole {
            comes_in_two(&mut client, &word, begins, behind);
            bystander.expect("PING", "+PONG\r\n");
        } else {
            breaks_off(&mut client, &word, begins, &mut bystander);
        }
    }
}

#[test]
fn a_client_whose_reply_on_a_borrowed_connection_breaks_off_is_closed_and_told_nothing_else() {
    let (upstream, word) = halting();
    for builder in gateways(&upstream) {
        let gateway = builder.allow_lost_upstream().start();
        for (before, asked, begins) in ASKED {
            let (mut bystander, mut client) = (gateway.client(), gateway.client());
            send_before(&mut client, before);
            client.send_raw(&requests(&[asked, "PING"]));
            breaks_off(&mut client, &word, begins, &mut bystander);
        }
    }
}

#[test]
fn a_large_reply_on_a_borrowed_connection_costs_no_more_memory_than_a_piece_of_it() {
    const LARGE: usize = 64 * MIB;
    let (redis, nodes) = (with_values(LARGE), Nodes::alone());
    assert_eq!(nodes.0[0].client().call(&["SET", "large", &"x".repeat(LARGE)]), b"+OK\r\n");
    for url in [redis.url(), format!("redis-cluster://{}", nodes.0[0].address())] {
        let gateway = Gateway::start(&url);
        let mut client = gateway.client();
        client.expect("WATCH large", "+OK\r\n");
        send_before(&mut client, &["MULTI", "GET large"]);
        assert!(client.line("DISCARD").starts_with(b"+OK"));
        let before = gateway.process().rss_bytes();
        send_before(&mut client, &["WATCH large", "MULTI", "GET large", "GET large"]);
        client.send(&["EXEC"]);
        assert_eq!(client.read_bytes(4), b"*2\r\n");
        (0..2).for_each(|_| assert!(is_large(&client.read_reply(), LARGE)));
        client.expect("WATCH small", "+OK\r\n");
        assert!(is_large(&client.line("GET large"), LARGE));
        client.expect("UNWATCH", "+OK\r\n");
        if !url.contains("cluster") {
            // A cluster gives it as a whole.
            client.send_raw(&requests(&AT_ONCE));
            assert_eq!(client.read_bytes(18), b"+OK\r\n+QUEUED\r\n*1\r\n");
            assert!(is_large(&client.read_reply(), LARGE));
        }
        let grown = gateway.process().peak_rss_bytes().saturating_sub(before);
        println!("{grown} bytes more memory");
        assert!(grown < 4 * MIB as u64, "{grown} bytes more memory for a reply of {LARGE}");
    }
}

#[test]
fn an_element_that_is_waited_for_reaches_its_client_and_costs_no_more_than_a_piece_of_it() {
    const LARGE: usize = 48 * MIB;
    let redis = with_values(1);
    let gateway = Gateway::start(&redis.url());
    let (mut waiting, mut direct) = (gateway.client(), redis.client());
    direct.expect("RPUSH list s", ":1\r\n");
    waiting.expect("BLPOP list 0", "*2\r\n$4\r\nlist\r\n$1\r\ns\r\n");
    let before = gateway.process().rss_bytes();
    waiting.small_buffers();
    waiting.send_raw(&requests(&["BLPOP list 0", "ECHO later"]));
    direct.send(&["RPUSH", "list", &"x".repeat(LARGE)]);
    assert_eq!(waiting.read_bytes(14), b"*2\r\n$4\r\nlist\r\n");
    // Of one that reads nothing for a while, nobody notices anything.
    assert_eq!(direct.read_reply(), b":1\r\n");
    direct.expect("BLPOP nothing 1", "*-1\r\n");
    gateway.client().expect("GET small", "$1\r\ns\r\n");
    assert!(is_large(&waiting.read_reply(), LARGE));
    assert_eq!(waiting.read_reply(), b"$5\r\nlater\r\n");
    let grown = gateway.process().peak_rss_bytes().saturating_sub(before);
    assert!(grown < 4 * MIB as u64, "{grown} bytes more memory");
}

#[test]
fn large_and_small_replies_on_a_borrowed_connection_are_those_of_the_upstream() {
    const LARGE: usize = 2 * MIB;
    let redis = with_values(LARGE);
    let gateway = Gateway::start(&redis.url());
    let mut clients = [gateway.client(), gateway.client(), redis.client()];
    let lines = [
        "WATCH w",
        "ECHO 1",
        "GET large",
        "ECHO 2",
        "MGET large small large",
        "MULTI",
        "GET large",
        "ECHO 3",
        "GET large",
        "EXEC",
        "GET large",
        "WATCH w",
        "MULTI",
        "GET large",
        "DISCARD",
        "GET large",
        "ECHO 4",
        "MULTI",
        "SELECT 0",
        "GET large",
        "CLIENT SETNAME n",
        "EXEC",
        "GET large",
        "CLIENT GETNAME",
        "WATCH w",
        "CLIENT REPLY SKIP",
        "GET large",
        "ECHO 5",
        "CLIENT REPLY OFF",
        "GET large",
        "MULTI",
        "GET large",
        "EXEC",
        "CLIENT REPLY ON",
        "GET large",
        "ECHO end",
    ];
    for protocol in ["HELLO 2", "HELLO 3"] {
        clients.iter_mut().for_each(|client| drop(client.line(protocol)));
        let [at_once, _, direct] = &mut clients;
        at_once.send_raw(&requests(&lines));
        direct.send_raw(&requests(&lines));
        loop {
            let (reply, expected) = (at_once.read_reply(), direct.read_reply());
            assert!(reply == expected, "{} bytes for {}: {protocol}", reply.len(), expected.len());
            if expected.ends_with(b"\nend\r\n") {
                break;
            }
        }
    }
}

#[test]
fn what_is_pushed_stands_before_or_behind_a_large_reply_and_never_in_it() {
    const LARGE: usize = 8 * MIB;
    for mode in ["shared", "dedicated"] {
        let redis = with_values(LARGE);
        let config = format!("[pubsub]\nmode = \"{mode}\"");
        let gateway = Gateway::builder().upstream(&redis.url()).config(&config).start();
        let (mut client, mut other) = (gateway.client(), gateway.client());
        client.small_buffers();
        assert!(client.line("HELLO 3").starts_with(b"%7"));
        assert!(client.line("SUBSCRIBE c").starts_with(b">3\r\n$9\r\nsubscribe"));
        client.expect("CLIENT TRACKING ON", "+OK\r\n");
        client.expect("GET small", "$1\r\ns\r\n");
        for round in 0..3 {
            client.send_raw(&requests(&["GET large", "ECHO behind"]));
            let head = format!("${LARGE}\r\nx");
            assert_eq!(client.read_bytes(head.len()), head.as_bytes());
            other.expect("PUBLISH c m", ":1\r\n");
            other.expect(&format!("SET small {round}"), "+OK\r\n");
            let rest = client.read_bytes(LARGE + 1);
            assert!(rest.ends_with(b"x\r\n") && rest[..rest.len() - 2].iter().all(|byte| *byte == b'x'));
            let mut seen: Vec<_> = (0..3).map(|_| client.read_reply()).collect();
            seen.sort();
            assert_eq!(seen[0], b"$6\r\nbehind\r\n");
            assert_eq!(seen[1], b">2\r\n$10\r\ninvalidate\r\n*1\r\n$5\r\nsmall\r\n");
            assert_eq!(seen[2], b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
            client.expect("GET small", &format!("$1\r\n{round}\r\n"));
        }
    }
}

#[test]
fn a_client_that_stops_reading_a_large_reply_to_exec_holds_up_nobody_and_goes_when_it_is_told_to() {
    const LARGE: usize = 48 * MIB;
    let redis = with_values(LARGE);
    let config = "[pool]\nworkers = 1\n[clients]\nwrite_timeout_ms = 600000";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let (mut bystander, mut deaf, mut killed) = (gateway.client(), gateway.client(), gateway.client());
    let id = killed.line("CLIENT ID");
    let id = String::from_utf8_lossy(&id[1..]).trim_end().to_owned();
    for client in [&mut deaf, &mut killed] {
        client.small_buffers();
        send_before(client, &["WATCH large", "MULTI", "GET large"]);
        client.send(&["EXEC"]);
        assert_eq!(client.read_bytes(4), b"*1\r\n");
    }
    let machine = Machine::watch();
    let longest = (1..=100).map(|count| {
        let sent = std::time::Instant::now();
        send_before(&mut bystander, &["MULTI", "INCR n"]);
        bystander.expect("EXEC", &format!("*1\r\n:{count}\r\n"));
        sent.elapsed()
    });
    machine.assert_within(UNDISTURBED, longest.max().unwrap_or_default(), "the longest that a bystander waited");
    bystander.expect(&format!("CLIENT KILL ID {id}"), ":1\r\n");
    wait("the client to be closed", || {
        (String::from_utf8_lossy(&bystander.line("CLIENT LIST")).matches(" addr=").count() == 2).then_some(())
    });
    assert!(is_large(&deaf.read_reply(), LARGE));
    deaf.expect("GET small", "$1\r\ns\r\n");
    assert!(killed.read_to_end().len() < LARGE);
}

#[test]
fn a_client_that_takes_nothing_of_a_large_reply_to_exec_is_closed_after_the_time_that_it_has() {
    const LARGE: usize = 48 * MIB;
    let redis = with_values(LARGE);
    // The time for a reply is over before: it does not count while the client is waited for.
    let config = "[pool]\nworkers = 1\nreply_timeout_ms = 300\n[clients]\nwrite_timeout_ms = 4000";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("write_timeout_ms passed").start();
    let (mut deaf, mut slow) = (gateway.client(), gateway.client());
    for client in [&mut deaf, &mut slow] {
        client.small_buffers();
        send_before(client, &["MULTI", "GET large"]);
        client.send(&["EXEC"]);
        assert_eq!(client.read_bytes(4), b"*1\r\n");
    }
    redis.client().expect("BLPOP nothing 1", "*-1\r\n");
    assert!(is_large(&slow.read_reply(), LARGE));
    slow.expect("GET small", "$1\r\ns\r\n");
    wait("the client to be closed", || {
        (String::from_utf8_lossy(&slow.line("CLIENT LIST")).matches(" addr=").count() == 1).then_some(())
    });
    assert!(deaf.read_to_end().len() < LARGE);
}
