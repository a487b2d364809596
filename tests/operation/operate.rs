//! Running it: hot reload, the console, pause and resume, readiness. Under load where a change could lose,
//! reorder or fail what clients have sent.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use resp::Value;

use crate::support::{Client, DEADLINE, Gateway, Redis, assert_own_error, get, pass, request, wait};

/// One row of the console, from a map or a flat array.
#[track_caller]
fn row(client: &mut Client, line: &str) -> HashMap<String, Value> {
    let reply = client.line(line);
    let (value, _) = Value::decode(&reply.into()).expect("a reply");
    let items = match value {
        Value::Array(items) => items,
        other => panic!("{line}: {other:?}"),
    };
    let items = match items.as_slice() {
        [Value::Array(row)] => row.clone(),
        _ => items,
    };
    let name = |value: &Value| String::from_utf8_lossy(value.as_bytes().expect("a name")).into_owned();
    items.chunks(2).map(|pair| (name(&pair[0]), pair[1].clone())).collect()
}

#[track_caller]
fn number(row: &HashMap<String, Value>, key: &str) -> i64 {
    match row.get(key) {
        Some(Value::Integer(number)) => *number,
        other => panic!("{key}: {other:?} in {row:?}"),
    }
}

fn names(row: &HashMap<String, Value>, key: &str) -> Vec<String> {
    match row.get(key) {
        Some(Value::Array(items)) => {
            items.iter().map(|item| String::from_utf8_lossy(item.as_bytes().expect("a key")).into_owned()).collect()
        }
        other => panic!("{key}: {other:?}"),
    }
}

/// Clients that count each a key of their own in bursts while `operate` runs, and demand every count.
fn under_load(address: SocketAddr, operate: impl FnOnce()) {
    const CLIENTS: usize = 8;
    const BURST: usize = 16;
    let (over, replies) = (AtomicBool::new(false), AtomicUsize::new(0));
    let count = |client: usize| {
        let mut connection = Client::connect(address);
        let key = format!("count:{client}");
        let burst = request(&["INCR", &key]).repeat(BURST);
        let mut expected = 0;
        while !over.load(Ordering::Relaxed) {
            connection.send_raw(&burst);
            for reply in connection.read_replies(BURST) {
                expected += 1;
                assert_eq!(String::from_utf8_lossy(&reply), format!(":{expected}\r\n"));
            }
            replies.fetch_add(BURST, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let count = &count;
            scope.spawn(move || count(client));
        }
        wait("load", || (replies.load(Ordering::Relaxed) > CLIENTS * BURST).then_some(()));
        let over = Over(&over);
        operate();
        let before = replies.load(Ordering::Relaxed);
        wait("load to go on", || (replies.load(Ordering::Relaxed) > before + CLIENTS * BURST).then_some(()));
        drop(over);
    });
}

/// Ends the load, also when a test fails.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_hang_up_puts_the_file_in_force() {
    let redis = Redis::start(&[]);
    let mut gateway = Gateway::start(&redis.url());
    let mut client = gateway.client();
    client.expect("KEYS nosuch", "*0\r\n");
    gateway
        .rewrite("[pool]\nworkers = 7\nqueue_capacity = 10\n[commands]\ndeny = [\"keys\"]\n[clients]\nclients_max = 1");
    gateway.hang_up();
    gateway.logs().wait_for("configuration in force", DEADLINE);
    let pools = row(&mut client, "RESPOOL POOLS");
    assert_eq!((number(&pools, "sv_target"), number(&pools, "cl_idle")), (7, 1));
    wait("seven workers", || (number(&row(&mut client, "RESPOOL POOLS"), "sv_idle") == 7).then_some(()));
    assert_own_error(&client.line("KEYS nosuch"));
    assert_eq!(gateway.client().read_to_end(), b"-ERR max number of clients reached\r\n");
    let outcome = row(&mut client, "RESPOOL RELOAD");
    assert_eq!(
        (names(&outcome, "applied"), names(&outcome, "needs_restart")),
        (vec![], vec!["pool.queue_capacity: 16384 -> 10".into()])
    );
    assert!(number(&outcome, "unchanged") > 50);
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let redis = Redis::start(&[]);
    let mut gateway = Gateway::builder().upstream(&redis.url()).allow("configuration refused").start();
    let mut client = gateway.client();
    gateway.rewrite("[pool]\nworkers = 0\n[commands]\ndeny = [\"ping\"]");
    let refusal = client.line("RESPOOL RELOAD");
    assert_own_error(&refusal);
    assert!(String::from_utf8_lossy(&refusal).contains("pool.workers"), "{refusal:?}");
    client.expect("PING", "+PONG\r\n");
    assert_eq!(number(&row(&mut client, "RESPOOL STATS"), "config_generation"), 1);
    assert_own_error(&client.line("RESPOOL CONFIG SET pool.workers none"));
    assert_own_error(&client.line("RESPOOL CONFIG SET pool.nosuch 1"));
}

#[test]
fn resizing_and_reloading_under_load_lose_reorder_and_fail_nothing() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut operator = gateway.client();
    under_load(gateway.address(), || {
        for _ in 0..7 {
            for workers in [64, 2, 1] {
                let set = row(&mut operator, &format!("RESPOOL CONFIG SET pool.workers {workers}"));
                assert!(names(&set, "needs_restart").is_empty());
                pass(Duration::from_millis(30));
            }
            row(&mut operator, "RESPOOL RELOAD");
            operator.expect("RESPOOL RECONNECT", "+OK\r\n");
            pass(Duration::from_millis(30));
        }
    });
    let stats = row(&mut operator, "RESPOOL STATS");
    assert_eq!(number(&stats, "total_query_count"), number(&stats, "total_replied"));
    assert_eq!((number(&stats, "total_failed"), number(&stats, "lost")), (0, 0));
}

#[test]
fn a_pause_finishes_what_runs_and_holds_back_what_comes() {
    let (one, two) = (Redis::start(&[]), Redis::start(&[]));
    two.client().expect("SET where two", "+OK\r\n");
    let gateway = Gateway::builder().upstream(&one.url()).allow("paused").start();
    let (mut operator, mut client) = (gateway.client(), gateway.client());
    client.expect("GET where", "$-1\r\n");
    let paused = row(&mut operator, "RESPOOL PAUSE");
    assert_eq!((number(&paused, "jobs_left"), paused["state"].as_bytes()), (0, Some(&b"paused"[..])));
    client.send(&["GET", "where"]);
    wait("the client to wait", || (number(&row(&mut operator, "RESPOOL POOLS"), "cl_waiting") == 1).then_some(()));
    let set = row(&mut operator, &format!("RESPOOL CONFIG SET upstream.url {}", two.url()));
    assert_eq!(names(&set, "applied"), [format!("upstream.url: \"{}\" -> \"{}\"", one.url(), two.url())]);
    assert!(number(&row(&mut operator, "RESPOOL POOLS"), "maxwait_us") > 0);
    operator.expect("RESPOOL RESUME", "+OK\r\n");
    assert_eq!(client.read_reply(), b"$3\r\ntwo\r\n");
}

#[test]
fn a_pause_that_nobody_ends_gives_errors_in_time() {
    let redis = Redis::start(&[]);
    let gateway =
        Gateway::builder().upstream(&redis.url()).config("[pool]\npause_timeout_ms = 200").allow("paused").start();
    let (mut operator, mut client) = (gateway.client(), gateway.client());
    row(&mut operator, "RESPOOL PAUSE");
    for line in ["GET k", "BLPOP k 0"] {
        let reply = client.line(line);
        assert_own_error(&reply);
        assert!(String::from_utf8_lossy(&reply).contains("pause_timeout_ms"), "{reply:?}");
    }
    operator.expect("RESPOOL RESUME", "+OK\r\n");
    client.expect("GET k", "$-1\r\n");
}

#[test]
fn moving_to_another_upstream_under_load_fails_nothing() {
    let (one, two) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&one.url());
    let mut operator = gateway.client();
    let (over, moved) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            let (over, moved, mut client) = (&over, &moved, gateway.client());
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    client.expect("SET k v", "+OK\r\n");
                    moved.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let over = Over(&over);
        for url in [two.url(), one.url(), two.url()] {
            let before = moved.load(Ordering::Relaxed);
            row(&mut operator, &format!("RESPOOL CONFIG SET upstream.url {url}"));
            wait("traffic", || (moved.load(Ordering::Relaxed) > before + 100).then_some(()));
        }
        drop(over);
    });
    wait("connections to move", || (!workers_of(&one) && workers_of(&two)).then_some(()));
}

fn workers_of(redis: &Redis) -> bool {
    String::from_utf8_lossy(&redis.client().line("CLIENT LIST")).contains("respool-worker")
}

#[test]
fn the_console_is_for_administrators() {
    // Passwords: "one" for each.
    let digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    let redis = Redis::start(&[]);
    let users = format!("[auth]\nadmins = [\"root\"]\n[auth.users]\nroot = \"{digest}\"\napp = \"{digest}\"");
    let mut gateway = Gateway::builder().upstream(&redis.url()).config(&users).start();
    let (mut admin, mut user) = (gateway.client(), gateway.client());
    assert!(admin.line("RESPOOL POOLS").starts_with(b"-NOAUTH"));
    admin.expect("AUTH root one", "+OK\r\n");
    user.expect("AUTH app one", "+OK\r\n");
    assert_own_error(&user.line("RESPOOL POOLS"));
    let shown = admin.line("RESPOOL CONFIG GET *");
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("pool.workers") && !shown.contains(digest), "{shown}");
    // Whoever is not known any more is closed, others stay.
    gateway.forget("auth", "users", "app");
    assert!(names(&row(&mut admin, "RESPOOL RELOAD"), "applied").contains(&"auth.users: removed app".to_owned()));
    user.expect_closed();
    admin.expect("PING", "+PONG\r\n");
}

#[test]
fn quiet_clients_go_by_new_time_outs() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut quiet = gateway.client();
    quiet.expect("PING", "+PONG\r\n");
    let mut operator = gateway.client();
    row(&mut operator, "RESPOOL CONFIG SET clients.idle_timeout_ms 50");
    quiet.expect_closed();
}

#[test]
fn clients_are_shown_and_killed_by_id_and_a_drain_ends_it() {
    let redis = Redis::start(&[]);
    let mut gateway = Gateway::start(&redis.url());
    let (mut operator, mut victim) = (gateway.client(), gateway.client());
    victim.send(&["BLPOP", "nothing", "0"]);
    wait("the client to block", || {
        (number(&row(&mut operator, "RESPOOL POOLS"), "exclusive_blocking") == 1).then_some(())
    });
    assert_eq!(number(&row(&mut operator, "RESPOOL POOLS"), "exclusive_lent"), 1);
    operator.expect("RESPOOL KILL 2", "+OK\r\n");
    victim.expect_closed();
    operator.expect("RESPOOL KILL 2", "-ERR No such client\r\n");
    let clients = row(&mut operator, "RESPOOL CLIENTS");
    assert_eq!((number(&clients, "id"), number(&clients, "resp")), (1, 2));
    operator.expect("RESPOOL DRAIN", "+OK\r\n");
    operator.expect_closed();
    gateway.wait_end(DEADLINE);
}

#[test]
fn readiness_follows_the_upstream() {
    let mut redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().allow_lost_upstream().start();
    let address = gateway.metrics_address();
    wait("readiness", || (get(address, "/readyz").0 == 200).then_some(()));
    let (code, status) = get(address, "/status");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!((code, &status["ready"], &status["pools"][0]["sv_target"]), (200, &true.into(), &4.into()));
    redis.kill9();
    wait("unreadiness", || (get(address, "/readyz").0 == 503).then_some(()));
    assert_eq!(get(address, "/healthz").0, 200);
    assert_eq!(get(address, "/nosuch").0, 404);
    redis.restart();
    wait("readiness again", || (get(address, "/readyz").0 == 200).then_some(()));
}
