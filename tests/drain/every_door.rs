//! A new process takes over at every kind of address at a time, and no client that connects meanwhile is refused.

use std::{
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use crate::{
    operation::tls::{
        certificates::Authority,
        client::{TlsClient, Trust},
    },
    support::{Client, DEADLINE, Gateway, Redis, wait},
};

/// Where clients come.
struct Doors<'d> {
    plain: SocketAddr,
    safe: SocketAddr,
    balanced: SocketAddr,
    safe_balanced: SocketAddr,
    unix: &'d Path,
}

impl Doors<'_> {
    /// A client connects by each of them, asks and goes.
    fn pass(&self, trust: &Trust) {
        Client::connect(self.plain).expect("PING", "+PONG\r\n");
        TlsClient::connect(self.safe, trust).expect("PING", "+PONG\r\n");
        let mut balanced = Client::connect(self.balanced);
        balanced.send_raw(HEADER);
        balanced.expect("PING", "+PONG\r\n");
        TlsClient::connect_behind(self.safe_balanced, HEADER, trust).expect("PING", "+PONG\r\n");
        Client::try_connect_unix(self.unix).expect("connects").expect("PING", "+PONG\r\n");
    }
}

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379\r\n";

#[test]
fn a_new_process_takes_over_at_every_door_and_nobody_is_refused() {
    let (redis, authority) = (Redis::start(&[]), Authority::new());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (pair, unix) = (authority.issue(&["127.0.0.1"]), directory.path().join("r.sock"));
    let start = |ports: [u16; 4]| {
        let [plain, safe, balanced, safe_balanced] = ports.map(|port| format!("127.0.0.1:{port}"));
        let config = format!(
            "listen = [\"{plain}\", \"tls://{safe}\", \"{balanced}?proxy_protocol=on\", \
             \"tls://{safe_balanced}?proxy_protocol=on\", \"unix:{}\"]\n\
             trusted = [\"127.0.0.1\"]\nreuse_port = true\n[tls]\ncert_file = \"{}\"\nkey_file = \"{}\"",
            unix.display(),
            pair.cert.display(),
            pair.key.display()
        );
        Gateway::builder().upstream(&redis.url()).config(&config).start()
    };
    let mut gateway = start([0; 4]);
    let addresses: [SocketAddr; 4] = gateway.addresses().try_into().expect("four");
    let [plain, safe, balanced, safe_balanced] = addresses;
    let doors = Doors { plain, safe, balanced, safe_balanced, unix: &unix };
    let (over, passes) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let trust = Trust::new(&authority, None);
                while !over.load(Ordering::Relaxed) {
                    doors.pass(&trust);
                    passes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _over = Over(&over);
        for _ in 0..3 {
            let next = start(addresses.map(|address| address.port()));
            gateway.terminate();
            gateway.wait_end(DEADLINE);
            gateway = next;
            let before = passes.load(Ordering::Relaxed);
            wait("traffic", || (passes.load(Ordering::Relaxed) > before + 8).then_some(()));
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
