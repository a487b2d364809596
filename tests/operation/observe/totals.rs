//! Requests in = replied + failed + under way, for each class of command, after whatever went wrong. What
//! clients were told is counted here too, and the gateway's figures have to be the same.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use crate::support::{Client, Gateway, Metrics, Redis, pass, requests, wait};

/// What one or more clients sent and were told, by the class that it counts as.
#[derive(Default)]
struct Told {
    sent: BTreeMap<&'static str, usize>,
    failed: BTreeMap<&'static str, usize>,
}

impl Told {
    fn add(&mut self, other: Self) {
        for (class, count) in other.sent {
            *self.sent.entry(class).or_default() += count;
        }
        for (class, count) in other.failed {
            *self.failed.entry(class).or_default() += count;
        }
    }

    /// Notes a request of `class` and its reply; whether that is no error of the gateway.
    fn note(&mut self, class: &'static str, reply: &[u8]) -> bool {
        let failed = reply.starts_with(b"-ERR respool: ");
        *self.sent.entry(class).or_default() += 1;
        *self.failed.entry(class).or_default() += usize::from(failed);
        !failed
    }
}

/// A client that sends the same things again and again, and comes back when it is closed.
struct Asker {
    address: SocketAddr,
    client: Client,
    told: Told,
}

impl Asker {
    fn new(address: SocketAddr) -> Self {
        Self { address, client: Client::connect(address), told: Told::default() }
    }

    /// Sends requests of one class in one piece; whether all of them were served. A request without a reply
    /// was never read: a session ends only between requests, or with an error to each.
    fn ask(&mut self, class: &'static str, lines: &[&str]) -> bool {
        let mut served = true;
        let sent = self.client.try_send_raw(&requests(lines)).is_ok();
        for _ in lines {
            let reply = if sent { self.client.try_read_reply().ok().flatten() } else { None };
            let Some(reply) = reply else {
                self.client = Client::connect(self.address);
                return false;
            };
            served &= self.told.note(class, &reply);
        }
        served
    }

    fn round(&mut self, kind: usize) {
        let _served = match kind {
            0 => self.ask("read", &["GET a", "STRLEN a"]),
            1 => self.ask("write", &["INCR a", "APPEND b x"]),
            2 => self.ask("transaction", &["MULTI", "INCR a", "EXEC"]),
            3 => self.ask("exclusive_blocking", &["BLPOP nothing 0.02"]),
            // Piece by piece, and no further once it is refused.
            4 => {
                let served =
                    ["WATCH a", "MULTI", "INCR a", "EXEC"].iter().all(|line| self.ask("exclusive_watch", &[line]));
                if !served {
                    self.client = Client::connect(self.address);
                }
                served
            }
            _ => self.ask("here", &["CLIENT GETNAME"]),
        };
    }
}

const KINDS: usize = 6;

/// Has clients of every kind ask while `trouble` does its worst; what they were told in the end.
fn under_trouble(gateway: &Gateway, each: usize, trouble: impl FnOnce(&dyn Fn(usize))) -> Told {
    let (over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = gateway.address();
    let mut told = Told::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..KINDS * each)
            .map(|index| {
                let (over, rounds) = (&over, &rounds);
                scope.spawn(move || {
                    let mut asker = Asker::new(address);
                    while !over.load(Ordering::Relaxed) {
                        asker.round(index % KINDS);
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                    asker.told
                })
            })
            .collect();
        let more = |count: usize| {
            let goal = rounds.load(Ordering::Relaxed) + count;
            wait("the load to go on", || (rounds.load(Ordering::Relaxed) > goal).then_some(()));
        };
        let over = Over(&over);
        more(100);
        trouble(&more);
        more(100);
        drop(over);
        threads.into_iter().for_each(|thread| told.add(thread.join().expect("no client fails")));
    });
    told
}

/// Ends the load, also when the trouble fails.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Once nothing is under way: every class adds up.
#[track_caller]
fn settled(gateway: &Gateway) -> Metrics {
    let address = gateway.metrics_address();
    let metrics = wait("nothing to be under way", || {
        let metrics = Metrics::read(address);
        let pending = metrics.by("respool_pending_requests", "class").into_values();
        let held = metrics.by("respool_held_bytes", "what").into_values();
        let left: f64 = pending.chain(held).sum();
        let in_flight = metrics.value("respool_in_flight") + metrics.value("respool_queue_jobs");
        (left + in_flight == 0.0).then_some(metrics)
    });
    let ended = |name| metrics.by(name, "class");
    let (replied, failed) = (ended("respool_replies_total"), ended("respool_failed_requests_total"));
    for (class, requests) in ended("respool_requests_total") {
        assert_eq!(requests, replied[class] + failed[class], "{class}");
    }
    for (class, jobs) in ended("respool_total_seconds_count") {
        assert_eq!(jobs, ended("respool_queue_seconds_count")[class], "{class}");
        assert!(jobs >= ended("respool_upstream_seconds_count")[class], "{class}");
    }
    metrics
}

/// The figures of every class are those of the clients.
#[track_caller]
fn same_as_told(metrics: &Metrics, told: &Told) {
    for (name, told) in [("respool_requests_total", &told.sent), ("respool_failed_requests_total", &told.failed)] {
        for (class, count) in metrics.by(name, "class") {
            let told = told.get(class).copied().unwrap_or(0);
            assert_eq!(count, f64::from(u32::try_from(told).expect("a small number")), "{name} {class}");
        }
    }
}

fn errors(metrics: &Metrics, kind: &str) -> f64 {
    metrics.value(&format!("respool_errors_total{{kind=\"{kind}\"}}"))
}

#[test]
fn totals_add_up_when_nothing_goes_wrong() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().start();
    let told = under_trouble(&gateway, 2, |_| {});
    let metrics = settled(&gateway);
    same_as_told(&metrics, &told);
    assert_eq!(metrics.by("respool_failed_requests_total", "class").values().sum::<f64>(), 0.0);
    let requests = metrics.by("respool_requests_total", "class");
    let shared = requests["read"] + requests["write"] + requests["transaction"];
    let jobs = metrics.value("respool_job_requests_count");
    assert_eq!(metrics.value("respool_job_requests_sum"), shared);
    // Every job went out in one write, together with all its requests; a read whose reply is long in coming, as on a busy
    // machine, went out once more elsewhere.
    let written = (metrics.value("respool_write_jobs_sum"), metrics.value("respool_write_requests_sum"));
    let again = (written.0 - jobs, written.1 - shared);
    assert!(again.0 >= 0.0 && again.1 >= again.0 && again.1 <= requests["read"], "{again:?} again");
    assert!(metrics.value("respool_write_jobs_count") <= written.0);
    assert!(metrics.series().count() < 1200, "cardinality is bounded");
}

#[test]
fn totals_add_up_when_the_upstream_is_killed_under_load() {
    let mut redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().allow_lost_upstream().start();
    let mut own = Told::default();
    let mut told = under_trouble(&gateway, 2, |more| {
        for _ in 0..3 {
            redis.kill9();
            more(100);
            wait("an attempt to fail", || {
                let metrics = Metrics::read(gateway.metrics_address());
                (metrics.value("respool_connection_attempts_failed_total") > 0.0).then_some(())
            });
            redis.restart();
            let mut client = gateway.client();
            wait("the upstream to serve", || own.note("read", &client.line("PING")).then_some(()));
            more(100);
        }
    });
    told.add(own);
    let metrics = settled(&gateway);
    same_as_told(&metrics, &told);
    let closed = metrics.by("respool_connections_closed_total", "reason");
    assert!(closed["broken"] + closed["idle"] >= 3.0, "{closed:?}");
    assert!(metrics.value("respool_connection_attempts_failed_total") > 0.0);
    assert!(errors(&metrics, "upstream_down") > 0.0);
}

#[test]
fn totals_add_up_when_the_upstream_freezes_under_load() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 2\nreply_timeout_ms = 300\nqueue_timeout_ms = 300";
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().config(config).allow_lost_upstream().start();
    let told = under_trouble(&gateway, 2, |more| {
        redis.freeze();
        // As long as the connections live, so that late replies are thrown away and not counted.
        pass(Duration::from_millis(400));
        redis.thaw();
        more(50);
        // And longer, so that they are given up.
        redis.freeze();
        pass(Duration::from_millis(900));
        redis.thaw();
        more(50);
    });
    let metrics = settled(&gateway);
    same_as_told(&metrics, &told);
    assert!(errors(&metrics, "reply_timeout") > 0.0);
    // Who waited in vain is among the times.
    let slow = metrics.value("respool_total_seconds_sum{class=\"write\"}");
    assert!(slow > 0.3, "{slow}");
}

#[test]
fn totals_add_up_when_the_queue_is_full() {
    const CLIENTS: usize = 40;
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 1\npipeline_depth = 4\nqueue_capacity = 4\nqueue_timeout_ms = 2000";
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().config(config).start();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.expect("GET a", "$-1\r\n"));
    redis.freeze();
    clients.iter_mut().for_each(|client| client.send(&["INCR", "m"]));
    let address = gateway.metrics_address();
    let full = wait("the queue to be full", || {
        let metrics = Metrics::read(address);
        (metrics.value("respool_queue_jobs") == metrics.value("respool_queue_jobs_max")).then_some(metrics)
    });
    assert_eq!(
        full.value("respool_clients{state=\"waiting\"}") + full.value("respool_clients{state=\"active\"}"),
        40.0
    );
    assert!(full.value("respool_held_bytes{what=\"queue\"}") > 0.0);
    wait("the others to be refused", || {
        (Metrics::read(address).value("respool_failed_requests_total{class=\"write\"}") == 36.0).then_some(())
    });
    redis.thaw();
    let mut told = Told::default();
    clients.iter_mut().for_each(|client| {
        told.note("read", b"$-1\r\n");
        told.note("write", &client.read_reply());
    });
    let metrics = settled(&gateway);
    same_as_told(&metrics, &told);
    assert_eq!(errors(&metrics, "queue_timeout"), 36.0);
    assert!(metrics.value("respool_queue_seconds_sum{class=\"write\"}") >= 36.0 * 2.0);
}

#[test]
fn totals_add_up_when_exclusive_connections_run_out_or_break() {
    let mut redis = Redis::start(&[]);
    let config = "[pool]\nexclusive_max = 2\nqueue_timeout_ms = 1000";
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().config(config).allow_lost_upstream().start();
    let mut told = Told::default();
    let (mut blocked, mut watching, mut late) = (gateway.client(), gateway.client(), gateway.client());
    blocked.send(&["BLPOP", "nothing", "0"]);
    told.note("exclusive_watch", &watching.line("WATCH k"));
    let address = gateway.metrics_address();
    wait("both to be lent", || {
        let metrics = Metrics::read(address);
        let lent = metrics.value("respool_exclusive_connections{state=\"lent\"}") == 2.0;
        (lent && metrics.value("respool_pending_requests{class=\"exclusive_blocking\"}") == 1.0).then_some(())
    });
    told.note("exclusive_blocking", &late.line("BLPOP nothing 0"));
    assert_eq!(told.failed["exclusive_blocking"], 1, "none is left to lend");
    redis.kill9();
    told.note("exclusive_blocking", &blocked.read_reply());
    assert_eq!(told.failed["exclusive_blocking"], 2, "its connection broke");
    // It has state on its connection, and ends with it.
    watching.expect_closed();
    let metrics = settled(&gateway);
    same_as_told(&metrics, &told);
    assert_eq!((errors(&metrics, "exclusive_timeout"), errors(&metrics, "connection_lost")), (1.0, 1.0));
    assert!(metrics.value("respool_queue_seconds_sum{class=\"exclusive_blocking\"}") >= 1.0);
    redis.restart();
}

#[test]
fn totals_add_up_when_clients_vanish() {
    const VANISHING: usize = 20;
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().start();
    let address = gateway.metrics_address();
    let pending = |class: &str| Metrics::read(address).value(&format!("respool_pending_requests{{class=\"{class}\"}}"));
    let clients: Vec<_> = (0..VANISHING)
        .map(|_| {
            let mut client = gateway.client();
            client.send(&["BLPOP", "nothing", "0"]);
            client
        })
        .collect();
    wait("them to be blocked", || (pending("exclusive_blocking") == 20.0).then_some(()));
    drop(clients);
    let metrics = settled(&gateway);
    assert_eq!(metrics.value("respool_failed_requests_total{class=\"exclusive_blocking\"}"), 20.0);
    assert_eq!(errors(&metrics, "client_gone"), 20.0);
    // What is shared is executed whether or not anybody is there to read the reply.
    redis.freeze();
    let clients: Vec<_> = (0..VANISHING)
        .map(|_| {
            let mut client = gateway.client();
            client.send(&["INCR", "gone"]);
            client
        })
        .collect();
    wait("them to be under way", || (pending("write") == 20.0).then_some(()));
    clients.into_iter().for_each(Client::reset);
    redis.thaw();
    let metrics = settled(&gateway);
    assert_eq!(metrics.value("respool_replies_total{class=\"write\"}"), 20.0);
    gateway.client().expect("GET gone", "$2\r\n20\r\n");
}

#[test]
fn totals_add_up_when_replies_are_not_read() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nreplies_bytes_max = 1000000\nqueue_timeout_ms = 200";
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().config(config).start();
    let (mut deaf, mut client, address) = (gateway.client(), gateway.client(), gateway.metrics_address());
    client.expect(&format!("SET large {}", "x".repeat(16 << 20)), "+OK\r\n");
    // What its replies cost is known from here on. The kernel takes some 4 MiB of one.
    client.line("GET large");
    deaf.small_buffers();
    deaf.send_raw(&requests(&["GET large"]).repeat(4));
    wait("more to be held than there is room for", || {
        (Metrics::read(address).value("respool_held_bytes{what=\"replies\"}") > 1e6).then_some(())
    });
    let mut told = Told::default();
    told.note("read", &client.line("GET large"));
    assert_eq!(told.failed["read"], 1, "replies_bytes_max");
    drop(deaf);
    let metrics = settled(&gateway);
    assert_eq!(errors(&metrics, "replies_full_unsent"), 1.0);
    // What was under way for the client that has gone may have found no room either.
    let failed = 1.0 + errors(&metrics, "replies_full") + errors(&metrics, "client_gone");
    assert_eq!(metrics.by("respool_failed_requests_total", "class")["read"], failed);
    assert!(metrics.by("respool_requests_total", "class")["read"] >= 3.0);
}
