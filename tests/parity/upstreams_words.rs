//! What only the upstream can say, it says: what a command means that is of no use behind a gateway, what the upstream is
//! after its configuration has changed, and its `INFO`, with the gateway's own section where Redis shows those of modules.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use crate::support::{Client, Gateway, Peer, Redis, Upstream, request, requests};

/// An upstream with words of its own, and what it was asked.
fn upstream() -> (Upstream, Arc<Mutex<Vec<String>>>, Arc<AtomicBool>) {
    let (asked, is_compatible) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
    let (noted, compatible) = (Arc::clone(&asked), Arc::clone(&is_compatible));
    let upstream = Upstream::start(move |peer: &mut Peer| {
        loop {
            let (server, version) =
                if compatible.load(Ordering::Acquire) { ("redis", "7.2.4") } else { ("valkey", "8.0.1") };
            let Some(request) = peer.next_of(server, version) else { break };
            noted.lock().expect("no test failed").push(request.clone());
            peer.reply(match request.as_str() {
                "READONLY" => "+OK for now\r\n",
                "CLIENT CAPA redirect" => "+OK\r\n",
                "CLIENT NOSUCH" => "-ERR no such thing\r\n",
                "UNSUBSCRIBE" => "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:7\r\n",
                "UNSUBSCRIBE a b" => "*1\r\n:1\r\n*1\r\n:2\r\n",
                // With the zone it says something else too.
                "CONFIG SET extended-redis-compatibility yes" | "CONFIG SET availability-zone b" => {
                    compatible.store(true, Ordering::Release);
                    "+OK\r\n"
                }
                "PING" => "+PONG\r\n",
                "RESET" => "+RESET\r\n",
                _ => "-ERR unknown\r\n",
            });
        }
    });
    (upstream, asked, is_compatible)
}

#[test]
fn the_upstream_is_asked_once_for_its_own_words() {
    let (upstream, asked, _) = upstream();
    let gateway = Gateway::start(&upstream.url());
    gateway.client().expect("PING", "+PONG\r\n");
    for _ in 0..3 {
        let mut client = gateway.client();
        for (line, reply) in [
            ("READONLY", "+OK for now\r\n"),
            ("CLIENT CAPA redirect", "+OK\r\n"),
            ("CLIENT NOSUCH", "-ERR no such thing\r\n"),
            ("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:7\r\n"),
        ] {
            client.expect(line, reply);
        }
        client.send_raw(&requests(&["UNSUBSCRIBE a b", "PING"]));
        let replies = client.read_replies(3);
        assert_eq!(replies.concat(), b"*1\r\n:1\r\n*1\r\n:2\r\n+PONG\r\n");
    }
    let asked = asked.lock().expect("no test failed");
    for line in ["READONLY", "CLIENT CAPA redirect", "CLIENT NOSUCH", "UNSUBSCRIBE", "UNSUBSCRIBE a b"] {
        assert_eq!(asked.iter().filter(|request| *request == line).count(), 1, "{line}: {asked:?}");
    }
}

#[test]
fn what_the_upstream_says_of_itself_is_learnt_anew_when_it_is_configured() {
    let hello = |client: &mut Client| String::from_utf8_lossy(&client.line("HELLO")).into_owned();
    for line in ["CONFIG SET extended-redis-compatibility yes", "CONFIG SET availability-zone b"] {
        let (upstream, ..) = upstream();
        let gateway = Gateway::start(&upstream.url());
        let mut client = gateway.client();
        client.expect("PING", "+PONG\r\n");
        assert!(hello(&mut client).contains("valkey"));
        client.expect(line, "+OK\r\n");
        for mut client in [client, gateway.client()] {
            let hello = hello(&mut client);
            assert!(hello.contains("redis") && hello.contains("7.2.4"), "{line}: {hello}");
        }
    }
}

#[test]
fn a_limit_that_a_client_sets_holds_for_that_client_and_others_notice_nothing() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let (mut large, mut other) = (gateway.client(), gateway.client());
    other.expect("INCR n", ":1\r\n");
    for (round, lines) in
        [&["CONFIG SET proto-max-bulk-len 1mb"][..], &["MULTI", "CONFIG SET proto-max-bulk-len 1mb", "EXEC"]]
            .iter()
            .enumerate()
    {
        redis.client().expect("CONFIG SET proto-max-bulk-len 512mb", "+OK\r\n");
        large.expect("CONFIG SET proto-max-bulk-len 512mb", "+OK\r\n");
        for line in *lines {
            assert!(!large.line(line).starts_with(b"-"), "{line}");
        }
        let value = "x".repeat(3 << 19);
        let mut refused = gateway.client();
        // It may be closed before it has sent all.
        let all_sent = refused.try_send_raw(&request(&["SET", "k", &value])).is_ok();
        for count in 0..200 {
            other.expect("INCR n", &format!(":{}\r\n", 2 + 200 * round + count));
        }
        if all_sent {
            let reply = String::from_utf8_lossy(&refused.read_to_end()).into_owned();
            assert!(reply.starts_with('-'), "{reply:?}");
        }
    }
}

fn info(client: &mut Client, line: &str) -> String {
    let reply = client.line(line);
    let text = String::from_utf8(reply).expect("text");
    assert!(text.starts_with('$') || text.starts_with("="), "{text}");
    let (head, text) = text.split_once("\r\n").expect("a head");
    let length: usize = head[1..].parse().expect("a length");
    assert_eq!(text.len(), length + 2, "{line}: the length is right");
    text.trim_start_matches("txt:").to_owned()
}

#[test]
fn the_gateways_section_shows_where_modules_show_theirs() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut client = gateway.client();
    for protocol in [2, 3] {
        client.line(&format!("HELLO {protocol}"));
        let own = info(&mut client, "INFO respool");
        assert!(own.starts_with("# Respool\r\nrespool_version:"), "{own}");
        assert!(own.contains("\r\nrespool_cl_idle:1\r\n") && own.contains("\r\nrespool_state:up\r\n"), "{own}");
        assert!(!own.contains("redis_version") && !own.contains("127.0.0.1"), "{own}");
        assert_eq!(own.lines().filter(|line| line.starts_with("respool_opened:")).count(), 1);
        let both = info(&mut client, "info SERVER Respool");
        assert!(both.starts_with("# Server\r\n") && both.contains("\r\n\r\n# Respool\r\n"), "{both}");
        assert!(!both.contains("# Clients"), "{both}");
        let everything = info(&mut client, "INFO everything");
        assert!(everything.contains("# Keyspace") && everything.contains("# Respool"), "{everything}");
        for line in ["INFO", "INFO all", "INFO default", "INFO server"] {
            assert!(!info(&mut client, line).contains("# Respool"), "{line}");
        }
    }
}

#[test]
fn the_gateways_section_shows_in_a_pipeline_and_while_the_upstream_is_missing() {
    let gateway = Gateway::builder().upstream("redis://127.0.0.1:1").allow_lost_upstream().start();
    let mut client = gateway.client();
    client.send_raw(b"INFO respool\r\nINFO everything\r\nINFO respool\r\n");
    let replies = client.read_replies(3);
    assert!(replies[0].starts_with(b"$") && replies[2].starts_with(b"$"));
    assert!(replies[1].starts_with(b"-ERR respool: "), "{:?}", replies[1]);
    assert!(String::from_utf8_lossy(&replies[2]).contains("respool_state:down"), "{:?}", replies[2]);
}

#[test]
fn a_subscriber_who_may_not_wait_is_told_so_of_that_and_of_nothing_else() {
    let upstream = Upstream::start(|peer: &mut Peer| {
        while let Some(request) = peer.next_of("valkey", "8.0.1") {
            let reply = match request.as_str() {
                "SUBSCRIBE c" => "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n".to_owned(),
                "PING" => "+PONG\r\n".to_owned(),
                _ => format!("-ERR Can't execute '{}'\r\n", request.split(' ').next().unwrap_or_default()),
            };
            peer.reply(&reply);
        }
    });
    let gateway = Gateway::start(&upstream.url());
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    client.line("SUBSCRIBE c");
    client.expect("WAIT 0 0", "-ERR Can't execute 'WAIT'\r\n");
    client.expect("WAITAOF 0 0 0", "-ERR Can't execute 'WAITAOF'\r\n");
}
