//! The upstream turns connections away: it is asked again at a pace that does it no harm, and its own words are the
//! reason.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use crate::support::{Client, Gateway, Redis, Upstream, pass, wait};

/// Logins that may be under way when the first is refused.
const UNDER_WAY_MAX: u64 = 16;

#[test]
fn an_upstream_without_room_for_all_workers_is_asked_seldom_and_told_of_in_one_line() {
    let redis = Redis::start(&["--maxclients", "60"]);
    let mut direct = redis.client();
    let config = "[pool]\nworkers = 200";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("connection attempt failed").start();
    let mut client = gateway.client();
    client.expect("SET k v", "+OK\r\n");
    gateway.logs().wait_for("ERR max number of clients reached", Duration::from_secs(60));
    let rejected = |direct: &mut Client| {
        let info = String::from_utf8_lossy(&direct.line("INFO stats")).into_owned();
        let count = info.lines().find_map(|line| line.strip_prefix("rejected_connections:")).expect("shown");
        count.trim().parse::<u64>().expect("a number")
    };
    let before = rejected(&mut direct);
    pass(Duration::from_secs(4));
    let further = rejected(&mut direct) - before;
    assert!(further <= UNDER_WAY_MAX + 6, "{further} attempts in four seconds");
    assert!(gateway.logs().count("connection attempt failed") <= 1);
    client.expect("GET k", "$1\r\nv\r\n");
    // Whoever needs a connection alone is told why there is none, whether one was tried just now or before.
    for _ in 0..6 {
        let reply = String::from_utf8_lossy(&client.line("BLPOP nosuch 1")).into_owned();
        let expected = "-ERR respool: upstream is down: login refused: ERR max number of clients reached (";
        assert!(reply.starts_with(expected), "{reply}");
    }
}

#[test]
fn a_refused_login_is_tried_again_in_seconds_and_an_unreachable_address_in_milliseconds() {
    let redis = Redis::start(&["--requirepass", "right"]);
    let gateway = Gateway::builder()
        .upstream(&format!("redis://:wrong@{}", redis.address()))
        .config("[upstream]\nrefused_delay_max_ms = 1000")
        .allow_lost_upstream()
        .start();
    let line = gateway.logs().wait_for("upstream is down", Duration::from_secs(10));
    assert!(line.contains("WRONGPASS"), "{line}");
    let mut direct = redis.client();
    direct.expect("AUTH right", "+OK\r\n");
    let connections = |direct: &mut Client| {
        let info = String::from_utf8_lossy(&direct.line("INFO stats")).into_owned();
        let count = info.lines().find_map(|line| line.strip_prefix("total_connections_received:")).expect("shown");
        count.trim().parse::<u64>().expect("a number")
    };
    let before = connections(&mut direct);
    pass(Duration::from_secs(3));
    let further = connections(&mut direct) - before;
    assert!((1..=7).contains(&further), "{further} attempts in three seconds");
    // The password is put right at the upstream.
    direct.expect("CONFIG SET requirepass wrong", "+OK\r\n");
    let mut client = gateway.client();
    wait("the login", || (client.line("PING") == b"+PONG\r\n").then_some(()));
}

#[test]
fn the_upstreams_own_words_are_the_reason() {
    let words = "-DENIED Redis is running in protected mode because protected mode is enabled\r\n";
    for waits in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("redis://{}", listener.local_addr().expect("bound"));
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                if waits {
                    let _ = stream.read(&mut [0; 64]);
                }
                let _ = stream.write_all(words.as_bytes());
            }
        });
        let gateway = Gateway::builder().upstream(&url).allow_lost_upstream().start();
        let line = gateway.logs().wait_for("upstream is down", Duration::from_secs(10));
        assert!(line.contains("DENIED Redis is running in protected mode"), "{line}");
        let reply = String::from_utf8_lossy(&gateway.client().line("GET k")).into_owned();
        assert!(reply.contains("DENIED"), "{reply}");
    }
}

#[test]
fn an_upstream_that_knows_no_hello_is_served_as_it_is() {
    let upstream = Upstream::start(|peer| {
        while let Some(request) = peer.next() {
            peer.reply(&format!("+{request}\r\n"));
        }
    });
    let gateway = Gateway::builder().upstream(&upstream.url()).start();
    gateway.client().expect("GET k", "+GET k\r\n");
}

#[test]
fn an_upstream_where_a_known_name_is_another_command_is_refused_and_says_which() {
    for (names, name, own) in [
        ([("SET", "xset"), ("GET", "SET")], "SET", "GET"),
        ([("CONFIG", "xconfig"), ("FLUSHALL", "CONFIG")], "CONFIG", "FLUSHALL"),
        ([("ECHO", "xecho"), ("MULTI", "ECHO")], "ECHO", "MULTI"),
    ] {
        let args: Vec<_> = names.iter().flat_map(|(own, name)| ["--rename-command", own, name]).collect();
        let redis = Redis::start(&args);
        let mut direct = redis.client();
        direct.expect("RPUSH l x", ":1\r\n");
        let gateway = Gateway::builder().upstream(&redis.url()).metrics().allow_lost_upstream().start();
        let why = format!("{name} is another command there, {own}");
        let line = gateway.logs().wait_for("upstream is down", Duration::from_secs(10));
        assert!(line.contains(&why), "{line}");
        for request in ["LLEN l", "BLPOP l 0"] {
            let reply = String::from_utf8_lossy(&gateway.client().line(request)).into_owned();
            assert!(reply.starts_with("-ERR respool: upstream is down: ") && reply.contains(&why), "{reply}");
        }
        direct.expect("LLEN l", ":1\r\n");
    }
}

#[test]
fn a_user_of_the_upstream_is_not_served_either_where_a_known_name_is_another_command() {
    let redis = Redis::start(&["--rename-command", "SET", "xset", "--rename-command", "GET", "SET"]);
    redis.client().expect("ACL SETUSER app on >app ~* +@all", "+OK\r\n");
    let config = "[auth]\nmode = \"upstream\"";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow_lost_upstream().start();
    let mut client = gateway.client();
    client.expect("AUTH app app", "+OK\r\n");
    for request in ["SET k", "BLPOP l 0"] {
        let reply = String::from_utf8_lossy(&client.line(request)).into_owned();
        let why = "SET is another command there, GET";
        assert!(reply.starts_with("-ERR respool: upstream is down: ") && reply.contains(why), "{reply}");
    }
}
