//! A new process takes over from one that ends, on a shared port or on a socket that both inherit, and no
//! client that comes, asks and goes meanwhile notices.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use crate::support::{Client, DEADLINE, Gateway, Redis, wait};

/// Clients that connect, ask and go, as fast as they can, while `operate` runs; it gets to see how many were
/// served. A client that is refused or reset fails the test.
fn while_clients_come_and_go(address: SocketAddr, operate: impl FnOnce(&AtomicUsize)) {
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    Client::connect(address).expect("PING", "+PONG\r\n");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let over = Over(&over);
        operate(&served);
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

#[track_caller]
fn wait_for_traffic(served: &AtomicUsize) {
    let before = served.load(Ordering::Relaxed);
    wait("traffic", || (served.load(Ordering::Relaxed) > before + 50).then_some(()));
}

#[test]
fn a_new_process_takes_the_port_over_and_no_request_fails() {
    let redis = Redis::start(&[]);
    let start = |listen: &str| {
        let config = format!("listen = \"{listen}\"\nreuse_port = true");
        Gateway::builder().upstream(&redis.url()).config(&config).start()
    };
    let mut gateway = start("127.0.0.1:0");
    let address = gateway.address();
    while_clients_come_and_go(address, |served| {
        for _ in 0..5 {
            let next = start(&address.to_string());
            gateway.terminate();
            gateway.wait_end(DEADLINE);
            gateway = next;
            wait_for_traffic(served);
        }
    });
}

#[test]
fn on_an_inherited_socket_one_process_may_end_before_the_next_one_starts() {
    let redis = Redis::start(&[]);
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = socket.local_addr().expect("bound");
    let start = || Gateway::builder().upstream(&redis.url()).config("listen = \"127.0.0.1:1\"").socket(&socket).start();
    let mut gateway = start();
    assert_eq!(gateway.address(), address);
    while_clients_come_and_go(address, |served| {
        for _ in 0..3 {
            wait_for_traffic(served);
            gateway.terminate();
            gateway.wait_end(DEADLINE);
            gateway = start();
        }
        wait_for_traffic(served);
    });
}
