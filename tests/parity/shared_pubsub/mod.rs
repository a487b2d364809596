//! Pub/sub, shared above all: one upstream connection and one subscription a name serve every subscriber, as Redis
//! itself would, and everything is undone when the last one has gone. Failures are in a module below.

mod failures;

use crate::support::{Client, Gateway, Redis, assert_same, requests, wait};

/// A gateway whose subscribers share a connection to `redis`.
fn gateway(redis: &Redis) -> Gateway {
    Gateway::builder().upstream(&redis.url()).config("[pubsub]\nmode = \"shared\"").start()
}

/// Messages as both protocols write them.
fn message(protocol: u8, channel: &str, text: &str) -> String {
    let mark = if protocol == 3 { '>' } else { '*' };
    format!("{mark}3\r\n$7\r\nmessage\r\n${}\r\n{channel}\r\n${}\r\n{text}\r\n", channel.len(), text.len())
}

fn confirmation(protocol: u8, command: &str, name: &str, count: usize) -> String {
    let mark = if protocol == 3 { '>' } else { '*' };
    format!("{mark}3\r\n${}\r\n{command}\r\n${}\r\n{name}\r\n:{count}\r\n", command.len(), name.len())
}

#[track_caller]
fn expect(client: &mut Client, text: &str) {
    assert_eq!(String::from_utf8_lossy(&client.read_reply()), text);
}

/// How many the upstream counts as subscribed to `channel`.
fn subscribers(redis: &mut Client, channel: &str) -> usize {
    let reply = String::from_utf8(redis.line(&format!("PUBSUB NUMSUB {channel}"))).expect("text");
    let count = reply.trim_end().rsplit(':').next().expect("a count");
    count.parse().expect("a number")
}

/// The upstream's clients whose line holds `text`.
fn clients(redis: &mut Client, text: &str) -> Vec<String> {
    let list = String::from_utf8(redis.line("CLIENT LIST")).expect("text");
    list.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// Waits until the upstream has no subscription left.
#[track_caller]
fn wait_unsubscribed(redis: &mut Client) {
    wait("the upstream to have no subscriptions", || {
        let busy = |line: &String| !line.contains(" sub=0 ") || !line.contains(" psub=0 ");
        (!clients(redis, "name=respool").iter().any(busy)).then_some(())
    });
}

/// Requests of a subscriber, none of whose replies come in an order that Redis leaves to chance; lines after `>` are published by another client between them. Each is followed by
/// the number of messages that come of it.
const CONVERSATIONS: &[&[(&str, usize)]] = &[
    &[("SUBSCRIBE a b", 2), ("> PUBLISH a hi", 1), ("> PUBLISH c no", 0), ("SUBSCRIBE a", 1), ("UNSUBSCRIBE b a", 2)],
    &[("SUBSCRIBE a a b a", 4), ("PSUBSCRIBE a* a*", 2), ("> PUBLISH a m", 2), ("UNSUBSCRIBE a a", 2)],
    &[("PSUBSCRIBE x* y*", 2), ("> PUBLISH xx 1", 1), ("PUNSUBSCRIBE nope", 1), ("PUNSUBSCRIBE x*", 1)],
    &[("SSUBSCRIBE s t", 2), ("SUBSCRIBE q", 1), ("> SPUBLISH s m", 1), ("SUNSUBSCRIBE s", 1), ("SUNSUBSCRIBE", 1)],
    &[("UNSUBSCRIBE", 1), ("PUNSUBSCRIBE a b", 2), ("SUNSUBSCRIBE", 1), ("SUBSCRIBE", 1), ("GET nothing", 1)],
    &[("SUBSCRIBE a", 1), ("RESET", 1), ("> PUBLISH a lost", 0), ("GET nothing", 1)],
    &[("CLIENT REPLY OFF", 0), ("SUBSCRIBE a", 1), ("> PUBLISH a x", 1), ("UNSUBSCRIBE", 1)],
    &[("PSUBSCRIBE __keyspace@0__:*", 1), ("> SET noted 1", 1), ("> DEL noted", 1), ("PUNSUBSCRIBE", 1)],
];

fn converse(subscriber: &mut Client, other: &mut Client, conversation: &[(&str, usize)]) -> Vec<u8> {
    let mut seen = Vec::new();
    for (line, messages) in conversation {
        match line.strip_prefix("> ") {
            Some(line) => drop(other.line(line)),
            None => subscriber.send_raw(&requests(&[line])),
        }
        subscriber.read_replies(*messages).iter().for_each(|message| seen.extend(message));
    }
    // Not by QUIT, on which Redis does not close a client whose replies are off.
    subscriber.half_close();
    seen.extend(subscriber.read_to_end());
    seen
}

#[test]
fn subscribers_see_what_redis_would_have_sent() {
    let redis = Redis::start(&["--notify-keyspace-events", "KEA"]);
    for gateway in [gateway(&redis), Gateway::start(&redis.url())] {
        compare_conversations(&redis, &gateway);
    }
}

fn compare_conversations(redis: &Redis, gateway: &Gateway) {
    for hello in ["HELLO 2", "HELLO 3"] {
        for conversation in CONVERSATIONS {
            let [direct, through] = [redis.client(), gateway.client()].map(|mut subscriber| {
                subscriber.line(hello);
                converse(&mut subscriber, &mut redis.client(), conversation)
            });
            assert_same(&through, &direct, &format!("{hello}, {conversation:?}"));
        }
    }
    wait_unsubscribed(&mut redis.client());
}

#[test]
fn resp2_subscribers_may_do_what_redis_lets_them() {
    let redis = Redis::start(&[]);
    for gateway in [gateway(&redis), Gateway::start(&redis.url())] {
        compare_restrictions(&redis, &gateway);
    }
}

fn compare_restrictions(redis: &Redis, gateway: &Gateway) {
    let lines = [
        "GET k",
        "CONFIG GET timeout",
        "CLIENT ID",
        "PING",
        "PING x",
        "PING x y",
        "HELLO 2",
        "MULTI",
        "EXEC",
        "WATCH k",
        "BLPOP k 1",
        "SELECT 1",
        "ECHO x",
        "AUTH x",
        "RESET",
        "GET k",
    ];
    let [direct, through] = [redis.client(), gateway.client()].map(|mut client| {
        client.line("SUBSCRIBE a");
        client.send_raw(&requests(&lines));
        client.read_replies(lines.len())
    });
    for (line, (direct, through)) in lines.iter().zip(direct.iter().zip(&through)) {
        assert_same(through, direct, line);
    }
}

#[test]
fn one_connection_and_one_subscription_serve_all() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis);
    let mut direct = redis.client();
    let mut subscribers_of_it: Vec<Client> = (0..50).map(|_| gateway.client()).collect();
    for (index, client) in subscribers_of_it.iter_mut().enumerate() {
        let protocol = 2 + u8::from(index % 2 == 1);
        client.line(&format!("HELLO {protocol}"));
        client.expect("SUBSCRIBE news", &confirmation(protocol, "subscribe", "news", 1));
    }
    assert_eq!(subscribers(&mut direct, "news"), 1);
    assert_eq!(clients(&mut direct, "name=respool-pubsub").len(), 1);
    assert_eq!(clients(&mut direct, "name=respool-exclusive").len(), 0);
    assert_eq!(gateway.client().line("PUBLISH news hello"), b":1\r\n", "the gateway counts as one");
    for (index, client) in subscribers_of_it.iter_mut().enumerate() {
        expect(client, &message(2 + u8::from(index % 2 == 1), "news", "hello"));
    }
    subscribers_of_it.truncate(1);
    direct.line("PUBLISH news again");
    expect(&mut subscribers_of_it[0], &message(2, "news", "again"));
    drop(subscribers_of_it);
    wait_unsubscribed(&mut direct);
}

#[test]
fn messages_of_several_channels_keep_their_order() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis);
    let (mut subscriber, mut publisher) = (gateway.client(), redis.client());
    subscriber.send_raw(&requests(&["SUBSCRIBE a b c", "PSUBSCRIBE *"]));
    subscriber.read_replies(4);
    let script = "for i=1,200 do redis.call('publish', ({'a','b','c','d'})[i % 4 + 1], i) end";
    publisher.call(&["EVAL", script, "0"]);
    for number in 1..=200 {
        let channel = ["a", "b", "c", "d"][number % 4];
        let text = number.to_string();
        if channel != "d" {
            expect(&mut subscriber, &message(2, channel, &text));
        }
        let length = text.len();
        expect(
            &mut subscriber,
            &format!("*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\n{channel}\r\n${length}\r\n{text}\r\n"),
        );
    }
}

#[test]
fn every_way_of_leaving_ends_the_subscription() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis);
    let mut direct = redis.client();
    for way in ["UNSUBSCRIBE", "RESET", "QUIT", "gone", "killed", "half closed"] {
        let mut client = gateway.client();
        client.send_raw(&requests(&["CLIENT ID", "SUBSCRIBE a", "PSUBSCRIBE a*", "SSUBSCRIBE a"]));
        let replies = client.read_replies(4);
        assert_eq!(subscribers(&mut direct, "a"), 1, "{way}");
        match way {
            "gone" => client.reset(),
            "half closed" => {
                client.half_close();
                client.expect_closed();
            }
            "killed" => {
                let id = String::from_utf8_lossy(&replies[0][1..]).trim_end().to_owned();
                gateway.client().expect(&format!("CLIENT KILL ID {id}"), ":1\r\n");
            }
            "UNSUBSCRIBE" => {
                client.send_raw(&requests(&["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "PING"]));
                client.read_replies(3);
                expect(&mut client, "+PONG\r\n");
            }
            way => drop(client.line(way)),
        }
        wait_unsubscribed(&mut direct);
        assert_eq!(subscribers(&mut direct, "a"), 0, "{way}");
    }
}

#[test]
fn resp3_subscribers_go_on_with_ordinary_commands() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis);
    let (mut client, mut direct) = (gateway.client(), redis.client());
    client.line("HELLO 3");
    client.expect("SUBSCRIBE a", &confirmation(3, "subscribe", "a", 1));
    client.expect("SET k v", "+OK\r\n");
    direct.line("PUBLISH a one");
    expect(&mut client, &message(3, "a", "one"));
    client.expect("MULTI", "+OK\r\n");
    direct.line("PUBLISH a two");
    expect(&mut client, &message(3, "a", "two"));
    client.expect("GET k", "+QUEUED\r\n");
    client.expect("EXEC", "*1\r\n$1\r\nv\r\n");
    client.send(&["BLPOP", "queue", "0"]);
    wait("BLPOP to block", || (clients(&mut direct, "cmd=blpop").len() == 1).then_some(()));
    direct.line("PUBLISH a three");
    expect(&mut client, &message(3, "a", "three"));
    direct.line("RPUSH queue x");
    expect(&mut client, "*2\r\n$5\r\nqueue\r\n$1\r\nx\r\n");
    client.line("HELLO 2");
    direct.line("PUBLISH a four");
    expect(&mut client, &message(2, "a", "four"));
    assert!(client.line("GET k").starts_with(b"-ERR Can't execute 'get'"));
}

#[test]
fn a_transaction_cannot_change_subscriptions() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis);
    let mut client = gateway.client();
    for open in [&["MULTI"][..], &["WATCH k", "MULTI"]] {
        client.send_raw(&requests(open));
        client.read_replies(open.len());
        let refusal = client.line("SUBSCRIBE a");
        assert!(refusal.starts_with(b"-ERR respool: "), "{refusal:?}");
        client.expect("SET k v", "+QUEUED\r\n");
        client.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
        client.expect("EXISTS k", ":0\r\n");
    }
    client.expect("SUBSCRIBE a", &confirmation(2, "subscribe", "a", 1));
}

#[test]
fn the_embedded_upstream_has_channels_too() {
    let gateway = Gateway::builder().config("[pubsub]\nmode = \"shared\"").start();
    let mut subscribers = [gateway.client(), gateway.client()];
    for client in &mut subscribers {
        client.expect("SUBSCRIBE a", &confirmation(2, "subscribe", "a", 1));
    }
    gateway.client().expect("PUBLISH a hello", ":1\r\n");
    for client in &mut subscribers {
        expect(client, &message(2, "a", "hello"));
    }
    let refusal = gateway.client().line("PSUBSCRIBE a*");
    assert!(refusal.starts_with(b"-ERR unknown command"), "{refusal:?}");
}
