//! The export of spans, in builds with the feature `otel`: they come to a collector, and one that is not there
//! hurts nobody.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use crate::support::{DEADLINE, Gateway, Redis};

/// What has come to a collector, as the bodies of its requests.
type Came = Arc<Mutex<Vec<u8>>>;

/// A collector that accepts whatever comes over HTTP. Its threads end with the connections.
fn collector() -> (SocketAddr, Came) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let (address, came) = (listener.local_addr().expect("bound"), Came::default());
    thread::spawn({
        let came = Arc::clone(&came);
        move || {
            for stream in listener.incoming().flatten() {
                let came = Arc::clone(&came);
                thread::spawn(move || while collect(&stream, &came).is_some() {});
            }
        }
    });
    (address, came)
}

/// One request of a connection.
fn collect(mut stream: &TcpStream, came: &Came) -> Option<()> {
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    assert!(head.starts_with("POST /v1/traces "), "{head}");
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length?];
    reader.read_exact(&mut body).ok()?;
    came.lock().ok()?.extend(body);
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()
}

fn exporting(redis: &Redis, address: SocketAddr) -> Gateway {
    let config = format!("[otel]\nendpoint = \"http://{address}\"\nsample_ratio = 1.0");
    Gateway::builder().upstream(&redis.url()).config(&config).allow("the last spans were not exported").start()
}

#[test]
fn spans_come_to_a_collector() {
    let redis = Redis::start(&[]);
    let (address, came) = collector();
    let mut gateway = exporting(&redis, address);
    let mut client = gateway.client();
    client.expect("SET some-key some-value", "+OK\r\n");
    drop(client);
    gateway.terminate();
    gateway.wait_end(DEADLINE);
    let came = String::from_utf8_lossy(&came.lock().expect("no collector failed")).into_owned();
    for wanted in ["service.name", "respool", "session", "job", "queue_us", "upstream_us"] {
        assert!(came.contains(wanted), "no {wanted} in {came:?}");
    }
    assert!(!came.contains("some-"), "{came:?}");
    assert!(gateway.logs().find("job done").is_none(), "logs have a filter of their own");
}

#[test]
fn a_collector_that_is_not_there_hurts_nobody() {
    let redis = Redis::start(&[]);
    let nobody =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a port");
    let gateway = exporting(&redis, nobody);
    let mut client = gateway.client();
    for number in 1..=3000 {
        client.expect("INCR n", &format!(":{number}\r\n"));
    }
}
