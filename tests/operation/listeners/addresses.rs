//! Several addresses at a time share everything: the pool, the bound on clients, the drain.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
};

use crate::support::{Client, DEADLINE, Gateway, Redis, wait};

fn config(directory: &tempfile::TempDir) -> String {
    let path = directory.path().join("r.sock");
    format!("listen = [\"127.0.0.1:0\", \"unix:{}?mode=600\", \"[::1]:0\"]", path.display())
}

#[test]
fn every_address_leads_to_the_same_upstream() {
    let (redis, directory) = (Redis::start(&[]), tempfile::tempdir().expect("a temporary directory"));
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config(&directory)).start();
    let path = directory.path().join("r.sock");
    let addresses = gateway.addresses();
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    let mut unix = Client::try_connect_unix(&path).expect("connects");
    let (mut first, mut second) = (Client::connect(addresses[0]), Client::connect(addresses[1]));
    first.expect("SET k one", "+OK\r\n");
    unix.expect("GET k", "$3\r\none\r\n");
    second.expect("GET k", "$3\r\none\r\n");
    let list = String::from_utf8(first.line("CLIENT LIST")).expect("text");
    assert!(list.contains(&format!(" addr={}:0 ", path.display())), "{list}");
    for client in [&first, &second] {
        assert!(list.contains(&format!(" addr={} ", client.local_addr())), "{list}");
    }
}

#[test]
fn clients_of_all_addresses_count_together() {
    let (redis, directory) = (Redis::start(&[]), tempfile::tempdir().expect("a temporary directory"));
    let gateway = Gateway::builder()
        .upstream(&redis.url())
        .config(&config(&directory))
        .config("[clients]\nclients_max = 2")
        .start();
    let mut first = gateway.client();
    first.expect("PING", "+PONG\r\n");
    let path = directory.path().join("r.sock");
    let mut second = Client::try_connect_unix(&path).expect("connects");
    second.expect("PING", "+PONG\r\n");
    for mut refused in [gateway.client(), Client::try_connect_unix(&path).expect("connects")] {
        assert_eq!(refused.read_to_end(), b"-ERR max number of clients reached\r\n");
    }
}

#[test]
fn a_drain_finishes_what_has_come_to_every_address() {
    let (redis, directory) = (Redis::start(&[]), tempfile::tempdir().expect("a temporary directory"));
    let mut gateway = Gateway::builder().upstream(&redis.url()).config(&config(&directory)).start();
    let path = directory.path().join("r.sock");
    let mut clients: Vec<Client> = gateway.addresses().into_iter().map(Client::connect).collect();
    clients.push(Client::try_connect_unix(&path).expect("connects"));
    clients.iter_mut().for_each(|client| client.expect("PING", "+PONG\r\n"));
    redis.freeze();
    clients.iter_mut().for_each(|client| client.send(&["INCR", "count"]));
    gateway.terminate();
    wait("the file to be gone", || (!path.exists()).then_some(()));
    redis.thaw();
    for client in &mut clients {
        assert!(client.read_reply().starts_with(b":"));
        client.expect_closed();
    }
    gateway.wait_end(DEADLINE);
}

/// The timers of the gateway's connections, as the kernel shows them: the kind and when it is due, in hundredths.
fn timers(gateway: &Gateway) -> Vec<(String, u64)> {
    let port = format!(":{:04X}", gateway.address().port());
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", gateway.process().id())).expect("the kernel tells");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows = rows.filter(|row| row.get(1).is_some_and(|local| local.ends_with(&port)) && row[3] == "01");
    rows.filter_map(|row| {
        let (kind, due) = row[5].split_once(':')?;
        Some((kind.to_owned(), u64::from_str_radix(due, 16).ok()?))
    })
    .collect()
}

#[test]
fn the_system_asks_silent_clients_whether_they_are_there() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    wait("the timer of keep-alive", || {
        matches!(timers(&gateway).as_slice(), [(kind, due)] if kind == "02" && (28_000..=30_000).contains(due))
            .then_some(())
    });
    client.line("RESPOOL CONFIG SET clients.tcp_keepalive_s 0");
    let mut second = gateway.client();
    second.expect("PING", "+PONG\r\n");
    wait("no timer for the new client", || {
        (timers(&gateway).iter().filter(|(kind, _)| kind == "00").count() == 1).then_some(())
    });
}

#[test]
fn an_address_that_cannot_be_had_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let file = directory.path().join("file");
    fs::write(&file, "precious").expect("written");
    let (taken, file) = (taken.local_addr().expect("bound").to_string(), format!("unix:{}", file.display()));
    let nowhere = format!("unix:{}/no/r.sock", directory.path().display());
    for (listen, why) in [
        (taken.as_str(), "another process listens there, and only one may, unless both have reuse_port = true"),
        ("127.1.2.3:1?proxy_protocol=off", "Permission denied (os error 13); a port below 1024 needs the capability"),
        ("[::ffff:192.0.2.1]:7000", "this machine has no such address"),
        (&file, "there is a file that is no socket"),
        (&nowhere, "the directory of the socket is not there"),
        ("fd:respool.socket", "no socket was passed to this process, as systemd does (LISTEN_FDS)"),
    ] {
        // Whoever is root may listen anywhere.
        if why.starts_with("Permission") && TcpListener::bind("127.1.2.3:1").is_ok() {
            continue;
        }
        let config = format!("listen = \"{listen}\"\nprotected_mode = false");
        let path = directory.path().join("respool.toml");
        fs::write(&path, config).expect("written");
        let output = Gateway::command().arg("--config").arg(&path).output().expect("started");
        let said = String::from_utf8_lossy(&output.stderr);
        let address = listen.split('?').next().unwrap_or_default();
        assert!(said.contains(&format!("cannot listen on {address}: ")) && said.contains(why), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
}
