//! Transactions beside a direct Redis: one that holds a request which does not run does not run either, whoever refused
//! the request, and however the client sends it.

use crate::support::{Client, Gateway, Redis, assert_own_error, assert_same, requests, wait};

const EXEC_ABORT: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

/// Requests that the gateway refuses, with this list of denied commands.
const REFUSED: [&str; 6] =
    ["FLUSHALL", "CONFIG GET save", "SYNC", "SCRIPT DEBUG yes", "RESPOOL STATS", "SUBSCRIBE a b"];
const DENY: &str = "[commands]\ndeny = [\"flushall\", \"config|get\"]";

/// Replies to `lines`, sent in one piece or step by step.
fn replies(client: &mut Client, lines: &[&str], at_once: bool) -> Vec<String> {
    let shown = |reply: Vec<u8>| String::from_utf8_lossy(&reply).into_owned();
    if at_once {
        client.send_raw(&requests(lines));
        client.read_replies(lines.len()).into_iter().map(shown).collect()
    } else {
        lines.iter().map(|line| shown(client.line(line))).collect()
    }
}

/// No session borrows a connection any more.
fn wait_until_nothing_is_lent(gateway: &Gateway) {
    let mut operator = gateway.client();
    wait("the connections to be given back", || {
        let pools = String::from_utf8_lossy(&operator.line("RESPOOL POOLS")).into_owned();
        pools.contains("exclusive_lent\r\n:0\r\n").then_some(())
    });
}

#[test]
fn a_refused_request_in_a_transaction_aborts_it_like_one_that_redis_refuses() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config(DENY).start();
    let (mut client, mut direct) = (gateway.client(), redis.client());
    for at_once in [true, false] {
        for refused in REFUSED {
            for protocol in ["2", "3"] {
                client.call(&["HELLO", protocol]);
                direct.call(&["HELLO", protocol]);
                let lines = ["SET before 1", "MULTI", "SET x 1", refused, "SET y 1", "EXEC", "EXISTS x y", "PING"];
                let found = replies(&mut client, &lines, at_once);
                let expected =
                    replies(&mut direct, &lines.map(|line| if line == refused { "NOSUCH" } else { line }), at_once);
                for index in (0..lines.len()).filter(|index| *index != 3) {
                    assert_eq!(found[index], expected[index], "{} with {refused}, at once: {at_once}", lines[index]);
                }
                assert_own_error(found[3].as_bytes());
            }
        }
    }
    wait_until_nothing_is_lent(&gateway);
}

#[test]
fn a_refused_request_aborts_a_transaction_whose_replies_are_off_and_one_after_watch() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config(DENY).start();
    for at_once in [true, false] {
        let mut client = gateway.client();
        let lines = ["CLIENT REPLY OFF", "MULTI", "SET x 1", "FLUSHALL", "EXEC", "CLIENT REPLY ON"];
        if at_once {
            client.send_raw(&requests(&lines));
        } else {
            lines.iter().for_each(|line| client.send_raw(&requests(&[line])));
        }
        assert_eq!(client.read_reply(), b"+OK\r\n", "nothing but the reply to CLIENT REPLY ON");
        client.expect("EXISTS x", ":0\r\n");
        let found = replies(&mut client, &["WATCH k", "MULTI", "SET x 1", "SYNC", "EXEC", "EXISTS x"], at_once);
        assert_eq!((found[4].as_str(), found[5].as_str()), (EXEC_ABORT, ":0\r\n"));
        let found = replies(&mut client, &["MULTI", "SET x 1", "SYNC", "DISCARD", "MULTI", "ECHO b", "EXEC"], at_once);
        assert_eq!((found[3].as_str(), found[6].as_str()), ("+OK\r\n", "*1\r\n$1\r\nb\r\n"));
    }
    wait_until_nothing_is_lent(&gateway);
}
