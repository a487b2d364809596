//! A real HAProxy in front of the gateway, which says where its clients are.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    operation::tls::{
        certificates::Authority,
        client::{TlsClient, Trust},
    },
    support::{Client, Gateway, Process, Redis, free_port, wait},
};

/// Another process may take a port between our look and HAProxy's start.
const ATTEMPTS: usize = 10;

struct HaProxy {
    _process: Process,
    _directory: TempDir,
    address: SocketAddr,
}

impl HaProxy {
    /// In TCP mode in front of `server`, whose options are `options`.
    fn start(server: &str, options: &str) -> Self {
        for _ in 0..ATTEMPTS {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let port = free_port();
            let file = directory.path().join("haproxy.cfg");
            let text = format!(
                "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
                 listen redis\n bind 127.0.0.1:{port}\n server gateway {server} {options}\n"
            );
            fs::write(&file, text).expect("written");
            let mut command = Command::new("haproxy");
            command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let child = command.spawn().unwrap_or_else(|error| {
                panic!("this test needs haproxy ({error}): apt-get install haproxy, or run tests/run, which does")
            });
            let mut process = Process::new(child);
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let is_there = wait("HAProxy to listen", || {
                let ended = process.ended().map(|_| false);
                ended.or_else(|| std::net::TcpStream::connect(address).ok().map(|_| true))
            });
            if is_there {
                return Self { _process: process, _directory: directory, address };
            }
        }
        panic!("haproxy did not start {ATTEMPTS} times");
    }
}

#[test]
fn clients_of_haproxy_are_known_by_their_own_addresses() {
    let (redis, directory) = (Redis::start(&[]), tempfile::tempdir().expect("a temporary directory"));
    let path = directory.path().join("r.sock");
    let listen = format!(
        "listen = [\"127.0.0.1:0?proxy_protocol=on\", \"unix:{}?proxy_protocol=on\"]\ntrusted = [\"127.0.0.0/8\"]",
        path.display()
    );
    let gateway = Gateway::builder().upstream(&redis.url()).config(&listen).start();
    let (tcp, unix) = (gateway.address().to_string(), format!("unix@{}", path.display()));
    for (server, options) in [(&tcp, "send-proxy"), (&tcp, "send-proxy-v2 check inter 100ms"), (&unix, "send-proxy-v2")]
    {
        let haproxy = HaProxy::start(server, options);
        let mut client = Client::connect(haproxy.address);
        client.expect("SET k v", "+OK\r\n");
        let info = String::from_utf8(client.line("CLIENT INFO")).expect("text");
        assert!(info.contains(&format!(" addr={} ", client.local_addr())), "{server} {options}: {info}");
    }
}

#[test]
fn haproxy_passes_tls_through_behind_its_header() {
    let (authority, redis) = (Authority::new(), Redis::start(&[]));
    let pair = authority.issue(&["127.0.0.1"]);
    let config = format!(
        "listen = \"tls://127.0.0.1:0?proxy_protocol=on\"\ntrusted = [\"127.0.0.1\"]\n[tls]\ncert_file = \"{}\"\n\
         key_file = \"{}\"",
        pair.cert.display(),
        pair.key.display()
    );
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).start();
    let haproxy = HaProxy::start(&gateway.address().to_string(), "send-proxy-v2");
    let mut client = TlsClient::connect(haproxy.address, &Trust::new(&authority, None));
    let value = "x".repeat(1_000_000);
    client.expect(&format!("SET k {value}"), "+OK\r\n");
    client.expect("GET k", &format!("$1000000\r\n{value}\r\n"));
    client.send_raw(&crate::support::request(&["CLIENT", "INFO"]));
    let info = String::from_utf8(client.read_reply()).expect("text");
    assert!(info.contains(&format!(" addr={} ", client.local_addr())), "{info}");
}
