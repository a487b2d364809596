//! Limits of single users: clients, requests a second and commands. Whoever exceeds one is told so, and nobody else
//! notices.

use std::time::{Duration, Instant};

use crate::support::{Client, DEADLINE, Gateway, Metrics, Redis, get, pass, request, requests, users, wait};

const CLIENTS_FULL: &str = "-ERR respool: clients_max of user \"app\" exceeded: 2 clients have logged in\r\n";

fn gateway(redis: &Redis, limits: &str) -> Gateway {
    let who = users(&[("root", "one"), ("app", "one"), ("other", "one")]);
    let admin = "[auth]\nadmins = [\"root\"]\n[metrics]\nlisten = \"127.0.0.1:0\"";
    let builder = Gateway::builder().upstream(&redis.url()).config(admin).config(limits).config(&who);
    builder
        .allow("so that this limits nobody")
        .allow("clients_max of a user")
        .allow("requests_per_second of a user")
        .start()
}

fn logged_in(gateway: &Gateway, user: &str) -> Client {
    let mut client = gateway.client();
    client.expect(&format!("AUTH {user} one"), "+OK\r\n");
    client
}

/// A figure of a user, as `RESPOOL USERS` shows it.
fn figure(admin: &mut Client, user: &str, name: &str) -> u64 {
    let shown = String::from_utf8_lossy(&admin.line("RESPOOL USERS")).into_owned();
    let row = shown.split("$4\r\nuser\r\n").find(|row| row.split("\r\n").nth(1) == Some(user)).expect("its row");
    let cell = row.split(&format!("\r\n{name}\r\n:")).nth(1).expect("its figure");
    cell.split("\r\n").next().and_then(|number| number.parse().ok()).expect("a number")
}

/// Requests that the gateway has refused, and of those that have failed, as metrics have them.
fn refused(gateway: &Gateway) -> [f64; 2] {
    let metrics = Metrics::read(gateway.metrics_address());
    ["respool_requests_total", "respool_failed_requests_total"].map(|name| metrics.by(name, "class")["refused"])
}

#[test]
fn a_user_has_no_more_clients_than_it_may_have_whatever_way_they_log_in() {
    let redis = Redis::start(&[]);
    let mut gateway = gateway(&redis, "[users.app]\nclients_max = 2");
    let mut admin = logged_in(&gateway, "root");
    let (mut one, two) = (logged_in(&gateway, "app"), logged_in(&gateway, "app"));
    let mut third = gateway.client();
    third.expect("AUTH app one", CLIENTS_FULL);
    third.expect("HELLO 3 AUTH app one", CLIENTS_FULL);
    third.expect("PING", "-NOAUTH Authentication required.\r\n");
    assert_eq!((figure(&mut admin, "app", "clients"), figure(&mut admin, "app", "clients_refused")), (2, 2));

    // A client that logs in again as the same user is no further one; as another it makes room.
    one.expect("AUTH app one", "+OK\r\n");
    one.expect("AUTH other one", "+OK\r\n");
    third.expect("AUTH app one", "+OK\r\n");
    one.expect("AUTH app one", CLIENTS_FULL);
    one.expect("PING", "+PONG\r\n");
    assert!(String::from_utf8_lossy(&one.line("CLIENT INFO")).contains("user=other"));
    drop(two);
    wait("a place", || (one.line("AUTH app one") == b"+OK\r\n").then_some(()));
    third.expect("RESET", "+RESET\r\n");
    third.expect("AUTH app one", "+OK\r\n");

    // A reload raises the bound. One that lowers it closes nobody.
    gateway.rewrite("[users.app]\nclients_max = 3");
    admin.line("RESPOOL RELOAD");
    let _fourth = logged_in(&gateway, "app");
    gateway.rewrite("[users.app]\nclients_max = 1");
    admin.line("RESPOOL RELOAD");
    one.expect("PING", "+PONG\r\n");
    assert_eq!(figure(&mut admin, "app", "clients"), 3);
    let line = gateway.logs().wait_for("clients_max of a user was reached", DEADLINE);
    assert!(line.contains("\"user\":\"app\"") && line.contains("\"count\":1"), "{line}");
}

#[test]
fn where_nobody_logs_in_all_clients_are_the_default_user() {
    let redis = Redis::start(&[]);
    let config = "[users.default]\nclients_max = 1\ndeny = [\"KEYS\"]";
    let builder = Gateway::builder().upstream(&redis.url()).config(config);
    let gateway = builder.allow("clients_max of a user").start();
    let mut first = gateway.client();
    first.expect("PING", "+PONG\r\n");
    first.expect("RESET", "+RESET\r\n");
    assert!(first.line("KEYS *").starts_with(b"-ERR respool: this command is denied"));
    assert!(gateway.client().read_to_end().starts_with(b"-ERR respool: clients_max of user \"default\" exceeded: 1"));
    drop(first);
    wait("a place", || gateway.client().try_line("PING").is_ok_and(|reply| reply == b"+PONG\r\n").then_some(()));
}

#[test]
fn requests_beyond_the_rate_of_a_user_say_how_long_to_wait_and_others_go_on() {
    let redis = Redis::start(&[]);
    let limits = "[users.app]\nrequests_per_second = 20\n[pool]\nbatch_max = 8";
    let gateway = gateway(&redis, limits);
    let (mut admin, mut app, mut other) =
        (logged_in(&gateway, "root"), logged_in(&gateway, "app"), logged_in(&gateway, "other"));
    let started = Instant::now();
    app.send_raw(&request(&["INCR", "n"]).repeat(200));
    let replies = app.read_replies(200);
    let served = replies.iter().filter(|reply| reply.starts_with(b":")).count();
    assert!((20..=28).contains(&served), "{served} at once");
    let refusal = String::from_utf8_lossy(replies.last().expect("replies")).into_owned();
    let start = "-ERR respool: requests_per_second of user \"app\" exceeded: 20; the request was not sent, wait ";
    let wait = refusal.strip_prefix(start).and_then(|rest| rest.strip_suffix(" ms\r\n")).expect("its text");
    let wait = Duration::from_millis(wait.parse().expect("a number"));
    assert!(wait <= Duration::from_millis(500), "{wait:?}");
    redis.client().expect("GET n", &format!("${}\r\n{served}\r\n", served.to_string().len()));
    assert_eq!(figure(&mut admin, "app", "requests"), served as u64);
    assert_eq!(figure(&mut admin, "app", "requests_refused"), 200 - served as u64);
    assert_eq!(refused(&gateway), [(200 - served) as f64; 2]);

    // Meanwhile others are served, and so is a further client of the user what the gateway answers itself.
    other.send_raw(&request(&["PING"]).repeat(1000));
    assert!(other.read_replies(1000).iter().all(|reply| reply == b"+PONG\r\n"));
    app.expect("CLIENT ID", &String::from_utf8_lossy(&app.twin().line("CLIENT ID")));

    pass(wait);
    assert!(app.line("INCR n").starts_with(b":"), "it was to wait so long");
    // Over time it is not more than the rate, from however many clients.
    let mut crowd: Vec<Client> = (0..5).map(|_| logged_in(&gateway, "app")).collect();
    while started.elapsed() < Duration::from_secs(3) {
        crowd.iter_mut().for_each(|client| drop(client.line("INCR n")));
    }
    let sum = String::from_utf8_lossy(&redis.client().line("GET n")).split("\r\n").nth(1).map(str::parse::<f64>);
    let (sum, most) = (sum.expect("a number").expect("a number"), started.elapsed().as_secs_f64() * 20.0 + 28.0);
    assert!(sum <= most && sum >= 60.0, "{sum} of {most}");
    gateway.logs().wait_for("requests_per_second of a user was exceeded", DEADLINE);
}

#[test]
fn what_is_refused_leaves_no_half_of_a_transaction() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis, "[users.\"*\"]\nrequests_per_second = 1");
    let mut client = logged_in(&gateway, "app");
    // A transaction that has begun goes on to its end, and is paid for then.
    client.expect("MULTI", "+OK\r\n");
    for _ in 0..3 {
        client.expect("INCR n", "+QUEUED\r\n");
    }
    client.expect("EXEC", "*3\r\n:1\r\n:2\r\n:3\r\n");
    let refused = |reply: &[u8]| reply.starts_with(b"-ERR respool: requests_per_second of user \"app\"");
    for line in ["GET n", "BLPOP queue 0", "WATCH n", "SUBSCRIBE news", "WAIT 1 0"] {
        assert!(refused(&client.line(line)), "{line}");
    }
    client.expect("MULTI", "-ERR respool: not executed, because a WATCH before it was refused\r\n");
    client.expect("DISCARD", "+OK\r\n");
    client.expect("UNWATCH", "+OK\r\n");
    // One that was refused at its beginning is refused as a whole.
    client.send_raw(&requests(&["MULTI", "INCR n", "EXEC"]));
    assert!(client.read_replies(3).iter().all(|reply| refused(reply)), "a block");
    assert!(refused(&client.line("MULTI")));
    client.expect("INCR n", "-ERR respool: not executed, because the MULTI before it was refused\r\n");
    client.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    redis.client().expect("GET n", "$1\r\n3\r\n");
}

#[test]
fn requests_that_have_a_connection_of_their_own_count_too() {
    let redis = Redis::start(&["--client-query-buffer-limit", "1mb"]);
    let gateway = gateway(&redis, "[users.app]\nrequests_per_second = 1");
    let (mut admin, mut app) = (logged_in(&gateway, "root"), logged_in(&gateway, "app"));
    // The upstream has said by now what it bears.
    admin.expect("PING", "+PONG\r\n");
    app.send_raw(&request(&["SET", "k", &"x".repeat(600 << 10)]).repeat(8));
    let replies = app.read_replies(8);
    let served = replies.iter().filter(|reply| *reply == b"+OK\r\n").count();
    let turned_away = replies.iter().filter(|reply| reply.starts_with(b"-ERR respool: requests_per_second")).count();
    assert!(served >= 1 && turned_away >= 1 && served + turned_away == 8, "{served} and {turned_away}");
    assert_eq!(figure(&mut admin, "app", "requests"), served as u64);
    assert_eq!(refused(&gateway), [turned_away as f64; 2]);
}

#[test]
fn a_user_may_be_denied_commands_that_others_may_send() {
    let redis = Redis::start(&[]);
    let limits = "[commands]\ndeny = [\"FLUSHALL\"]\n[users.app]\ndeny = [\"keys\", \"config|set\"]";
    let mut gateway = gateway(&redis, limits);
    let (mut admin, mut app, mut other) =
        (logged_in(&gateway, "root"), logged_in(&gateway, "app"), logged_in(&gateway, "other"));
    let denied = "-ERR respool: this command is denied by the gateway's configuration\r\n";
    for line in ["KEYS nosuch", "CONFIG SET maxmemory 0", "FLUSHALL"] {
        app.expect(line, denied);
    }
    other.expect("KEYS nosuch", "*0\r\n");
    other.expect("FLUSHALL", denied);
    // The limits of a client are those of the user that it is now.
    app.expect("AUTH other one", "+OK\r\n");
    app.expect("KEYS nosuch", "*0\r\n");
    assert_eq!(figure(&mut admin, "app", "requests_denied"), 3);
    gateway.rewrite("[users.other]\ndeny = [\"KEYS\"]");
    assert!(String::from_utf8_lossy(&admin.line("RESPOOL RELOAD")).contains("users: added other"));
    other.expect("KEYS nosuch", denied);
    app.expect("KEYS nosuch", denied);
}

#[test]
fn metrics_name_the_users_of_the_configuration_and_nobody_else() {
    let redis = Redis::start(&[]);
    let gateway = gateway(&redis, "[users.nobody]\nclients_max = 1");
    gateway.logs().wait_for("users.nobody: auth.users has no such user", DEADLINE);
    let mut app = logged_in(&gateway, "app");
    app.expect("PING", "+PONG\r\n");
    let metrics = Metrics::read(gateway.metrics_address());
    let names: Vec<&str> = metrics.by("respool_user_requests_total", "user").into_keys().collect();
    assert_eq!(names, ["(others)", "app"]);
    assert_eq!(metrics.value("respool_user_requests_total{user=\"app\"}"), 1.0);
    assert_eq!(metrics.value("respool_user_clients{user=\"app\"}"), 1.0);
}

#[test]
fn metrics_can_be_read_whatever_a_user_is_called() {
    let who = users(&[(r#"'q"u'"#, "one"), (r"'back\slash'", "one")]);
    let gateway = Gateway::builder().metrics().config(&who).start();
    let (mut quoted, mut slashed) = (gateway.client(), gateway.client());
    assert_eq!(quoted.call(&["AUTH", "q\"u", "one"]), b"+OK\r\n");
    assert_eq!(slashed.call(&["AUTH", r"back\slash", "one"]), b"+OK\r\n");
    let (_, page) = get(gateway.metrics_address(), "/metrics");
    let named = page.lines().filter_map(|line| line.strip_prefix("respool_user_clients{user="));
    let named: Vec<&str> = named.collect();
    assert_eq!(named, [r#""(others)"} 0.0"#, r#""back\\slash"} 1.0"#, r#""q\"u"} 1.0"#]);
}
