//! What is pushed and what answers, beside a direct Redis: a client's data may hold the words of pub/sub, and its replies
//! are replies all the same.

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
