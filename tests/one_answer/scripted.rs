//! Upstreams that are not there, refuse the login, or answer with something that is no reply, half of one,
//! or one too many.

use std::net::{Ipv4Addr, TcpListener};

use crate::support::{Client, DEADLINE, Gateway, Peer, Redis, Relay, Upstream, assert_own_error, requests, wait};

fn gateway_before(url: &str) -> Gateway {
    Gateway::builder().upstream(url).config("[pool]\nworkers = 1").allow_lost_upstream().start()
}

fn recovers(client: &mut Client) {
    wait("the client to be served", || (client.line("PING") == b"+PONG\r\n").then_some(()));
}

#[test]
fn a_gateway_started_before_its_upstream_serves_errors_and_recovers_alone() {
    let mut redis = Redis::start(&[]);
    let url = redis.url();
    redis.kill9();
    let gateway = gateway_before(&url);
    let mut client = gateway.client();
    assert_own_error(&client.line("GET k"));
    redis.restart();
    recovers(&mut client);
    gateway.logs().wait_for("upstream is up", DEADLINE);
}

#[test]
fn while_the_upstream_is_down_every_request_fails_at_once_and_says_so() {
    let url = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        format!("redis://user:hunter2@{}", listener.local_addr().expect("bound"))
    };
    // Whoever waited for the queue or for a reply would wait for longer than a test may take.
    let config = "[pool]\nworkers = 1\nqueue_timeout_ms = 600000\nreply_timeout_ms = 600000";
    let gateway = Gateway::builder().upstream(&url).config(config).allow_lost_upstream().start();
    let mut client = gateway.client();
    assert_own_error(&client.line("GET k"));
    for _ in 0..50 {
        client.send_raw(&requests(&["GET k", "SET k v", "SELECT 1", "HELLO 3"]));
        for reply in client.read_replies(4) {
            assert_own_error(&reply);
            let text = String::from_utf8_lossy(&reply).into_owned();
            assert!(text.contains("upstream is down") && !text.contains("hunter2"), "{text}");
        }
    }
    // What is the session's own business needs no upstream.
    client.expect("CLIENT SETNAME me", "+OK\r\n");
    client.expect("CLIENT GETNAME", "$2\r\nme\r\n");
}

#[test]
fn an_upstream_that_hangs_up_on_every_connection_is_down_and_comes_back() {
    let redis = Redis::start(&[]);
    let relay = Relay::start(redis.address());
    let gateway = gateway_before(&relay.url());
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    relay.weather(|weather| weather.refuse = true);
    redis.client().line("CLIENT KILL TYPE normal");
    wait("the gateway to notice", || client.line("GET k").starts_with(b"-ERR respool: upstream is down").then_some(()));
    relay.weather(|weather| weather.refuse = false);
    recovers(&mut client);
}

#[test]
fn an_upstream_that_refuses_the_login_is_down_and_the_error_says_why() {
    let redis = Redis::start(&["--requirepass", "right"]);
    let gateway = gateway_before(&format!("redis://:wrong@{}", redis.address()));
    let reply = gateway.client().line("GET k");
    assert_own_error(&reply);
    let text = String::from_utf8_lossy(&reply).into_owned();
    assert!(text.contains("WRONGPASS") && !text.contains("wrong@"), "{text}");
}

#[test]
fn an_upstream_that_wants_a_password_and_gets_none_is_down() {
    let redis = Redis::start(&["--requirepass", "right"]);
    let gateway = gateway_before(&redis.url());
    let text = String::from_utf8_lossy(&gateway.client().line("GET k")).into_owned();
    assert!(text.starts_with("-ERR respool: ") && text.contains("NOAUTH"), "{text}");
}

#[test]
fn an_upstream_that_never_answers_the_login_is_down_at_connect_timeout() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = format!("redis://{}", silent.local_addr().expect("bound"));
    let config = "[upstream]\nconnect_timeout_ms = 300\n[pool]\nqueue_timeout_ms = 600000\nreply_timeout_ms = 600000";
    let gateway = Gateway::builder().upstream(&url).config(config).allow_lost_upstream().start();
    let text = String::from_utf8_lossy(&gateway.client().line("GET k")).into_owned();
    assert!(text.starts_with("-ERR respool: ") && text.contains("connect_timeout_ms"), "{text}");
}

/// Serves requests well, except that the first connection answers the first `GET bad` with `bad`.
fn misbehaving(bad: &'static str, then_close: bool) -> Upstream {
    Upstream::start(move |peer: &mut Peer| {
        while let Some(request) = peer.next() {
            match request.as_str() {
                "SET bad 1" if peer.index == 0 => {
                    peer.reply(bad);
                    if then_close {
                        return;
                    }
                }
                "SET bad 1" => peer.reply("+OK\r\n"),
                "PING" => peer.reply("+PONG\r\n"),
                other => peer.reply(&format!("${}\r\n{other}\r\n", other.len())),
            }
        }
    })
}

#[test]
fn replies_that_are_none_cost_the_connection_and_nobody_a_wrong_answer() {
    for bad in [
        "HTTP/1.1 400 Bad Request\r\n",
        "\0\0\0",
        "$5\r\nabcdefghij\r\n",
        "*-7\r\n",
        "$?\r\n",
        "+OK\n",
        ":1\r\nnonsense",
    ] {
        let upstream = misbehaving(bad, false);
        let gateway = gateway_before(&upstream.url());
        let (mut client, mut bystander) = (gateway.client(), gateway.client());
        // The first request of a session goes alone; these two are to go together.
        client.expect("PING", "+PONG\r\n");
        client.send_raw(&requests(&["SET bad 1", "GET after"]));
        let replies = client.read_replies(2);
        assert_own_error(&replies[1]);
        assert!(replies[0].starts_with(b"-ERR respool: ") || bad.starts_with(":1"), "{bad:?}");
        recovers(&mut client);
        bystander.expect("GET mine", "$8\r\nGET mine\r\n");
        assert_eq!(upstream.connections(), 2, "{bad:?}: one connection was thrown away");
    }
}

#[test]
fn half_a_reply_before_the_end_is_an_error_and_nothing_of_it_is_passed_on() {
    for half in ["$10\r\nabc", "*2\r\n:1\r\n", "+O", "%1\r\n+key\r\n", "$3\r\nabc", "$3\r\nabc\r", ":1", "*1000000\r\n"]
    {
        let upstream = misbehaving(half, true);
        let gateway = gateway_before(&upstream.url());
        let mut client = gateway.client();
        assert_own_error(&client.line("SET bad 1"));
        recovers(&mut client);
        client.expect("GET mine", "$8\r\nGET mine\r\n");
    }
}

#[test]
fn a_reply_too_many_never_answers_the_next_request() {
    let upstream = misbehaving("+OK\r\n+ONE TOO MANY\r\n", false);
    let gateway = gateway_before(&upstream.url());
    let mut client = gateway.client();
    client.expect("SET bad 1", "+OK\r\n");
    wait("the connection to be replaced", || (upstream.connections() == 2).then_some(()));
    client.expect("GET mine", "$8\r\nGET mine\r\n");
}

#[test]
fn pushes_that_nobody_asked_for_answer_nobody() {
    let upstream = misbehaving(">2\r\n$10\r\ninvalidate\r\n*0\r\n+OK\r\n>1\r\n+more\r\n", false);
    let gateway = gateway_before(&upstream.url());
    let mut client = gateway.client();
    client.expect("SET bad 1", "+OK\r\n");
    client.expect("GET mine", "$8\r\nGET mine\r\n");
}

#[test]
fn a_reset_instead_of_a_reply_is_an_error_and_writes_are_not_repeated() {
    let upstream = Upstream::start(|peer: &mut Peer| {
        while let Some(request) = peer.next() {
            if request == "INCR n" {
                peer.reset();
                return;
            }
            peer.reply("+PONG\r\n");
        }
    });
    let gateway = gateway_before(&upstream.url());
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    let before = upstream.connections();
    assert_own_error(&client.line("INCR n"));
    recovers(&mut client);
    assert_eq!(upstream.connections(), before + 1, "sent once");
}
