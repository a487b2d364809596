//! `/readyz`, the console and `/status` say whether the upstream serves as it should, and why it does not.

use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Redis, get, pass, wait};

/// Waits until the gateway is not ready; why.
fn unready(gateway: &Gateway) -> String {
    let metrics = gateway.metrics_address();
    wait("the gateway not to be ready", || {
        let (status, why) = get(metrics, "/readyz");
        (status == 503 && !why.starts_with("connecting")).then(|| why.trim().to_owned())
    })
}

fn ready(gateway: &Gateway) {
    let metrics = gateway.metrics_address();
    wait("the gateway to be ready", || (get(metrics, "/readyz").0 == 200).then_some(()));
}

fn gateway(url: &str) -> Gateway {
    Gateway::builder().upstream(url).metrics().allow_lost_upstream().start()
}

#[test]
fn a_frozen_upstream_is_not_ready_though_nobody_asks_it_anything() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis.url());
    ready(&gateway);
    redis.freeze();
    let started = Instant::now();
    assert_eq!(unready(&gateway), "the upstream does not answer within 3000 ms");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    redis.thaw();
    ready(&gateway);
}

#[test]
fn an_upstream_that_loads_is_not_ready_until_it_has_loaded() {
    let mut redis = Redis::start(&[]);
    let gateway = gateway(&redis.url());
    let mut client = gateway.client();
    (0..2000).for_each(|key| client.expect(&format!("SET key{key} v"), "+OK\r\n"));
    redis.client().expect("SAVE", "+OK\r\n");
    redis.kill9();
    redis.restart_slowly(&["--key-load-delay", "1500", "--loading-process-events-interval-bytes", "1024"]);
    let metrics = gateway.metrics_address();
    wait("the news that it loads", || {
        get(metrics, "/readyz").1.contains("the upstream is loading its data").then_some(())
    });
    assert!(get(metrics, "/status").1.contains("\"state\":\"unready\""));
    ready(&gateway);
    client.expect("GET key0", "$1\r\nv\r\n");
}

#[test]
fn a_replica_is_ready_only_where_one_is_wanted() {
    let primary = Redis::start(&[]);
    let port = primary.address().port().to_string();
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]);
    let why = unready(&gateway(&replica.url()));
    assert_eq!(why, format!("the upstream is a replica of 127.0.0.1:{port}, not a primary"));
    for (redis, role) in [(&replica, "replica"), (&replica, "any"), (&primary, "any")] {
        let config = format!("[upstream]\nrole = \"{role}\"");
        ready(&Gateway::builder().upstream(&redis.url()).config(&config).metrics().start());
    }
    let config = "[upstream]\nrole = \"replica\"";
    let gateway =
        Gateway::builder().upstream(&primary.url()).config(config).metrics().allow("upstream is not ready").start();
    assert_eq!(unready(&gateway), "the upstream is a primary, not a replica");
}

#[test]
fn an_upstream_without_the_database_of_the_url_is_not_ready() {
    let redis = Redis::start(&["--databases", "4"]);
    let gateway = gateway(&format!("{}/9", redis.url()));
    let why = "the upstream refuses database 9: ERR DB index is out of range";
    assert_eq!(unready(&gateway), why);
    let mut client = gateway.client();
    let pools = String::from_utf8_lossy(&client.line("RESPOOL POOLS")).into_owned();
    assert!(pools.contains("unready") && pools.contains(why), "{pools}");
    client.expect("GET k", "-ERR DB index is out of range\r\n");
    // Another one is there, and whoever wants it is served.
    client.expect("SELECT 3", "+OK\r\n");
    client.expect("SET k v", "+OK\r\n");
}

/// The refusals that the upstream has logged.
fn refused(direct: &mut Client) -> usize {
    String::from_utf8_lossy(&direct.line("ACL LOG")).matches("reason\r\n").count()
}

/// A gateway whose user at the upstream has these rights.
fn gateway_of(redis: &Redis, direct: &mut Client, rights: &str) -> Gateway {
    direct.expect(&format!("ACL SETUSER app on >secret ~* {rights}"), "+OK\r\n");
    let url = format!("redis://app:secret@{}", redis.address());
    let config = "[upstream]\ncheck_interval_ms = 100\nkeepalive_ms = 50";
    Gateway::builder().upstream(&url).config(config).metrics().start()
}

#[test]
fn a_user_who_may_do_little_is_served_and_asks_what_is_refused_once() {
    let redis = Redis::start(&[]);
    let mut direct = redis.client();
    let gateway = gateway_of(&redis, &mut direct, "+@read +@write +ping");
    let mut client = gateway.client();
    client.expect("SET k v", "+OK\r\n");
    ready(&gateway);
    let before = refused(&mut direct);
    assert!(before <= 3, "{before} refusals");
    direct.expect("ACL LOG RESET", "+OK\r\n");
    for _ in 0..5 {
        client.expect("BLPOP nothing 0.01", "*-1\r\n");
        direct.line("CLIENT KILL TYPE normal SKIPME yes");
        wait("all workers", || get(gateway.metrics_address(), "/status").1.contains("\"sv_idle\":4").then_some(()));
    }
    assert_eq!(refused(&mut direct), 0);
}

#[test]
fn with_the_rights_that_the_documentation_asks_for_nothing_is_refused() {
    let redis = Redis::start(&[]);
    let mut direct = redis.client();
    let rights = "&* +@read +@write +ping +select +client|setname +client|unblock +config|get \
                  +info +command|info";
    let gateway = gateway_of(&redis, &mut direct, rights);
    let (mut client, mut other) = (gateway.client(), gateway.client());
    ready(&gateway);
    for line in ["SELECT 3", "HELLO 3", "SET k v", "BLPOP nothing 0.1"] {
        client.line(line);
    }
    other.expect("GET k", "$-1\r\n");
    // Checks and signs of life.
    pass(Duration::from_millis(400));
    assert_eq!(refused(&mut direct), 0);
}
