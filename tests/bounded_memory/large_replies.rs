//! Large replies: they reach a client as they come, and are nowhere held as a whole. A client that stops reading keeps
//! nobody waiting, and one whose reply breaks off is told nothing that it could take for a part of it.

use std::{
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use crate::{
    at_most_once::cluster::{nodes::Nodes, scripted::said_of_all},
    support::{Builder, Client, DEADLINE, Gateway, Machine, Redis, Upstream, get, requests, wait},
};

pub(super) const MIB: usize = 1 << 20;

/// Bytes of the value that an upstream of ours has, and those that it sends at once.
pub(super) const SIZE: usize = 4 * MIB;
pub(super) const FIRST: usize = MIB;

/// The head of the reply.
pub(super) const HEAD: &str = "$4194304\r\n";

/// The longest that a bystander's request may take on an idle machine: far less than any time-out.
pub(super) const UNDISTURBED: Duration = Duration::from_millis(1500);

/// Starts an upstream that sends the first part of a value, waits for a word, and then sends the rest if that says so. It
/// may be taken for a cluster.
fn halting() -> (Upstream, mpsc::Sender<bool>) {
    let (word, words) = mpsc::channel::<bool>();
    let words = Mutex::new(words);
    let upstream = Upstream::start(move |peer| {
        while let Some(line) = peer.next() {
            if line != "GET large" {
                let said = said_of_all(&[peer.port()], &line);
                peer.reply(said.as_deref().unwrap_or("+PONG\r\n"));
                continue;
            }
            peer.reply(&format!("{HEAD}{}", "x".repeat(FIRST)));
            if !words.lock().expect("whole").recv_timeout(DEADLINE).expect("the test says so") {
                return;
            }
            peer.reply(&format!("{}\r\n", "y".repeat(SIZE - FIRST)));
        }
    });
    (upstream, word)
}

/// A client that has asked for such a reply, which `begins` so before the value, gets the beginning while the rest has not come,
/// then that, and what `behind` it is asked.
pub(super) fn comes_in_two(client: &mut Client, word: &mpsc::Sender<bool>, begins: &str, behind: &[&str]) {
    let beginning = client.read_bytes(FIRST / 2);
    assert!(beginning.starts_with(format!("{begins}{HEAD}xxx").as_bytes()), "{begins}");
    word.send(true).expect("it waits");
    let rest = client.read_bytes(begins.len() + HEAD.len() + SIZE + 2 - FIRST / 2);
    assert!(rest.starts_with(b"xxx") && rest.ends_with(b"yyy\r\n"));
    behind.iter().for_each(|_| assert_eq!(client.read_reply(), b"+PONG\r\n"));
    client.expect("PING", "+PONG\r\n");
}

/// Such a client gets the beginning and, where the upstream ends within the value, nothing but bytes of that; the bystander is
/// served again.
pub(super) fn breaks_off(client: &mut Client, word: &mpsc::Sender<bool>, begins: &str, bystander: &mut Client) {
    let beginning = client.read_bytes(FIRST / 2);
    assert!(beginning.starts_with(format!("{begins}{HEAD}xxx").as_bytes()), "{begins}");
    word.send(false).expect("it waits");
    let rest = client.read_to_end();
    assert!(rest.len() <= FIRST && rest.iter().all(|byte| *byte == b'x'), "{} bytes", rest.len());
    wait("another connection", || (bystander.line("PING") == b"+PONG\r\n").then_some(()));
}

pub(super) const CONFIG: &str = "[pool]\nworkers = 2\n[upstream]\ncheck_interval_ms = 0";

/// A Redis with a large value, `large`, and a small one, `small`.
pub(super) fn with_values(bytes: usize) -> Redis {
    let redis = Redis::start(&[]);
    let mut direct = redis.client();
    assert_eq!(direct.call(&["SET", "large", &"x".repeat(bytes)]), b"+OK\r\n");
    direct.expect("SET small s", "+OK\r\n");
    redis
}

pub(super) fn is_large(reply: &[u8], bytes: usize) -> bool {
    let head = format!("${bytes}\r\n");
    reply.len() == head.len() + bytes + 2
        && reply.starts_with(head.as_bytes())
        && reply.ends_with(b"x\r\n")
        && reply[head.len()..reply.len() - 2].iter().all(|byte| *byte == b'x')
}

/// Gateways in front of that upstream, as one Redis and as a cluster, each for a client that pipelines these requests behind,
/// and for one that does not.
fn ways(upstream: &Upstream) -> impl Iterator<Item = (Builder, &'static [&'static str])> {
    let (one, cluster) = (upstream.url(), upstream.url().replace("redis://", "redis-cluster://"));
    let ways =
        [(one.clone(), &["PING", "PING"][..]), (one, &[]), (cluster.clone(), &[]), (cluster, &["GET a", "GET b"])];
    ways.into_iter().map(|(url, behind)| {
        let config = format!("{CONFIG}\nurl = \"{url}\"");
        (Gateway::builder().config(&config), behind)
    })
}

#[test]
fn the_beginning_of_a_large_reply_is_there_before_its_end_has_come() {
    let (upstream, word) = halting();
    for (builder, behind) in ways(&upstream) {
        let gateway = builder.start();
        let mut client = gateway.client();
        // Before its nodes are known a cluster gives any reply as a whole.
        client.expect("PING", "+PONG\r\n");
        client.send_raw(&[requests(&["GET large"]), requests(behind)].concat());
        comes_in_two(&mut client, &word, "", behind);
    }
}

#[test]
fn a_client_whose_reply_breaks_off_is_closed_and_told_nothing_else() {
    let (upstream, word) = halting();
    for (builder, behind) in ways(&upstream) {
        let gateway = builder.allow_lost_upstream().start();
        let (mut bystander, mut client) = (gateway.client(), gateway.client());
        client.expect("PING", "+PONG\r\n");
        client.send_raw(&[requests(&["GET large"]), requests(behind)].concat());
        breaks_off(&mut client, &word, "", &mut bystander);
    }
}

#[test]
fn a_large_reply_costs_no_more_memory_than_a_piece_of_it() {
    const LARGE: usize = 64 * MIB;
    let (redis, nodes) = (with_values(LARGE), Nodes::alone());
    assert_eq!(nodes.0[0].client().call(&["SET", "large", &"x".repeat(LARGE)]), b"+OK\r\n");
    for url in [redis.url(), format!("redis-cluster://{}", nodes.0[0].address())] {
        let gateway = Gateway::start(&url);
        let mut client = gateway.client();
        // What the first ones of a connection and of a client cost once.
        client.expect("PING", "+PONG\r\n");
        let before = gateway.process().rss_bytes();
        for _ in 0..2 {
            assert!(is_large(&client.line("GET large"), LARGE));
        }
        client.send_raw(&requests(&["GET nothing", "GET large", "GET nothing"]));
        assert_eq!(client.read_reply(), b"$-1\r\n");
        assert!(is_large(&client.read_reply(), LARGE));
        assert_eq!(client.read_reply(), b"$-1\r\n");
        let grown = gateway.process().peak_rss_bytes().saturating_sub(before);
        println!("{grown} bytes more memory");
        assert!(grown < 4 * MIB as u64, "{grown} bytes more memory for a reply of {LARGE}");
    }
}

/// A primary and a replica with these values, and a gateway that reads at the replica.
fn read_at_replica(bytes: usize) -> (Redis, Redis, Gateway) {
    let redis = with_values(bytes);
    redis.client().expect("CONFIG SET repl-diskless-sync-delay 0", "+OK\r\n");
    let replica = Redis::start(&["--replicaof", &format!("127.0.0.1 {}", redis.address().port())]);
    let length = format!(":{bytes}\r\n");
    wait("the replica to follow", || (replica.client().line("STRLEN large") == length.as_bytes()).then_some(()));
    let config = "[pool]\nworkers = 1\n[upstream]\nreads = \"replica\"\nreplica_lag_max_ms = 5000";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow_lost_upstream().start();
    wait("the replica to be read", || {
        let is_there = gateway.client().line("GET small") == b"$1\r\ns\r\n";
        (is_there && reads(&replica) > 0).then_some(())
    });
    (redis, replica, gateway)
}

/// How often a node has executed `GET`.
fn reads(redis: &Redis) -> usize {
    let stats = String::from_utf8_lossy(&redis.client().line("INFO commandstats")).into_owned();
    let count = |line: &str| line.strip_prefix("cmdstat_get:calls=")?.split(',').next()?.parse().ok();
    stats.lines().find_map(count).unwrap_or_default()
}

#[test]
fn a_client_whose_reply_of_a_replica_breaks_off_is_closed_and_told_nothing_else() {
    const LARGE: usize = 48 * MIB;
    let (_redis, mut replica, gateway) = read_at_replica(LARGE);
    let (mut client, mut bystander) = (gateway.client(), gateway.client());
    client.small_buffers();
    client.send(&["GET", "large"]);
    let head = format!("${LARGE}\r\n");
    assert_eq!(client.read_bytes(head.len()), head.as_bytes());
    client.send(&["ECHO", "later"]);
    replica.kill9();
    let rest = client.read_to_end();
    assert!(rest.len() < LARGE && rest.iter().all(|byte| *byte == b'x'), "{} bytes", rest.len());
    bystander.expect("SET k v", "+OK\r\n");
}

#[test]
fn a_large_reply_of_a_replica_costs_no_more_memory_than_a_piece_of_it_and_keeps_nobody_waiting() {
    const LARGE: usize = 48 * MIB;
    let (redis, _replica, gateway) = read_at_replica(LARGE);
    let (mut client, mut deaf) = (gateway.client(), gateway.client());
    let at_primary = reads(&redis);
    let before = gateway.process().rss_bytes();
    assert!(is_large(&client.line("GET large"), LARGE));
    deaf.small_buffers();
    deaf.send(&["GET", "large"]);
    assert_eq!(deaf.read_bytes(11), format!("${LARGE}\r\n").as_bytes());
    let grown = gateway.process().peak_rss_bytes().saturating_sub(before);
    assert!(grown < 4 * MIB as u64, "{grown} bytes more memory for a reply of {LARGE}");
    let machine = Machine::watch();
    let longest = (0..100).map(|_| {
        let sent = Instant::now();
        client.expect("GET small", "$1\r\ns\r\n");
        sent.elapsed()
    });
    machine.assert_within(UNDISTURBED, longest.max().unwrap_or_default(), "the longest that a bystander waited");
    let rest = deaf.read_bytes(LARGE + 2);
    assert!(rest.ends_with(b"x\r\n") && rest[..LARGE].iter().all(|byte| *byte == b'x'));
    deaf.expect("GET small", "$1\r\ns\r\n");
    assert_eq!(reads(&redis), at_primary, "the primary was read");
}

#[test]
fn large_and_small_replies_come_in_the_order_of_their_requests() {
    const LARGE: usize = 2 * MIB;
    let redis = with_values(LARGE);
    let gateway = Gateway::start(&redis.url());
    let mut clients = [gateway.client(), gateway.client(), gateway.client()];
    assert!(clients[2].line("HELLO 3").starts_with(b"%7"));
    let lines = ["ECHO 1", "GET large", "ECHO 2", "MGET large small large", "GET large", "GET large", "ECHO 3"];
    let expected: Vec<Vec<u8>> = lines.iter().map(|line| redis.client().line(line)).collect();
    for _ in 0..3 {
        clients.iter_mut().for_each(|client| client.send_raw(&requests(&lines)));
        for client in &mut clients {
            for (line, expected) in lines.iter().zip(&expected) {
                let reply = client.read_reply();
                assert!(reply == *expected, "{line}: {} bytes for {}", reply.len(), expected.len());
            }
        }
    }
    // Of a client that wants none nothing is left over.
    clients[0].send_raw(&requests(&["CLIENT REPLY SKIP", "GET large", "ECHO 4"]));
    assert_eq!(clients[0].read_reply(), b"$1\r\n4\r\n");
}

#[test]
fn a_client_that_stops_reading_a_large_reply_keeps_nobody_waiting_and_gets_all_of_it_later() {
    const LARGE: usize = 48 * MIB;
    let redis = with_values(LARGE);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let (mut bystander, mut deaf) = (gateway.client(), gateway.client());
    deaf.small_buffers();
    deaf.send(&["GET", "large"]);
    let machine = Machine::watch();
    let longest = (1..=100).map(|count| {
        let sent = Instant::now();
        bystander.expect("INCR n", &format!(":{count}\r\n"));
        sent.elapsed()
    });
    machine.assert_within(UNDISTURBED, longest.max().unwrap_or_default(), "the longest that a bystander waited");
    assert!(is_large(&deaf.read_reply(), LARGE));
    deaf.expect("GET small", "$1\r\ns\r\n");
}

#[test]
fn a_list_that_a_client_stops_reading_ends_with_its_connection_where_it_finds_no_room() {
    let redis = Redis::start(&[]);
    let mut direct = redis.client();
    let element = "x".repeat(64 * 1024);
    (0..512).for_each(|_| assert!(direct.call(&["RPUSH", "list", &element]).starts_with(b":")));
    let config = "[pool]\nworkers = 1\nreplies_bytes_max = 4194304\n[upstream]\ncheck_interval_ms = 0";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let (mut bystander, mut first, mut second) = (gateway.client(), gateway.client(), gateway.client());
    let beginning = b"*512\r\n$65536\r\nxxx";
    for client in [&mut first, &mut second] {
        client.small_buffers();
        client.send_raw(&requests(&["LRANGE list 0 -1", "ECHO later"]));
        assert_eq!(client.read_bytes(beginning.len()), beginning);
    }
    // The first of them may hold as much as there is, the second may not. Only where others wait do they have to.
    wait("the second to be closed", || {
        bystander.expect("PING", "+PONG\r\n");
        (String::from_utf8_lossy(&bystander.line("CLIENT LIST")).matches(" addr=").count() == 2).then_some(())
    });
    let rest = second.read_to_end();
    assert!(!rest.windows(4).any(|bytes| bytes == b"-ERR" || bytes == b"late"), "{} bytes", rest.len());
    let whole = redis.client().line("LRANGE list 0 -1").len();
    assert_eq!(first.read_bytes(whole - beginning.len()).len(), whole - beginning.len());
    assert_eq!(first.read_reply(), b"$5\r\nlater\r\n");
    // One that reads has all of it, for all that it is larger than the room.
    assert_eq!(bystander.line("LRANGE list 0 -1").len(), whole);
}

#[test]
fn a_client_that_takes_nothing_of_a_large_reply_is_closed_after_the_time_that_it_has() {
    const LARGE: usize = 48 * MIB;
    let redis = with_values(LARGE);
    let config = "[pool]\nworkers = 1\n[clients]\nwrite_timeout_ms = 300";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("write_timeout_ms passed").start();
    let mut deaf = gateway.client();
    deaf.small_buffers();
    deaf.send(&["GET", "large"]);
    let mut bystander = gateway.client();
    wait("the client to be closed", || {
        (String::from_utf8_lossy(&bystander.line("CLIENT LIST")).matches(" addr=").count() == 1).then_some(())
    });
    assert!(deaf.read_to_end().len() < LARGE);
    assert!(is_large(&bystander.line("GET large"), LARGE));
}

#[test]
fn a_client_that_stops_reading_a_large_reply_while_nobody_waits_says_nothing_about_the_upstream() {
    const LARGE: usize = 48 * MIB;
    let redis = with_values(LARGE);
    let config = "[pool]\nworkers = 1\n[upstream]\ncheck_interval_ms = 100";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).metrics().start();
    let (mut deaf, mut direct) = (gateway.client(), redis.client());
    deaf.small_buffers();
    deaf.send(&["GET", "large"]);
    assert!(deaf.read_bytes(MIB).ends_with(b"x"));
    // A time that is far longer than the three periods.
    direct.expect("BLPOP nothing 1", "*-1\r\n");
    assert_eq!(get(gateway.metrics_address(), "/readyz").0, 200);
    gateway.client().expect("GET small", "$1\r\ns\r\n");
    let rest = deaf.read_bytes(LARGE + format!("${LARGE}\r\n\r\n").len() - MIB);
    assert!(rest.ends_with(b"x\r\n"));
}

#[test]
fn a_client_that_stops_reading_a_large_reply_goes_when_it_is_told_to() {
    let redis = with_values(48 * MIB);
    let config = "[pool]\nworkers = 1\n[clients]\nwrite_timeout_ms = 600000";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let (mut deaf, mut bystander) = (gateway.client(), gateway.client());
    deaf.small_buffers();
    let id = deaf.line("CLIENT ID");
    let id = String::from_utf8_lossy(&id[1..]).trim_end().to_owned();
    deaf.send(&["GET", "large"]);
    assert!(deaf.read_bytes(MIB).ends_with(b"x"));
    bystander.expect(&format!("CLIENT KILL ID {id}"), ":1\r\n");
    wait("the client to be closed", || {
        (String::from_utf8_lossy(&bystander.line("CLIENT LIST")).matches(" addr=").count() == 1).then_some(())
    });
    bystander.expect("GET small", "$1\r\ns\r\n");
}
