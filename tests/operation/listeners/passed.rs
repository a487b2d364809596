//! Several sockets that are passed at the start, TCP and unix, as by systemd.

use std::{
    net::{Ipv4Addr, TcpListener},
    os::unix::net::UnixListener,
};

use crate::{
    operation::tls::{
        certificates::Authority,
        client::{TlsClient, Trust},
    },
    support::{Client, DEADLINE, Gateway, Redis},
};

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

#[test]
fn the_name_of_a_socket_says_what_its_clients_speak() {
    let (redis, authority) = (Redis::start(&[]), Authority::new());
    let [balanced, safe] = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    let pair = authority.issue(&["127.0.0.1"]);
    let config = format!(
        "listen = [\"fd:balanced?proxy_protocol=on\", \"tls://fd:safe\"]\ntrusted = [\"127.0.0.1\"]\n[tls]\n\
         cert_file = \"{}\"\nkey_file = \"{}\"",
        pair.cert.display(),
        pair.key.display()
    );
    let build = || Gateway::builder().upstream(&redis.url()).config(&config);
    let gateway = build().environment("LISTEN_FDNAMES", "safe:balanced").socket(&safe).socket(&balanced).start();
    let address = |socket: &TcpListener| socket.local_addr().expect("bound");
    assert_eq!(gateway.addresses(), [address(&safe), address(&balanced)]);
    TlsClient::connect(address(&safe), &Trust::new(&authority, None)).expect("PING", "+PONG\r\n");
    let mut client = Client::connect(address(&balanced));
    client.send_raw(b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 6379\r\n");
    assert!(String::from_utf8_lossy(&client.line("CLIENT INFO")).contains(" addr=192.0.2.7:4660 "));
    // They are served alike after a reload.
    gateway.hang_up();
    gateway.logs().wait_for("configuration in force", DEADLINE);
    TlsClient::connect(address(&safe), &Trust::new(&authority, None)).expect("PING", "+PONG\r\n");
}
