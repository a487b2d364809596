//! Shared pub/sub when something goes wrong: the upstream is lost or refuses, a subscriber is too slow,
//! there are too many names, the gateway drains.

use crate::support::{Client, DEADLINE, Gateway, Redis, assert_own_error, requests, wait};

use super::{clients, confirmation, expect, gateway, message, subscribers, wait_unsubscribed};

const LOST: &str = "shared pub/sub connection lost";

#[test]
fn subscriptions_come_back_after_the_upstream_was_lost() {
    let mut redis = Redis::start(&[]);
    let gateway = Gateway::builder()
        .upstream(&redis.url())
        .config("[pubsub]\nmode = \"shared\"")
        .allow(LOST)
        .allow_lost_upstream()
        .start();
    let mut subscriber = gateway.client();
    subscriber.send_raw(&requests(&["SUBSCRIBE a b", "PSUBSCRIBE p*", "SSUBSCRIBE s"]));
    subscriber.read_replies(4);
    redis.kill9();
    gateway.logs().wait_for(LOST, DEADLINE);
    let mut late = gateway.client();
    wait("the gateway to know that the upstream is down", || {
        late.line("SUBSCRIBE c").starts_with(b"-ERR respool: upstream is down").then_some(())
    });
    redis.restart();
    let mut direct = redis.client();
    for channel in ["a", "b"] {
        wait("the subscriptions to be back", || (subscribers(&mut direct, channel) == 1).then_some(()));
        direct.line(&format!("PUBLISH {channel} again"));
        expect(&mut subscriber, &message(2, channel, "again"));
    }
    wait("the patterns to be back", || (direct.line("PUBSUB NUMPAT") == b":1\r\n").then_some(()));
    assert_eq!(subscribers(&mut direct, "c"), 0, "a refused subscription leaves nothing");
    wait("new subscribers to be served", || (!late.line("SUBSCRIBE c").starts_with(b"-")).then_some(()));
}

#[test]
fn a_connection_that_is_killed_comes_back() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pubsub]\nmode = \"shared\"").allow(LOST).start();
    let (mut subscriber, mut direct) = (gateway.client(), redis.client());
    for number in 0..10 {
        subscriber
            .expect(&format!("SUBSCRIBE c{number}"), &confirmation(2, "subscribe", &format!("c{number}"), number + 1));
        direct.line("CLIENT KILL TYPE pubsub");
        for known in 0..=number {
            let channel = format!("c{known}");
            wait("the subscriptions to be back", || (subscribers(&mut direct, &channel) == 1).then_some(()));
        }
        direct.line("PUBLISH c0 x");
        expect(&mut subscriber, &message(2, "c0", "x"));
    }
}

#[test]
fn a_silent_upstream_is_given_up_and_a_quiet_one_is_not() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder()
        .upstream(&redis.url())
        .config("[pubsub]\nmode = \"shared\"\n[upstream]\nkeepalive_ms = 20\n[pool]\nreply_timeout_ms = 2000")
        .allow("sent nothing for 2000 ms")
        .allow_lost_upstream()
        .start();
    let (mut subscriber, mut direct) = (gateway.client(), redis.client());
    subscriber.expect("SUBSCRIBE a", &confirmation(2, "subscribe", "a", 1));
    wait("a PING", || (!clients(&mut direct, "name=respool-pubsub")[0].contains("cmd=subscribe")).then_some(()));
    assert_eq!(gateway.logs().find(LOST), None);
    let address = |line: &str| line.split(' ').find(|field| field.starts_with("addr=")).map(str::to_owned);
    let before = address(&clients(&mut direct, "name=respool-pubsub")[0]);
    redis.freeze();
    gateway.logs().wait_for(LOST, DEADLINE);
    redis.thaw();
    wait("another connection that is subscribed, and no other", || {
        let lines = clients(&mut direct, "name=respool-pubsub");
        (lines.len() == 1 && lines[0].contains(" sub=1 ") && address(&lines[0]) != before).then_some(())
    });
    direct.line("PUBLISH a back");
    expect(&mut subscriber, &message(2, "a", "back"));
}

#[test]
fn a_silent_upstream_is_given_up_by_the_time_out_in_force() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder()
        .upstream(&redis.url())
        .config("[pubsub]\nmode = \"shared\"\n[pool]\nreply_timeout_ms = 600_000")
        .allow("sent nothing for 200 ms")
        .start();
    let (mut operator, mut subscriber) = (gateway.client(), gateway.client());
    subscriber.expect("SUBSCRIBE a", &confirmation(2, "subscribe", "a", 1));
    redis.freeze();
    subscriber.send(&["SUBSCRIBE", "b"]);
    assert!(operator.line("RESPOOL CONFIG SET pool.reply_timeout_ms 200").starts_with(b"*"));
    gateway.logs().wait_for(LOST, DEADLINE);
    redis.thaw();
    operator.line("RESPOOL CONFIG SET pool.reply_timeout_ms 600_000");
}

/// Publishes to `channel` until `done`.
fn flood(publisher: &mut Client, channel: &str, mut done: impl FnMut(&mut Client) -> bool) {
    let text = "x".repeat(8 << 10);
    let batch: Vec<u8> = (0..16).flat_map(|_| crate::support::request(&["PUBLISH", channel, &text])).collect();
    for _ in 0..10_000 {
        publisher.send_raw(&batch);
        publisher.read_replies(16);
        if done(publisher) {
            return;
        }
    }
    panic!("published 10,000 batches in vain");
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_and_the_others_get_everything() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder()
        .upstream(&redis.url())
        .config("[pubsub]\nmode = \"shared\"\nbacklog_messages = 256")
        .allow("subscribers were too slow")
        .start();
    let (mut slow, mut quick) = (gateway.client(), gateway.client());
    slow.small_buffers();
    slow.expect("SUBSCRIBE flood", &confirmation(2, "subscribe", "flood", 1));
    quick.expect("SUBSCRIBE flood", &confirmation(2, "subscribe", "flood", 1));
    let expected = message(2, "flood", &"x".repeat(8 << 10));
    flood(&mut redis.client(), "flood", |_| {
        for reply in quick.read_replies(16) {
            assert!(reply == expected.as_bytes(), "the quick one misses nothing");
        }
        gateway.logs().find("subscribers were too slow").is_some()
    });
    let stats = String::from_utf8_lossy(&gateway.client().line("RESPOOL STATS")).into_owned();
    assert!(stats.contains("$19\r\nsubscribers_overrun\r\n:1\r\n"), "{stats}");
    wait("the slow one to be gone", || (clients(&mut gateway.client(), " sub=1 ").len() == 1).then_some(()));
    drop(slow);
    let mut direct = redis.client();
    direct.line("PUBLISH flood end");
    expect(&mut quick, &message(2, "flood", "end"));
    drop(quick);
    wait_unsubscribed(&mut direct);
}

#[test]
fn what_the_upstream_refuses_is_refused() {
    let redis = Redis::start(&[]);
    let mut direct = redis.client();
    direct.expect("ACL SETUSER gate on >secret ~* +@all resetchannels &open*", "+OK\r\n");
    let url = redis.url().replace("redis://", "redis://gate:secret@");
    let gateway =
        Gateway::builder().upstream(&url).config("[pubsub]\nmode = \"shared\"").allow(LOST).allow("refused").start();
    let mut client = gateway.client();
    for _ in 0..2 {
        let refusal = client.line("SUBSCRIBE open closed");
        assert!(refusal.starts_with(b"-NOPERM"), "{refusal:?}");
    }
    client.expect("SUBSCRIBE open", &confirmation(2, "subscribe", "open", 1));
    assert_eq!(subscribers(&mut direct, "open"), 1);
    // Taken back while it is in force: the upstream closes the connection, and refuses it anew.
    direct.expect("ACL SETUSER gate resetchannels", "+OK\r\n");
    let end = String::from_utf8(client.read_to_end()).expect("text");
    assert!(end.starts_with("-ERR respool: the upstream ended a subscription"), "{end:?}");
}

#[test]
fn there_are_no_more_subscriptions_than_configured() {
    let redis = Redis::start(&[]);
    let gateway =
        Gateway::builder().upstream(&redis.url()).config("[pubsub]\nmode = \"shared\"\nsubscriptions_max = 2").start();
    let (mut one, mut other) = (gateway.client(), gateway.client());
    one.send(&["SUBSCRIBE", "a"]);
    expect(&mut one, &confirmation(2, "subscribe", "a", 1));
    assert_own_error(&other.line("SUBSCRIBE a b c"));
    other.send(&["SUBSCRIBE", "a", "b"]);
    expect(&mut other, &confirmation(2, "subscribe", "a", 1));
    expect(&mut other, &confirmation(2, "subscribe", "b", 2));
    assert_own_error(&one.line("SUBSCRIBE c"));
    drop(other);
    wait("the place to be free", || (!one.line("SUBSCRIBE c").starts_with(b"-")).then_some(()));
}

#[test]
fn a_drain_ends_subscribers_and_their_connection() {
    let redis = Redis::start(&[]);
    let mut gateway = gateway(&redis);
    let (mut client, mut direct) = (gateway.client(), redis.client());
    client.expect("SUBSCRIBE a", &confirmation(2, "subscribe", "a", 1));
    gateway.terminate();
    client.expect_closed();
    gateway.wait_end(DEADLINE);
    wait("the upstream to see it", || clients(&mut direct, "name=respool").is_empty().then_some(()));
}

#[test]
fn clients_that_come_and_go_leave_nothing() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis);
    let mut direct = redis.client();
    for round in 0..200 {
        let mut client = gateway.client();
        client.send_raw(&requests(&["SUBSCRIBE a b c", "PSUBSCRIBE d*", "UNSUBSCRIBE b", "SUBSCRIBE b"]));
        if round % 3 == 0 {
            client.read_replies(6);
        }
        if round % 2 == 0 {
            client.reset();
        }
    }
    // What those sent who have gone may still be read.
    let mut last = gateway.client();
    let left = |last: &mut Client| String::from_utf8_lossy(&last.line("CLIENT LIST")).matches(" laddr=").count();
    wait("the clients to be gone", || (left(&mut last) == 1).then_some(()));
    wait_unsubscribed(&mut direct);
    assert_eq!(subscribers(&mut direct, "a"), 0);
    assert_eq!(clients(&mut direct, "name=respool-pubsub").len(), 1);
}

#[test]
fn messages_that_a_subscriber_does_not_read_are_bounded_in_bytes_too() {
    const BYTES: usize = 256 * 1024;
    const MESSAGES: usize = 300;
    let redis = Redis::start(&[]);
    // The first bound alone would let each channel hold 64 GiB of these.
    let config = "[pubsub]\nmode = \"shared\"\nbacklog_messages = 262144\nbacklog_bytes_max = 8388608";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("too slow").allow("no room").start();
    let (mut deaf, mut keen) = (gateway.client(), gateway.client());
    deaf.small_buffers();
    for client in [&mut deaf, &mut keen] {
        client.line("SUBSCRIBE large");
    }
    let before = gateway.process().rss_bytes();
    let (mut publisher, text) = (redis.client(), "x".repeat(BYTES));
    for _ in 0..MESSAGES {
        publisher.send(&["PUBLISH", "large", &text]);
        assert_eq!(publisher.read_reply(), b":1\r\n");
        assert!(keen.read_reply().len() > BYTES, "who keeps up gets everything");
    }
    let grown = gateway.process().peak_rss_bytes() - before;
    println!("{grown} bytes more memory for {} bytes that were not read", MESSAGES * BYTES);
    assert!(grown < 32 << 20, "{grown} bytes more memory for {} bytes that were not read", MESSAGES * BYTES);
    // What had been on its way to the slow one comes, then it is closed.
    assert!(deaf.read_to_end().len() < MESSAGES * BYTES);
    assert!(!publisher.call(&["PUBLISH", "large", "end"]).is_empty());
    assert!(keen.read_reply().ends_with(b"$3\r\nend\r\n"));
}
