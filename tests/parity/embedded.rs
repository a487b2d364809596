//! The embedded upstream: what a new user gets without any set-up. An independent client checks it.

use std::thread;

use crate::support::{Client, Gateway, raise_descriptor_limit, requests};

#[test]
fn without_any_argument_but_the_port_it_serves() {
    let gateway = Gateway::builder().bare().start();
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    client.expect("SET k v", "+OK\r\n");
    client.expect("GET k", "$1\r\nv\r\n");
    client.expect("GET nothing", "$-1\r\n");
}

#[test]
fn an_independent_client_reads_and_writes() {
    let gateway = Gateway::builder().start();
    let mut client = mini_redis::blocking_client::connect(gateway.address()).expect("connects");
    client.set("k", "value".into()).expect("set");
    assert_eq!(client.get("k").expect("get").as_deref(), Some(&b"value"[..]));
    assert_eq!(client.get("nothing").expect("get"), None);
    assert_eq!(client.publish("channel", "message".into()).expect("publish"), 0);
}

#[test]
fn what_mini_redis_lacks_is_answered_here_or_gets_its_own_error() {
    let gateway = Gateway::builder().start();
    let mut client = gateway.client();
    client.expect("PING hello", "$5\r\nhello\r\n");
    client.expect("ECHO hello", "$5\r\nhello\r\n");
    for line in ["INCR n", "NOSUCH", "LPUSH l a b"] {
        let reply = client.line(line);
        let text = String::from_utf8_lossy(&reply).to_lowercase();
        assert!(text.starts_with("-err") && text.contains("unknown command"), "{line}: {text}");
    }
    // A command that it knows, given wrongly, may cost a connection but neither a client nor its order.
    client.send_raw(&requests(&["ECHO 1", "SET onlykey", "ECHO 2", "GET", "ECHO 3"]));
    let replies = client.read_replies(5);
    assert_eq!(replies[0], b"$1\r\n1\r\n");
    assert_eq!(replies[2], b"$1\r\n2\r\n");
    assert_eq!(replies[4], b"$1\r\n3\r\n");
    assert!(replies[1].starts_with(b"-") && replies[3].starts_with(b"-"), "{replies:?}");
}

#[test]
fn hello_and_client_commands_satisfy_stock_clients() {
    let gateway = Gateway::builder().start();
    let mut client = gateway.client();
    let hello = String::from_utf8_lossy(&client.line("HELLO 2")).into_owned();
    assert!(hello.starts_with("*14\r\n") && hello.contains("$5\r\nproto\r\n:2\r\n"), "{hello}");
    assert!(client.line("HELLO 3").starts_with(b"-NOPROTO"));
    client.expect("CLIENT SETINFO LIB-NAME tests", "+OK\r\n");
    client.expect("CLIENT SETNAME me", "+OK\r\n");
    client.expect("SELECT 0", "+OK\r\n");
    client.expect("QUIT", "+OK\r\n");
    client.expect_closed();
}

#[test]
fn more_clients_than_mini_redis_has_places_are_served_at_once() {
    raise_descriptor_limit();
    let gateway = Gateway::builder().start();
    let mut clients: Vec<Client> = (0..600).map(|_| gateway.client()).collect();
    thread::scope(|scope| {
        for (part, clients) in clients.chunks_mut(150).enumerate() {
            scope.spawn(move || {
                for (index, client) in clients.iter_mut().enumerate() {
                    client.send(&["SET", &format!("k{part}x{index}"), "v"]);
                    client.send(&["GET", &format!("k{part}x{index}")]);
                }
                for client in clients {
                    assert_eq!(client.read_replies(2).concat(), b"+OK\r\n$1\r\nv\r\n");
                }
            });
        }
    });
}

#[test]
fn two_gateways_have_an_upstream_each() {
    let (one, other) = (Gateway::builder().start(), Gateway::builder().start());
    one.client().expect("SET k v", "+OK\r\n");
    other.client().expect("GET k", "$-1\r\n");
}
