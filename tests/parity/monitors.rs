//! `MONITOR`, beside a direct Redis: what a monitor asks for is answered as often as Redis answers it, however much is
//! shown meanwhile, and what it does to clients it does to those of the gateway.

use std::thread;

use crate::support::{Client, Gateway, Redis, assert_same, requests, wait};

/// The end of what is compared.
const LAST: &str = "ECHO last";

/// Whether a message shows what the upstream does.
fn is_shown(message: &[u8]) -> bool {
    message.starts_with(b"+") && message.windows(2).any(|bytes| bytes == b" [")
}

/// Sends these requests, each at once or all in one packet, and [`LAST`] behind them; the replies, without what is shown.
fn replies(client: &mut Client, lines: &[&str], at_once: bool) -> Vec<Vec<u8>> {
    let lines = [lines, &[LAST]].concat();
    if at_once {
        client.send_raw(&requests(&lines));
    } else {
        lines.iter().for_each(|line| client.send_raw(&requests(&[line])));
    }
    let mut found = Vec::new();
    while found.last().is_none_or(|reply: &Vec<u8>| !reply.ends_with(b"$4\r\nlast\r\n")) {
        let message = client.read_reply();
        if !is_shown(&message) {
            found.push(message);
        }
    }
    found
}

#[test]
fn what_a_monitor_asks_for_is_answered_once_and_in_order() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&behind.url());
    for lines in [
        &["MONITOR", "PING", "GET k", "RESET", "PING"][..],
        &["MONITOR", "GET k", "SET k v", "PING", "GET k", "RESET", "GET k"],
        &["MONITOR", "WAIT 0 0", "PING"],
        &["MONITOR", "MONITOR", "PING"],
        &["MONITOR", "MONITOR x", "PING", "RESET", "PING"],
        &["MONITOR", "CLIENT REPLY SKIP", "PING", "PING"],
        &["MONITOR", "CLIENT REPLY OFF", "PING", "GET k", "MONITOR", "CLIENT REPLY ON", "PING"],
        &["CLIENT REPLY OFF", "MONITOR", "PING", "CLIENT REPLY ON", "PING"],
        &["CLIENT REPLY SKIP", "MONITOR", "PING", "GET k", "RESET", "PING"],
        &["MONITOR", "SUBSCRIBE c", "PING", "GET k", "UNSUBSCRIBE c", "GET k", "RESET", "PING"],
        &["MONITOR", "MULTI", "GET k", "CLIENT GETNAME", "EXEC", "RESET", "PING"],
        &["MONITOR", "CLIENT SETNAME n", "CLIENT GETNAME", "GET k", "RESET", "CLIENT GETNAME"],
        &["MONITOR", "SELECT 3", "SELECT 99", "WATCH k", "UNWATCH", "DISCARD", "EXEC", "UNSUBSCRIBE", "RESET"],
    ] {
        for at_once in [true, false] {
            let (mut client, mut direct) = (gateway.client(), beside.client());
            let (found, expected) = (replies(&mut client, lines, at_once), replies(&mut direct, lines, at_once));
            assert_same(&found.concat(), &expected.concat(), &format!("{lines:?}, at once: {at_once}"));
        }
    }
}

#[test]
fn a_monitor_that_wants_no_replies_is_shown_nothing() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut other = gateway.client();
    for silent in [&["CLIENT REPLY OFF", "MONITOR"][..], &["MONITOR", "CLIENT REPLY OFF"]] {
        let mut client = gateway.client();
        client.send_raw(&requests(silent));
        if silent[0] == "MONITOR" {
            assert_eq!(client.read_reply(), b"+OK\r\n");
        }
        // Once one request is answered, all that was shown before it has come.
        client.send_raw(&requests(&["GET unseen", "PING", "CLIENT REPLY ON"]));
        loop {
            let message = client.read_reply();
            assert!(!message.windows(6).any(|bytes| bytes == b"unseen"), "{silent:?}");
            if message == b"+OK\r\n" {
                break;
            }
        }
        other.expect("SET seen 1", "+OK\r\n");
        while !client.read_reply().windows(6).any(|bytes| bytes == b"\"seen\"") {}
    }
}

fn text(reply: Vec<u8>) -> String {
    String::from_utf8(reply).expect("text")
}

fn id(client: &mut Client) -> String {
    text(client.line("CLIENT ID")).trim_matches([':', '\r', '\n']).to_owned()
}

/// The reply to a request of a monitor.
fn answer(monitor: &mut Client, line: &str) -> String {
    text(replies(monitor, &[line], true).swap_remove(0))
}

/// On both sides these clients are all that there are, but for one that looks on.
#[test]
fn what_a_monitor_does_to_clients_it_does_to_those_of_the_gateway() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 2").start();
    let (mut monitor, mut blocked, mut idle) = (gateway.client(), gateway.client(), gateway.client());
    let (own, other, third) = (id(&mut monitor), id(&mut blocked), id(&mut idle));
    idle.expect("SET k v", "+OK\r\n");
    monitor.expect("MONITOR", "+OK\r\n");
    assert_eq!(answer(&mut monitor, "CLIENT ID"), format!(":{own}\r\n"));
    assert_eq!(answer(&mut monitor, "CLIENT GETNAME"), "$-1\r\n");
    blocked.send(&["BLPOP", "q", "0"]);
    wait("the client to be blocked", || {
        let list = text(redis.client().line("CLIENT LIST"));
        list.lines().any(|line| line.contains(" flags=b ")).then_some(())
    });
    assert_eq!(answer(&mut monitor, &format!("CLIENT UNBLOCK {other}")), ":1\r\n");
    assert_eq!(blocked.read_reply(), b"*-1\r\n");
    assert_eq!(answer(&mut monitor, &format!("CLIENT KILL ID {other}")), ":1\r\n");
    blocked.expect_closed();
    let workers = || {
        let list = text(redis.client().line("CLIENT LIST"));
        let of_pool = list.lines().filter(|line| line.contains("name=respool-worker"));
        of_pool.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = workers();
    assert_eq!(answer(&mut monitor, "CLIENT KILL TYPE normal"), ":1\r\n", "all but {own}: {third}");
    idle.expect_closed();
    assert_eq!(workers(), before, "none of the gateway's connections was closed");
}

/// All that comes until the other end closes, without what shows a monitor requests.
fn unshown(mut client: Client, lines: &[&str]) -> String {
    client.send_raw(&requests(lines));
    let all = text(client.read_to_end());
    let is_shown = |line: &str| line.starts_with("+1") && line.contains(" [0 ");
    all.split_inclusive("\r\n").filter(|line| !is_shown(line)).collect()
}

#[test]
fn what_a_monitor_is_shown_in_the_middle_of_a_transaction_costs_it_no_reply() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    for lines in [
        &["MONITOR", "MULTI", "PING", "ECHO a", "CLIENT GETNAME", "EXEC", "QUIT"][..],
        &["MONITOR", "MULTI", "PING", "ECHO a", "EXEC", "RESET", "PING", "QUIT"],
        &["MONITOR", "MULTI", "CLIENT SETNAME x", "ECHO a", "EXEC", "CLIENT GETNAME", "PING", "QUIT"],
        &["MONITOR", "MULTI", "ECHO a", "GET k", "EXEC", "PING", "RESET", "GET k", "QUIT"],
        &["MULTI", "MONITOR", "PING", "EXEC", "RESET", "PING", "QUIT"],
    ] {
        assert_eq!(unshown(gateway.client(), lines), unshown(redis.client(), lines), "{lines:?}");
    }
}

#[test]
fn a_monitor_is_not_shown_how_connections_are_made_and_prepared() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut monitor, mut beside) = (gateway.client(), redis.client());
    monitor.expect("MONITOR", "+OK\r\n");
    let mut clients = [gateway.client(), gateway.client()];
    clients[0].expect("CLIENT SETNAME app", "+OK\r\n");
    for client in &mut clients {
        client.expect("SELECT 3", "+OK\r\n");
        client.expect("WATCH k", "+OK\r\n");
    }
    for client in &mut clients {
        client.expect("UNWATCH", "+OK\r\n");
        client.line("GET k");
        client.line("INFO server");
    }
    clients[1].line("BLPOP q 0.01");
    // What others do is shown.
    for line in ["HELLO 2 SETNAME other", "SELECT 3", "RESET", "CLIENT SETNAME other", "INFO server", "ECHO last"] {
        beside.line(line);
    }
    let mut shown = Vec::new();
    while !shown.last().is_some_and(|line: &String| line.ends_with("\"last\"")) {
        let line = text(monitor.read_reply());
        shown.push(line.split_once("] ").expect("a request").1.trim_end().to_owned());
    }
    let one = ["\"CLIENT\" \"SETNAME\" \"app\""].into_iter();
    let one = one.chain([["\"SELECT\" \"3\"", "\"WATCH\" \"k\""]; 2].into_iter().flatten());
    let each = ["\"UNWATCH\"", "\"GET\" \"k\"", "\"INFO\" \"server\""];
    let expected = one.chain([each; 2].into_iter().flatten()).chain(["\"BLPOP\" \"q\" \"0.01\""]).chain([
        "\"HELLO\" \"2\" \"SETNAME\" \"other\"",
        "\"SELECT\" \"3\"",
        "\"RESET\"",
        "\"CLIENT\" \"SETNAME\" \"other\"",
        "\"INFO\" \"server\"",
        "\"ECHO\" \"last\"",
    ]);
    assert_eq!(shown, expected.collect::<Vec<_>>());
}

/// What a monitor is shown of these requests of another client, without times and addresses.
fn shown_of(monitor: &mut Client, client: &mut Client, lines: &[&str]) -> Vec<String> {
    monitor.expect("MONITOR", "+OK\r\n");
    for line in lines.iter().chain(&[LAST]) {
        client.line(line);
    }
    let mut shown = Vec::new();
    while !shown.last().is_some_and(|line: &String| line.ends_with("\"last\"\r\n")) {
        let line = text(monitor.read_reply());
        let (_, rest) = line.split_once(" [").expect("a request");
        let (db, rest) = rest.split_once(' ').expect("a database");
        shown.push(format!("{db} {}", rest.split_once("] ").expect("an address").1));
    }
    shown
}

#[test]
fn a_monitor_is_shown_what_the_gateway_answers_itself_without_passwords() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::builder().upstream(&behind.url()).allow("login refused").start();
    let lines = [
        "client setname app",
        "CLIENT GETNAME",
        "CLIENT ID",
        "CLIENT INFO",
        "SELECT 3",
        "SELECT 99",
        "select x",
        "CLIENT REPLY ON",
        "AUTH secret",
        "auth app secret",
        "HELLO 3 AUTH app secret SETNAME other",
        "HELLO 3 SETNAME other",
        "HELLO 2",
        "HELLO 9",
        "UNWATCH",
        "DISCARD",
        "GET k",
        // Administrators', and what is refused for its form.
        "CLIENT LIST",
        "CLIENT KILL ID 0",
        "CLIENT UNBLOCK 0",
        "CLIENT NO-EVICT OFF",
        "CLIENT SETNAME",
        "CLIENT NOSUCH",
        "AUTH",
        "SELECT",
        "MULTI",
        "multi",
        "ECHO a",
        "EXEC",
        "nosuch command",
        "RESET",
    ];
    let shown = shown_of(&mut gateway.client(), &mut gateway.client(), &lines);
    assert_eq!(shown, shown_of(&mut beside.client(), &mut beside.client(), &lines));
    assert!(!shown.concat().contains("secret"), "{shown:?}");
    // It goes by the address of the client, and ends with the monitor.
    let (mut monitor, mut other) = (gateway.client(), gateway.client());
    monitor.expect("MONITOR", "+OK\r\n");
    other.line("CLIENT ID");
    let line = text(monitor.read_reply());
    assert!(line.contains(&format!(" [0 {}] \"CLIENT\" \"ID\"", other.local_addr())), "{line}");
    monitor.expect("RESET", "+RESET\r\n");
    other.line("CLIENT ID");
    monitor.expect("PING", "+PONG\r\n");
}

#[test]
fn a_monitor_that_reads_is_shown_all_that_a_long_pipeline_has_answered_here() {
    const MANY: usize = 20_000;
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut monitor, mut client) = (gateway.client(), gateway.client());
    monitor.expect("MONITOR", "+OK\r\n");
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..MANY {
                let line = monitor.read_reply();
                assert!(line.ends_with(b"] \"CLIENT\" \"GETNAME\"\r\n"), "{}", text(line));
            }
        });
        scope.spawn(|| {
            client.send_raw(&requests(&["CLIENT GETNAME"]).repeat(MANY));
            assert_eq!(client.read_replies(MANY).concat(), b"$-1\r\n".repeat(MANY));
        });
    });
}
