//! What one client has the upstream say, or leaves it busy with, costs the others that share its connection
//! nothing: a reply that is nested deep, a refusal that was meant for one, a script or a pause that lasts.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Gateway, Machine, Redis, assert_own_error, pass, request, requests, wait};

/// More than a script of Redis can nest, whose stack has room for 8,000 values.
const LEVELS_MAX: usize = 8_000;

/// A script that never ends.
const ENDLESS: [&str; 3] = ["EVAL", "while true do end", "0"];

/// A script that returns as many tables inside each other.
fn nested(levels: usize) -> Vec<u8> {
    request(&["EVAL", "local t = 'x' for i = 1, ARGV[1] do t = {t} end return t", "0", &levels.to_string()])
}

fn reply_of(levels: usize) -> Vec<u8> {
    [&b"*1\r\n".repeat(levels)[..], b"$1\r\nx\r\n"].concat()
}

/// A value of the console's table of pools.
fn pool_value(client: &mut Client, field: &str) -> String {
    let pools = String::from_utf8_lossy(&client.line("RESPOOL POOLS")).into_owned();
    let (_, after) = pools.split_once(&format!("{field}\r\n")).expect("it is shown");
    after.split("\r\n").next().expect("a value").trim_start_matches(':').to_owned()
}

#[test]
fn a_reply_passes_as_deep_as_redis_nests_it_and_nobody_else_notices() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let (mut direct, mut client, mut other) = (redis.client(), gateway.client(), gateway.client());
    thread::scope(|scope| {
        let deep = scope.spawn(|| {
            for levels in [1, 31, 32, 40, 1000, LEVELS_MAX].repeat(10) {
                let [expected, reply] = [&mut direct, &mut client].map(|client| {
                    client.send_raw(&nested(levels));
                    client.read_reply()
                });
                assert!(reply == expected, "{levels} levels");
                assert!(reply == reply_of(levels) || levels == LEVELS_MAX);
            }
        });
        let mut number = 0;
        while !deep.is_finished() {
            number += 1;
            other.expect("INCR n", &format!(":{number}\r\n"));
        }
    });
    // One level more than a script of Redis makes of it.
    let transaction = [request(&["MULTI"]), nested(LEVELS_MAX), request(&["EXEC"])].concat();
    let [expected, replies] = [&mut direct, &mut client].map(|client| {
        client.send_raw(&transaction);
        client.read_replies(3)
    });
    assert!(replies == expected && replies[2].starts_with(&b"*1\r\n".repeat(7_990)));
}

#[test]
fn a_reply_that_is_nested_deeper_than_it_may_be_fails_its_request_alone() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 1\nreply_depth_max = 10";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let (mut client, mut other) = (gateway.client(), gateway.client());
    for levels in [11, 40, LEVELS_MAX] {
        client.send_raw(&nested(levels));
        other.expect("ECHO mine", "$4\r\nmine\r\n");
        let reply = String::from_utf8_lossy(&client.read_reply()).into_owned();
        assert!(reply.starts_with("-ERR respool: reply_depth_max exceeded"), "{reply}");
        client.send_raw(&nested(10));
        assert_eq!(client.read_reply(), reply_of(10));
    }
    assert_eq!(pool_value(&mut other, "opened"), "1");
}

#[test]
fn a_refusal_of_another_database_is_news_for_those_who_need_it() {
    let redis = Redis::start(&["--busy-reply-threshold", "100"]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let mut clients: Vec<(usize, Client)> = (0..20).map(|number| (number, gateway.client())).collect();
    let mut direct = redis.client();
    for (number, client) in &mut clients {
        if *number % 2 == 1 {
            client.expect("SELECT 9", "+OK\r\n");
        }
        client.expect(&format!("SET k{number} db{}", *number % 2 * 9), "+OK\r\n");
    }
    for round in 0..5 {
        direct.send(&ENDLESS);
        wait("a script that is too long", || redis.client().line("PING").starts_with(b"-BUSY").then_some(()));
        for (number, client) in &mut clients {
            client.send(&["SET", &format!("k{number}"), &format!("busy{round}")]);
        }
        for (_, client) in &mut clients {
            let reply = String::from_utf8_lossy(&client.read_reply()).into_owned();
            assert!(reply.starts_with("-BUSY "), "{reply}");
        }
        redis.client().expect("SCRIPT KILL", "+OK\r\n");
        direct.read_reply();
        for (number, client) in &mut clients {
            let value = format!("db{}", *number % 2 * 9);
            client.expect(&format!("GET k{number}"), &format!("${}\r\n{value}\r\n", value.len()));
        }
    }
    assert_eq!(pool_value(&mut gateway.client(), "opened"), "1", "the connection lived");
}

#[test]
fn a_right_that_is_taken_away_has_nothing_run_in_another_database() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let (mut zero, mut nine, mut direct) = (gateway.client(), gateway.client(), redis.client());
    nine.expect("SELECT 9", "+OK\r\n");
    for _ in 0..3 {
        nine.expect("SET k nine", "+OK\r\n");
        zero.expect("SET k zero", "+OK\r\n");
        direct.expect("ACL SETUSER default -select", "+OK\r\n");
        let refusal = String::from_utf8_lossy(&nine.line("SET k wrong")).into_owned();
        assert!(refusal.starts_with("-NOPERM "), "{refusal}");
        zero.expect("GET k", "$4\r\nzero\r\n");
        direct.expect("ACL SETUSER default +select", "+OK\r\n");
        nine.expect("GET k", "$4\r\nnine\r\n");
    }
    assert_eq!(pool_value(&mut zero, "opened"), "1", "the connection lived");
}

#[test]
fn nobody_waits_behind_a_script_that_never_ends_longer_than_without_the_gateway() {
    let redis = Redis::start(&["--busy-reply-threshold", "1000"]);
    let gateway = Gateway::builder().upstream(&redis.url()).start();
    let (mut endless, mut other) = (gateway.client(), gateway.client());
    other.expect("PING", "+PONG\r\n");
    let (machine, started) = (Machine::watch(), Instant::now());
    endless.send(&ENDLESS);
    pass(Duration::from_millis(200));
    let reply = String::from_utf8_lossy(&other.line("PING")).into_owned();
    assert!(reply.starts_with("-BUSY "), "{reply}");
    machine.assert_within(Duration::from_millis(2500), started.elapsed(), "the first that was BUSY");
    let mut more: Vec<Client> = (0..30).map(|_| gateway.client()).collect();
    for client in &mut more {
        let started = Instant::now();
        assert!(client.line("SET k v").starts_with(b"-BUSY "));
        machine.assert_within(Duration::from_millis(500), started.elapsed(), "a further one");
    }
    redis.client().expect("SCRIPT KILL", "+OK\r\n");
    let reply = String::from_utf8_lossy(&endless.read_reply()).into_owned();
    assert!(reply.contains("Script killed by user"), "{reply}");
}

#[test]
fn nobody_waits_behind_a_write_that_is_paused() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut writer, mut reader) = (gateway.client(), gateway.client());
    reader.expect("GET k", "$-1\r\n");
    let machine = Machine::watch();
    redis.client().expect("CLIENT PAUSE 600000 WRITE", "+OK\r\n");
    writer.send(&["SET", "k", "v"]);
    pass(Duration::from_millis(200));
    // They are answered though the pause goes on, and soon.
    for _ in 0..50 {
        let started = Instant::now();
        reader.expect("GET k", "$-1\r\n");
        machine.assert_within(Duration::from_millis(500), started.elapsed(), "a read beside the write");
    }
    redis.client().expect("CLIENT UNPAUSE", "+OK\r\n");
    assert_eq!(writer.read_reply(), b"+OK\r\n");
    reader.expect("GET k", "$1\r\nv\r\n");
}

#[test]
fn a_read_that_was_sent_just_behind_what_waits_is_answered_from_elsewhere() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut writer, mut reader, mut third) = (gateway.client(), gateway.client(), gateway.client());
    for client in [&mut writer, &mut reader, &mut third] {
        client.expect("SELECT 9", "+OK\r\n");
        client.expect("GET k", "$-1\r\n");
    }
    let machine = Machine::watch();
    for round in 0..10 {
        redis.client().expect("CLIENT PAUSE 600000 WRITE", "+OK\r\n");
        let paused = Instant::now();
        writer.send(&["SET", "k", "v"]);
        reader.expect("GET k", if round == 0 { "$-1\r\n" } else { "$1\r\nv\r\n" });
        third.expect("PING", "+PONG\r\n");
        machine.assert_within(Duration::from_secs(2), paused.elapsed(), "two that were sent behind the write");
        redis.client().expect("CLIENT UNPAUSE", "+OK\r\n");
        assert_eq!(writer.read_reply(), b"+OK\r\n");
    }
}

/// Commands that change their connection, under names that no table knows.
const RENAMED: [(&str, &str); 6] = [
    ("MULTI", "xmulti"),
    ("SUBSCRIBE", "xsubscribe"),
    ("MONITOR", "a-name-of-more-than-thirty-two-bytes"),
    ("CLIENT", "xclient"),
    ("SELECT", "xselect"),
    ("BLPOP", "xblpop"),
];

#[test]
fn a_command_that_the_upstream_has_renamed_changes_no_connection_that_others_share() {
    let args: Vec<&str> = RENAMED
        .iter()
        .flat_map(|(own, name)| ["--rename-command", own, name])
        .chain(["--rename-command", "FLUSHDB", "XF"])
        .collect();
    let redis = Redis::start(&args);
    let config = "[pool]\nworkers = 1\n[commands]\ndeny = [\"RENAME\"]";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let (mut hostile, mut other) = (gateway.client(), gateway.client());
    other.expect("SET k 1", "+OK\r\n");
    for line in ["XMULTI", "xsubscribe c", "a-name-of-more-than-thirty-two-bytes", "xclient REPLY OFF", "xselect 3"] {
        // Asked the first time, known the second.
        for _ in 0..2 {
            assert_own_error(&hostile.line(line));
            other.expect("GET k", "$1\r\n1\r\n");
        }
        // What followed a MULTI would have been part of it.
        let aborted = hostile.line("EXEC");
        assert!(aborted.starts_with(if line == "XMULTI" { b"-EXECABORT" } else { b"-ERR EXEC" }), "{line}");
    }
    hostile.send_raw(&requests(&["XMULTI", "SET k 2", "EXEC", "GET k"]));
    let replies = hostile.read_replies(4);
    assert!(replies[2].starts_with(b"-EXECABORT") && replies[3] == b"$1\r\n1\r\n", "{replies:?}");
    // What leaves its connection as it is goes through, and what waits makes nobody wait.
    hostile.send_raw(&requests(&["nosuch", "xf", "SET k 1", "XBLPOP l 0"]));
    assert_eq!(hostile.read_replies(3)[1..].concat(), b"+OK\r\n+OK\r\n");
    wait("it to block", || {
        let clients = String::from_utf8_lossy(&other.line("INFO clients")).into_owned();
        clients.contains("blocked_clients:1\r\n").then_some(())
    });
    other.expect("GET k", "$1\r\n1\r\n");
    other.expect("RPUSH l x", ":1\r\n");
    assert_eq!(hostile.read_reply(), b"*2\r\n$1\r\nl\r\n$1\r\nx\r\n");
}

#[test]
fn a_command_is_denied_by_any_name() {
    let redis = Redis::start(&["--rename-command", "FLUSHALL", "xf", "--rename-command", "CONFIG", "xc"]);
    let config = "[commands]\ndeny = [\"FLUSHALL\", \"CONFIG|SET\"]";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let mut client = gateway.client();
    client.expect("SET k 1", "+OK\r\n");
    for line in ["FLUSHALL", "xf", "XF", "xc SET maxmemory 1", "MULTI", "xf", "EXEC"] {
        let reply = client.line(line);
        assert!(line == "MULTI" || reply.starts_with(b"-E"), "{line}");
    }
    client.expect("GET k", "$1\r\n1\r\n");
    client.expect("xc GET maxmemory", "*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n");
}

#[test]
fn a_renamed_command_reaches_no_shared_connection_while_the_upstream_is_busy() {
    let redis = Redis::start(&["--rename-command", "MULTI", "xmulti", "--busy-reply-threshold", "50"]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let (mut hostile, mut other, mut endless) = (gateway.client(), gateway.client(), redis.client());
    other.expect("SET k 1", "+OK\r\n");
    endless.send(&ENDLESS);
    wait("the script to be known", || other.line("GET k").starts_with(b"-BUSY").then_some(()));
    // Redis lets a MULTI begin while it is busy.
    assert!(hostile.line("xmulti").starts_with(b"-BUSY"));
    wait("the script to end", || (redis.client().line("SCRIPT KILL") == b"+OK\r\n").then_some(()));
    endless.read_reply();
    other.expect("SET k 2", "+OK\r\n");
    other.expect("GET k", "$1\r\n2\r\n");
    assert_own_error(&hostile.line("xmulti"));
}

#[test]
fn questions_about_unknown_names_count_for_their_user() {
    let redis = Redis::start(&[]);
    let config = "[users.\"*\"]\nrequests_per_second = 10";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let mut client = gateway.client();
    let lines: Vec<String> = (0..200).map(|number| format!("none{number}")).collect();
    client.send_raw(&requests(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
    let refused = client.read_replies(200).iter().filter(|reply| reply.starts_with(b"-ERR respool: ")).count();
    let stats = String::from_utf8_lossy(&redis.client().line("INFO commandstats")).into_owned();
    let asked = stats.lines().find_map(|line| line.strip_prefix("cmdstat_command|info:calls="));
    let asked: usize = asked.and_then(|line| line.split(',').next()?.parse().ok()).expect("it was asked");
    // One was asked by the login.
    assert!(refused > 0 && asked - 1 + refused <= 200, "{asked} asked, {refused} refused");
}
