//! TLS to a real Redis: what is right works as without TLS, and what is wrong is told by its cause.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::Output,
};

use super::certificates::{Authority, Pair};
use crate::support::{DEADLINE, Gateway, Redis, wait};

/// A Redis that speaks TLS on the port it returns, and shows `pair`.
fn redis(authority: &Authority, pair: &Pair, wants_certificates: bool) -> (Redis, u16) {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a port").port();
    let (ca, port_text) = (authority.file(), port.to_string());
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let (ca, cert, key) = (text(&ca), text(&pair.cert), text(&pair.key));
    let wants = if wants_certificates { "yes" } else { "no" };
    let args = ["--tls-port", &port_text, "--tls-ca-cert-file", &ca, "--tls-cert-file", &cert, "--tls-key-file", &key];
    (Redis::start(&[&args[..], &["--tls-auth-clients", wants]].concat()), port)
}

fn tls(authority: &Authority, more: &str) -> String {
    format!("[upstream.tls]\nca_file = \"{}\"\n{more}", authority.file().display())
}

fn url(port: u16) -> String {
    format!("rediss://127.0.0.1:{port}/1")
}

#[test]
fn values_of_every_size_pass_unchanged() {
    let authority = Authority::new();
    let (_redis, port) = redis(&authority, &authority.issue(&["127.0.0.1"]), false);
    let gateway = Gateway::builder().upstream(&url(port)).config(&tls(&authority, "")).start();
    let mut client = gateway.client();
    for size in [0, 1, 100, 4_095, 4_096, 4_097, 16_383, 16_384, 16_385, 16_400, 65_535, 65_537, 1_000_000, 5_000_001] {
        let value = "x".repeat(size);
        client.send(&["SET", "k", &value]);
        client.send(&["GET", "k"]);
        assert_eq!(client.read_reply(), b"+OK\r\n", "{size}");
        assert!(client.read_reply() == format!("${size}\r\n{value}\r\n").as_bytes(), "{size}");
    }
}

#[test]
fn many_clients_share_connections_and_lend_them() {
    let authority = Authority::new();
    let (redis, port) = redis(&authority, &authority.issue(&["127.0.0.1"]), false);
    let gateway = Gateway::builder().upstream(&url(port)).config(&tls(&authority, "")).start();
    let mut clients: Vec<_> = (0..50).map(|_| gateway.client()).collect();
    for round in 0..20 {
        for (number, client) in clients.iter_mut().enumerate() {
            (0..16).for_each(|_| client.send(&["INCR", &format!("{round}-{number}")]));
        }
        for client in &mut clients {
            let replies = client.read_replies(16);
            assert!(replies.iter().zip(1..).all(|(reply, count)| *reply == format!(":{count}\r\n").into_bytes()));
        }
    }
    let (mut blocked, mut other) = (gateway.client(), gateway.client());
    blocked.send(&["BLPOP", "list", "0"]);
    wait("a blocked client", || {
        String::from_utf8_lossy(&redis.client().line("INFO clients")).contains("blocked_clients:1").then_some(())
    });
    other.expect("RPUSH list a", ":1\r\n");
    assert_eq!(blocked.read_reply(), b"*2\r\n$4\r\nlist\r\n$1\r\na\r\n");
    other.expect("MULTI", "+OK\r\n");
    other.expect("SET t 1", "+QUEUED\r\n");
    other.expect("EXEC", "*1\r\n+OK\r\n");
}

#[test]
fn an_upstream_that_wants_a_certificate_gets_it() {
    let authority = Authority::new();
    let (_redis, port) = redis(&authority, &authority.issue(&["127.0.0.1"]), true);
    let ours = authority.issue(&["respool"]);
    let shown = format!("cert_file = \"{}\"\nkey_file = \"{}\"", ours.cert.display(), ours.key.display());
    let gateway = Gateway::builder().upstream(&url(port)).config(&tls(&authority, &shown)).start();
    gateway.client().expect("PING", "+PONG\r\n");
}

/// Starts a gateway that cannot connect; why not.
fn reason(url: &str, tls: &str) -> String {
    let gateway = Gateway::builder().upstream(url).config(tls).allow_lost_upstream().start();
    gateway.logs().wait_for("upstream is down", DEADLINE)
}

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (_redis, port) = redis(&authority, &authority.issue(&["redis.example"]), false);
    let said = reason(&url(port), &tls(&authority, ""));
    assert!(said.contains("its certificate is for redis.example, not for 127.0.0.1"), "{said}");
    let said = reason(&url(port), &tls(&other, ""));
    assert!(said.contains("its certificate is of an authority that is not trusted here"), "{said}");
    let (_expired, port) = redis(&authority, &authority.issue_expired(&["127.0.0.1"]), false);
    let said = reason(&url(port), &tls(&authority, ""));
    assert!(said.contains("its certificate has expired, ") && said.contains(" days ago"), "{said}");
    let (_strict, port) = redis(&authority, &authority.issue(&["127.0.0.1"]), true);
    let said = reason(&url(port), &tls(&authority, ""));
    assert!(said.contains("it wants a certificate of ours, and there is none to show"), "{said}");
}

#[test]
fn an_upstream_without_tls_is_told_apart() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let said = reason(&url(redis.address().port()), &tls(&authority, ""));
    assert!(said.contains("by TLS: does the upstream speak it there?"), "{said}");
}

#[test]
fn a_name_can_be_demanded_and_parts_of_the_proof_can_be_waived() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (_redis, port) = redis(&authority, &authority.issue(&["redis.example"]), false);
    let named = tls(&authority, "server_name = \"redis.example\"");
    Gateway::builder().upstream(&url(port)).config(&named).start().client().expect("PING", "+PONG\r\n");
    for (trusted, verify) in [(&authority, "ca"), (&other, "none")] {
        let config = tls(trusted, &format!("verify = \"{verify}\""));
        let unproven = Gateway::builder().upstream(&url(port)).config(&config).allow("can pass for the upstream");
        unproven.start().client().expect("PING", "+PONG\r\n");
    }
    let said = Gateway::builder().upstream(&url(port)).config(&tls(&other, "verify = \"ca\""));
    let said = said.allow("can pass for the upstream").allow_lost_upstream().start();
    said.logs().wait_for("an authority that is not trusted", DEADLINE);
}

/// What the binary says of a configuration.
pub fn check(config: &str) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("respool.toml");
    std::fs::write(&path, config).expect("written");
    Gateway::command().arg("--check").arg("--config").arg(&path).output().expect("the gateway can be started")
}

#[test]
fn files_are_checked_before_anything_starts() {
    let authority = Authority::new();
    let (one, two) = (authority.issue(&["one"]), authority.issue(&["two"]));
    let text = |path: &std::path::Path| path.display().to_string();
    let mixed = format!("cert_file = \"{}\"\nkey_file = \"{}\"", text(&one.cert), text(&two.key));
    for (url, tls, wanted) in [
        ("rediss://h", "ca_file = \"/nonexistent\"".to_owned(), "cannot read /nonexistent"),
        ("rediss://h", "ca_file = \"/dev/zero\"".to_owned(), "cannot read /dev/zero"),
        ("rediss://h", format!("ca_file = \"{}\"", text(&one.key)), "holds no certificate in PEM format"),
        ("rediss://h", mixed, "does not go with the certificate in"),
        ("rediss://h", format!("cert_file = \"{}\"", text(&one.cert)), "cert_file and key_file go together"),
        ("rediss://h", "verify = \"some\"".to_owned(), "upstream.tls.verify: \"some\" is none of"),
        ("redis://h", format!("ca_file = \"{}\"", text(&authority.file())), "begins with none of rediss://"),
    ] {
        let output = check(&format!("[upstream]\nurl = \"{url}\"\n[upstream.tls]\n{tls}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains("upstream.tls") && said.contains(wanted), "{said}");
    }
    for (verify, wanted) in [("none", "anybody on the way can pass for"), ("ca", "anybody with a certificate of that")]
    {
        let output = check(&format!("[upstream]\nurl = \"rediss://h\"\n[upstream.tls]\nverify = \"{verify}\""));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("# WARNING: upstream.tls.verify") && said.contains(wanted), "{said}");
    }
}

#[test]
fn a_reload_reads_the_files_again_and_keeps_the_old_ones_if_they_are_broken() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (_redis, port) = redis(&authority, &authority.issue(&["127.0.0.1"]), false);
    let gateway = Gateway::builder().upstream(&url(port)).config(&tls(&authority, ""));
    let gateway = gateway.allow("configuration refused").allow_lost_upstream().start();
    let mut client = gateway.client();
    client.expect("SET k v", "+OK\r\n");
    std::fs::write(authority.file(), "broken").expect("written");
    gateway.hang_up();
    gateway.logs().wait_for("holds no certificate in PEM format", DEADLINE);
    client.expect("GET k", "$1\r\nv\r\n");
    std::fs::copy(other.file(), authority.file()).expect("copied");
    gateway.hang_up();
    gateway.logs().wait_for("\"applied\":\"upstream.tls: a file that it names has another content\"", DEADLINE);
    gateway.logs().wait_for("an authority that is not trusted here", DEADLINE);
}
