//! What it costs to find out where a request goes: `cargo bench --package respool-route` prints nanoseconds and allocations for
//! each request, the medians of several rounds. The commands are those of the `redis-server` that is installed.

use std::{
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use resp::{Decoded, RequestDecoder, RequestLimits, Value, write_request};
use route::{Commands, Plan, Route, slot};

const ROUNDS: usize = 9;
const REQUESTS: u32 = 200_000;

const LINES: [&str; 9] = [
    "GET key:000000012345",
    "SET key:000000012345 value",
    "HSET {user:1000}.profile name x",
    "EVAL script 1 key:1 arg",
    "XREAD COUNT 10 STREAMS stream:1 0",
    "OBJECT ENCODING key:1",
    "PING",
    "MGET {a}1 {a}2 {a}3 {a}4 {a}5",
    "MGET k1 k2 k3 k4 k5",
];

fn main() {
    let commands = commands();
    println!("{:>8} {:>12}  request", "ns", "allocations");
    for line in LINES {
        let args: Vec<&str> = line.split(' ').collect();
        let mut bytes = Vec::new();
        write_request(&mut bytes, &args);
        let mut decoder = RequestDecoder::new(RequestLimits::default());
        assert_eq!(decoder.decode(&bytes), Ok(Decoded::Request { len: bytes.len() }));
        let request = decoder.request(&bytes);
        let find = || {
            black_box(commands.route(black_box(&request)));
        };
        row(line, find);
        if let Route::Split(command, _) = commands.route(&request) {
            row("  its plan", || drop(black_box(Plan::of(command, black_box(&request)))));
        }
    }
    for key in [
        "k",
        "user:77",
        "user:12345",
        "session:12345",
        "key:000000012345",
        "profile:000000012345",
        "{user:1000}.profile",
    ] {
        row(&format!("the slot of {key}"), || {
            black_box(slot(black_box(key.as_bytes())));
        });
    }
}

fn row(name: &str, mut run: impl FnMut()) {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            (0..REQUESTS).for_each(|_| run());
            began.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    let allocated = allocation_counter::measure(&mut run).count_total;
    let each = rounds[ROUNDS / 2].as_secs_f64() * 1e9 / f64::from(REQUESTS);
    println!("{each:>8.1} {allocated:>12}  {name}");
}

/// The commands of a Redis that is started and ended for that.
fn commands() -> Commands {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--save", ""])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed: apt-get install redis-server");
    let until = Instant::now() + Duration::from_secs(20);
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < until, "redis-server does not start: {error}"),
        }
    };
    let (mut request, mut got, mut chunk) = (Vec::new(), Vec::new(), vec![0; 1 << 16]);
    write_request(&mut request, &["COMMAND"]);
    stream.write_all(&request).expect("it takes requests");
    let reply = loop {
        let count = stream.read(&mut chunk).expect("it replies");
        assert!(count > 0, "it closed the connection");
        got.extend_from_slice(&chunk[..count]);
        if let Ok((reply, _)) = Value::decode(&Bytes::copy_from_slice(&got)) {
            break reply;
        }
    };
    child.kill().and_then(|()| child.wait()).expect("it ends");
    Commands::read(&reply).expect("commands")
}
