//! What changes about a user while it has clients, in each state that these can be in: they are told, or closed, as by
//! Redis directly.

use std::{io, time::Duration};

use super::{NARROW, WRONG, gateway, logged_in, ops, redis};
use crate::support::{Client, Redis, pass, requests, wait};

/// What is done with two clients of one user, of which one talks to Redis directly.
struct Case {
    /// What brings both into a state, a reply each; the last one waits for its reply if it blocks.
    before: &'static [&'static str],
    /// What an operator does then.
    change: &'static [&'static str],
    /// What they send afterwards. Nothing: they are told something by itself, or closed.
    after: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case { before: &[], change: &["ACL SETUSER u off"], after: &["GET app:1", "PING"] },
    Case { before: &[], change: &["ACL SETUSER u resetpass >other"], after: &["GET app:1", "PING"] },
    Case {
        before: &[],
        change: &["ACL SETUSER u resetkeys -@all +get %R~app:*"],
        after: &["GET app:1", "SET app:1 x", "PING"],
    },
    Case { before: &["BLPOP app:q 0"], change: &["ACL SETUSER u off", "RPUSH app:q v v"], after: &["", "GET app:1"] },
    Case {
        before: &["BLPOP app:q 0"],
        change: &["ACL SETUSER u resetkeys ~x:* -blpop", "RPUSH app:q v v"],
        after: &["", "BLPOP app:q 1", "GET app:1"],
    },
    Case { before: &["SUBSCRIBE a"], change: &["ACL SETUSER u off", "PUBLISH a x"], after: &["", "PING"] },
    Case { before: &["SUBSCRIBE a"], change: &["ACL SETUSER u resetchannels &b"], after: &[""] },
    Case { before: &["SSUBSCRIBE a"], change: &["ACL SETUSER u resetchannels &b"], after: &[""] },
    // The same pattern, and not one that it matches.
    Case {
        before: &["PSUBSCRIBE a.*"],
        change: &["ACL SETUSER u resetchannels &a.*", "PUBLISH a.b x"],
        after: &["", "PING", "PUNSUBSCRIBE", "PSUBSCRIBE a.b", "PSUBSCRIBE a.*"],
    },
    Case { before: &["PSUBSCRIBE a.*"], change: &["ACL SETUSER u resetchannels &a*"], after: &[""] },
    Case { before: &["MULTI", "SET app:9 1"], change: &["ACL SETUSER u -set"], after: &["EXEC", "GET app:9"] },
    Case {
        before: &["MULTI", "GET app:1", "ACL WHOAMI"],
        change: &["ACL SETUSER u resetkeys ~x:*"],
        after: &["GET app:1", "EXEC", "MULTI", "EXEC"],
    },
    Case { before: &["MULTI", "GET app:1"], change: &["ACL SETUSER u off"], after: &["EXEC", "RESET"] },
    Case {
        before: &["WATCH app:1"],
        change: &["ACL SETUSER u -multi"],
        after: &["MULTI", "GET app:1", "EXEC", "UNWATCH"],
    },
    Case { before: &["MONITOR"], change: &["ACL DELUSER u"], after: &[""] },
    Case { before: &["HELLO 3", "CLIENT TRACKING ON"], change: &["ACL DELUSER u"], after: &[""] },
];

/// What one is told: a reply, or that the connection has ended.
fn told(client: &mut Client, line: &str) -> String {
    let reply = if line.is_empty() { client.try_read_reply() } else { client.try_line(line).map(Some) };
    match reply {
        Ok(Some(reply)) => String::from_utf8_lossy(&reply).into_owned(),
        Ok(None) => "closed".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => "closed".to_owned(),
        Err(error) => panic!("{line:?}: {error}"),
    }
}

#[test]
fn in_each_state_a_change_means_what_it_means_to_a_client_of_redis() {
    let redis = redis("off");
    let gateway = gateway(&redis, "");
    let mut direct = ops(&redis);
    for (number, case) in CASES.iter().enumerate() {
        direct.expect("ACL SETUSER u reset on >u ~* &* +@all", "+OK\r\n");
        direct.line("DEL app:q app:9");
        let mut clients = [logged_in(&gateway, "u"), redis.client()];
        clients[1].expect("AUTH u u", "+OK\r\n");
        // So that there is a connection already.
        clients[0].expect("GET app:1", "$3\r\none\r\n");
        let blocks = case.before.last().is_some_and(|line| line.starts_with("BLPOP"));
        for (at, line) in case.before.iter().enumerate() {
            for client in &mut clients {
                client.send_raw(&requests(&[line]));
                if !blocks || at + 1 < case.before.len() {
                    client.read_reply();
                }
            }
        }
        if blocks {
            let mut info = || String::from_utf8_lossy(&direct.line("INFO clients")).into_owned();
            wait("both to block", || info().contains("blocked_clients:2\r").then_some(()));
        }
        for line in case.change {
            let done = direct.line(line);
            assert!(!done.starts_with(b"-"), "{line}: {}", String::from_utf8_lossy(&done));
        }
        for line in case.after {
            let [through, direct] = clients.each_mut().map(|client| told(client, line));
            assert_eq!(through, direct, "{line:?} in case {number}, after {:?} and {:?}", case.before, case.change);
        }
    }
}

#[test]
fn a_user_that_may_only_write_and_wait_waits_for_its_last_write() {
    let redis = redis("off");
    let (gateway, mut direct) = (gateway(&redis, ""), ops(&redis));
    direct.expect("ACL SETUSER writer on >writer ~* -@all +set +wait", "+OK\r\n");
    let of = format!("127.0.0.1 {}", redis.address().port());
    let login = ["--masteruser", "ops", "--masterauth", "ops", "--repl-diskless-sync-delay", "0"];
    let replica = Redis::start(&[&["--replicaof", &of], &login[..]].concat());
    wait("the replica to follow", || (direct.line("WAIT 1 100") == b":1\r\n").then_some(()));
    replica.freeze();
    let mut client = logged_in(&gateway, "writer");
    for _ in 0..3 {
        client.expect("SET app:1 v", "+OK\r\n");
        client.expect("WAIT 1 200", ":0\r\n");
    }
    replica.thaw();
    client.expect("WAIT 1 0", ":1\r\n");
    // Nor does a transaction need other rights than its commands.
    direct.expect("ACL SETUSER writer +multi +exec +client|getname", "+OK\r\n");
    client.send_raw(&requests(&["MULTI", "CLIENT GETNAME", "SET app:1 w", "EXEC"]));
    assert_eq!(client.read_replies(4)[3], b"*2\r\n$-1\r\n+OK\r\n");
}

#[test]
fn what_changes_at_the_upstream_holds_at_the_next_command() {
    let redis = redis("off");
    let gateway = gateway(&redis, "");
    let (mut client, mut direct) = (logged_in(&gateway, "narrow"), ops(&redis));
    client.expect("GET app:1", "$3\r\none\r\n");
    direct.expect("ACL SETUSER narrow resetkeys ~else:*", "+OK\r\n");
    assert!(client.line("GET app:1").starts_with(b"-NOPERM"));
    direct.expect("ACL SETUSER narrow ~app:* -get", "+OK\r\n");
    assert!(client.line("GET app:1").starts_with(b"-NOPERM"));
    direct.expect("ACL SETUSER narrow +get", "+OK\r\n");
    client.expect("GET app:1", "$3\r\none\r\n");

    // Another password: the old one is right no longer than it was remembered.
    direct.expect("ACL SETUSER narrow resetpass >other", "+OK\r\n");
    pass(Duration::from_millis(300));
    gateway.client().expect("AUTH narrow narrow", WRONG);
    gateway.client().expect("AUTH narrow other", "+OK\r\n");
    direct.expect("ACL SETUSER narrow nopass", "+OK\r\n");
    gateway.client().expect("AUTH narrow whatever", "+OK\r\n");
}

#[test]
fn what_a_login_asks_of_the_upstream_stands_in_no_log_of_it() {
    let redis = redis("off");
    let (gateway, mut direct) = (gateway(&redis, ""), ops(&redis));
    direct.expect("ACL SETUSER small on >small ~* -@all +get", "+OK\r\n");
    direct.expect("ACL LOG RESET", "+OK\r\n");
    logged_in(&gateway, "small").expect("GET app:1", "$3\r\none\r\n");
    direct.expect("ACL LOG", "*0\r\n");
}

#[test]
fn a_name_that_is_no_text_and_what_would_be_much_to_keep_is_no_login() {
    let redis = redis("off");
    let gateway = gateway(&redis, "");
    ops(&redis).expect("ACL SETUSER any on nopass ~* &* +@all", "+OK\r\n");
    let mut client = gateway.client();
    for (bytes, reply) in [(512, "+OK\r\n"), (513, WRONG)] {
        assert_eq!(client.call(&["AUTH", "any", &"x".repeat(bytes)]), reply.as_bytes(), "{bytes}");
    }
    assert_eq!(client.call(&["HELLO", "2", "AUTH", &"n".repeat(513), "x"]), WRONG.as_bytes());
    client.send_raw(b"*3\r\n$4\r\nAUTH\r\n$1\r\n\xff\r\n$1\r\nx\r\n");
    assert_eq!(client.read_reply(), WRONG.as_bytes());
    client.expect("ACL WHOAMI", "$3\r\nany\r\n");
}

#[test]
fn who_may_change_databases_no_more_leaves_others_of_its_user_alone() {
    let redis = redis("off");
    let (gateway, mut direct) = (gateway(&redis, ""), ops(&redis));
    let (mut moved, mut stays) = (logged_in(&gateway, "wide"), logged_in(&gateway, "wide"));
    moved.expect("SELECT 3", "+OK\r\n");
    moved.expect("SET here 3", "+OK\r\n");
    direct.expect("ACL SETUSER wide -select", "+OK\r\n");
    for _ in 0..3 {
        stays.expect("GET app:1", "$3\r\none\r\n");
        stays.expect("EXISTS here", ":0\r\n");
        let told = moved.line("GET here");
        assert!(told.starts_with(b"-NOPERM"), "{}", String::from_utf8_lossy(&told));
    }
}

#[test]
fn a_user_that_is_deleted_has_no_client_any_more_until_it_is_there_again() {
    let redis = redis("off");
    let gateway = gateway(&redis, "[upstream]\nrefused_delay_max_ms = 60_000");
    let mut direct = ops(&redis);
    for round in 0..3 {
        // Two that wait for nothing, one that blocks, a subscriber, and one in a transaction.
        let mut clients: Vec<Client> = (0..5).map(|_| logged_in(&gateway, "narrow")).collect();
        clients[1].expect("GET app:1", "$3\r\none\r\n");
        clients[2].send(&["BLPOP", "app:queue", "0"]);
        clients[3].line("SUBSCRIBE news.a");
        clients[4].send_raw(&requests(&["WATCH app:1", "MULTI", "SET app:1 x"]));
        clients[4].read_replies(3);
        wait("it to block", || direct.line("CLIENT LIST").windows(9).any(|part| part == b"cmd=blpop").then_some(()));
        direct.expect("ACL DELUSER narrow", ":1\r\n");
        for (number, client) in clients.iter_mut().enumerate() {
            let last = String::from_utf8_lossy(&client.read_to_end()).into_owned();
            let may_say = number == 2 && last.starts_with("-ERR respool: connection to the upstream lost");
            assert!(last.is_empty() || may_say, "client {number} in round {round} is told {last:?}");
        }
        gateway.client().expect("AUTH narrow narrow", WRONG);
        // The next one of the name is not taken for that one.
        direct.expect(&format!("ACL SETUSER narrow {NARROW}"), "+OK\r\n");
        logged_in(&gateway, "narrow").expect("GET app:1", "$3\r\none\r\n");
    }
    logged_in(&gateway, "wide").expect("GET app:1", "$3\r\none\r\n");
}
