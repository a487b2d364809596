//! What befalls a Redis in its life, one thing at a time: it is full, loads its data, becomes a replica or is
//! followed by one, has no connection to spare, closes idle ones, gets another password. Clients hear Redis's
//! own words and keep their connections.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::faults::stateful::{ask, number};
use crate::support::{Client, Gateway, Redis, Relay, assert_own_error, pass, requests, seeded, wait};

fn gateway_before(url: &str) -> Gateway {
    Gateway::builder().upstream(url).config("[pool]\nworkers = 2").allow_lost_upstream().start()
}

/// A count of `RESPOOL POOLS`.
fn count(operator: &mut Client, name: &str) -> u64 {
    let pools = String::from_utf8_lossy(&operator.line("RESPOOL POOLS")).into_owned();
    let (_, rest) = pools.split_once(&format!("${}\r\n{name}\r\n:", name.len())).expect("the count is shown");
    rest.split("\r\n").next().and_then(|digits| digits.parse().ok()).expect("a number")
}

fn served(client: &mut Client, line: &str, reply: &[u8]) {
    wait(&format!("{line} to be served"), || (client.line(line) == reply).then_some(()));
}

#[test]
fn a_full_redis_refuses_writes_in_its_own_words_and_nothing_else_suffers() {
    let redis = Redis::start(&[]);
    let gateway = gateway_before(&redis.url());
    let (mut client, mut direct) = (gateway.client(), redis.client());
    client.expect("SET k v", "+OK\r\n");
    let opened = count(&mut client, "opened");
    direct.expect("CONFIG SET maxmemory 1", "+OK\r\n");
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    for _ in 0..50 {
        client.send_raw(&requests(&["SET k w", "GET k", "ECHO x", "INCR n"]));
        let replies = client.read_replies(4).concat();
        assert_eq!(String::from_utf8_lossy(&replies), format!("{oom}$1\r\nv\r\n$1\r\nx\r\n{oom}"));
        client.send_raw(&requests(&["MULTI", "INCR n", "EXEC"]));
        let replies = String::from_utf8_lossy(&client.read_replies(3).concat()).into_owned();
        assert_eq!(replies, format!("+OK\r\n{oom}-EXECABORT Transaction discarded because of previous errors.\r\n"));
    }
    direct.expect("CONFIG SET maxmemory 0", "+OK\r\n");
    client.expect("INCR n", ":1\r\n");
    assert_eq!(count(&mut client, "opened"), opened, "no connection was replaced");
}

#[test]
fn a_redis_that_loads_says_so_and_clients_are_served_when_it_has_loaded() {
    const KEYS: u64 = 1000;
    let mut redis = Redis::start(&[]);
    let gateway = gateway_before(&redis.url());
    let mut client = gateway.client();
    (0..KEYS).for_each(|key| client.expect(&format!("SET key{key} v"), "+OK\r\n"));
    redis.client().expect("SAVE", "+OK\r\n");
    redis.kill9();
    // A thousandth of a second for each key, and answers all the while.
    redis.restart_slowly(&["--key-load-delay", "1500", "--loading-process-events-interval-bytes", "1024"]);
    let mut loading = 0;
    wait("the data to be loaded", || {
        let reply = client.line("GET key0");
        if reply.starts_with(b"-LOADING Redis is loading the dataset in memory") {
            loading += 1;
        } else if reply.starts_with(b"-") {
            assert_own_error(&reply);
        }
        (reply == b"$1\r\nv\r\n").then_some(())
    });
    assert!(loading > 0, "nobody was told that it loads");
    client.expect("DBSIZE", &format!(":{KEYS}\r\n"));
}

#[test]
fn a_redis_that_becomes_a_replica_refuses_writes_and_takes_them_again_when_it_is_promoted() {
    let redis = Redis::start(&[]);
    let gateway = gateway_before(&redis.url());
    let (mut client, mut direct) = (gateway.client(), redis.client());
    client.expect("SET k v", "+OK\r\n");
    direct.expect("REPLICAOF 127.0.0.1 1", "+OK\r\n");
    let before = count(&mut client, "opened");
    let (started, mut writes) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_millis(500) {
        let reply = client.line("SET k w");
        assert!(reply.starts_with(b"-READONLY You can't write against a read only replica."), "{reply:?}");
        client.expect("GET k", "$1\r\nv\r\n");
        writes += 1;
    }
    // A refusal may tell that a connection leads to the wrong Redis. It is looked at once for all connections.
    let opened = count(&mut client, "opened") - before;
    assert_eq!(opened, 0, "connections replaced for {writes} refusals");
    direct.expect("REPLICAOF NO ONE", "+OK\r\n");
    client.expect("SET k w", "+OK\r\n");
}

#[test]
fn a_redis_that_is_shut_down_answers_as_it_does_and_is_down_for_everybody_else() {
    let redis = Redis::start(&[]);
    let gateway = gateway_before(&redis.url());
    let (mut client, mut other) = (gateway.client(), gateway.client());
    client.expect("SHUTDOWN ABORT", "-ERR No shutdown in progress.\r\n");
    client.expect("SET k v", "+OK\r\n");
    client.send(&["SHUTDOWN", "NOSAVE"]);
    // Its clients take the end of the connection for the answer.
    client.expect_closed();
    wait("the upstream to be down", || gateway.logs().find("upstream is down"));
    assert_own_error(&other.line("GET k"));
}

/// Counts as one client of many, until it is over; what it was told.
fn count_until(over: &AtomicBool, gateway: &Gateway, acknowledged: &AtomicU64) -> Vec<u64> {
    let (mut client, mut counts) = (gateway.client(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let reply = client.line("INCR n");
        match reply.strip_prefix(b":") {
            Some(digits) => {
                let digits = std::str::from_utf8(digits).expect("digits").trim_end();
                counts.push(digits.parse().expect("a number"));
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            None if reply.starts_with(b"-READONLY ") || reply.starts_with(b"-LOADING ") => {}
            None => assert_own_error(&reply),
        }
    }
    counts
}

#[test]
fn a_replica_promoted_under_the_same_address_is_followed_and_no_acknowledged_write_is_lost() {
    let (old, new) = (Redis::start(&[]), Redis::start(&[]));
    let relay = Relay::start(old.address());
    let gateway = gateway_before(&relay.url());
    let (mut at_old, mut at_new) = (old.client(), new.client());
    at_new.expect(&format!("REPLICAOF 127.0.0.1 {}", old.address().port()), "+OK\r\n");
    wait("the replica to follow", || {
        String::from_utf8_lossy(&at_old.line("INFO replication")).contains("state=online").then_some(())
    });
    // Connections that nobody borrows at the moment lead to the old one, too.
    let mut borrowers: Vec<Client> = (0..5).map(|_| gateway.client()).collect();
    borrowers.iter_mut().for_each(|client| client.expect("WATCH k", "+OK\r\n"));
    borrowers.iter_mut().for_each(|client| client.expect("UNWATCH", "+OK\r\n"));
    let (over, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let more = |count| {
        let goal = acknowledged.load(Ordering::Relaxed) + count;
        wait("writes to be acknowledged", || (acknowledged.load(Ordering::Relaxed) > goal).then_some(()));
    };
    let mut counts: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| count_until(&over, &gateway, &acknowledged))).collect();
        let over = Over(&over);
        more(200);
        // Redis brings the replica up to date before it gives way to it.
        at_old.expect(&format!("FAILOVER TO 127.0.0.1 {}", new.address().port()), "+OK\r\n");
        wait("the replica to be promoted", || {
            String::from_utf8_lossy(&at_new.line("INFO replication")).contains("role:master").then_some(())
        });
        // The connections that are there still lead to the old one, which is a replica now.
        relay.lead_to(new.address());
        more(200);
        let refused =
            borrowers.iter_mut().map(|client| client.line("BLPOP k 0.01")).filter(|reply| reply != b"*-1\r\n");
        let refused = refused.count();
        assert!(refused <= 1, "{refused} were refused by the old one");
        drop(over);
        threads.into_iter().flat_map(|thread| thread.join().expect("no client fails")).collect()
    });
    let told = counts.len();
    counts.sort_unstable();
    counts.dedup();
    assert_eq!(counts.len(), told, "two clients were told the same count");
    let last = number(&ask(&mut at_new, "GET n"));
    assert!(last >= told as u64 && counts.last() <= Some(&last), "{told} acknowledged, {last} there");
}

/// Ends the load, also when a test fails.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_redis_without_a_connection_to_spare_is_down_for_who_needs_one_and_for_nobody_else() {
    let redis = Redis::start(&["--maxclients", "8"]);
    let gateway = gateway_before(&redis.url());
    let mut client = gateway.client();
    wait("both workers", || (count(&mut client, "sv_idle") == 2).then_some(()));
    client.expect("SET k v", "+OK\r\n");
    let mut others: Vec<Client> = (0..6).map(|_| redis.client()).collect();
    others.iter_mut().for_each(|other| other.expect("PING", "+PONG\r\n"));
    for _ in 0..10 {
        let refusal = String::from_utf8_lossy(&client.line("BLPOP nothing 1")).into_owned();
        assert!(refusal.starts_with("-ERR respool: upstream is down: "), "{refusal}");
        assert!(refusal.contains("max number of clients reached"), "{refusal}");
        client.expect("GET k", "$1\r\nv\r\n");
    }
    let late = gateway_before(&redis.url());
    let mut late_client = late.client();
    let refusal = String::from_utf8_lossy(&late_client.line("GET k")).into_owned();
    assert!(refusal.contains("upstream is down: ") && refusal.contains("max number of clients"), "{refusal}");
    drop(others);
    served(&mut late_client, "GET k", b"$1\r\nv\r\n");
    served(&mut client, "BLPOP nothing 0.01", b"*-1\r\n");
}

#[test]
fn idle_connections_that_redis_closes_every_second_are_no_error_to_anybody() {
    let redis = Redis::start(&["--timeout", "1"]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 3").start();
    let mut rng = seeded("idle connections");
    thread::scope(|scope| {
        for index in 0..8 {
            let (mut client, mut rng) = (gateway.client(), rng.fork());
            scope.spawn(move || {
                for round in 1..=5 {
                    client.expect(&format!("INCR own{index}"), &format!(":{round}\r\n"));
                    client.expect("BLPOP nothing 0.01", "*-1\r\n");
                    client.expect(&format!("WATCH own{index}"), "+OK\r\n");
                    client.expect("UNWATCH", "+OK\r\n");
                    pass(Duration::from_millis(rng.u64(100..1_600)));
                }
            });
        }
    });
}

#[test]
fn a_password_that_was_changed_is_an_outage_that_says_why_until_the_gateway_is_told_the_new_one() {
    let redis = Redis::start(&["--requirepass", "old"]);
    let url = |password| format!("redis://:{password}@{}", redis.address());
    let mut gateway = gateway_before(&url("old"));
    let mut client = gateway.client();
    client.expect("SET k v", "+OK\r\n");
    let mut direct = redis.client();
    direct.expect("AUTH old", "+OK\r\n");
    direct.expect("CONFIG SET requirepass new", "+OK\r\n");
    // Whoever had logged in stays.
    client.expect("GET k", "$1\r\nv\r\n");
    direct.line("CLIENT KILL TYPE normal SKIPME yes");
    wait("the outage", || {
        let reply = String::from_utf8_lossy(&client.line("GET k")).into_owned();
        assert!(!reply.contains("old") && (reply.starts_with('$') || reply.starts_with("-ERR respool: ")), "{reply}");
        reply.contains("upstream is down: ").then(|| assert!(reply.contains("WRONGPASS"), "{reply}"))
    });
    gateway.rewrite(&format!("[upstream]\nurl = \"{}\"", url("new")));
    gateway.hang_up();
    served(&mut client, "GET k", b"$1\r\nv\r\n");
    client.expect("BLPOP nothing 0.01", "*-1\r\n");
}

#[test]
fn a_hundred_abandoned_blpops_lose_no_element() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut direct, mut waiting) = (redis.client(), gateway.client());
    for round in 0..100 {
        let mut client = gateway.client();
        client.send(&["BLPOP", "queue", "0"]);
        let blocked = |count: u32| {
            let line = format!("blocked_clients:{count}\r\n");
            move |direct: &mut Client| {
                String::from_utf8_lossy(&direct.line("INFO clients")).contains(&line).then_some(())
            }
        };
        wait("the client to be blocked", || blocked(1)(&mut direct));
        if round % 2 == 0 {
            drop(client)
        } else {
            client.reset()
        }
        wait("the upstream to know that nobody waits", || blocked(0)(&mut direct));
        direct.expect("RPUSH queue x", ":1\r\n");
        // Who waits in earnest gets it.
        waiting.expect("BLPOP queue 0", "*2\r\n$5\r\nqueue\r\n$1\r\nx\r\n");
    }
}

#[test]
fn a_gateway_out_of_descriptors_says_so_to_who_needs_one_and_serves_the_rest() {
    let redis = Redis::start(&[]);
    let gateway = gateway_before(&redis.url());
    let mut client = gateway.client();
    wait("both workers", || (count(&mut client, "sv_idle") == 2).then_some(()));
    let process = gateway.process();
    process.limit_descriptors(1);
    for _ in 0..10 {
        let refusal = String::from_utf8_lossy(&client.line("BLPOP nothing 1")).into_owned();
        assert!(refusal.starts_with("-ERR respool: upstream is down: cannot connect: "), "{refusal}");
        client.expect("SET k v", "+OK\r\n");
    }
    // Connections that are lost meanwhile come back by themselves afterwards.
    redis.client().line("CLIENT KILL TYPE normal");
    process.limit_descriptors(process.descriptors() + 100);
    served(&mut client, "GET k", b"$1\r\nv\r\n");
    served(&mut client, "BLPOP nothing 0.01", b"*-1\r\n");
}

#[test]
fn an_upstream_whose_name_leads_elsewhere_is_followed_within_a_lifetime_and_nobody_notices() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let [one, two] = ["one", "two"].map(|name| {
        let redis = Redis::start(&["--unixsocket", path(name).to_str().expect("text")]);
        redis.client().expect(&format!("SET who {name}"), "+OK\r\n");
        redis
    });
    let name_leads_to = |target: &str| {
        symlink(path(target), path("next")).expect("a link");
        fs::rename(path("next"), path("name")).expect("a link in place of another");
    };
    name_leads_to("one");
    let config = "[pool]\nworkers = 2\n[upstream]\nlifetime_ms = 100";
    let gateway = Gateway::builder().upstream(&format!("unix://{}", path("name").display())).config(config).start();
    let mut client = gateway.client();
    client.expect("GET who", "$3\r\none\r\n");
    name_leads_to("two");
    // The old one lives on, so that nothing but the age of the connections moves them.
    wait("the name to be followed", || {
        let reply = client.line("GET who");
        assert!(!reply.starts_with(b"-"), "{reply:?}");
        (reply == b"$3\r\ntwo\r\n").then_some(())
    });
    wait("all connections to move", || {
        let list = |redis: &Redis| String::from_utf8_lossy(&redis.client().line("CLIENT LIST")).into_owned();
        (!list(&one).contains("respool-worker") && list(&two).contains("respool-worker")).then_some(())
    });
}
