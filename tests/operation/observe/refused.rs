//! What the log says of clients and requests that are refused, by the thousand: lines that count, one at once and then
//! one a second for each kind, whose counts add up.

use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Logs, Redis, request, requests, users, wait};

/// The lines that hold `text`.
fn lines(gateway: &Gateway, text: &str) -> Vec<String> {
    gateway.logs().lines().into_iter().filter(|line| line.contains(text)).collect()
}

fn count(line: &str) -> u64 {
    let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
    line["fields"]["count"].as_u64().unwrap_or_else(|| panic!("no count in {line}"))
}

/// Waits until lines that hold `text` count `total` together; they are few.
#[track_caller]
fn assert_told(gateway: &Gateway, text: &str, total: u64, since: Instant) -> Vec<String> {
    let told = wait(&format!("{total} told of as {text:?}"), || {
        let lines = lines(gateway, text);
        (lines.iter().map(|line| count(line)).sum::<u64>() >= total).then_some(lines)
    });
    assert_eq!(told.iter().map(|line| count(line)).sum::<u64>(), total, "{told:#?}");
    let seconds = usize::try_from(since.elapsed().as_secs()).expect("few");
    assert!(told.len() <= 2 + seconds, "{} lines in {seconds} s: {told:#?}", told.len());
    told
}

#[test]
fn thousands_of_refusals_are_told_in_a_few_lines_that_count_them() {
    let redis = Redis::start(&[]);
    let config =
        "[commands]\ndeny = [\"keys\", \"config|set\"]\n[clients]\nclients_max = 4\n[pool]\nreply_timeout_ms = 1000";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow_lost_upstream().start();
    let (since, mut client) = (Instant::now(), gateway.client());
    client.send_raw(&requests(&["KEYS *", "CONFIG SET timeout 0", "SYNC"]).repeat(500));
    assert!(client.read_replies(1500).iter().all(|reply| reply.starts_with(b"-ERR respool: ")));
    let told = assert_told(&gateway, "their commands are denied", 1500, since);
    let named = |line: &String| Logs::field(line, "command").expect("a command");
    assert!(told.iter().all(|line| ["KEYS", "CONFIG|SET", "SYNC"].contains(&named(line).as_str())), "{told:?}");

    let since = Instant::now();
    for _ in 0..30 {
        let mut garbage = gateway.client();
        garbage.send_raw(b"*1\r\n:1\r\n");
        garbage.read_to_end();
    }
    assert_told(&gateway, "what is no request", 30, since);
    let since = Instant::now();
    for _ in 0..30 {
        let mut web = gateway.client();
        web.send_raw(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        web.expect_closed();
    }
    assert_told(&gateway, "speak HTTP", 30, since);

    let since = Instant::now();
    let _others: Vec<Client> = (0..3)
        .map(|_| {
            let mut other = gateway.client();
            other.expect("PING", "+PONG\r\n");
            other
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(gateway.client().read_to_end(), b"-ERR max number of clients reached\r\n");
    }
    let told = assert_told(&gateway, "clients_max was reached", 50, since);
    assert!(told.iter().all(|line| line.contains("127.0.0.1:")), "{told:?}");

    // So that its next requests go together, and are late together.
    client.send_raw(&request(&["PING"]).repeat(100));
    assert!(client.read_replies(100).iter().all(|reply| reply == b"+PONG\r\n"));
    let since = Instant::now();
    redis.freeze();
    client.send_raw(&request(&["INCR", "n"]).repeat(20));
    let replies = client.read_replies(20);
    let late = |reply: &Vec<u8>| reply.starts_with(b"-ERR respool: reply_timeout_ms");
    assert!(
        replies.iter().all(late),
        "{:?}",
        replies.iter().map(|reply| String::from_utf8_lossy(reply)).collect::<Vec<_>>()
    );
    redis.thaw();
    let told = assert_told(&gateway, "\"kind\":\"reply_timeout\"", 20, since);
    assert!(told.iter().all(|line| line.contains("\"WARN\"") && line.contains("requests failed")), "{told:?}");
}

#[test]
fn logins_that_are_refused_or_missing_are_told_with_who_it_was() {
    let redis = Redis::start(&[]);
    let config = "[auth]\nadmins = [\"root\"]\nfailure_delay_ms = 0\nfailures_max = 1_000_000";
    let who = users(&[("app", "one"), ("root", "one")]);
    let builder = Gateway::builder().upstream(&redis.url()).config(config).config(&who);
    let mut gateway = builder.allow("login refused").start();
    let (since, mut client) = (Instant::now(), gateway.client());
    client.send_raw(&request(&["AUTH", "app", "wrong"]).repeat(1000));
    client.read_replies(1000);
    let told = assert_told(&gateway, "login refused", 1000, since);
    assert!(told.iter().all(|line| Logs::field(line, "user").as_deref() == Some("app")), "{told:?}");
    client.call(&["AUTH", "\x1b[31m\r\nevil\"", "wrong"]);
    assert_told(&gateway, r"\\x1b[31m\\r\\nevil", 1, since);
    client.send_raw(&request(&["GET", "k"]).repeat(1000));
    client.read_replies(1000);
    assert_told(&gateway, "have not logged in", 1000, since);
    client.expect("AUTH app one", "+OK\r\n");
    client.send_raw(&requests(&["RESPOOL POOLS"]).repeat(1000));
    client.read_replies(1000);
    assert_told(&gateway, "requests for the console refused", 1000, since);

    // What has gathered when it ends is told then.
    client.send_raw(&requests(&["RESPOOL POOLS"]).repeat(10));
    client.read_replies(10);
    gateway.terminate();
    gateway.wait_end(crate::support::DEADLINE);
    assert_told(&gateway, "requests for the console refused", 1010, since);
}

#[test]
fn clients_that_do_not_log_in_in_time_are_told_of() {
    let redis = Redis::start(&[]);
    let config = "[auth]\nlogin_timeout_ms = 100";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).config(&users(&[("app", "one")])).start();
    let since = Instant::now();
    let mut silent: Vec<Client> = (0..20).map(|_| gateway.client()).collect();
    silent.iter_mut().for_each(Client::expect_closed);
    assert!(since.elapsed() >= Duration::from_millis(100));
    assert_told(&gateway, "login_timeout_ms passed", 20, since);
}
