//! What clients have in common is left to others, however much clients of one host and user take: exclusive connections
//! and shared subscriptions.

use std::time::{Duration, Instant};

use crate::support::{Client, DEADLINE, Gateway, Redis, assert_own_error, pass, request, requests, users, wait};

const MIB: u64 = 1 << 20;

/// A client that has logged in as `user`.
fn client_of(gateway: &Gateway, user: &str) -> Client {
    let mut client = gateway.client();
    client.expect(&format!("AUTH {user} secret"), "+OK\r\n");
    client
}

fn two_users() -> String {
    users(&[("greedy", "secret"), ("modest", "secret")])
}

fn text(reply: Vec<u8>) -> String {
    String::from_utf8(reply).expect("text")
}

#[test]
fn the_clients_of_one_user_cannot_borrow_all_connections() {
    let redis = Redis::start(&[]);
    let config = format!("[pool]\nexclusive_max = 8\nqueue_timeout_ms = 100\n{}", two_users());
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).allow("requests failed").start();
    let mut holders = Vec::new();
    for line in ["WATCH k", "MULTI", "SUBSCRIBE c", "MONITOR", "BLPOP nothing 0", "CLIENT TRACKING ON"] {
        let mut holder = client_of(&gateway, "greedy");
        holder.send_raw(&requests(&[line]));
        if !line.starts_with("BLPOP") {
            holder.read_reply();
        }
        holders.push(holder);
    }
    let mut direct = redis.client();
    wait("all to be lent", || {
        let list = text(direct.line("CLIENT LIST"));
        (list.matches("name=respool-exclusive").count() == 6).then_some(())
    });
    let mut further = client_of(&gateway, "greedy");
    for line in ["WATCH k", "BLPOP nothing 0", "SUBSCRIBE c"] {
        let refused = text(further.line(line));
        assert!(refused.starts_with("-ERR respool: share_percent exceeded"), "{line}: {refused}");
    }
    // Others are not held up, not even by those who wait.
    let mut waiting: Vec<_> = (0..4).map(|_| client_of(&gateway, "greedy")).collect();
    waiting.iter_mut().for_each(|client| client.send(&["WATCH", "k"]));
    let mut other = client_of(&gateway, "modest");
    other.expect("WATCH k", "+OK\r\n");
    other.expect("MULTI", "+OK\r\n");
    other.expect("EXEC", "*0\r\n");
    assert!(client_of(&gateway, "modest").line("SUBSCRIBE c").starts_with(b"*3\r\n"));
    waiting.iter_mut().for_each(|client| assert_own_error(&client.read_reply()));
    // A place that is free again is for the next.
    holders.remove(0);
    wait("a place to be free", || (further.line("WATCH k") == b"+OK\r\n").then_some(()));
}

#[test]
fn who_waits_for_a_share_and_then_for_a_connection_waits_no_longer_than_for_one() {
    let redis = Redis::start(&[]);
    let (patience, half) = (Duration::from_secs(2), Duration::from_secs(1));
    let config = format!("[pool]\nexclusive_max = 4\nqueue_timeout_ms = {}\n{}", patience.as_millis(), two_users());
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).allow("requests failed").start();
    let mut borrowers = ["greedy", "greedy", "greedy", "modest"].map(|user| client_of(&gateway, user));
    borrowers.iter_mut().for_each(|borrower| borrower.expect("WATCH k", "+OK\r\n"));
    let [mut next, mut last] = ["modest", "greedy"].map(|user| client_of(&gateway, user));
    next.send(&["WATCH", "k"]);
    let began = Instant::now();
    last.send(&["WATCH", "k"]);
    pass(half + half / 2);
    // The share that is free now is the last one's, and the connection belongs to the one who waited before.
    borrowers[0].expect("UNWATCH", "+OK\r\n");
    assert_eq!(text(next.read_reply()), "+OK\r\n");
    assert_own_error(&last.read_reply());
    let waited = began.elapsed();
    assert!(waited < patience + half, "{waited:?}");
}

#[test]
fn a_transaction_that_nobody_goes_on_with_is_ended() {
    let redis = Redis::start(&[]);
    let config = "[clients]\ntransaction_idle_ms = 200\n[pool]\nexclusive_max = 4";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("transaction_idle_ms passed").start();
    let [mut quiet, mut subscriber, mut blocked] = [(); 3].map(|()| gateway.client());
    quiet.expect("GET k", "$-1\r\n");
    subscriber.line("SUBSCRIBE c");
    blocked.send(&["BLPOP", "l", "0"]);
    for lines in [&["WATCH k"][..], &["MULTI"], &["MULTI", "SET k v"], &["WATCH k", "MULTI", "SET k v"]] {
        let mut idle = gateway.client();
        idle.send_raw(&requests(lines));
        idle.read_replies(lines.len());
        idle.expect_closed();
    }
    gateway.logs().wait_for("transaction_idle_ms passed", DEADLINE);
    // Those who hold nothing up may be quiet, and those who wait for others.
    quiet.expect("GET k", "$-1\r\n");
    gateway.client().expect("PUBLISH c m", ":1\r\n");
    assert!(subscriber.read_reply().ends_with(b"$1\r\nm\r\n"));
    gateway.client().expect("RPUSH l x", ":1\r\n");
    assert!(blocked.read_reply().ends_with(b"$1\r\nx\r\n"));
}

/// Subscribes to so many channels of its own, a few at a time; the reply to the last request.
fn subscribe_many(client: &mut Client, count: usize) -> Vec<u8> {
    let mut last = Vec::new();
    for from in (0..count).step_by(100) {
        let names: Vec<_> = (from..count.min(from + 100)).map(|number| format!("channel:{number}")).collect();
        let args: Vec<_> = ["SUBSCRIBE"].into_iter().chain(names.iter().map(String::as_str)).collect();
        client.send_raw(&request(&args));
        last = client.read_reply();
        if last.starts_with(b"-") {
            break;
        }
        client.read_replies(names.len() - 1);
    }
    last
}

#[test]
fn the_clients_of_one_user_cannot_take_all_shared_subscriptions_and_names_cost_little() {
    let redis = Redis::start(&[]);
    let config = format!("[pubsub]\nmode = \"shared\"\n{}", two_users());
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).allow("subscriptions failed").start();
    let mut greedy = client_of(&gateway, "greedy");
    let before = gateway.process().rss_bytes();
    let refused = text(subscribe_many(&mut greedy, 10_000));
    assert!(refused.starts_with("-ERR respool: share_percent exceeded"), "{refused}");
    let grown = gateway.process().peak_rss_bytes().saturating_sub(before);
    println!("{grown} bytes more memory for 7,500 subscriptions");
    assert!(grown < 16 * MIB, "{grown} bytes more memory");
    let mut modest = client_of(&gateway, "modest");
    modest.send_raw(&requests(&["SUBSCRIBE own"]));
    assert!(modest.read_reply().ends_with(b":1\r\n"));
    // A message costs no more where its subscriber has many names.
    let mut publisher = redis.client();
    let mut took = |subscriber: &mut Client, channel: &str| {
        let began = Instant::now();
        for _ in 0..500 {
            publisher.call(&["PUBLISH", channel, "m"]);
            subscriber.read_reply();
        }
        began.elapsed()
    };
    let few = took(&mut modest, "own");
    let many = took(&mut greedy, "channel:1");
    println!("500 messages took {few:?} with one name and {many:?} with 7,500");
    assert!(many < few * 4, "500 messages took {few:?} with one name and {many:?} with 7,500");
}

#[test]
fn names_that_a_client_is_subscribed_to_are_counted_and_bounded() {
    let redis = Redis::start(&[]);
    for mode in ["dedicated", "shared"] {
        let config = format!("[clients]\nrequest_bytes_max = {}\n[pubsub]\nmode = \"{mode}\"", 8 * MIB);
        let gateway = Gateway::builder().upstream(&redis.url()).config(&config).start();
        let (mut hoarder, mut other) = (gateway.client(), gateway.client());
        let before = gateway.process().rss_bytes();
        let long = "x".repeat(64 << 10);
        let mut replies = (0..400).map(|number| hoarder.call(&["SUBSCRIBE", &format!("{long}{number}")]));
        let refused = text(replies.find(|reply| reply.starts_with(b"-")).expect("25 MiB of names are more than 8 MiB"));
        assert!(refused.contains("request_bytes_max"), "{refused}");
        let grown = gateway.process().peak_rss_bytes().saturating_sub(before);
        println!("{mode}: {grown} bytes more memory");
        assert!(grown < 32 * MIB, "{mode}: {grown} bytes more memory");
        other.expect("SET k v", "+OK\r\n");
        // What it has is given back.
        hoarder.send(&["UNSUBSCRIBE"]);
        while !hoarder.read_reply().ends_with(b":0\r\n") {}
        assert!(hoarder.call(&["SUBSCRIBE", &long]).ends_with(b":1\r\n"));
    }
}

#[test]
fn names_that_are_refused_are_so_in_silence_where_a_client_wants_no_replies() {
    let redis = Redis::start(&[]);
    for mode in ["dedicated", "shared"] {
        let config = format!("[clients]\nrequest_bytes_max = 1000\n[pubsub]\nmode = \"{mode}\"");
        let gateway = Gateway::builder().upstream(&redis.url()).config(&config).start();
        let mut client = gateway.client();
        let (one, other) = ("x".repeat(600), "y".repeat(600));
        client.line("HELLO 3");
        assert!(client.call(&["SUBSCRIBE", &one]).ends_with(b":1\r\n"));
        assert!(client.call(&["SUBSCRIBE", &other]).starts_with(b"-ERR respool: "), "{mode}");
        let other = format!("SUBSCRIBE {other}");
        client.send_raw(&requests(&["CLIENT REPLY OFF", &other, "CLIENT REPLY ON", "ECHO on"]));
        assert_eq!(client.read_replies(2).concat(), b"+OK\r\n$2\r\non\r\n", "{mode}");
    }
}
