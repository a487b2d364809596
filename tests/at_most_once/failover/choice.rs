//! Which sentinel is believed: the first that answers, wherever it stands in the list, and only if the node that it
//! names proves to be a primary.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use super::service::{SERVICE, Sentinel, Service};
use crate::support::{Builder, Gateway, Machine, wait};

/// How soon a gateway serves after its start, on an idle machine.
const SERVED: Duration = Duration::from_millis(500);

fn builder(url: &str) -> Builder {
    Gateway::builder().upstream(url).allow("sentinel does not answer")
}

#[test]
fn dead_and_mute_sentinels_in_front_delay_nobody() {
    let mut service = Service::start(&[]);
    let machine = Machine::watch();
    // Its kernel takes connections; nobody reads them.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    service.sentinels[0].kill9();
    let dead = service.sentinels[0].address();
    let list = [dead, mute.local_addr().expect("bound"), service.sentinels[2].address()];
    let gateway = builder(&service.url_by(&list)).start();
    let began = Instant::now();
    gateway.client().expect("SET k 1", "+OK\r\n");
    machine.assert_within(SERVED, began.elapsed(), "from the start until a client was served");
    // The one that the list does not name is found, and followed.
    gateway.logs().wait_for(&service.sentinels[1].address().to_string(), Duration::from_secs(10));
    service.fail_over(1);
    wait("the new primary", || (gateway.logs().count("primary is another") == 2).then_some(()));
    gateway.client().expect("GET k", "$1\r\n1\r\n");
}

#[test]
fn a_node_that_a_sentinel_names_has_to_say_that_it_is_a_primary() {
    let mut service = Service::start(&[]);
    let replica: SocketAddr = service.nodes[1].address();
    // A sentinel that stayed behind, and knows of no other: it names a node that is a replica.
    service.sentinels[1..].iter_mut().for_each(Sentinel::kill9);
    let sentinel = &service.sentinels[0];
    let mut console = sentinel.client();
    console.expect(&format!("SENTINEL REMOVE {SERVICE}"), "+OK\r\n");
    console.expect(&format!("SENTINEL MONITOR {SERVICE} 127.0.0.1 {} 3", replica.port()), "+OK\r\n");
    let config = "[upstream]\nfailover_wait_ms = 300";
    let gateway = builder(&service.url_by(&[sentinel.address()])).config(config).start();
    let reply = String::from_utf8_lossy(&gateway.client().line("SET k 1")).into_owned();
    assert!(reply.starts_with("-ERR respool: no primary within failover_wait_ms (300 ms): "), "{reply}");
}

#[test]
fn a_service_that_no_sentinel_knows_is_said() {
    let service = Service::start(&[]);
    let url = service.url().replace(SERVICE, "elsewhere");
    let gateway = builder(&url).config("[upstream]\nfailover_wait_ms = 300").start();
    let reply = String::from_utf8_lossy(&gateway.client().line("PING")).into_owned();
    assert!(reply.starts_with("-ERR respool: no primary within failover_wait_ms"), "{reply}");
    let line = gateway.logs().wait_for("sentinel does not answer", Duration::from_secs(5));
    assert!(line.contains("No such master with that name") && line.contains("elsewhere"), "{line}");
}

#[test]
fn logins_of_nodes_and_of_sentinels_are_two() {
    let service = Service::start_locked("of-nodes", "of-sentinels");
    let url = service.url().replace("://", "://:of-nodes@");
    let config = "[sentinel]\npassword = \"of-sentinels\"";
    let gateway = builder(&url).config(config).start();
    let mut client = gateway.client();
    client.expect("SET k 1", "+OK\r\n");
    let shown = String::from_utf8_lossy(&client.line("RESPOOL CONFIG")).into_owned();
    assert!(!shown.contains("of-sentinels") && !shown.contains("of-nodes"), "{shown}");
}

#[test]
fn a_node_that_refuses_the_login_is_named_with_its_reason() {
    let service = Service::start_locked("of-nodes", "of-sentinels");
    let url = service.url().replace("://", "://:wrong@");
    let config = "[sentinel]\npassword = \"of-sentinels\"\n[upstream]\nfailover_wait_ms = 300";
    let gateway = builder(&url).config(config).allow("node refuses to say what it is").start();
    let line = gateway.logs().wait_for("node refuses to say what it is", Duration::from_secs(5));
    assert!(line.contains("WRONGPASS") && line.contains("127.0.0.1:"), "{line}");
    let reply = String::from_utf8_lossy(&gateway.client().line("PING")).into_owned();
    assert!(reply.starts_with("-ERR respool: no primary within failover_wait_ms"), "{reply}");
}

#[test]
fn what_a_restart_is_needed_for_is_said_and_stays_as_it_was() {
    let service = Service::start(&[]);
    let gateway = builder(&service.url()).start();
    let mut client = gateway.client();
    client.expect("SET k 1", "+OK\r\n");
    let other = format!("redis://{}", service.nodes[1].address());
    let keys = [("upstream.url", other.as_str()), ("upstream.failover_wait_ms", "1"), ("sentinel.refresh_ms", "99")];
    for (key, value) in keys {
        let outcome = String::from_utf8_lossy(&client.call(&["RESPOOL", "CONFIG", "SET", key, value])).into_owned();
        let needs_restart = outcome.split("needs_restart").nth(1).and_then(|rest| rest.split("unchanged").next());
        assert!(needs_restart.is_some_and(|keys| keys.contains(key)), "{key}: {outcome}");
    }
    // What does not need one keeps the place that was found.
    let outcome = client.line("RESPOOL CONFIG SET pool.workers 2");
    assert!(outcome.starts_with(b"*") || outcome.starts_with(b"%"), "{}", String::from_utf8_lossy(&outcome));
    client.expect("SET k 2", "+OK\r\n");
    let mut primary = service.direct(0);
    primary.expect("GET k", "$1\r\n2\r\n");
}
