//! Where reads go to replicas, a client finds its own writes all the same: one command after another, in one pipeline,
//! however far the replicas are behind. A replica that lags, fails or refuses costs nobody an error.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Gateway, Redis, Relay, assert_own_error, request, requests, seeded, wait};

/// A primary and replicas, each of which follows it through a relay of its own.
struct Shard {
    primary: Redis,
    relays: Vec<Relay>,
    replicas: Vec<Redis>,
}

impl Shard {
    fn start() -> Self {
        let primary = Redis::start(&[]);
        let relays: Vec<Relay> = (0..2).map(|_| Relay::start(primary.address())).collect();
        let replica = |relay: &Relay| {
            let of = format!("127.0.0.1 {}", relay.address().port());
            Redis::start(&["--replicaof", &of, "--repl-diskless-sync-delay", "0"])
        };
        let replicas: Vec<Redis> = relays.iter().map(replica).collect();
        let shard = Self { primary, relays, replicas };
        shard.wait_until_linked();
        shard
    }

    fn wait_until_linked(&self) {
        wait("the replicas to follow", || {
            let linked = |replica: &Redis| replica.client().line("ROLE").windows(9).any(|word| word == b"connected");
            self.replicas.iter().all(linked).then_some(())
        });
    }

    fn gateway(&self, upstream: &str) -> Gateway {
        let config = format!("[upstream]\n{upstream}");
        let builder = Gateway::builder().upstream(&self.primary.url()).config(&config).allow_lost_upstream();
        let gateway = builder.start();
        wait("the replicas to have reads", || {
            let before = self.reads();
            (0..8).for_each(|_| drop(gateway.client().line("EXISTS nothing")));
            (self.reads() > before).then_some(())
        });
        gateway
    }

    /// Reads that replicas have had.
    fn reads(&self) -> usize {
        self.replicas.iter().map(|replica| calls(replica, "exists") + calls(replica, "get")).sum()
    }

    fn weather(&self, delay: Duration) {
        self.relays.iter().for_each(|relay| relay.weather(|weather| weather.delay = delay));
    }
}

/// How often a node has executed a command.
fn calls(node: &Redis, command: &str) -> usize {
    let stats = String::from_utf8_lossy(&node.client().line("INFO commandstats")).into_owned();
    let start = format!("cmdstat_{command}:calls=");
    let count = stats.lines().find_map(|line| line.strip_prefix(&start)?.split(',').next()?.parse().ok());
    count.unwrap_or_default()
}

/// Clients that write and read their own while `trouble` does its worst.
fn own_writes(gateway: &Gateway, trouble: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let client = |index: usize| {
        let (mut client, mut rng) = (gateway.client(), seeded("how long it reads"));
        for round in 0.. {
            let (key, value) = (format!("k{index}"), format!("v{round}"));
            let expected = format!("${}\r\n{value}\r\n", value.len());
            client.expect(&format!("SET {key} {value}"), "+OK\r\n");
            // Again and again: from where it may be read changes meanwhile.
            let (began, lasts) = (Instant::now(), Duration::from_millis(rng.u64(0..150)));
            while began.elapsed() < lasts {
                client.expect(&format!("GET {key}"), &expected);
            }
            let (more, get) = (format!("{value}:p"), request(&["GET", &key]));
            client.send_raw(&[request(&["SET", &key, &more]), get.repeat(3)].concat());
            let replies = client.read_replies(4);
            let expected = format!("${}\r\n{more}\r\n", more.len());
            assert!(replies[1..].iter().all(|reply| reply == expected.as_bytes()), "its own write was missed: {more}");
            client.expect("MULTI", "+OK\r\n");
            client.expect(&format!("SET {key} {value}:m"), "+QUEUED\r\n");
            client.expect("EXEC", "*1\r\n+OK\r\n");
            client.expect(&format!("GET {key}"), &format!("${}\r\n{value}:m\r\n", value.len() + 2));
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
    };
    thread::scope(|scope| {
        let client = &client;
        let threads: Vec<_> = (0..8).map(|index| scope.spawn(move || client(index))).collect();
        trouble();
        over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("no client fails"));
    })
}

#[test]
fn own_writes_are_found_however_far_the_replicas_are_behind() {
    let shard = Shard::start();
    let gateway = shard.gateway("reads = \"prefer_replica\"\nreplica_lag_max_ms = 400");
    let mut observer = gateway.client();
    own_writes(&gateway, || {
        for delay in [0, 30, 100, 0] {
            shard.weather(Duration::from_millis(delay));
            let before = shard.reads();
            // A client that does not write reads from replicas all the time.
            wait("reads of replicas", || {
                observer.line("GET k0");
                (shard.reads() > before + 50).then_some(())
            });
        }
    });
}

#[test]
fn a_replica_that_lags_has_no_reads_until_it_keeps_up_again() {
    let shard = Shard::start();
    let gateway = shard.gateway("reads = \"prefer_replica\"\nreplica_lag_max_ms = 400");
    let (mut writer, mut reader) = (gateway.client(), gateway.client());
    shard.weather(Duration::from_secs(2));
    writer.expect("SET k new", "+OK\r\n");
    wait("reads of the primary", || (reader.line("GET k") == b"$3\r\nnew\r\n").then_some(()));
    let before = shard.reads();
    (0..20).for_each(|_| reader.expect("GET k", "$3\r\nnew\r\n"));
    assert_eq!(shard.reads(), before, "they are behind");
    let shown = String::from_utf8_lossy(&reader.line("RESPOOL TOPOLOGY")).into_owned();
    assert!(shown.contains("lag_ms"), "{shown}");
    shard.weather(Duration::ZERO);
    wait("reads of replicas again", || {
        reader.expect("GET k", "$3\r\nnew\r\n");
        (shard.reads() > before).then_some(())
    });
}

#[test]
fn what_may_change_something_goes_to_the_primary_and_reads_to_replicas_by_the_upstreams_own_words() {
    let shard = Shard::start();
    let gateway = shard.gateway("reads = \"replica\"");
    let mut client = gateway.client();
    client.expect("GET nothing", "$-1\r\n");
    let at_replicas = |command: &str| shard.replicas.iter().map(|replica| calls(replica, command)).sum::<usize>();
    for line in ["DBSIZE", "EVAL_RO return(1) 0", "OBJECT ENCODING nothing", "TYPE nothing", "BITFIELD_RO k"] {
        let command = line.split(' ').next().expect("a name").to_lowercase();
        let command = if command == "object" { "object|encoding".to_owned() } else { command };
        let before = (at_replicas(&command), calls(&shard.primary, &command));
        client.line(line);
        assert_eq!((at_replicas(&command), calls(&shard.primary, &command)), (before.0 + 1, before.1), "{line}");
    }
    // None of these says that it only reads, or else its cursor means nothing elsewhere.
    for line in ["EVAL return(1) 0", "PING", "SCAN 0", "HSCAN h 0", "GETEX k"] {
        let command = line.split(' ').next().expect("a name").to_lowercase();
        let before = (at_replicas(&command), calls(&shard.primary, &command));
        client.line(line);
        let after = (at_replicas(&command), calls(&shard.primary, &command));
        assert!(after.1 > before.1 && (after.0 == before.0 || command == "ping"), "{line}: {before:?} {after:?}");
    }
}

#[test]
fn what_a_replica_cannot_answer_the_primary_is_asked() {
    let shard = Shard::start();
    let gateway = shard.gateway("reads = \"prefer_replica\"");
    // Of all clients, each with its own replica.
    for _ in 0..4 {
        let mut client = gateway.client();
        // A script that only the primary has; EVALSHA_RO is a read.
        let sha = String::from_utf8_lossy(&shard.primary.client().line("SCRIPT LOAD return(7)")).into_owned();
        let sha = sha.lines().nth(1).expect("a digest").trim().to_owned();
        client.expect(&format!("EVALSHA_RO {sha} 0"), ":7\r\n");
        client.expect("LPUSH list a", ":1\r\n");
        client.expect("GET list", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
        client.send_raw(&request(&["GET", "list"]).repeat(3));
        assert!(client.read_replies(3).iter().all(|reply| reply.starts_with(b"-WRONGTYPE")));
        client.expect("DEL list", ":1\r\n");
    }
}

#[test]
fn replicas_that_die_cost_no_read_an_error() {
    let mut shard = Shard::start();
    let gateway = shard.gateway("reads = \"prefer_replica\"\nreplica_lag_max_ms = 400");
    gateway.client().expect("SET k 1", "+OK\r\n");
    let over = AtomicBool::new(false);
    let read = || {
        let mut client: Client = gateway.client();
        while !over.load(Ordering::Relaxed) {
            client.expect("GET k", "$1\r\n1\r\n");
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
        for _ in 0..5 {
            for index in 0..2 {
                shard.replicas[index].kill9();
                shard.replicas[index].restart();
            }
            shard.wait_until_linked();
        }
        over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("no client fails"));
    });
}

#[test]
fn replicas_that_freeze_cost_no_small_read_an_error() {
    let shard = Shard::start();
    let gateway = shard.gateway("reads = \"prefer_replica\"\nreplica_lag_max_ms = 400");
    gateway.client().expect("SET k 1", "+OK\r\n");
    let reads: [AtomicUsize; 8] = Default::default();
    let over = AtomicBool::new(false);
    let read = |count: &AtomicUsize| {
        let mut client: Client = gateway.client();
        while !over.load(Ordering::Relaxed) {
            client.expect("GET k", "$1\r\n1\r\n");
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    let all_go_on = || {
        let before = reads.each_ref().map(|count| count.load(Ordering::Relaxed));
        wait("further replies to each", || {
            let further = |(count, before): (&AtomicUsize, usize)| count.load(Ordering::Relaxed) > before + 3;
            reads.iter().zip(before).all(further).then_some(())
        });
    };
    thread::scope(|scope| {
        let threads: Vec<_> = reads.iter().map(|count| scope.spawn(|| read(count))).collect();
        all_go_on();
        shard.replicas.iter().for_each(Redis::freeze);
        let frozen = Instant::now();
        all_go_on();
        let waited = frozen.elapsed();
        assert!(
            waited < Duration::from_secs(8),
            "they waited for reply_timeout_ms, 10 s, and not for 400 ms: {waited:?}"
        );
        shard.replicas.iter().for_each(Redis::thaw);
        let before = shard.reads();
        wait("reads of replicas again", || (shard.reads() > before + 50).then_some(()));
        over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("no client fails"));
    });
}

#[test]
fn reads_that_are_for_replicas_alone_fail_where_there_is_none() {
    let redis = Redis::start(&[]);
    let config = "[upstream]\nreads = \"replica\"";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let mut client = gateway.client();
    client.expect("SET k 1", "+OK\r\n");
    // Until the upstream has said what a read is, all is for the primary.
    let reply = wait("a refusal", || Some(client.line("GET k")).filter(|reply| reply != b"$1\r\n1\r\n"));
    assert_own_error(&reply);
    assert!(String::from_utf8_lossy(&reply).contains("replica_lag_max_ms"), "{reply:?}");
    client.send_raw(&requests(&["CLIENT REPLY OFF", "GET k", "CLIENT REPLY ON", "SET k 2"]));
    assert_eq!(client.read_replies(2).concat(), b"+OK\r\n+OK\r\n");
}

#[test]
fn the_nearest_node_has_the_reads() {
    let primary = Redis::start(&[]);
    let of = format!("127.0.0.1 {}", primary.address().port());
    let replica = Redis::start(&["--replicaof", &of, "--repl-diskless-sync-delay", "0"]);
    // The replica that it knows is far away, so that only the primary is near.
    let relay = Relay::start(primary.address());
    relay.weather(|weather| weather.delay = Duration::from_millis(20));
    let config = "[upstream]\nreads = \"nearest\"";
    let gateway = Gateway::builder().upstream(&relay.url()).config(config).start();
    let mut client = gateway.client();
    wait("reads of the replica, which is nearer than the primary", || {
        client.line("EXISTS nothing");
        (calls(&replica, "exists") > 0).then_some(())
    });
    drop(gateway);
    let gateway = Gateway::builder().upstream(&primary.url()).config(config).start();
    let mut clients: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
    wait("reads of both, which are equally near", || {
        let before = (calls(&primary, "exists"), calls(&replica, "exists"));
        clients.iter_mut().for_each(|client| drop(client.line("EXISTS nothing")));
        (calls(&primary, "exists") > before.0 || calls(&replica, "exists") > before.1).then_some(())
    });
}
