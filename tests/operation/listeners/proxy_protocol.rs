//! Load balancers that say where their clients are: what becomes of it, who may say it, and what becomes of those who
//! say it wrong or too late.

use std::{net::TcpStream, time::Instant};

use crate::support::{Client, DEADLINE, Gateway, Redis, request, users, wait};

/// The first word of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn build(redis: &Redis, trusted: &str, more: &str) -> crate::support::Builder {
    let listen = "listen = [\"127.0.0.1:0?proxy_protocol=on\", \"127.0.0.1:0\"]";
    let config = format!("{listen}\ntrusted = [\"{trusted}\"]\n{more}");
    Gateway::builder().upstream(&redis.url()).config(&config)
}

/// Version 2: a connection from 192.0.2.7:4660, or what else the command and the family say.
fn binary(command: u8, family: u8) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([0x20 | command, family, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x18, 0xeb]);
    header
}

fn come(gateway: &Gateway, header: &[u8]) -> Client {
    let mut client = Client::connect(gateway.address());
    client.send_raw(header);
    client
}

fn field(info: &[u8], name: &str) -> String {
    let info = String::from_utf8_lossy(info).into_owned();
    let found = info.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    found.unwrap_or_else(|| panic!("no {name} in {info}"))
}

#[test]
fn the_address_of_a_client_is_what_the_balancer_says() {
    let redis = Redis::start(&[]);
    let gateway = build(&redis, "127.0.0.1", "").start();
    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379\r\n".to_vec(), Some("192.0.2.7:4660")),
        (b"PROXY TCP6 2001:db8::7 ::1 4660 6379\r\n".to_vec(), Some("[2001:db8::7]:4660")),
        (binary(1, 0x11), Some("192.0.2.7:4660")),
        // Of these the gateway knows only where the balancer is.
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (binary(0, 0x11), None),
        (binary(1, 0x00), None),
    ] {
        let mut client = come(&gateway, &[&header[..], &request(&["CLIENT", "INFO"])].concat());
        let addr = field(&client.read_reply(), "addr");
        let expected = expected.map_or_else(|| client.local_addr().to_string(), str::to_owned);
        assert_eq!(addr, expected, "{}", header.escape_ascii());
        client.expect("SET k v", "+OK\r\n");
    }
}

#[test]
fn a_header_that_comes_byte_by_byte_counts() {
    let redis = Redis::start(&[]);
    let gateway = build(&redis, "127.0.0.1", "").start();
    for header in [b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379\r\n".to_vec(), binary(1, 0x11)] {
        let mut client = Client::connect(gateway.address());
        header.iter().for_each(|byte| client.send_raw(&[*byte]));
        assert_eq!(field(&client.line("CLIENT INFO"), "addr"), "192.0.2.7:4660");
    }
}

#[test]
fn whoever_comes_past_the_balancers_is_refused_and_counted() {
    let redis = Redis::start(&[]);
    let gateway = build(&redis, "192.0.2.1", "").allow("trusted names no load balancer").start();
    for _ in 0..20 {
        come(&gateway, &binary(1, 0x11)).expect_closed();
    }
    wait("all of them to be counted", || (counted(&gateway, "trusted names no load balancer") == 20).then_some(()));
    assert!(gateway.logs().count("trusted names no load balancer") < 10);
    Client::connect(gateway.addresses()[1]).expect("PING", "+PONG\r\n");
}

/// What the lines that hold `text` have counted.
fn counted(gateway: &Gateway, text: &str) -> u64 {
    let lines = gateway.logs().lines().into_iter().filter(|line| line.contains(text));
    let count =
        |line: String| serde_json::from_str::<serde_json::Value>(&line).expect("JSON")["fields"]["count"].as_u64();
    lines.filter_map(count).sum()
}

#[test]
fn whom_a_reload_trusts_counts_for_the_next_client() {
    let redis = Redis::start(&[]);
    let mut gateway = build(&redis, "192.0.2.1", "").allow("trusted names no load balancer").start();
    come(&gateway, &binary(1, 0x11)).expect_closed();
    gateway.rewrite("trusted = [\"127.0.0.0/8\"]");
    gateway.hang_up();
    gateway.logs().wait_for("configuration in force", DEADLINE);
    come(&gateway, &binary(1, 0x11)).expect("PING", "+PONG\r\n");
}

#[test]
fn a_client_without_a_right_header_is_closed_and_told_of() {
    let redis = Redis::start(&[]);
    let gateway = build(&redis, "127.0.0.1", "").allow("without a right PROXY header").start();
    for wrong in [&b"PING\r\n"[..], b"PROXY TCP4 1 2 3 4\r\n", b"\x16\x03\x01\x02", &binary(7, 0x11), &[b'P'; 200]] {
        come(&gateway, wrong).expect_closed();
    }
    wait("all of them to be counted", || (counted(&gateway, "without a right PROXY header") == 5).then_some(()));
    // Who only looks whether there is a socket is nobody's fault.
    for cut in 0..28 {
        come(&gateway, &binary(1, 0x11)[..cut]).half_close();
    }
    come(&gateway, &binary(1, 0x11)).expect("PING", "+PONG\r\n");
    assert_eq!(counted(&gateway, "without a right PROXY header"), 5);
}

#[test]
fn a_header_at_an_address_that_expects_none_is_no_request() {
    let redis = Redis::start(&[]);
    let said = "PROXY header to an address without proxy_protocol=on";
    for auth in [String::new(), users(&[("app", "secret")])] {
        let gateway = Gateway::builder().upstream(&redis.url()).config(&auth).allow(said).start();
        let closed = |header: &[u8]| {
            let mut client = come(&gateway, &[header, &request(&["SET", "k", "v"])].concat());
            let replies = String::from_utf8(client.read_to_end()).expect("text");
            // As to one who speaks HTTP: nothing, or that a login is wanted.
            assert!(replies.is_empty() || replies == "-NOAUTH Authentication required.\r\n", "{replies}");
        };
        closed(b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379\r\n");
        closed(b"PROXY UNKNOWN\r\n");
        wait("all of them to be counted", || (counted(&gateway, said) == 2).then_some(()));
        gateway.client().expect(
            "PROXY CONFIG",
            match auth.as_str() {
                "" => "-ERR unknown command 'PROXY', with args beginning with: 'CONFIG' \r\n",
                _ => "-NOAUTH Authentication required.\r\n",
            },
        );
    }
    redis.client().expect("EXISTS k", ":0\r\n");
}

#[test]
fn headers_that_do_not_come_are_ended_in_time_and_keep_nobody_out() {
    let redis = Redis::start(&[]);
    let bounds = "[clients]\nhandshakes_max = 4\nhandshake_timeout_ms = 20_000";
    let gateway = build(&redis, "127.0.0.1", bounds).allow("handshakes_max was reached").start();
    let hanging: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(gateway.address()).expect("connects")).collect();
    let begun = Instant::now();
    come(&gateway, &binary(1, 0x11)).expect("PING", "+PONG\r\n");
    assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
    drop(hanging);
    let slow = build(&redis, "127.0.0.1", "[clients]\nhandshake_timeout_ms = 100");
    let slow = slow.allow("handshake_timeout_ms passed").start();
    come(&slow, b"PROXY TCP4 192.").expect_closed();
    slow.logs().wait_for("handshake_timeout_ms passed", DEADLINE);
}

#[test]
fn only_clients_of_this_machine_are_operators_whoever_stands_in_front() {
    let redis = Redis::start(&[]);
    let gateway = build(&redis, "127.0.0.1", "").start();
    for (header, may) in [
        (binary(1, 0x11), false),
        (b"PROXY UNKNOWN\r\n".to_vec(), false),
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 5 6\r\n".to_vec(), true),
        (binary(0, 0x00), true),
    ] {
        let reply = come(&gateway, &header).line("RESPOOL CONFIG GET listen");
        assert_eq!(!reply.starts_with(b"-"), may, "{}: {}", header.escape_ascii(), reply.escape_ascii());
    }
}

#[test]
fn wrong_passwords_count_for_the_host_that_the_balancer_names() {
    let redis = Redis::start(&[]);
    let bounds = "[auth]\nfailure_delay_ms = 0\nfailures_max = 2";
    let gateway = build(&redis, "127.0.0.1", &users(&[("app", "secret")])).config(bounds);
    let gateway = gateway.allow("login refused").start();
    let mut bad = come(&gateway, b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379\r\n");
    assert!(bad.line("AUTH app wrong").starts_with(b"-WRONGPASS"));
    let line = gateway.logs().wait_for("login refused", DEADLINE);
    assert!(line.contains("192.0.2.7:4660"), "{line}");
    come(&gateway, b"PROXY TCP4 192.0.2.8 10.0.0.1 4660 6379\r\n").expect("AUTH app secret", "+OK\r\n");
}

#[test]
fn a_drain_serves_whom_the_balancer_has_sent() {
    let redis = Redis::start(&[]);
    let mut gateway = build(&redis, "127.0.0.1", "").start();
    let mut client = come(&gateway, &binary(1, 0x11));
    client.expect("PING", "+PONG\r\n");
    redis.freeze();
    client.send(&["INCR", "count"]);
    gateway.terminate();
    gateway.logs().wait_for("draining", DEADLINE);
    redis.thaw();
    assert_eq!(client.read_reply(), b":1\r\n");
    client.expect_closed();
    gateway.wait_end(DEADLINE);
}
