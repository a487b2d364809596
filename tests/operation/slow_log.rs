//! `RESPOOL SLOWLOG`: what is slow is kept with who sent it and where its time went, within bounds, and without
//! passwords.

use std::{collections::HashMap, time::Duration};

use resp::Value;

use crate::support::{Client, Gateway, Redis, pass, requests, wait};

type Entry = HashMap<String, Value>;

fn string(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes().expect("a string")).into_owned()
}

/// The entries that a console shows in RESP2, the newest first.
#[track_caller]
fn entries(console: &mut Client, line: &str) -> Vec<Entry> {
    let reply = console.line(line);
    let (value, _) = Value::decode(&reply.into()).expect("a reply");
    let Value::Array(rows) = value else { panic!("{line}: {value:?}") };
    let row = |row: &Value| match row {
        Value::Array(cells) => cells.chunks(2).map(|pair| (string(&pair[0]), pair[1].clone())).collect(),
        other => panic!("{line}: {other:?}"),
    };
    rows.iter().map(row).collect()
}

#[track_caller]
fn micros(entry: &Entry, key: &str) -> u64 {
    match entry[key] {
        Value::Integer(number) => u64::try_from(number).expect("no less than 0"),
        ref other => panic!("{key}: {other:?}"),
    }
}

fn command(entry: &Entry) -> String {
    match &entry["command"] {
        Value::Array(args) => args.iter().map(string).collect::<Vec<_>>().join(" "),
        other => panic!("{other:?}"),
    }
}

fn with_threshold(redis: &Redis, threshold_us: u64, config: &str) -> Gateway {
    let slow = format!("[slowlog]\nthreshold_us = {threshold_us}\nentries_max = 100\n{config}");
    Gateway::builder().upstream(&redis.url()).config(&slow).start()
}

#[test]
fn what_is_slow_is_shown_with_who_sent_it_and_without_passwords() {
    let redis = Redis::start(&[]);
    let gateway = with_threshold(&redis, 1, "");
    let (mut console, mut client) = (gateway.client(), gateway.client());
    client.expect("CLIENT SETNAME worker", "+OK\r\n");
    client.expect("SET k v", "+OK\r\n");
    client.expect("CONFIG SET maxmemory 0", "+OK\r\n");
    client.send_raw(&requests(&["INCR a", "INCR b", "INCR c"]));
    client.read_replies(3);
    client.expect("MULTI", "+OK\r\n");
    client.expect("INCR n", "+QUEUED\r\n");
    client.expect("EXEC", "*1\r\n:1\r\n");
    client.expect("BLPOP nothing 0.01", "*-1\r\n");
    let all = entries(&mut console, "RESPOOL SLOWLOG GET -1");
    let commands: Vec<String> = all.iter().rev().map(command).collect();
    let (first, rest) = commands.split_at(3);
    assert_eq!(first, ["SET k v", "CONFIG SET maxmemory (redacted)", "INCR a"]);
    assert_eq!(rest[rest.len() - 3..], ["MULTI", "INCR n", "EXEC"], "and no BLPOP, which waits as it should");
    let together: u64 = all.iter().rev().skip(2).map(|entry| micros(entry, "requests")).sum();
    assert_eq!(together, 6, "a burst is one entry for all its requests");
    for (index, entry) in all.iter().rev().enumerate() {
        assert_eq!(micros(entry, "id"), index as u64);
        assert_eq!(micros(entry, "total_us").abs_diff(micros(entry, "queue_us") + micros(entry, "upstream_us")) / 2, 0);
        assert_eq!(
            (string(&entry["name"]).as_str(), string(&entry["addr"])),
            ("worker", client.local_addr().to_string())
        );
    }
    assert_eq!(entries(&mut console, "RESPOOL SLOWLOG GET 2").len(), 2);
    console.expect("RESPOOL SLOWLOG GET -2", "-ERR count should be greater than or equal to -1\r\n");
    console.expect("RESPOOL SLOWLOG", "-ERR wrong number of arguments for 'respool|slowlog' command\r\n");
    console.expect("RESPOOL SLOWLOG HOW", "-ERR unknown subcommand 'HOW'. Try RESPOOL HELP.\r\n");
    console.expect("RESPOOL SLOWLOG LEN", &format!(":{}\r\n", all.len()));
    console.line("HELLO 3");
    assert!(console.line("RESPOOL SLOWLOG GET 1").starts_with(b"*1\r\n%9\r\n$2\r\nid\r\n:"));
    console.expect("RESPOOL SLOWLOG RESET", "+OK\r\n");
    console.expect("RESPOOL SLOWLOG GET", "*0\r\n");
}

#[test]
fn the_wait_for_a_worker_and_the_upstreams_time_are_told_apart() {
    const HELD: Duration = Duration::from_millis(150);
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 1\npipeline_depth = 1";
    let gateway = with_threshold(&redis, 100_000, config);
    let (mut console, mut first, mut second) = (gateway.client(), gateway.client(), gateway.client());
    first.expect("PING", "+PONG\r\n");
    redis.freeze();
    let stages = |console: &mut Client, active: usize, waiting: usize| {
        let shown = String::from_utf8_lossy(&console.line("RESPOOL POOLS")).into_owned();
        let wanted = [format!("cl_active\r\n:{active}\r\n"), format!("cl_waiting\r\n:{waiting}\r\n")];
        wanted.iter().all(|part| shown.contains(part)).then_some(())
    };
    first.send(&["GET", "first"]);
    wait("the first to be in flight", || stages(&mut console, 1, 0));
    second.send(&["GET", "second"]);
    wait("the second to wait", || stages(&mut console, 1, 1));
    pass(HELD);
    redis.thaw();
    assert_eq!((first.read_reply(), second.read_reply()), (b"$-1\r\n".to_vec(), b"$-1\r\n".to_vec()));
    let all = entries(&mut console, "RESPOOL SLOWLOG GET");
    let of =
        |text: &str| all.iter().find(|entry| command(entry) == text).unwrap_or_else(|| panic!("{text} in {all:?}"));
    let held = u64::try_from(HELD.as_micros()).expect("it fits");
    assert!(micros(of("GET first"), "upstream_us") >= held, "{all:?}");
    assert!(micros(of("GET second"), "queue_us") >= held, "{all:?}");
}

#[test]
fn the_bounds_of_the_slow_log_change_while_it_runs() {
    let redis = Redis::start(&[]);
    let gateway = with_threshold(&redis, 60_000_000, "");
    let mut client = gateway.client();
    let set = |client: &mut Client, key: &str, value: u64| {
        assert!(client.line(&format!("RESPOOL CONFIG SET slowlog.{key} {value}")).starts_with(b"*"));
    };
    client.expect("SET k v", "+OK\r\n");
    client.expect("RESPOOL SLOWLOG LEN", ":0\r\n");
    set(&mut client, "threshold_us", 1);
    client.expect("SET k v", "+OK\r\n");
    client.expect("SET k w", "+OK\r\n");
    client.expect("RESPOOL SLOWLOG LEN", ":2\r\n");
    set(&mut client, "entries_max", 1);
    // As many entries a second as there is room for, and two were added already.
    wait("an entry to be kept alone", || {
        client.expect("SET k x", "+OK\r\n");
        (client.line("RESPOOL SLOWLOG LEN") == b":1\r\n").then_some(())
    });
    assert_eq!(command(&entries(&mut client, "RESPOOL SLOWLOG GET")[0]), "SET k x");
    client.expect("RESPOOL SLOWLOG RESET", "+OK\r\n");
    set(&mut client, "threshold_us", 0);
    client.expect("SET k v", "+OK\r\n");
    client.expect("RESPOOL SLOWLOG LEN", ":0\r\n");
}
