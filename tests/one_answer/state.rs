//! A connection that breaks while a session asks it for state: what the client sends next relied on that
//! state and must not run without it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::support::{Gateway, Peer, Redis, Upstream, assert_own_error, requests, wait};

/// An upstream that hangs up on `breaking` once it is told to; what else it was asked to do is noted.
fn upstream(breaking: &'static str) -> (Upstream, Arc<[AtomicBool; 3]>) {
    let flags: Arc<[AtomicBool; 3]> = Arc::default();
    let shared = Arc::clone(&flags);
    let upstream = Upstream::start(move |peer: &mut Peer| {
        let [asked, hang_up, wrote] = &*shared;
        while let Some(request) = peer.next() {
            if request == breaking {
                asked.store(true, Ordering::Release);
                wait("the rest of the client's requests", || hang_up.load(Ordering::Acquire).then_some(()));
                return;
            }
            wrote.fetch_or(request != "PING", Ordering::AcqRel);
            peer.reply("+OK\r\n");
        }
    });
    (upstream, flags)
}

#[test]
fn what_follows_a_multi_or_watch_that_was_lost_is_not_executed_without_it() {
    for (breaking, after) in
        [("MULTI", &["SET k v", "SET k w", "EXEC"][..]), ("WATCH k", &["MULTI", "SET k v", "EXEC"])]
    {
        let (upstream, flags) = upstream(breaking);
        let [asked, hang_up, wrote] = &*flags;
        let gateway = Gateway::builder().upstream(&upstream.url()).allow_lost_upstream().start();
        let mut client = gateway.client();
        client.send_raw(&requests(&[breaking]));
        wait("the upstream to be asked", || asked.load(Ordering::Acquire).then_some(()));
        client.send_raw(&requests(after));
        gateway.client().expect("PING", "+OK\r\n");
        hang_up.store(true, Ordering::Release);
        assert_own_error(&client.read_reply());
        // As with Redis itself, whose connection would be gone as well.
        client.expect_closed();
        assert!(!wrote.load(Ordering::Acquire), "{breaking} was lost, and what follows was executed");
    }
}

/// A connection stays logged in when the upstream begins to want a password, up to its `RESET`.
#[test]
fn what_follows_a_multi_is_not_executed_without_it_once_the_upstream_wants_a_password() {
    let redis = Redis::start(&[]);
    let (mut direct, gateway) = (redis.client(), Gateway::start(&redis.url()));
    let mut client = gateway.client();
    client.expect("WATCH k", "+OK\r\n");
    direct.expect("CONFIG SET requirepass secret", "+OK\r\n");
    client.expect("UNWATCH", "+OK\r\n");
    for line in ["MULTI", "SET k v"] {
        assert_own_error(&client.line(line));
    }
    assert!(client.line("EXEC").starts_with(b"-EXECABORT"));
    direct.expect("EXISTS k", ":0\r\n");
}

#[test]
fn a_request_on_an_exclusive_connection_that_breaks_gets_one_error_and_no_more() {
    // Hangs up at the first request on any but the worker's connection.
    let upstream = Upstream::start(|peer: &mut Peer| {
        while let Some(request) = peer.next()
            && peer.index == 0
        {
            peer.reply(&format!("+{request}\r\n"));
        }
    });
    let config = "[pool]\nworkers = 1";
    let gateway = Gateway::builder().upstream(&upstream.url()).config(config).allow_lost_upstream().start();
    gateway.client().expect("PING", "+PING\r\n");
    for (line, goes_on) in [("WAIT 1 1000", true), ("BLPOP k 0", true), ("SUBSCRIBE a b c", false)] {
        let mut client = gateway.client();
        client.send_raw(&requests(&[line, "ECHO mine"]));
        assert_own_error(&client.read_reply());
        if goes_on {
            assert_eq!(String::from_utf8_lossy(&client.read_reply()), "+ECHO mine\r\n", "after {line}");
        } else {
            client.expect_closed();
        }
    }
}

#[test]
fn a_request_for_which_no_exclusive_connection_comes_free_gets_one_error_and_no_more() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nexclusive_max = 1\nqueue_timeout_ms = 50";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    gateway.client().expect("PING", "+PONG\r\n");
    let mut holder = gateway.client();
    holder.expect("WATCH k", "+OK\r\n");
    for line in ["WAIT 1 1000", "BLPOP k 0", "SUBSCRIBE a b c", "PSUBSCRIBE a b"] {
        let mut client = gateway.client();
        client.send_raw(&requests(&[line, "ECHO mine"]));
        let reply = String::from_utf8_lossy(&client.read_reply()).into_owned();
        assert!(reply.starts_with("-ERR respool: exclusive_max exceeded"), "{line}: {reply}");
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), "$4\r\nmine\r\n", "after {line}");
    }
}
