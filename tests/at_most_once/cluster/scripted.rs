//! A cluster of nodes that answer by a script: what real nodes say only in moments that cannot be waited for.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::nodes::key_of;
use crate::support::{Client, Gateway, Peer, Redis, Upstream, requests, wait};

/// How requests begin that are not the gateway's own.
const OF_CLIENTS: [&str; 4] = ["ASKING", "GET ", "INCR ", "MSETNX "];

/// What a node answers to a request: nothing, if it ends the connection instead. It is told which node it is, and the
/// ports of all.
type Script = dyn Fn(usize, &[u16], &str) -> Option<String> + Send + Sync;

/// Nodes that have a half of the slots each, if there are two, and what they were asked, in order, each with its node.
struct Scripted {
    nodes: Vec<Upstream>,
    asked: Arc<Mutex<Vec<(usize, String)>>>,
    looks: Arc<AtomicUsize>,
}

impl Scripted {
    fn start(count: usize, script: impl Fn(usize, &[u16], &str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::start_with(count, |_, _, _| None, script)
    }

    /// The same where `first` is asked about each request, and answers those that it likes.
    fn start_with(
        count: usize,
        first: impl Fn(usize, &[u16], &str) -> Option<String> + Send + Sync + 'static,
        script: impl Fn(usize, &[u16], &str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let first: Arc<Script> = Arc::new(first);
        let (ports, script): (Arc<OnceLock<Vec<u16>>>, Arc<Script>) = (Arc::default(), Arc::new(script));
        let (asked, looks) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicUsize>::default());
        let start = |node: usize| {
            let (ports, first, script) = (Arc::clone(&ports), Arc::clone(&first), Arc::clone(&script));
            let (asked, looks) = (Arc::clone(&asked), Arc::clone(&looks));
            Upstream::start(move |peer: &mut Peer| {
                while let Some(request) = peer.next() {
                    let ports = ports.wait();
                    if let Some(said) = first(node, ports, &request) {
                        peer.reply(&said);
                        continue;
                    }
                    let said = match request.as_str() {
                        "CLUSTER SLOTS" | "CLUSTER NODES" | "COMMAND" => {
                            looks.fetch_add(usize::from(request == "CLUSTER NODES"), Ordering::SeqCst);
                            said_of_all(ports, &request)
                        }
                        _ if OF_CLIENTS.iter().any(|word| request.starts_with(word)) => {
                            asked.lock().unwrap_or_else(PoisonError::into_inner).push((node, request.clone()));
                            script(node, ports, &request)
                        }
                        _ => Some("-ERR unknown command\r\n".to_owned()),
                    };
                    let Some(said) = said else { return };
                    peer.reply(&said);
                }
            })
        };
        let nodes: Vec<Upstream> = (0..count).map(start).collect();
        let port = |node: &Upstream| node.url().rsplit(':').next().and_then(|port| port.parse().ok());
        ports.set(nodes.iter().filter_map(port).collect()).expect("nobody else does");
        Self { nodes, asked, looks }
    }

    fn gateway(&self, keys: &str) -> Gateway {
        let url = self.nodes[0].url().replace("redis://", "redis-cluster://");
        Gateway::builder().config(&format!("[upstream]\nurl = \"{url}\"\n{keys}")).allow_lost_upstream().start()
    }

    fn asked(&self) -> Vec<(usize, String)> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// What the node of a cluster whose primaries have these ports says of all of them.
pub(crate) fn said_of_all(ports: &[u16], request: &str) -> Option<String> {
    match request {
        "CLUSTER SLOTS" => Some(slots(ports)),
        "CLUSTER NODES" => Some(members(ports)),
        "COMMAND" => Some(commands()),
        _ => None,
    }
}

/// The slots from the first node's on, in as many parts as there are nodes.
fn slots(ports: &[u16]) -> String {
    let size = 16_384 / ports.len();
    let range = |(at, port): (usize, &u16)| {
        format!("*3\r\n:{}\r\n:{}\r\n*2\r\n{}:{port}\r\n", at * size, (at + 1) * size - 1, bulk("127.0.0.1"))
    };
    format!("*{}\r\n{}", ports.len(), ports.iter().enumerate().map(range).collect::<String>())
}

fn members(ports: &[u16]) -> String {
    let line =
        |(at, port): (usize, &u16)| format!("{at} 127.0.0.1:{port}@1{port},, master - 0 0 {} connected\n", at + 1);
    bulk(&ports.iter().enumerate().map(line).collect::<String>())
}

/// Of each the name, the arity, and the first key, the last one and the step, as before Redis 7.
fn commands() -> String {
    let described = [("get", 2, 1, 1), ("incr", 2, 1, 1), ("msetnx", -3, -1, 2)].map(|(name, arity, last, step)| {
        format!("*6\r\n{}:{arity}\r\n*1\r\n+fast\r\n:1\r\n:{last}\r\n:{step}\r\n", bulk(name))
    });
    format!("*{}\r\n{}", described.len(), described.concat())
}

#[test]
fn who_waits_for_a_cluster_that_is_not_found_is_told_why() {
    let redis = Redis::start(&[]);
    let config = format!(
        "[upstream]\nurl = \"redis-cluster://{}\"\nfailover_wait_ms = 200\nconnect_timeout_ms = 2000",
        redis.address()
    );
    let gateway = Gateway::builder().config(&config).allow("cluster cannot be followed").start();
    wait("the reason to be known", || gateway.logs().find("cluster cannot be followed"));
    let reply = gateway.client().line("GET k");
    let reply = String::from_utf8_lossy(&reply).into_owned();
    let reason = format!("{}: the node says: ERR This instance has cluster support disabled", redis.address());
    assert!(reply.starts_with("-ERR respool: no primary within failover_wait_ms (200 ms): "), "{reply}");
    assert!(reply.contains(&reason), "{reply}");
    // It is looked for again and again, and said once.
    assert_eq!(gateway.logs().count("cluster cannot be followed"), 1);
}

#[test]
fn who_waits_for_a_primary_is_told_the_key_that_ended_the_wait() {
    let redis = Redis::start(&[]);
    let config = format!(
        "[upstream]\nurl = \"redis-cluster://{}\"\nfailover_wait_ms = 60000\n[pool]\nqueue_timeout_ms = 200",
        redis.address()
    );
    let gateway = Gateway::builder().config(&config).allow("cluster cannot be followed").start();
    let reply = gateway.client().line("GET k");
    let reply = String::from_utf8_lossy(&reply).into_owned();
    assert!(reply.starts_with("-ERR respool: no primary within queue_timeout_ms (200 ms): "), "{reply}");
}

#[test]
fn a_read_that_ends_its_connection_is_sent_twice_and_no_more() {
    let nodes = Scripted::start(1, |_, _, request| request.starts_with("INCR").then(|| ":1\r\n".to_owned()));
    let gateway = nodes.gateway("failover_wait_ms = 2000");
    let (mut client, key) = (gateway.client(), key_of(5));
    client.expect(&format!("INCR {key}"), ":1\r\n");
    let reply = client.line(&format!("GET {key}"));
    assert!(reply.starts_with(b"-ERR respool: connection to the upstream lost"), "{}", String::from_utf8_lossy(&reply));
    let gets = nodes.asked().iter().filter(|(_, request)| request.starts_with("GET")).count();
    assert_eq!(gets, 2);
    client.expect(&format!("INCR {key}"), ":1\r\n");
}

#[test]
fn words_of_unknown_nodes_do_not_have_the_cluster_looked_at_without_pause() {
    let nodes = Scripted::start(1, |_, _, request| {
        Some(if request.starts_with("INCR") { ":1\r\n" } else { "-MOVED 5 127.0.0.1:1\r\n" }.to_owned())
    });
    let gateway = nodes.gateway("failover_wait_ms = 2000\n[cluster]\nrefresh_ms = 60000");
    let (mut client, key) = (gateway.client(), key_of(5));
    client.expect(&format!("INCR {key}"), ":1\r\n");
    let (before, began) = (nodes.looks.load(Ordering::SeqCst), Instant::now());
    let reply = client.line(&format!("GET {key}"));
    let said = "-ERR respool: no node of the cluster took the request within 2000 ms: 127.0.0.1:1 is not known";
    assert!(reply.starts_with(said.as_bytes()), "{}", String::from_utf8_lossy(&reply));
    let (looks, took) = (nodes.looks.load(Ordering::SeqCst) - before, began.elapsed());
    // One in 100 ms, and one at the beginning.
    let most = usize::try_from(took.as_millis() / 100).expect("few") + 2;
    assert!(took >= Duration::from_secs(1) && (1..=most).contains(&looks), "{looks} in {took:?}");
}

/// As Redis says it.
const TRY_AGAIN: &str = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";

#[test]
fn the_error_of_a_request_that_has_waited_names_what_it_has_waited_for() {
    let nodes = Scripted::start(3, |_, _, _| Some(TRY_AGAIN.to_owned()));
    let gateway = nodes.gateway("failover_wait_ms = 0\n[pool]\nqueue_timeout_ms = 1500");
    // Without a wait for a primary the first request finds one only where a connection is up.
    wait("a connection to each node", || (gateway.logs().count("upstream is up") == 3).then_some(()));
    let (mut client, key) = (gateway.client(), key_of(5));
    let begins = |reply: Vec<u8>, text: &str| {
        let reply = String::from_utf8_lossy(&reply).into_owned();
        assert!(reply.starts_with(&format!("-ERR respool: {text}")), "{reply}");
    };
    begins(
        client.line(&format!("MSETNX {{{key}}}1 1 {{{key}}}2 2")),
        "no node of the cluster took the request within 1500 ms: its keys are on two nodes",
    );
    // The last slot is nobody's, and there is no wait for a primary.
    let began = Instant::now();
    begins(
        client.line(&format!("GET {}", key_of(16_383))),
        "no primary within failover_wait_ms (0 ms): no node has slot 16383",
    );
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_request_that_is_sent_elsewhere_waits_for_one_before_it_with_its_slot() {
    let tries = AtomicUsize::new(0);
    let nodes = Scripted::start(2, move |node, ports, request| {
        Some(match (node, request.split(' ').next()) {
            (0, Some("MSETNX")) if tries.fetch_add(1, Ordering::SeqCst) < 3 => TRY_AGAIN.to_owned(),
            (0, Some("MSETNX")) => ":1\r\n".to_owned(),
            (0, Some("GET")) => format!("-ASK 5 127.0.0.1:{}\r\n", ports[1]),
            (1, Some("ASKING")) => "+OK\r\n".to_owned(),
            (1, Some("GET")) => bulk("1"),
            other => panic!("{other:?}"),
        })
    });
    let gateway = nodes.gateway("");
    let (mut client, key) = (gateway.client(), key_of(5));
    let lines = [format!("MSETNX {{{key}}}1 1 {{{key}}}2 2"), format!("GET {{{key}}}1")];
    client.send_raw(&requests(&[&lines[0], &lines[1]]));
    assert_eq!(client.read_replies(2), [&b":1\r\n"[..], b"$1\r\n1\r\n"]);
    let asked = nodes.asked();
    let set = asked.iter().rposition(|(_, request)| *request == lines[0]);
    let got = asked.iter().position(|(node, request)| *node == 1 && *request == lines[1]);
    assert!(set.is_some() && set < got, "{asked:?}");
}

/// A primary that has all slots, and its replica, which takes over at some time.
#[derive(Default)]
struct Pair {
    /// The primary reads and answers nothing.
    is_frozen: AtomicBool,
    /// The replica answers nothing.
    is_mute: AtomicBool,
    has_taken_over: AtomicBool,
    /// Whether the primary has been asked something that it has not answered, by whoever follows the cluster.
    primary_looks: AtomicUsize,
    replica_looks: AtomicUsize,
}

impl Pair {
    fn start() -> (Arc<Self>, Scripted) {
        let pair = Arc::new(Self::default());
        let (of_all, of_clients) = (Arc::clone(&pair), Arc::clone(&pair));
        let nodes = Scripted::start_with(
            2,
            move |node, ports, request| of_all.says(node, ports, request),
            move |node, _, _| {
                of_clients.wakes(node);
                Some(format!(":{}\r\n", node + 1))
            },
        );
        (pair, nodes)
    }

    /// Waits until this node answers.
    fn wakes(&self, node: usize) {
        let sleeps = [&self.is_frozen, &self.is_mute][node];
        wait("the node to go on", || (!sleeps.load(Ordering::SeqCst)).then_some(()));
    }

    fn says(&self, node: usize, ports: &[u16], request: &str) -> Option<String> {
        if request == "CLUSTER SLOTS" {
            [&self.primary_looks, &self.replica_looks][node].fetch_add(1, Ordering::SeqCst);
        }
        if OF_CLIENTS.iter().any(|word| request.starts_with(word)) {
            return None;
        }
        self.wakes(node);
        // The former primary does not know yet that it has been replaced.
        let (primary, replica, epoch) =
            if node == 1 && self.has_taken_over.load(Ordering::SeqCst) { (1, 0, 2) } else { (0, 1, 1) };
        let at = |node: usize| format!("127.0.0.1:{}@1{}", ports[node], ports[node]);
        match request {
            "CLUSTER SLOTS" => {
                let place = |node: usize| format!("*2\r\n{}:{}\r\n", bulk("127.0.0.1"), ports[node]);
                Some(format!("*1\r\n*4\r\n:0\r\n:16383\r\n{}{}", place(primary), place(replica)))
            }
            "CLUSTER NODES" => Some(bulk(&format!(
                "a {} master - 0 0 {epoch} connected 0-16383\nb {} slave a 0 0 {epoch} connected\n",
                at(primary),
                at(replica)
            ))),
            _ => None,
        }
    }

    /// Has the primary get a request that it does not answer, until its replica is asked what has become of it.
    fn freeze(&self, client: &mut Client, nodes: &Scripted) {
        client.expect(&format!("INCR {}", key_of(5)), ":1\r\n");
        self.is_frozen.store(true, Ordering::SeqCst);
        client.send_raw(&requests(&[&format!("INCR {}", key_of(5))]));
        wait("the request to be sent", || (nodes.asked().len() == 2).then_some(()));
        self.replica_is_asked(10);
    }

    fn replica_is_asked(&self, times: usize) {
        let before = self.replica_looks.load(Ordering::SeqCst);
        wait("the replica to be asked", || (self.replica_looks.load(Ordering::SeqCst) >= before + times).then_some(()));
    }
}

/// Nothing else than a request that is not answered has the primary watched.
const UNHURRIED: &str = "failover_wait_ms = 60000\ncheck_interval_ms = 3600000\n[cluster]\nrefresh_ms = 3600000\n\
                         [pool]\nqueue_timeout_ms = 60000\nreply_timeout_ms = 60000";

const REPLACED: &str = "-ERR respool: connection to the upstream lost: another node is the primary now, the request may \
                        have been executed";

#[test]
fn a_frozen_primary_is_left_as_soon_as_its_replica_says_that_it_has_taken_over() {
    let (pair, nodes) = Pair::start();
    let gateway = nodes.gateway(UNHURRIED);
    let mut client = gateway.client();
    pair.freeze(&mut client, &nodes);
    pair.has_taken_over.store(true, Ordering::SeqCst);
    let reply = String::from_utf8_lossy(&client.read_reply()).into_owned();
    assert!(reply.starts_with(REPLACED), "{reply}");
    client.expect(&format!("INCR {}", key_of(5)), ":2\r\n");
    pair.is_frozen.store(false, Ordering::SeqCst);
}

#[test]
fn what_a_primary_says_that_wakes_is_heard_once_another_node_has_said_that_it_is_not_replaced() {
    for is_replaced in [true, false] {
        let (pair, nodes) = Pair::start();
        let gateway = nodes.gateway(UNHURRIED);
        let mut client = gateway.client();
        pair.freeze(&mut client, &nodes);
        pair.is_mute.store(true, Ordering::SeqCst);
        // Whatever it was asked before, it has answered.
        pair.replica_is_asked(2);
        pair.has_taken_over.store(is_replaced, Ordering::SeqCst);
        pair.is_frozen.store(false, Ordering::SeqCst);
        pair.replica_is_asked(2);
        assert!(!client.has_arrived(), "nobody has said that it is the primary");
        pair.is_mute.store(false, Ordering::SeqCst);
        let reply = String::from_utf8_lossy(&client.read_reply()).into_owned();
        assert!(if is_replaced { reply.starts_with(REPLACED) } else { reply == ":1\r\n" }, "{reply}");
    }
}

#[test]
fn a_script_is_told_to_a_node_that_says_in_the_words_of_valkey_that_it_does_not_know_it() {
    let (loads, digest) = (AtomicUsize::new(0), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    let says = move |_: usize, _: &[u16], request: &str| match request.split(' ').next() {
        Some("SCRIPT") => {
            loads.fetch_add(1, Ordering::SeqCst);
            Some(bulk(digest))
        }
        Some("EVALSHA") if loads.load(Ordering::SeqCst) < 2 => Some("-NOSCRIPT No matching script.\r\n".to_owned()),
        Some("EVALSHA") => Some(":1\r\n".to_owned()),
        _ => None,
    };
    let nodes = Scripted::start_with(1, says, |_, _, _| None);
    let gateway = nodes.gateway("failover_wait_ms = 2000");
    let mut client = gateway.client();
    assert_eq!(client.call(&["SCRIPT", "LOAD", "return 1"]), bulk(digest).as_bytes());
    client.expect(&format!("EVALSHA {digest} 0"), ":1\r\n");
}

#[test]
fn what_a_node_says_to_the_end_of_a_subscription_that_it_has_ended_itself_is_no_reply_to_anything_else() {
    let confirms = |what: &str, name: &str, left: u8| format!("*3\r\n{}{}:{left}\r\n", bulk(what), bulk(name));
    let pong = format!("*2\r\n{}{}", bulk("pong"), bulk(""));
    let says = move |_: usize, ports: &[u16], request: &str| {
        // The slot has just left.
        let moved = format!("-MOVED 7365 127.0.0.1:{}\r\n", ports[1]);
        match request {
            "SSUBSCRIBE c" => Some(confirms("ssubscribe", "c", 1)),
            "SSUBSCRIBE b" => Some(confirms("ssubscribe", "b", 2)),
            // To the second it comes with the next request.
            "SUNSUBSCRIBE c" => Some(confirms("sunsubscribe", "c", 0) + &moved),
            "sunsubscribe c" => Some(confirms("sunsubscribe", "c", 1)),
            "SUBSCRIBE e" => Some(moved + &confirms("subscribe", "e", 1)),
            "PING" => Some(moved + &pong),
            _ => None,
        }
    };
    let nodes = Scripted::start_with(2, says, |_, _, _| Some(bulk("v")));
    let gateway = nodes.gateway("failover_wait_ms = 2000");
    let (mut client, mut listens) = (gateway.client(), gateway.client());
    client.expect("SSUBSCRIBE c", &confirms("ssubscribe", "c", 1));
    client.expect("SUNSUBSCRIBE c", &confirms("sunsubscribe", "c", 0));
    for _ in 0..2 {
        client.expect(&format!("GET {}", key_of(5)), &bulk("v"));
    }
    listens.expect("SSUBSCRIBE c", &confirms("ssubscribe", "c", 1));
    listens.expect("SSUBSCRIBE b", &confirms("ssubscribe", "b", 2));
    listens.expect("sunsubscribe c", &confirms("sunsubscribe", "c", 1));
    listens.expect("SUBSCRIBE e", &confirms("subscribe", "e", 1));
    listens.expect("PING", &format!("*2\r\n{}{}", bulk("pong"), bulk("")));
}
