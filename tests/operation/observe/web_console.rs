//! The web console over HTTP: who may see it, what its pages are sent with, and its snapshots while others hold
//! every place. What it looks like in a browser is tested with the real clients.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::support::{DEADLINE, Gateway, Logs, Metrics, Redis, get, wait};

/// `hunter2`
const OPS: &str = "[metrics.users]\nops = \"f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7\"";

fn ask(address: SocketAddr, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    write!(stream, "GET {path} HTTP/1.1\r\n{headers}\r\n").expect("sends");
    stream
}

fn answer(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut text = String::new();
    ask(address, path, headers).read_to_string(&mut text).expect("a whole answer");
    text
}

#[test]
fn its_pages_run_nothing_but_their_own_script() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().start();
    for path in ["/", "/console.css", "/console.js"] {
        let page = answer(gateway.metrics_address(), path, "Host: localhost\r\n");
        let (head, body) = page.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{head}");
        assert!(!body.contains("http://") || body.contains("http://www.w3.org/2000/svg"), "{path} names another site");
    }
    let page = answer(gateway.metrics_address(), "/", "Host: localhost\r\n");
    assert!(!page.contains("onclick") && !page.contains("style="), "the policy forbids these");
}

#[test]
fn pages_for_operators_need_a_login_or_this_machine_and_probes_do_not() {
    let redis = Redis::start(&[]);
    let open = Gateway::builder().upstream(&redis.url()).metrics().start();
    let closed = Gateway::builder().upstream(&redis.url()).metrics().config(OPS).start();
    let right = "Host: x\r\nAuthorization: Basic b3BzOmh1bnRlcjI=\r\n";
    for path in ["/", "/status", "/events", "/console.js"] {
        assert!(answer(open.metrics_address(), path, "Host: evil.example\r\n").starts_with("HTTP/1.1 403"), "{path}");
        let refused = answer(closed.metrics_address(), path, "Host: localhost\r\n");
        assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("www-authenticate: Basic"), "{refused}");
        let mut first = [0; 12];
        ask(closed.metrics_address(), path, right).read_exact(&mut first).expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200", "{path}");
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert!(answer(closed.metrics_address(), path, "Host: evil.example\r\n").starts_with("HTTP/1.1 200"), "{path}");
    }
}

#[test]
fn probes_are_answered_while_every_place_is_held() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().start();
    let address = gateway.metrics_address();
    let alone = Instant::now();
    assert_eq!(get(address, "/healthz").0, 200);
    let alone = alone.elapsed();
    let _held: Vec<_> = (0..64).map(|_| TcpStream::connect_timeout(&address, DEADLINE).expect("connects")).collect();
    let asked = Instant::now();
    assert_eq!(get(address, "/healthz").0, 200);
    // Without places for those who come, it would wait for `timeout_ms`, four times.
    assert!(asked.elapsed() < Duration::from_secs(4).max(alone * 20), "{:?} after {alone:?} alone", asked.elapsed());
}

#[test]
fn a_console_is_told_what_changes_within_a_snapshot_or_two() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().allow_lost_upstream().start();
    gateway.client().expect("PING", "+PONG\r\n");
    let events = ask(gateway.metrics_address(), "/events", "Host: 127.0.0.1\r\n");
    let mut lines = BufReader::new(events).lines().map(|line| line.expect("an event"));
    let mut snapshot = || {
        let line = lines.find(|line| line.starts_with("data: {") && line.contains("\"ready\"")).expect("a snapshot");
        serde_json::from_str::<serde_json::Value>(&line["data: ".len()..]).expect("JSON")
    };
    let first = snapshot();
    assert_eq!((&first["ready"], first["errors"]["upstream_down"].is_u64()), (&true.into(), true), "{first}");
    assert!(first["latency"]["queue_us"]["counts"].is_array() && first["pools"][0]["cl_idle"].is_i64(), "{first}");
    drop(redis);
    wait("the console to be told", || (snapshot()["ready"] == false).then_some(()));
}

#[test]
fn a_wrong_password_is_answered_late_and_counted() {
    let redis = Redis::start(&[]);
    let builder = Gateway::builder().upstream(&redis.url()).metrics().config(OPS).allow("login refused");
    let gateway = builder.config("[auth]\nfailure_delay_ms = 300").start();
    let address = gateway.metrics_address();
    let timed = |headers: &str| {
        let started = Instant::now();
        (answer(address, "/status", headers), started.elapsed())
    };
    // `ops:wrong`
    let (wrong, took) = timed("Host: x\r\nAuthorization: Basic b3BzOndyb25n\r\n");
    assert!(wrong.starts_with("HTTP/1.1 401") && took >= Duration::from_millis(300), "{took:?} {wrong}");
    let line = gateway.logs().wait_for("login refused", DEADLINE);
    assert_eq!(Logs::field(&line, "user").as_deref(), Some("ops"), "{line}");
    // A browser asks once without.
    let (missing, _) = timed("Host: x\r\n");
    assert!(missing.starts_with("HTTP/1.1 401"), "{missing}");
    assert_eq!(Metrics::read(address).value("respool_logins_refused_total"), 1.0);
}
