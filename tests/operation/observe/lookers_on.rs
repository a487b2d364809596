//! Whoever looks touches no traffic, however slow, hostile or absent: over HTTP, and over the console
//! with thousands of clients to be shown.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::support::{Client, DEADLINE, Gateway, Machine, Redis, get, pass, raise_descriptor_limit, requests, wait};

/// What a bystander may wait at the worst on an idle machine; a gateway that stops for a looker-on would make
/// it wait for longer.
const UNDISTURBED: Duration = Duration::from_secs(3);

const BOUNDS: &str = "[metrics]\nconnections_max = 4\ntimeout_ms = 700";

fn start(redis: &Redis) -> Gateway {
    Gateway::builder().upstream(&redis.url()).metrics().config(BOUNDS).start()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    stream
}

/// A few round trips take no longer than they may.
#[track_caller]
fn assert_undisturbed(client: &mut Client) {
    let machine = Machine::watch();
    machine.assert_within(UNDISTURBED, slowest(client), "the longest that a bystander waited");
}

/// The slowest of a few round trips.
#[track_caller]
fn slowest(client: &mut Client) -> Duration {
    let round = || {
        let started = Instant::now();
        client.expect("GET k", "$-1\r\n");
        started.elapsed()
    };
    std::iter::repeat_with(round).take(20).max().expect("twenty")
}

/// Reads until the other end closes; a reset counts as that.
#[track_caller]
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn idle_connections_over_http_are_bounded_and_closed_in_time() {
    let redis = Redis::start(&[]);
    let gateway = start(&redis);
    let (address, mut bystander) = (gateway.metrics_address(), gateway.client());
    bystander.expect("GET k", "$-1\r\n");
    let before = gateway.process().descriptors();
    let mut idle: Vec<_> = (0..40).map(|_| connect(address)).collect();
    assert_undisturbed(&mut bystander);
    let more = gateway.process().descriptors().saturating_sub(before);
    assert!(more <= 4, "{more} further descriptors for 4 connections at a time");
    // Each that came ended the oldest, and so does one that asks for something.
    assert_eq!(get(address, "/healthz").0, 200);
    assert_eq!(read_to_end(&mut idle[0]), "");
}

#[test]
fn a_request_over_http_that_comes_a_byte_at_a_time_is_closed_in_time() {
    let redis = Redis::start(&[]);
    let gateway = start(&redis);
    let (address, mut bystander) = (gateway.metrics_address(), gateway.client());
    let started = Instant::now();
    let mut slow: Vec<_> = (0..4).map(|_| connect(address)).collect();
    let mut head = b"GET /metrics HTTP/1.1\r\n".to_vec();
    head.extend(b"X-Padding: x\r\n".repeat(100));
    for byte in &head {
        // Once it is closed there is nobody to send to.
        if slow.iter_mut().all(|stream| stream.write_all(std::slice::from_ref(byte)).is_err()) {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "it is never closed");
        bystander.expect("GET k", "$-1\r\n");
        pass(Duration::from_millis(20));
    }
    assert!(started.elapsed() >= Duration::from_millis(700), "not before its time");
    assert_eq!(get(address, "/healthz").0, 200);
}

#[test]
fn heads_too_large_and_garbage_over_http_are_refused() {
    let redis = Redis::start(&[]);
    let gateway = start(&redis);
    let (address, mut bystander) = (gateway.metrics_address(), gateway.client());
    let memory = gateway.process().rss_bytes();
    let huge = format!("GET /metrics HTTP/1.1\r\nX-Huge: {}\r\n\r\n", "x".repeat(4 << 20));
    let body = format!("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40);
    let asked: [(&[u8], &[&str]); 6] = [
        (huge.as_bytes(), &["431", ""]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &["400", ""]),
        (b"*1\r\n$4\r\nPING\r\n", &["400"]),
        (b"GET /metrics HTTP/9.9\r\n\r\n", &["400", "505"]),
        (b"DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &["405"]),
        (body.as_bytes(), &["405"]),
    ];
    for (request, statuses) in asked {
        let mut stream = connect(address);
        // It may be closed in the middle of this.
        let _ = stream.write_all(request);
        let answer = read_to_end(&mut stream);
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(
            statuses.contains(&status),
            "{status:?} to {:?}",
            String::from_utf8_lossy(&request[..request.len().min(60)])
        );
        assert_undisturbed(&mut bystander);
    }
    let grown = gateway.process().peak_rss_bytes().saturating_sub(memory);
    assert!(grown < 16 << 20, "{grown} bytes more memory");
    assert_eq!(get(address, "/healthz").0, 200);
}

#[test]
fn only_the_first_of_many_requests_on_one_connection_is_answered() {
    let redis = Redis::start(&[]);
    let gateway = start(&redis);
    let (address, mut bystander) = (gateway.metrics_address(), gateway.client());
    let mut stream = connect(address);
    let pipeline = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    // It may be closed in the middle of this.
    let _ = stream.write_all(&pipeline);
    assert_undisturbed(&mut bystander);
    let answers = read_to_end(&mut stream).matches("HTTP/1.1 200").count();
    assert!(answers <= 1, "{answers} answers");
    assert_eq!(get(address, "/healthz").0, 200);
}

#[test]
fn who_asks_for_metrics_and_never_reads_is_closed_in_time() {
    let redis = Redis::start(&[]);
    let gateway = start(&redis);
    let (address, mut bystander) = (gateway.metrics_address(), gateway.client());
    bystander.expect("GET k", "$-1\r\n");
    let before = gateway.process().descriptors();
    let deaf: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("sends");
            stream
        })
        .collect();
    assert_undisturbed(&mut bystander);
    assert_eq!(get(address, "/metrics").0, 200);
    wait("them to be closed", || (gateway.process().descriptors() <= before).then_some(()));
    drop(deaf);
}

#[test]
fn who_asks_for_thousands_of_clients_and_never_reads_slows_nobody_and_costs_little() {
    const CLIENTS: usize = 2000;
    const ASKED: usize = 500;
    raise_descriptor_limit();
    let redis = Redis::start(&[]);
    let config = "[clients]\nwrite_timeout_ms = 2000";
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().config(config).start();
    let clients: Vec<_> = (0..CLIENTS).map(|_| gateway.client()).collect();
    let (address, mut bystander) = (gateway.metrics_address(), gateway.client());
    bystander.expect("GET k", "$-1\r\n");
    let memory = gateway.process().rss_bytes();
    let deaf = ["RESPOOL CLIENTS", "CLIENT LIST"].map(|line| {
        let mut client = gateway.client();
        client.small_buffers();
        client.send_raw(&requests(&[line]).repeat(ASKED));
        client
    });
    let (machine, mut worst) = (Machine::watch(), Duration::ZERO);
    for _ in 0..5 {
        worst = worst.max(slowest(&mut bystander));
        assert_eq!(get(address, "/status").0, 200);
    }
    machine.assert_within(UNDISTURBED, worst, "the longest that a bystander waited");
    let grown = gateway.process().peak_rss_bytes().saturating_sub(memory);
    assert!(grown < 24 << 20, "{grown} bytes more memory, although next to nothing of {ASKED} replies was taken");
    // They are there and take nothing: at write_timeout_ms they are closed, and nobody else.
    let state = "respool_errors_total{kind=\"client_stuck\"} 2\n";
    wait("them to be closed", || get(address, "/metrics").1.contains(state).then_some(()));
    bystander.expect("GET k", "$-1\r\n");
    drop((clients, deaf));
}

#[test]
fn who_asks_for_the_list_of_clients_all_the_time_leaves_others_their_turn() {
    const CLIENTS: usize = 2000;
    raise_descriptor_limit();
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let clients: Vec<_> = (0..CLIENTS).map(|_| gateway.client()).collect();
    let (mut busy, mut bystander) = (gateway.client(), gateway.client());
    bystander.expect("GET k", "$-1\r\n");
    // The replies are small, so that nothing but the work stands in the way of the next one.
    let line = "CLIENT LIST ID 1";
    busy.send_raw(&requests(&[line]).repeat(ASKED));
    let machine = Machine::watch();
    let worst = slowest(&mut bystander);
    for _ in 0..ASKED {
        busy.read_reply();
    }
    machine.assert_within(UNDISTURBED, worst, "the longest that a bystander waited");
    drop(clients);
}

/// Requests that all come at once.
const ASKED: usize = 800;
