//! What is pushed and what answers, beside a direct Redis: a client's data may hold the words of pub/sub, and its replies
//! are replies all the same.

use std::net::SocketAddr;

use crate::support::{Client, Gateway, Redis, assert_same, requests};

/// How messages of pub/sub begin, and words that mean as much elsewhere.
const WORDS: [&str; 10] = [
    "message",
    "pmessage",
    "smessage",
    "subscribe",
    "unsubscribe",
    "psubscribe",
    "sunsubscribe",
    "invalidate",
    "pong",
    "xsubscribe",
];

/// Replies of arrays that begin with `word`, or with an array that does.
fn replies_that_begin_with(word: &str) -> Vec<String> {
    vec![
        format!("DEL l {word}"),
        format!("RPUSH l {word} channel text"),
        "LRANGE l 0 -1".to_owned(),
        "LRANGE l 0 0".to_owned(),
        format!("SET {word} x"),
        format!("MGET {word} l"),
        format!("EVAL return{{'{word}','c',1}} 0"),
        format!("EVAL return{{{{'{word}','c'}}}} 0"),
        format!("ECHO {word}"),
        "MULTI".to_owned(),
        "LRANGE l 0 -1".to_owned(),
        format!("ECHO {word}"),
        "EXEC".to_owned(),
        format!("MULTI"),
        format!("ECHO {word}"),
        "ECHO c".to_owned(),
        "EXEC".to_owned(),
        format!("PING {word}"),
        "INCR n".to_owned(),
    ]
}

fn compare(client: &mut Client, direct: &mut Client, lines: &[String], at_once: bool) {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    if at_once {
        client.send_raw(&requests(&lines));
        direct.send_raw(&requests(&lines));
    }
    for line in lines {
        let (found, expected) =
            if at_once { (client.read_reply(), direct.read_reply()) } else { (client.line(line), direct.line(line)) };
        assert_same(&found, &expected, line);
    }
}

#[test]
fn replies_that_begin_with_words_of_pub_sub_are_replies_whatever_the_connection_is_lent_for() {
    for mode in ["dedicated", "shared"] {
        let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
        let mode = format!("[pubsub]\nmode = \"{mode}\"");
        let gateway = Gateway::builder().upstream(&behind.url()).config(&mode).start();
        for lent_for in
            ["PING", "SUBSCRIBE c", "PSUBSCRIBE p*", "SSUBSCRIBE s", "CLIENT TRACKING ON BCAST PREFIX z", "WATCH w"]
        {
            let (mut client, mut direct) = (gateway.client(), beside.client());
            client.call(&["HELLO", "3"]);
            direct.call(&["HELLO", "3"]);
            assert_same(&client.line(lent_for), &direct.line(lent_for), lent_for);
            for word in WORDS {
                compare(&mut client, &mut direct, &replies_that_begin_with(word), false);
                compare(&mut client, &mut direct, &replies_that_begin_with(word), true);
            }
        }
    }
}

/// What a client gets that sends `lines` in one packet and then asks to be closed.
fn in_one_packet(address: SocketAddr, lines: &[&str]) -> String {
    let mut client = Client::connect(address);
    client.send_raw(&requests(&[lines, &["QUIT"]].concat()));
    String::from_utf8_lossy(&client.read_to_end()).into_owned()
}

/// Requests whose own connection hears of what they do, up to Redis 7.0 in the middle of their replies.
const HEARD_BY_THEMSELVES: &[&[&str]] = &[
    &["HELLO 3", "SUBSCRIBE x", "MULTI", "PUBLISH x hi", "GET k", "EXEC", "ECHO last"],
    &["HELLO 3", "SUBSCRIBE x", "MULTI", "PUBLISH x hi", "GET k", "EXEC", "RESET", "GET k"],
    &["HELLO 3", "SUBSCRIBE x", "MULTI", "PUBLISH x hi", "CLIENT GETNAME", "GET k", "PUBLISH x hi", "EXEC", "PING"],
    &["HELLO 3", "SUBSCRIBE x", "MULTI", "PUBLISH x hi", "CLIENT UNBLOCK 999999", "GET k", "EXEC", "PING"],
    &["HELLO 3", "MULTI", "SUBSCRIBE x", "PUBLISH x hi", "CLIENT GETNAME", "UNSUBSCRIBE x", "EXEC", "PING"],
    &[
        "HELLO 3",
        "SUBSCRIBE x",
        "SET str a",
        "MULTI",
        "PUBLISH x hi",
        "LPUSH str 1",
        "SELECT 2",
        "EXEC",
        "UNSUBSCRIBE x",
        "SET n here",
        "SELECT 2",
        "GET n",
        "SELECT 0",
        "GET n",
    ],
    &["HELLO 3", "SUBSCRIBE x", "MULTI", "PUBLISH x hi", "SELECT 99", "EXEC", "UNSUBSCRIBE x", "SET n here", "GET n"],
    &[
        "HELLO 3",
        "PSUBSCRIBE __key*",
        "ZADD z 1 a 2 b 3 c 4 d",
        "ZPOPMIN z 2",
        "CLIENT GETNAME",
        "ZMPOP 1 z MIN",
        "CLIENT GETNAME",
        "BZPOPMIN z 1",
        "CLIENT GETNAME",
        "ECHO hi",
    ],
    &[
        "HELLO 3",
        "PSUBSCRIBE __key*",
        "ZADD z 1 a 2 b",
        "CLIENT REPLY SKIP",
        "ZPOPMIN z 2",
        "ECHO hi",
        "CLIENT REPLY OFF",
        "ZADD z 1 a",
        "ZPOPMIN z 1",
        "MULTI",
        "ZADD z 1 a",
        "ZPOPMIN z 1",
        "EXEC",
        "MULTI",
        "ZADD z 1 a",
        "CLIENT GETNAME",
        "ZPOPMIN z 1",
        "EXEC",
        "CLIENT REPLY ON",
        "ECHO hi",
    ],
    &["MULTI", "SUBSCRIBE x", "PUBLISH x hi", "CLIENT GETNAME", "EXEC", "UNSUBSCRIBE x", "SET n here", "GET n"],
    &["HELLO 3", "SUBSCRIBE x", "MULTI", "PUBLISH x hi", "UNSUBSCRIBE x", "EXEC", "GET k"],
    &["HELLO 3", "SUBSCRIBE x", "PUBLISH x hi", "CLIENT GETNAME", "PUBLISH x hi", "UNSUBSCRIBE x", "GET k"],
    &["MULTI", "SUBSCRIBE x", "PUBLISH x hi", "EXEC", "UNSUBSCRIBE x", "GET n", "CLIENT GETNAME"],
    &["MULTI", "PSUBSCRIBE __key*__:*", "SET k v", "PUBLISH x hi", "CLIENT GETNAME", "EXEC", "PUNSUBSCRIBE", "GET k"],
    &[
        "RPUSH l message x hi",
        "MULTI",
        "SUBSCRIBE y",
        "LRANGE l 0 -1",
        "PUBLISH x hi",
        "CLIENT GETNAME",
        "EXEC",
        "PING",
    ],
    // Data like a message, and no message, or one more.
    &[
        "RPUSH l message x hi",
        "MULTI",
        "SUBSCRIBE x",
        "LRANGE l 0 -1",
        "CLIENT GETNAME",
        "EXEC",
        "UNSUBSCRIBE",
        "GET k",
    ],
    &["RPUSH l message x hi", "MULTI", "SUBSCRIBE x", "LRANGE l 0 -1", "LRANGE l 0 -1", "DISCARD", "LRANGE l 0 -1"],
    &["RPUSH l message x hi", "HELLO 3", "MULTI", "SUBSCRIBE x", "LRANGE l 0 -1", "CLIENT GETNAME", "EXEC", "GET k"],
    &["RPUSH l message x 1", "MULTI", "SUBSCRIBE x", "PUBLISH x 2", "LRANGE l 0 -1", "EXEC", "UNSUBSCRIBE", "GET k"],
    &["RPUSH l pmessage x y z", "WATCH l", "MULTI", "PSUBSCRIBE x", "LRANGE l 0 -1", "EXEC", "PUNSUBSCRIBE", "GET k"],
    &["RPUSH l message x hi", "MULTI", "SUBSCRIBE x", "LRANGE l 0 -1", "nosuch", "EXEC", "PING", "LRANGE l 0 -1"],
];

#[test]
fn messages_inside_of_the_reply_to_what_caused_them_are_none_of_its_items() {
    for lines in HEARD_BY_THEMSELVES {
        let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
        for redis in [&behind, &beside] {
            redis.client().expect("CONFIG SET notify-keyspace-events KEA", "+OK\r\n");
        }
        let gateway = Gateway::start(&behind.url());
        // Ids of connections are not the same.
        let steady = |got: String| {
            let (before, id) = got.split_once("$2\r\nid\r\n").unwrap_or((&got, ""));
            format!("{before}{}", id.split_once("\r\n").map_or("", |(_, rest)| rest))
        };
        let (found, expected) =
            (steady(in_one_packet(gateway.address(), lines)), steady(in_one_packet(beside.address(), lines)));
        assert_eq!(found, expected, "{lines:?}");
    }
}

/// Confirmations and messages are told from each other, and from the answer to `PING`, by where they stand.
#[test]
fn channels_and_messages_named_like_words_of_pub_sub_are_passed_on_and_counted() {
    for mode in ["dedicated", "shared"] {
        let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
        let mode = format!("[pubsub]\nmode = \"{mode}\"");
        let gateway = Gateway::builder().upstream(&behind.url()).config(&mode).start();
        for protocol in ["2", "3"] {
            let (mut client, mut direct) = (gateway.client(), beside.client());
            let (mut publisher, mut other) = (gateway.client(), beside.client());
            client.call(&["HELLO", protocol]);
            direct.call(&["HELLO", protocol]);
            for word in WORDS {
                let lines = [format!("SUBSCRIBE {word}"), format!("PING {word}"), format!("PSUBSCRIBE {word}*")];
                compare(&mut client, &mut direct, &lines, false);
                let news = format!("PUBLISH {word} {word}");
                assert_same(&publisher.line(&news), &other.line(&news), &news);
                assert_eq!(client.read_replies(2), direct.read_replies(2), "{news}");
                compare(&mut client, &mut direct, &lines, true);
            }
            for word in WORDS {
                let lines = [format!("UNSUBSCRIBE {word}"), format!("PUNSUBSCRIBE {word}*"), "PING".to_owned()];
                compare(&mut client, &mut direct, &lines, false);
            }
            compare(&mut client, &mut direct, &["SET k v".to_owned(), "GET k".to_owned()], true);
        }
    }
}
