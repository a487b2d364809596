//! Transactions beside a direct Redis: one that holds a request which does not run does not run either, whoever refused
//! the request, and however the client sends it.

use crate::support::{Client, Gateway, Redis, assert_own_error, requests, wait};

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

/// A gateway with one connection to lend, and the client that has it.
fn with_the_only_connection_lent(redis: &Redis) -> (Gateway, Client) {
    let config = "[pool]\nexclusive_max = 1\nqueue_timeout_ms = 50";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let mut holder = gateway.client();
    holder.expect("WATCH held", "+OK\r\n");
    (gateway, holder)
}

#[test]
fn a_transaction_after_a_refused_watch_does_not_run_unwatched() {
    let redis = Redis::start(&[]);
    let (gateway, _holder) = with_the_only_connection_lent(&redis);
    let lines = ["WATCH k", "MULTI", "SET x 1", "EXEC", "EXISTS x"];
    for at_once in [true, false] {
        let mut client = gateway.client();
        let found = replies(&mut client, &lines, at_once);
        found[..3].iter().for_each(|reply| assert_own_error(reply.as_bytes()));
        assert_eq!(found[3..], [EXEC_ABORT, ":0\r\n"], "at once: {at_once}");
        // That was the transaction that the WATCH was for.
        client.send_raw(&requests(&["MULTI", "ECHO b", "EXEC"]));
        assert_eq!(client.read_replies(3).concat(), b"+OK\r\n+QUEUED\r\n*1\r\n$1\r\nb\r\n");
        let muted = ["CLIENT REPLY OFF", "WATCH k", "MULTI", "SET x 1", "EXEC", "CLIENT REPLY ON", "EXISTS x"];
        client.send_raw(&requests(&muted));
        assert_eq!(client.read_replies(2).concat(), b"+OK\r\n:0\r\n");
    }
}

#[test]
fn a_refused_watch_counts_until_it_is_repeated_or_taken_back() {
    let redis = Redis::start(&[]);
    let transaction = ["MULTI", "ECHO b", "EXEC"];
    let runs = ["+OK\r\n", "+QUEUED\r\n", "*1\r\n$1\r\nb\r\n"];
    for (lines, may_run) in [
        (&["WATCH k"][..], true),
        (&["UNWATCH"], true),
        (&["RESET"], true),
        (&["WATCH other"], false),
        (&["WATCH k other"], false),
        (&["WATCH other", "UNWATCH"], true),
        (&["EXEC"], false),
        (&["DISCARD"], false),
    ] {
        let (gateway, holder) = with_the_only_connection_lent(&redis);
        let mut client = gateway.client();
        assert_own_error(&client.line("WATCH k"));
        drop(holder);
        wait_until_nothing_is_lent(&gateway);
        replies(&mut client, lines, false);
        let found = replies(&mut client, &transaction, false);
        assert_eq!(found == runs, may_run, "after {lines:?}: {found:?}");
        assert!(may_run || found[2] == EXEC_ABORT, "after {lines:?}: {found:?}");
        assert_eq!(replies(&mut client, &transaction, true), runs, "the one after it, after {lines:?}");
        wait_until_nothing_is_lent(&gateway);
    }
}

#[test]
fn what_follows_a_denied_watch_or_multi_does_not_run_without_it() {
    let redis = Redis::start(&[]);
    let no_watch = Gateway::builder().upstream(&redis.url()).config("[commands]\ndeny = [\"watch\"]").start();
    let nothing = "[commands]\ndeny = [\"multi\", \"exec\", \"discard\"]";
    let no_multi = Gateway::builder().upstream(&redis.url()).config(nothing).start();
    for at_once in [true, false] {
        for (gateway, lines) in [
            (&no_watch, &["WATCH k", "MULTI", "SET x 1", "EXEC", "EXISTS x"][..]),
            (&no_multi, &["MULTI", "SET x 1", "EXEC", "EXISTS x"]),
            (&no_multi, &["WATCH k", "MULTI", "SET x 1", "EXEC x", "EXISTS x"]),
        ] {
            let found = replies(&mut gateway.client(), lines, at_once);
            assert!(found[found.len() - 2].starts_with("-EXECABORT "), "{found:?}");
            assert_eq!(found[found.len() - 1], ":0\r\n", "{found:?}");
            wait_until_nothing_is_lent(gateway);
        }
    }
}

#[test]
fn what_follows_a_select_that_the_gateway_could_not_have_done_does_not_run_in_another_database() {
    let redis = Redis::start(&[]);
    let config = "[pool]\npause_timeout_ms = 200";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("paused").start();
    let (mut client, mut direct) = (gateway.client(), redis.client());
    client.expect("SET k zero", "+OK\r\n");
    gateway.client().line("RESPOOL PAUSE");
    client.send_raw(&requests(&["SELECT 3", "SET k three", "MULTI", "SET k three", "SELECT 99", "EXEC"]));
    let found = client.read_replies(6);
    found[..5].iter().for_each(|reply| assert_own_error(reply));
    assert_eq!(String::from_utf8_lossy(&found[5]), EXEC_ABORT);
    gateway.client().line("RESPOOL RESUME");
    assert_own_error(&client.line("SET k three"));
    direct.expect("GET k", "$4\r\nzero\r\n");
    client.expect("SELECT 3", "+OK\r\n");
    client.expect("SET k three", "+OK\r\n");
    // Redis's own refusal leaves the client where it is.
    client.expect("SELECT 99", "-ERR DB index is out of range\r\n");
    client.expect("GET k", "$5\r\nthree\r\n");
    direct.expect("GET k", "$4\r\nzero\r\n");
}
