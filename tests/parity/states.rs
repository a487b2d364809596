//! Requests of every kind in every state that a connection can be in, beside a direct Redis, byte for byte: what the
//! gateway answers itself, what it lends a connection for, and what it passes on, as the first request in that state and
//! with others behind it.

use crate::support::{Client, Gateway, Redis, assert_same, requests};

/// What brings a connection into each state.
const STATES: [&[&str]; 25] = [
    &[],
    &["HELLO 3"],
    &["SELECT 3"],
    &["SELECT 99"],
    &["CLIENT NO-EVICT ON"],
    &["MULTI"],
    &["MULTI", "SET k 2"],
    &["MULTI", "NOSUCH"],
    &["MULTI", "HELLO 3"],
    &["MULTI", "SUBSCRIBE c"],
    &["HELLO 3", "MULTI"],
    &["WATCH w"],
    &["WATCH w", "MULTI"],
    &["WATCH w", "SELECT 3"],
    &["HELLO 3", "WATCH w"],
    &["SUBSCRIBE c"],
    &["PSUBSCRIBE c*"],
    &["SSUBSCRIBE c"],
    &["HELLO 3", "SUBSCRIBE c"],
    &["HELLO 3", "SUBSCRIBE c", "HELLO 2"],
    &["SUBSCRIBE c", "UNSUBSCRIBE c"],
    &["HELLO 3", "SELECT 2", "MULTI", "RESET"],
    &["CLIENT REPLY OFF"],
    &["CLIENT REPLY SKIP"],
    &["CLIENT REPLY OFF", "MULTI", "SET k 2"],
];

/// Requests. Left out are those that name a number of their own, as ids are another on each side, and those that wait:
/// a client which has gone meanwhile gets nothing of them.
const REQUESTS: [&str; 91] = [
    "PING",
    "PING x",
    "PING x y",
    "ECHO x",
    "ECHO",
    "GET k",
    "GET",
    "SET k 3",
    "SELECT 1",
    "SELECT 99",
    "SELECT x",
    "SELECT",
    "SELECT -1",
    "SELECT 1 2",
    "SELECT 99999999999",
    "SELECT -99999999999",
    "AUTH",
    "AUTH x",
    "AUTH default x",
    "AUTH nobody x",
    "AUTH a b c",
    "HELLO 4",
    "HELLO x",
    "HELLO 3 AUTH nobody x",
    "HELLO 3 NOPE",
    "HELLO 3 AUTH x",
    "HELLO 2 SETNAME",
    "RESET",
    "RESET x",
    "CLIENT",
    "CLIENT NOPE",
    "CLIENT GETNAME",
    "CLIENT GETNAME x",
    "CLIENT SETNAME n",
    "CLIENT SETNAME",
    "CLIENT ID x",
    "CLIENT INFO x",
    "CLIENT REPLY ON",
    "CLIENT REPLY OFF",
    "CLIENT REPLY SKIP",
    "CLIENT REPLY x",
    "CLIENT REPLY",
    "CLIENT NO-EVICT ON",
    "CLIENT NO-EVICT x",
    "CLIENT UNBLOCK 999999",
    "CLIENT UNBLOCK x",
    "CLIENT UNBLOCK 1 x",
    "CLIENT KILL 1.2.3.4:5",
    "CLIENT KILL ID 999999",
    "CLIENT KILL ID x",
    "CLIENT KILL",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKING x",
    "CLIENT CACHING YES",
    "CLIENT LIST ID x",
    "CLIENT LIST TYPE x",
    "CLIENT LIST x",
    "MULTI",
    "MULTI x",
    "EXEC",
    "EXEC x",
    "DISCARD",
    "DISCARD x",
    "WATCH",
    "WATCH w",
    "WATCH w v",
    "UNWATCH",
    "UNWATCH x",
    "SUBSCRIBE",
    "SUBSCRIBE c",
    "SUBSCRIBE d",
    "UNSUBSCRIBE c",
    "UNSUBSCRIBE z",
    "PSUBSCRIBE",
    "PSUBSCRIBE p*",
    "PUNSUBSCRIBE p*",
    "SSUBSCRIBE c",
    "SUNSUBSCRIBE c",
    "PUBLISH d m",
    "PUBLISH",
    "SPUBLISH d m",
    "XREAD STREAMS s 0",
    "EVAL return+1 0",
    "EVALSHA x 0",
    "SCRIPT EXISTS x",
    "SCRIPT NOPE",
    "NOSUCH",
    "NOSUCH a b",
    "LPUSH k x",
    "LRANGE l 0 -1",
    "ACL WHOAMI",
];

/// What follows, so that a state which is not the same shows.
const FOLLOW: [&str; 5] = ["GET k", "EXEC", "CLIENT REPLY ON", "PING m", "CLIENT GETNAME"];

/// All that comes in answer to `lines`, which the client sends in one piece before it says that it is done.
fn answers(mut client: Client, lines: &[&str]) -> Vec<u8> {
    client.send_raw(&requests(&["FLUSHALL", "SET k 1", "RPUSH l message b", "XADD s 1-1 f v"]));
    client.read_replies(4);
    client.send_raw(&requests(lines));
    client.half_close();
    mask_ids(client.read_to_end())
}

/// `HELLO` and `CLIENT INFO` tell an id.
fn mask_ids(bytes: Vec<u8>) -> Vec<u8> {
    const BEFORE: &[u8] = b"$2\r\nid\r\n:";
    let Some(at) = bytes.windows(BEFORE.len()).position(|part| part == BEFORE) else { return bytes };
    let (head, rest) = bytes.split_at(at + BEFORE.len());
    let end = rest.iter().position(|byte| *byte == b'\r').unwrap_or(rest.len());
    [head, b"N", &mask_ids(rest[end..].to_vec())].concat()
}

#[test]
fn every_request_in_every_state_gets_the_bytes_that_redis_sends() {
    let (upstream, redis) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::builder().upstream(&upstream.url()).allow("login refused").start();
    for state in STATES {
        for request in REQUESTS {
            let lines = [state, &[request], &FOLLOW].concat();
            let found = answers(gateway.client(), &lines);
            assert_same(&found, &answers(redis.client(), &lines), &format!("{lines:?}"));
        }
    }
}
