//! Several sockets that are passed at the start, TCP and unix, as by systemd.

use std::{
    net::{Ipv4Addr, TcpListener},
    os::unix::net::UnixListener,
};

use crate::support::{Client, DEADLINE, Gateway, Redis};

#[test]
fn sockets_of_both_kinds_are_served_and_stay_when_the_gateway_ends() {
    let (redis, directory) = (Redis::start(&[]), tempfile::tempdir().expect("a temporary directory"));
    let path = directory.path().join("r.sock");
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let unix = UnixListener::bind(&path).expect("a socket");
    for _ in 0..2 {
        let mut gateway = Gateway::builder()
            .upstream(&redis.url())
            .config("listen = \"127.0.0.1:1\"")
            .socket(&tcp)
            .socket(&unix)
            .start();
        assert_eq!(gateway.addresses(), [tcp.local_addr().expect("bound")]);
        gateway.client().expect("PING", "+PONG\r\n");
        let mut client = Client::try_connect_unix(&path).expect("connects");
        client.expect("PING", "+PONG\r\n");
        assert!(String::from_utf8_lossy(&client.line("CLIENT INFO")).contains(&format!("addr={}:0", path.display())));
        gateway.terminate();
        gateway.wait_end(DEADLINE);
        assert!(path.exists(), "it belongs to whoever passed it");
    }
}
