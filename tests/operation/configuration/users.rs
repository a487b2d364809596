//! Users who come and go with a reload: whom it closes, at once and whatever they wait for, and whom it leaves alone.
//! As in Redis, whose users come and go by `ACL` and `requirepass`.

use std::time::Duration;

use crate::support::{Client, DEADLINE, Gateway, Redis, request, requests, users, wait};

const ADMIN: &str = "[auth]\nadmins = [\"root\"]";

/// A gateway with two users, and a client of the one who may use the console.
fn gateway(redis: &Redis, config: &str) -> (Gateway, Client) {
    let who = users(&[("root", "one"), ("app", "one")]);
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).config(ADMIN).config(&who).start();
    let mut admin = gateway.client();
    admin.expect("AUTH root one", "+OK\r\n");
    (gateway, admin)
}

fn logged_in(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.expect("AUTH app one", "+OK\r\n");
    client
}

/// Waits until `RESPOOL CLIENTS` shows `count` clients as `state`.
fn wait_shown(admin: &mut Client, state: &str, count: usize) {
    wait(&format!("{count} clients to be {state}"), || {
        let shown = String::from_utf8_lossy(&admin.line("RESPOOL CLIENTS")).into_owned();
        (shown.matches(&format!("\r\n{state}\r\n")).count() >= count).then_some(())
    });
}

#[test]
fn a_user_who_is_removed_is_closed_whatever_its_clients_wait_for() {
    let redis = Redis::start(&[]);
    let (mut gateway, mut admin) = gateway(&redis, "");
    let mut clients: Vec<Client> = (0..8).map(|_| logged_in(&gateway)).collect();
    clients[0].send(&["BLPOP", "queue", "0"]);
    clients[1].send(&["XREAD", "BLOCK", "0", "STREAMS", "s", "$"]);
    clients[2].send(&["SUBSCRIBE", "news"]);
    clients[2].read_reply();
    clients[3].expect("MULTI", "+OK\r\n");
    clients[4].expect("WATCH k", "+OK\r\n");
    clients[5].expect("MONITOR", "+OK\r\n");
    clients[6].send_raw(&requests(&["MULTI", "BLPOP queue 0", "EXEC", "BLPOP queue 0"]));
    clients[6].read_replies(3);
    wait_shown(&mut admin, "blocking", 2);
    gateway.forget("auth", "users", "app");
    admin.line("RESPOOL RELOAD");
    for (number, client) in clients.iter_mut().enumerate() {
        let rest = client.read_to_end();
        // What is monitored goes on until the end.
        assert!(rest.is_empty() || number == 5, "{number}: {}", String::from_utf8_lossy(&rest));
    }
    let mut direct = redis.client();
    direct.expect("RPUSH queue one two", ":2\r\n");
    direct.expect("LLEN queue", ":2\r\n");
    direct.expect("PUBLISH news x", ":0\r\n");
    admin.expect("PING", "+PONG\r\n");
    let mut again = gateway.client();
    again.expect("AUTH root one", "+OK\r\n");
    gateway.logs().wait_for("clients closed, because their user was removed", Duration::from_secs(5));
}

#[test]
fn a_client_that_waits_in_the_gateway_is_closed_at_once_too() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nexclusive_max = 1\nqueue_timeout_ms = 600_000\npause_timeout_ms = 600_000\nreply_timeout_ms = 600_000\n[auth]\nfailure_delay_ms = 600_000\nlogin_timeout_ms = 600_000";
    let who = users(&[("root", "one"), ("app", "one")]);
    let builder = Gateway::builder().upstream(&redis.url()).config(config).config(ADMIN).config(&who);
    let mut gateway = builder.allow("login refused").allow("paused").start();
    let mut admin = gateway.client();
    admin.expect("AUTH root one", "+OK\r\n");
    let mut holder = gateway.client();
    holder.expect("AUTH root one", "+OK\r\n");
    holder.expect("WATCH k", "+OK\r\n");
    let (mut in_line, mut guessing, mut deaf, mut held, mut selecting) =
        (logged_in(&gateway), logged_in(&gateway), logged_in(&gateway), logged_in(&gateway), logged_in(&gateway));
    in_line.send(&["BLPOP", "queue", "0"]);
    guessing.send(&["AUTH", "root", "wrong"]);
    gateway.logs().wait_for("login refused", DEADLINE);
    deaf.call(&["SET", "large", &"x".repeat(4 << 20)]);
    deaf.small_buffers();
    deaf.send_raw(&request(&["GET", "large"]).repeat(8));
    wait_shown(&mut admin, "waiting", 1);
    admin.send(&["RESPOOL", "PAUSE"]);
    gateway.logs().wait_for("paused", DEADLINE);
    let mut looks = gateway.client();
    looks.expect("AUTH root one", "+OK\r\n");
    held.send(&["INCR", "n"]);
    selecting.send(&["SELECT", "1"]);
    wait_shown(&mut looks, "waiting", 3);
    gateway.forget("auth", "users", "app");
    looks.line("RESPOOL RELOAD");
    for client in [&mut in_line, &mut held, &mut selecting] {
        client.expect_closed();
    }
    guessing.read_to_end();
    deaf.read_to_end();
    looks.expect("RESPOOL RESUME", "+OK\r\n");
    admin.read_reply();
    holder.expect("UNWATCH", "+OK\r\n");
    holder.expect("BLPOP queue 0.01", "*-1\r\n");
}

#[test]
fn a_client_that_is_killed_while_it_waits_is_closed_at_once() {
    let redis = Redis::start(&[]);
    let config = "[pool]\npause_timeout_ms = 600_000";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("paused").start();
    let (mut operator, mut victim) = (gateway.client(), gateway.client());
    let id = String::from_utf8_lossy(&victim.line("CLIENT ID")).trim_matches([':', '\r', '\n']).to_owned();
    operator.line("RESPOOL PAUSE");
    victim.send(&["INCR", "n"]);
    wait_shown(&mut operator, "waiting", 1);
    operator.expect(&format!("CLIENT KILL ID {id}"), ":1\r\n");
    victim.expect_closed();
    operator.expect("RESPOOL RESUME", "+OK\r\n");
    operator.expect("GET n", "$-1\r\n");
}

#[test]
fn a_login_that_nobody_asked_for_changes_nothing() {
    let redis = Redis::start(&[]);
    let mut gateway = Gateway::start(&redis.url());
    let (mut polite, mut silent, mut direct) = (gateway.client(), gateway.client(), redis.client());
    for client in [&mut polite, &mut direct] {
        client.expect("AUTH default anything", "+OK\r\n");
        client.expect("PING", "+PONG\r\n");
    }
    assert!(polite.line("HELLO 2 AUTH default anything").starts_with(b"*"));
    assert!(direct.line("HELLO 2 AUTH default anything").starts_with(b"*"));
    // It is on this machine, and nobody has to log in.
    assert!(polite.line("RESPOOL CONFIG SET pool.workers 3").starts_with(b"*"));
    silent.expect("PING", "+PONG\r\n");
    polite.expect("PING", "+PONG\r\n");
    // Whoever was there before there were users stays.
    gateway.rewrite(&users(&[("app", "one")]));
    polite.line("RESPOOL RELOAD");
    direct.expect("CONFIG SET requirepass one", "+OK\r\n");
    for client in [&mut polite, &mut silent, &mut direct] {
        client.expect("PING", "+PONG\r\n");
    }
    gateway.client().expect("PING", "-NOAUTH Authentication required.\r\n");
    redis.client().expect("PING", "-NOAUTH Authentication required.\r\n");
}

#[test]
fn nobody_has_to_log_in_any_more_once_there_are_no_users() {
    let (upstream, redis) = (Redis::start(&[]), Redis::start(&["--requirepass", "one"]));
    let who = users(&[("default", "one"), ("app", "one")]);
    let mut gateway = Gateway::builder().upstream(&upstream.url()).config(&who).start();
    let (mut stranger, mut default, mut app) = (gateway.client(), gateway.client(), logged_in(&gateway));
    default.expect("AUTH one", "+OK\r\n");
    let mut direct = [redis.client(), redis.client(), redis.client()];
    direct[1].expect("AUTH one", "+OK\r\n");
    direct[1].expect("ACL SETUSER app on >one ~* +@all", "+OK\r\n");
    direct[2].expect("AUTH app one", "+OK\r\n");
    for client in [&mut stranger, &mut direct[0]] {
        client.expect("PING", "-NOAUTH Authentication required.\r\n");
    }
    gateway.forget("auth", "users", "app");
    gateway.forget("auth", "users", "default");
    gateway.hang_up();
    app.expect_closed();
    direct[1].expect("ACL DELUSER app", ":1\r\n");
    direct[1].expect("CONFIG SET requirepass ", "+OK\r\n");
    direct[2].expect_closed();
    for client in [&mut stranger, &mut default].into_iter().chain(&mut direct[..2]) {
        client.expect("PING", "+PONG\r\n");
    }
}

#[test]
fn who_decides_about_logins_stays_the_same_until_a_restart_and_so_do_those_who_may_log_in() {
    let redis = Redis::start(&[]);
    let mut gateway = Gateway::builder().upstream(&redis.url()).config(&users(&[("app", "one")])).start();
    gateway.forget("auth", "users", "app");
    gateway.rewrite("[auth]\nmode = \"upstream\"");
    gateway.hang_up();
    gateway.logs().wait_for("\"needs_restart\":\"auth.mode: ", DEADLINE);
    let mut stranger = gateway.client();
    stranger.expect("GET k", "-NOAUTH Authentication required.\r\n");
    stranger.expect("AUTH app one", "+OK\r\n");

    let config = "[auth]\nmode = \"upstream\"\nfailure_delay_ms = 1";
    let mut gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let mut client = gateway.client();
    gateway.rewrite("[auth]\nmode = \"gateway\"");
    gateway.rewrite(&users(&[("root", "one")]));
    gateway.hang_up();
    gateway.logs().wait_for("\"needs_restart\":\"auth.mode: ", DEADLINE);
    client.expect("PING", "+PONG\r\n");
}
