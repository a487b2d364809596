//! TLS to clients: what they get, what they have to show, and what becomes of those that come without it.

use std::{
    io::Write,
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tokio_rustls::rustls::CipherSuite;

use super::{
    certificates::{Authority, Pair},
    client::{TlsClient, Trust},
    upstream::check,
};
use crate::support::{Client, DEADLINE, Gateway, Redis, request, users, wait};

const LOCAL: [&str; 2] = ["127.0.0.1", "localhost"];

/// A gateway with a plain address and one of TLS, the latter second.
fn start(redis: &Redis, pair: &Pair, more: &str) -> Gateway {
    build(redis, pair, more).start()
}

fn build(redis: &Redis, pair: &Pair, more: &str) -> crate::support::Builder {
    let (cert, key) = (pair.cert.display(), pair.key.display());
    let config = format!(
        "listen = [\"127.0.0.1:0\", \"tls://127.0.0.1:0\"]\n[tls]\ncert_file = \"{cert}\"\nkey_file = \"{key}\"\n{more}"
    );
    Gateway::builder().upstream(&redis.url()).config(&config)
}

#[test]
fn values_of_every_size_pass_unchanged() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let gateway = start(&redis, &authority.issue(&LOCAL), "");
    let mut client = TlsClient::connect(gateway.addresses()[1], &Trust::new(&authority, None));
    for size in [0, 1, 100, 4_095, 4_096, 4_097, 16_383, 16_384, 16_385, 16_400, 65_535, 65_537, 1_000_000, 5_000_001] {
        let value = "x".repeat(size);
        client.send_raw(&request(&["SET", "k", &value]));
        client.send_raw(&request(&["GET", "k"]));
        assert_eq!(client.read_reply(), b"+OK\r\n", "{size}");
        assert!(client.read_reply() == format!("${size}\r\n{value}\r\n").as_bytes(), "{size}");
    }
}

#[test]
fn a_pipeline_of_many_replies_arrives_whole_though_it_is_read_late() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let gateway = start(&redis, &authority.issue(&LOCAL), "");
    let mut client = TlsClient::connect(gateway.addresses()[1], &Trust::new(&authority, None));
    let value = "y".repeat(100_000);
    client.send_raw(&request(&["SET", "k", &value]));
    (0..100).for_each(|_| client.send_raw(&request(&["GET", "k"])));
    // Nothing is due after that until the reply of the last one, which waits.
    client.send_raw(&request(&["BLPOP", "list", "0"]));
    assert_eq!(client.read_reply(), b"+OK\r\n");
    (0..100).for_each(|_| assert_eq!(client.read_reply().len(), 100_011));
    gateway.client().expect("RPUSH list a", ":1\r\n");
    assert_eq!(client.read_reply(), b"*2\r\n$4\r\nlist\r\n$1\r\na\r\n");
}

#[test]
fn clients_on_several_threads_and_those_that_vanish_harm_nobody() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let gateway = start(&redis, &authority.issue(&LOCAL), "[runtime]\nthreads = 2");
    let trust = Trust::new(&authority, None);
    for round in 0..20 {
        let mut clients: Vec<_> = (0..4).map(|_| TlsClient::connect(gateway.addresses()[1], &trust)).collect();
        for client in &mut clients {
            client.expect(&format!("SET k {round}"), "+OK\r\n");
        }
        clients.into_iter().for_each(TlsClient::vanish);
    }
    wait("all to be gone", || {
        String::from_utf8_lossy(&gateway.client().line("CLIENT LIST"))
            .lines()
            .filter(|line| line.contains("id="))
            .count()
            .eq(&1)
            .then_some(())
    });
}

#[test]
fn a_session_is_taken_up_again() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let gateway = start(&redis, &authority.issue(&LOCAL), "");
    let trust = Trust::new(&authority, None);
    let mut first = TlsClient::connect(gateway.addresses()[1], &trust);
    first.expect("PING", "+PONG\r\n");
    assert!(!first.is_resumed());
    // The client names another one first, which costs more.
    assert_eq!(first.cipher(), CipherSuite::TLS13_AES_128_GCM_SHA256);
    gateway.hang_up();
    gateway.logs().wait_for("configuration in force", DEADLINE);
    let mut second = TlsClient::connect(gateway.addresses()[1], &trust);
    second.expect("PING", "+PONG\r\n");
    assert!(second.is_resumed(), "a reload of the same files changes nothing");
}

#[test]
fn a_certificate_changes_by_reload_while_clients_work_and_a_broken_one_is_refused() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let (pair, next) = (authority.issue(&LOCAL), authority.issue(&LOCAL));
    let gateway = build(&redis, &pair, "").allow("configuration refused").start();
    let trust = Trust::new(&authority, None);
    let mut old = TlsClient::connect(gateway.addresses()[1], &trust);
    std::fs::write(&pair.cert, "broken").expect("written");
    gateway.hang_up();
    gateway.logs().wait_for("holds no certificate in PEM format", DEADLINE);
    let shown = old.shown();
    assert!(TlsClient::connect(gateway.addresses()[1], &Trust::new(&authority, None)).shown() == shown);
    pair.replace_by(&next);
    gateway.hang_up();
    gateway.logs().wait_for("\"applied\":\"tls: a file that it names has another content\"", DEADLINE);
    // The same files again are no news.
    gateway.hang_up();
    let line = gateway.logs().wait_for("\"generation\":3", DEADLINE);
    assert!(line.contains("\"applied\":\"\""), "{line}");
    assert!(TlsClient::connect(gateway.addresses()[1], &Trust::new(&authority, None)).shown() != shown);
    old.expect("PING", "+PONG\r\n");
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let (pair, other) = (authority.issue(&LOCAL), authority.issue(&["other.example", "*.many.example"]));
    let both = other.cert.with_extension("both");
    let text = |path: &std::path::Path| std::fs::read_to_string(path).expect("text");
    std::fs::write(&both, text(&other.cert) + &text(&other.key)).expect("written");
    let gateway = start(&redis, &pair, &format!("certificates = [\"{}\"]", both.display()));
    for name in ["localhost", "other.example", "a.many.example"] {
        let client = TlsClient::connect_as(gateway.addresses()[1], name, &Trust::new(&authority, None));
        client.unwrap_or_else(|error| panic!("{name}: {error}")).expect("PING", "+PONG\r\n");
    }
}

#[test]
fn a_certificate_of_a_client_can_be_demanded_and_can_be_its_login() {
    let (authority, other, redis) = (Authority::new(), Authority::new(), Redis::start(&[]));
    let auth = format!("client_ca_file = \"{}\"\nclient_auth = \"required\"", authority.file().display());
    let config = format!("{auth}\nuser_from_certificate = \"CN\"\n{}", users(&[("app", "secret"), ("boss", "s")]));
    let gateway = build(&redis, &authority.issue(&LOCAL), &config).allow("certificates of clients are not right");
    let gateway = gateway.config("[auth]\nadmins = [\"boss\"]").start();
    let address = gateway.addresses()[1];
    let mut app = TlsClient::connect(address, &Trust::new(&authority, Some(&authority.issue(&["app"]))));
    app.expect("PING", "+PONG\r\n");
    app.send_raw(&request(&["CLIENT", "INFO"]));
    assert!(String::from_utf8_lossy(&app.read_reply()).contains(" user=app "));
    app.send_raw(&request(&["RESPOOL", "CONFIG", "GET", "listen"]));
    assert!(app.read_reply().starts_with(b"-"), "app is no admin");
    let mut boss = TlsClient::connect(address, &Trust::new(&authority, Some(&authority.issue(&["boss"]))));
    boss.send_raw(&request(&["RESPOOL", "CONFIG", "GET", "listen"]));
    assert!(!boss.read_reply().starts_with(b"-"));
    let mut unknown = TlsClient::connect(address, &Trust::new(&authority, Some(&authority.issue(&["who"]))));
    unknown.expect("PING", "-NOAUTH Authentication required.\r\n");
    unknown.expect("AUTH app secret", "+OK\r\n");
    for shown in [None, Some(other.issue(&["app"])), Some(authority.issue_expired(&["app"]))] {
        let refused = TlsClient::connect_as(address, "127.0.0.1", &Trust::new(&authority, shown.as_ref()));
        let outcome = refused.and_then(|mut client| client.try_read_reply());
        assert!(!matches!(outcome, Ok(Some(_))), "{outcome:?}");
    }
    gateway.logs().wait_for("certificates of clients are not right", DEADLINE);
}

#[test]
fn plain_bytes_and_tls_at_the_wrong_address_get_one_line_that_counts() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let gateway = build(&redis, &authority.issue(&LOCAL), "").allow("clients speak ").start();
    for _ in 0..50 {
        let mut plain = Client::connect(gateway.addresses()[1]);
        plain.send_raw(b"PING\r\n");
        plain.read_to_end();
        let refused = TlsClient::connect_as(gateway.address(), "127.0.0.1", &Trust::new(&authority, None));
        assert!(refused.is_err());
    }
    let counted = |text: &str| {
        let lines = gateway.logs().lines().into_iter().filter(|line| line.contains(text));
        let counts: Vec<u64> = lines
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(&line).expect("JSON")["fields"]["count"].as_u64().unwrap_or(0)
            })
            .collect();
        (counts.len(), counts.iter().sum::<u64>())
    };
    for text in ["clients speak no TLS to an address of tls://", "clients speak TLS to an address without it"] {
        wait("all of them to be counted", || (counted(text).1 == 50).then_some(()));
        assert!(counted(text).0 < 10, "{:?}", counted(text));
    }
}

#[test]
fn half_handshakes_end_in_time_and_keep_nobody_out() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let gateway =
        build(&redis, &authority.issue(&LOCAL), "[clients]\nhandshakes_max = 8\nhandshake_timeout_ms = 20_000")
            .allow("handshakes_max was reached")
            .start();
    let address = gateway.addresses()[1];
    let mut hanging: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(address).expect("connects")).collect();
    hanging.iter_mut().for_each(|half| half.write_all(&[0x16, 0x03, 0x01, 0x01]).expect("sends"));
    gateway.client().expect("PING", "+PONG\r\n");
    let begun = Instant::now();
    TlsClient::connect(address, &Trust::new(&authority, None)).expect("PING", "+PONG\r\n");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(hanging);
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let gateway = build(&redis, &authority.issue(&LOCAL), "[clients]\nhandshake_timeout_ms = 200");
    let gateway = gateway.allow("handshake_timeout_ms passed").start();
    let mut half = Client::connect(gateway.addresses()[1]);
    half.expect_closed();
    gateway.logs().wait_for("handshake_timeout_ms passed", DEADLINE);
}

#[test]
fn a_drain_lets_clients_of_tls_finish() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let mut gateway = start(&redis, &authority.issue(&LOCAL), "");
    let mut client = TlsClient::connect(gateway.addresses()[1], &Trust::new(&authority, None));
    client.expect("PING", "+PONG\r\n");
    redis.freeze();
    client.send_raw(&request(&["INCR", "count"]));
    gateway.terminate();
    gateway.logs().wait_for("draining", DEADLINE);
    redis.thaw();
    assert_eq!(client.read_reply(), b":1\r\n");
    // It is told the end, as TLS has a word for it.
    assert_eq!(client.try_read_reply().expect("an orderly end"), None);
    gateway.wait_end(DEADLINE);
}

#[test]
fn openssl_and_redis_cli_are_served() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let auth = format!("client_ca_file = \"{}\"\nclient_auth = \"optional\"", authority.file().display());
    let gateway = start(&redis, &authority.issue(&LOCAL), &auth);
    let (address, ca) = (gateway.addresses()[1], authority.file());
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            version,
            "-connect",
            &address.to_string(),
            "-CAfile",
        ]);
        let mut child = command
            .arg(&ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        child.stdin.take().expect("piped").write_all(b"PING\r\nQUIT\r\n").expect("sends");
        let said = child.wait_with_output().expect("it ends").stdout;
        assert_eq!(String::from_utf8_lossy(&said), "+PONG\r\n+OK\r\n", "{version}");
    }
    let pair = authority.issue(&["app"]);
    let mut command = Command::new("redis-cli");
    command.args(["-p", &address.port().to_string(), "--tls", "--cacert"]).arg(&ca);
    let said =
        command.arg("--cert").arg(&pair.cert).arg("--key").arg(&pair.key).arg("PING").output().expect("redis-cli");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "PONG\n");
}

#[test]
fn files_are_checked_before_anything_starts() {
    let authority = Authority::new();
    let (one, two) = (authority.issue(&["one"]), authority.issue(&["two"]));
    let key = |key: &str, path: &std::path::Path| format!("{key} = \"{}\"\n", path.display());
    let right = key("cert_file", &one.cert) + &key("key_file", &one.key);
    for (listen, tls, wanted) in [
        ("tls://127.0.0.1:0", String::new(), "needs a certificate to show; name tls.cert_file and tls.key_file"),
        ("127.0.0.1:0", key("cert_file", &one.cert), "tls.cert_file: needs a key_file"),
        ("127.0.0.1:0", key("key_file", &one.key), "tls.key_file: needs a cert_file"),
        (
            "127.0.0.1:0",
            key("cert_file", &one.cert) + &key("key_file", &two.key),
            "does not go with the certificate in",
        ),
        ("127.0.0.1:0", right.clone() + "client_auth = \"required\"", "needs a client_ca_file"),
        ("127.0.0.1:0", right.clone() + "client_auth = \"some\"", "tls.client_auth: \"some\" is none of"),
        ("127.0.0.1:0", right.clone() + "min_version = \"1.1\"", "tls.min_version: \"1.1\" is neither"),
        (
            "127.0.0.1:0",
            right.clone() + "user_from_certificate = \"CN\"",
            "tls.user_from_certificate: needs a client_auth",
        ),
        ("tls://0.0.0.0:0", right.clone(), "reaches beyond this machine and nobody has to log in"),
    ] {
        let output = check(&format!("listen = \"{listen}\"\n[tls]\n{tls}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(wanted), "{said}");
    }
    let proven = right + &key("client_ca_file", &authority.file()) + "client_auth = \"required\"";
    let output = check(&format!("listen = \"tls://0.0.0.0:0\"\n[tls]\n{proven}"));
    assert_eq!(output.status.code(), Some(0), "whoever has a certificate need not log in");
}

#[test]
fn a_client_that_takes_nothing_of_its_replies_is_gone_at_write_timeout() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let gateway = start(&redis, &authority.issue(&LOCAL), "[clients]\nwrite_timeout_ms = 300");
    let mut deaf = TlsClient::connect(gateway.addresses()[1], &Trust::new(&authority, None));
    let mut looks = gateway.client();
    deaf.send_raw(&request(&["SET", "k", &"x".repeat(4 << 20)]));
    assert_eq!(deaf.read_reply(), b"+OK\r\n");
    (0..8).for_each(|_| deaf.send_raw(&request(&["GET", "k"])));
    wait("the client to be gone", || {
        let listed = String::from_utf8_lossy(&looks.line("CLIENT LIST")).into_owned();
        (listed.matches(" fd=").count() == 1).then_some(())
    });
}
