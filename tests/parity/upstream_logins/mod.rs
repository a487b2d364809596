//! Logins that the upstream decides: each user gets byte for byte what it gets of Redis directly, with exactly its
//! rights, in every state of a connection; and what changes there holds here.

mod changes;

use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Redis, Relay, assert_own_error, assert_same, pass, requests, wait};

const MODE: &str = "[auth]\nmode = \"upstream\"\nfailure_delay_ms = 1\nfailures_max = 100\ncache_ms = 200";

/// May read and write `app:`, block there, and subscribe to `news.`.
const NARROW: &str = "on >narrow ~app:* &news.* -@all +@read +@write +@transaction +@blocking +@pubsub +eval +ping \
    +select +acl|whoami +client|id +client|setname -keys -flushall";

const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

fn redis(default: &str) -> Redis {
    let redis = Redis::start(&[]);
    let mut direct = redis.client();
    direct.expect("ACL SETUSER ops on >ops ~* &* +@all", "+OK\r\n");
    direct.expect(&format!("ACL SETUSER narrow {NARROW}"), "+OK\r\n");
    direct.expect("ACL SETUSER wide on >wide ~* &* +@all", "+OK\r\n");
    direct.expect("MSET app:1 one other two", "+OK\r\n");
    direct.expect(&format!("ACL SETUSER default {default}"), "+OK\r\n");
    redis
}

fn ops(redis: &Redis) -> Client {
    let mut direct = redis.client();
    direct.expect("AUTH ops ops", "+OK\r\n");
    direct
}

fn gateway(redis: &Redis, more: &str) -> Gateway {
    let url = redis.url().replace("redis://", "redis://ops:ops@");
    let builder = Gateway::builder().upstream(&url).config(MODE).config(more);
    builder.allow("login refused").allow_lost_upstream().start()
}

fn logged_in(gateway: &Gateway, user: &str) -> Client {
    let mut client = gateway.client();
    client.expect(&format!("AUTH {user} {user}"), "+OK\r\n");
    client
}

/// Sends the lines to both and compares each reply.
#[track_caller]
fn compare(through: &mut Client, direct: &mut Client, lines: &[&str]) {
    for line in lines {
        let expected = direct.line(line);
        assert_same(&through.line(line), &expected, line);
    }
}

#[test]
fn a_user_with_narrow_rights_gets_what_redis_says() {
    let redis = redis("off");
    let gateway = gateway(&redis, "");
    for hello in ["AUTH narrow narrow", "HELLO 2 AUTH narrow narrow", "HELLO 3 AUTH narrow narrow"] {
        ops(&redis).line("RPUSH app:list a a");
        let (mut through, mut direct) = (gateway.client(), redis.client());
        for client in [&mut through, &mut direct] {
            let reply = client.line(hello);
            assert!(!reply.starts_with(b"-"), "{}", String::from_utf8_lossy(&reply));
        }
        compare(
            &mut through,
            &mut direct,
            &[
                "ACL WHOAMI",
                "GET app:1",
                "GET other",
                "SET app:2 x",
                "SET other x",
                "KEYS *",
                "CONFIG GET maxmemory",
                "ACL LOG",
                "ACL SETUSER narrow +@all",
                "FLUSHALL",
                "SELECT 1",
                "GET app:1",
                "SELECT 0",
                "CLIENT LIST",
                "CLIENT KILL ID 1",
                "CLIENT NO-EVICT ON",
                "CLIENT GETNAME",
                "CLIENT SETNAME me",
                "EVAL return(redis.call('GET','app:1')) 1 app:1",
                "EVAL return(redis.call('GET','other')) 1 app:1",
                "EVAL return(redis.call('GET','other')) 1 other",
                "MULTI",
                "GET app:1",
                "GET other",
                "EXEC",
                "MULTI",
                "SET app:3 x",
                "GET app:3",
                "EXEC",
                "MULTI",
                "CLIENT LIST",
                "SET app:3 y",
                "EXEC",
                "GET app:3",
                "WATCH other",
                "WATCH app:1",
                "MULTI",
                "GET app:1",
                "EXEC",
                "BLPOP other 0",
                "BLPOP app:list 0",
                "SUBSCRIBE other",
                "SUBSCRIBE news.a",
                "UNSUBSCRIBE news.a",
                "PUBLISH other x",
                "PUBLISH news.a x",
                "WHATEVER",
            ],
        );
        // As one pipeline too.
        let lines = ["ACL WHOAMI", "GET other", "MULTI", "GET app:1", "GET app:2", "EXEC", "GET app:1", "KEYS *"];
        for client in [&mut through, &mut direct] {
            client.send_raw(&requests(&lines));
        }
        assert_same(&through.read_replies(8).concat(), &direct.read_replies(8).concat(), "a pipeline");
    }
}

#[test]
fn a_wrong_password_never_uses_what_the_right_one_opened() {
    let redis = redis("off");
    let gateway = gateway(&redis, "");
    let mut right = logged_in(&gateway, "wide");
    right.expect("ACL WHOAMI", "$4\r\nwide\r\n");
    let mut wrong = gateway.client();
    for line in ["AUTH wide wron", "AUTH nobody wide", "HELLO 3 AUTH wide wideX", "AUTH wide wide2"] {
        wrong.expect(line, WRONG);
        wrong.expect("GET other", "-NOAUTH Authentication required.\r\n");
    }
    // Who has logged in stays who it was.
    right.expect("AUTH narrow wrong", WRONG);
    right.expect("ACL WHOAMI", "$4\r\nwide\r\n");
    right.expect("AUTH narrow narrow", "+OK\r\n");
    right.expect("ACL WHOAMI", "$6\r\nnarrow\r\n");
    right.expect("RESET", "+RESET\r\n");
    right.expect("GET app:1", "-NOAUTH Authentication required.\r\n");
    let mut direct = ops(&redis);
    assert!(String::from_utf8_lossy(&direct.line("ACL LOG")).contains("wide"), "the upstream's own log of refusals");
}

#[test]
fn who_does_not_log_in_is_the_default_user_if_that_needs_no_password() {
    let redis = redis("on nopass resetkeys ~app:* -@all +get +acl|whoami +client|id");
    let gateway = gateway(&redis, "");
    let mut client = gateway.client();
    client.expect("ACL WHOAMI", "$7\r\ndefault\r\n");
    let (mut through, mut direct) = (gateway.client(), redis.client());
    compare(&mut through, &mut direct, &["GET app:1", "GET other", "SET app:1 x", "CLIENT LIST", "AUTH any"]);
    // Also in the version that it asks for first, and before what is wrong.
    for (first, then) in [("HELLO 3", "GET other"), ("HELLO 3 AUTH wide wide x", "GET other")] {
        let (mut through, mut direct) = (gateway.client(), redis.client());
        let replies = [&mut through, &mut direct].map(|client| client.line(first)[0]);
        assert_eq!(replies[0], replies[1], "{first}");
        compare(&mut through, &mut direct, &[then, "ACL WHOAMI"]);
    }
    // And what is larger than a request may be before a login.
    let large = format!("GET {}", "x".repeat(20_000));
    for first in ["GET 1 2 3 4 5 6 7 8 9 10 11", &large] {
        let (mut through, mut direct) = (gateway.client(), redis.client());
        compare(&mut through, &mut direct, &[first, "RESET", first, "GET app:1"]);
    }
    ops(&redis).expect("ACL SETUSER default off", "+OK\r\n");
    wait("the upstream to be asked again", || {
        let closed = gateway.client().line("GET app:1") == b"-NOAUTH Authentication required.\r\n";
        closed.then_some(())
    });
    for large in ["GET 1 2 3 4 5 6 7 8 9 10 11", &large] {
        assert_same(&gateway.client().line(large), &redis.client().line(large), large);
    }
}

#[test]
fn no_reply_or_right_of_one_user_reaches_another() {
    let redis = redis("off");
    let gateway = gateway(&redis, "");
    let users = ["narrow", "wide"];
    let mut clients: Vec<(usize, Client)> =
        (0..40).map(|number| (number % 2, logged_in(&gateway, users[number % 2]))).collect();
    for round in 0..5 {
        for (user, client) in &mut clients {
            let name = users[*user];
            let whoami = format!("${}\r\n{name}\r\n", name.len());
            match round {
                0 | 4 => client.send_raw(&requests(&["ACL WHOAMI"])),
                1 => client.send_raw(&requests(&["MULTI", "ACL WHOAMI", "EXEC"])),
                2 => client.send_raw(&requests(&["WATCH app:1", "ACL WHOAMI", "UNWATCH"])),
                _ => client.send_raw(&requests(&["MULTI", "ACL WHOAMI"])),
            }
            let replies = match round {
                0 | 4 => client.read_replies(1),
                1 | 2 => client.read_replies(3),
                _ => {
                    client.read_replies(2);
                    client.send_raw(&requests(&["EXEC"]));
                    client.read_replies(1)
                }
            };
            let text = String::from_utf8_lossy(&replies.concat()).into_owned();
            assert!(text.contains(&whoami), "{name} in round {round}: {text:?}");
            let other = String::from_utf8_lossy(&client.line("GET other")).into_owned();
            assert_eq!(other.starts_with("-NOPERM"), name == "narrow", "{name}: {other:?}");
        }
    }
}

#[test]
fn there_are_no_more_logins_than_there_may_be_and_what_they_use_is_bounded() {
    let redis = redis("off");
    let gateway = gateway(&redis, "[auth]\nlogins_max = 20\n[pool]\npools_max = 1\npools_idle_ms = 50");
    let mut direct = ops(&redis);
    for number in 0..25 {
        direct.expect(&format!("ACL SETUSER u{number} on >pw ~* +@all"), "+OK\r\n");
    }
    let mut clients: Vec<Client> = (0..20).map(|_| gateway.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("AUTH u{number} pw"), "+OK\r\n");
        client.expect("ACL WHOAMI", &format!("${}\r\nu{number}\r\n", number.to_string().len() + 1));
    }
    let refused = gateway.client().line("AUTH u20 pw");
    assert!(refused.starts_with(b"-ERR respool: "), "{}", String::from_utf8_lossy(&refused));
    let connections = String::from_utf8_lossy(&direct.line("CLIENT LIST")).matches("name=respool-worker").count();
    assert!((20..=24).contains(&connections), "{connections} connections");
    drop(clients);
    wait("an unused login to make room", || (gateway.client().line("AUTH u20 pw") == b"+OK\r\n").then_some(()));
}

#[test]
fn what_a_user_has_no_right_to_is_as_silent_as_with_redis() {
    let redis = redis("off");
    ops(&redis).expect("ACL SETUSER quiet on >quiet ~* &* +@all -client|list", "+OK\r\n");
    let gateway = gateway(&redis, "");
    let lines = [
        "AUTH quiet quiet",
        "CLIENT REPLY OFF",
        "CLIENT LIST",
        "MULTI",
        "CLIENT LIST",
        "SET app:1 x",
        "EXEC",
        "CLIENT REPLY ON",
        "CLIENT REPLY SKIP",
        "CLIENT LIST",
        "GET app:1",
    ];
    let replies = [gateway.client(), redis.client()].map(|mut client| {
        client.send_raw(&requests(&lines));
        client.read_replies(3).concat()
    });
    assert_eq!(String::from_utf8_lossy(&replies[1]), "+OK\r\n+OK\r\n$3\r\none\r\n");
    assert_same(&replies[0], &replies[1], "what is silent");
}

#[test]
fn what_one_user_was_told_is_not_told_to_another() {
    let redis = redis("off");
    let gateway = gateway(&redis, "");
    for user in ["wide", "narrow", "wide"] {
        let (mut through, mut direct) = (gateway.client(), redis.client());
        compare(&mut through, &mut direct, &[&format!("AUTH {user} {user}"), "CLIENT NOSUCH x", "CLIENT CACHING YES"]);
    }
}

#[test]
fn clients_are_closed_by_the_name_of_their_user() {
    let redis = redis("off");
    let gateway = gateway(&redis, "");
    let (mut narrow, mut wide) = (logged_in(&gateway, "narrow"), logged_in(&gateway, "wide"));
    wide.expect("CLIENT KILL USER narrow", ":1\r\n");
    narrow.expect_closed();
    wide.expect("CLIENT KILL USER narrow", ":0\r\n");
}

/// Connections that a Redis has had.
fn connections(direct: &mut Client) -> usize {
    let info = String::from_utf8_lossy(&direct.line("INFO stats")).into_owned();
    let count = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    count.and_then(|count| count.parse().ok()).expect("a number")
}

#[test]
fn many_who_come_with_one_wrong_password_are_asked_about_together() {
    let redis = redis("off");
    let gateway = gateway(&redis, "");
    let mut direct = ops(&redis);
    let before = connections(&mut direct);
    let mut clients: Vec<Client> = (0..100).map(|_| gateway.client()).collect();
    redis.freeze();
    clients.iter_mut().for_each(|client| client.send(&["AUTH", "narrow", "wrong"]));
    // They come while one of them is asked about.
    pass(Duration::from_millis(300));
    redis.thaw();
    for client in &mut clients {
        assert_same(&client.read_reply(), WRONG.as_bytes(), "AUTH");
    }
    let made = connections(&mut direct) - before;
    assert!(made < 50, "{made} connections for 100 logins");
}

#[test]
fn who_cannot_be_asked_about_is_told_so_in_time_however_many_there_are() {
    let redis = redis("off");
    let relay = Relay::start(redis.address());
    let builder = Gateway::builder().upstream(&relay.url().replace("redis://", "redis://ops:ops@"));
    let gateway = builder.config(MODE).config("[upstream]\nconnect_timeout_ms = 500").allow_lost_upstream().start();
    logged_in(&gateway, "wide").expect("GET other", "$3\r\ntwo\r\n");
    let mut clients: Vec<Client> = (0..320).map(|_| gateway.client()).collect();
    relay.weather(|weather| weather.blackhole = true);
    let began = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&["AUTH", "narrow", &format!("guess {number}")]);
    }
    clients.iter_mut().for_each(|client| assert_own_error(&client.read_reply()));
    // One after the other, as many at a time as are asked, they would wait for ten seconds.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_user_without_the_right_to_ping_speaks_of_clients_within_a_transaction() {
    let redis = redis("off");
    let rights = "on >quiet ~* -@all +@transaction +client|setname +client|kill +client|unblock +acl|whoami";
    ops(&redis).expect(&format!("ACL SETUSER quiet {rights}"), "+OK\r\n");
    let gateway = gateway(&redis, "");
    let (mut through, mut direct) = (logged_in(&gateway, "quiet"), redis.client());
    direct.expect("AUTH quiet quiet", "+OK\r\n");
    let lines = ["MULTI", "CLIENT SETNAME a", "CLIENT KILL ID 999999", "CLIENT UNBLOCK 999999", "ACL WHOAMI", "EXEC"];
    compare(&mut through, &mut direct, &lines);
    compare(&mut through, &mut direct, &["MULTI", "CLIENT REPLY ON", "EXEC", "MULTI", "CLIENT NO-EVICT ON", "EXEC"]);
    compare(
        &mut through,
        &mut direct,
        &["MULTI", "CLIENT SETNAME b c d", "EXEC", "MULTI", "CLIENT SETNAME \u{7f}", "EXEC"],
    );
}
