//! Many clients by TLS at a time, and certificates that change under them.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use super::{
    certificates::Authority,
    client::{TlsClient, Trust},
};
use crate::support::{Gateway, Redis, raise_descriptor_limit, wait};

const CLIENTS: usize = 1000;
const THREADS: usize = 40;

fn config(authority: &Authority) -> (String, super::certificates::Pair) {
    let pair = authority.issue(&["127.0.0.1"]);
    let (cert, key) = (pair.cert.display(), pair.key.display());
    (format!("listen = \"tls://127.0.0.1:0\"\n[tls]\ncert_file = \"{cert}\"\nkey_file = \"{key}\""), pair)
}

#[test]
fn a_thousand_clients_that_come_at_once_are_all_served() {
    raise_descriptor_limit();
    let (authority, redis) = (Authority::new(), Redis::start(&["--maxclients", "100"]));
    let (config, _pair) = config(&authority);
    // In a debug build on a busy machine a handshake may wait long for its turn.
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config);
    let gateway = gateway.config("[clients]\nhandshake_timeout_ms = 60_000").start();
    let trust = Trust::new(&authority, None);
    let mut clients: Vec<TlsClient> = thread::scope(|scope| {
        let connect = || (0..CLIENTS / THREADS).map(|_| TlsClient::connect(gateway.address(), &trust)).collect();
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(connect)).collect();
        threads.into_iter().flat_map(|thread| -> Vec<TlsClient> { thread.join().expect("none is refused") }).collect()
    });
    assert_eq!(clients.len(), CLIENTS);
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect("INCR count", &format!(":{}\r\n", number + 1));
    }
}

#[test]
fn certificates_change_again_and_again_while_clients_work_and_come() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let (config, pair) = config(&authority);
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).start();
    let (over, asked, came) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = TlsClient::connect(gateway.address(), &Trust::new(&authority, None));
                while !over.load(Ordering::Relaxed) {
                    client.expect("PING", "+PONG\r\n");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
            // One who remembers its session from before the change, as clients that pool do.
            scope.spawn(|| {
                let trust = Trust::new(&authority, None);
                while !over.load(Ordering::Relaxed) {
                    TlsClient::connect(gateway.address(), &trust).expect("PING", "+PONG\r\n");
                    came.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for generation in 2..7 {
            let next = authority.issue(&["127.0.0.1"]);
            pair.replace_by(&next);
            gateway.hang_up();
            wait("the change", || gateway.logs().find(&format!("\"generation\":{generation}")));
            let shown = TlsClient::connect(gateway.address(), &Trust::new(&authority, None)).shown();
            assert!(shown == next.certificate(), "the next client sees the new certificate");
            let before = (asked.load(Ordering::Relaxed), came.load(Ordering::Relaxed));
            wait("traffic", || {
                let now = (asked.load(Ordering::Relaxed), came.load(Ordering::Relaxed));
                (now.0 > before.0 + 20 && now.1 > before.1 + 4).then_some(())
            });
        }
    });
}

/// Ends the load, also when the test fails.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
