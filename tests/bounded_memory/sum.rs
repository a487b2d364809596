//! What `respool --check` adds up is the most that clients make the process hold, whatever they all do at once.

use std::time::{Duration, Instant};

use crate::at_most_once::cluster::nodes::{Nodes, key_of};
use crate::support::{Client, DEADLINE, Gateway, Redis, pass, raise_descriptor_limit, request, requests, users, wait};

const MIB: u64 = 1 << 20;

/// Bounds that clients can reach in a test, beside who may log in.
fn config(logins: &str) -> String {
    format!(
        "[pool]\nworkers = 2\nexclusive_max = 64\nqueue_bytes_max = {}\nreplies_bytes_max = {}\nreply_bytes_max = {}\n\
         [clients]\nclients_max = 200\nrequest_bytes_max = {}\nargs_max = 262144\ninput_bytes_max = {}\n\
         backlog_bytes_max = {}\n[auth]\nlogin_timeout_ms = 60000\n{logins}",
        8 * MIB,
        16 * MIB,
        4 * MIB,
        4 * MIB,
        32 * MIB,
        2 * MIB,
    )
}

/// What `--check` says that all of it may be, in bytes.
fn figure(config: &str, url: &str) -> u64 {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("test.toml");
    std::fs::write(&path, config).expect("written");
    let output = Gateway::command().args(["--check", "--upstream", url, "--config"]).arg(path).output().expect("runs");
    let report = String::from_utf8(output.stdout).expect("text");
    let line = report.lines().find(|line| line.ends_with("MiB  together")).expect("the report adds it up");
    line.trim_start_matches('#').split_whitespace().next().and_then(|mib| mib.parse::<u64>().ok()).expect("a number")
        * MIB
}

/// What a client of each kind sends. None reads what comes of it.
fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    let large = "x".repeat(3 << 20);
    let half = format!("*3\r\n$3\r\nSET\r\n$4\r\nheld\r\n${}\r\n{large}", 4 * MIB - 100);
    let arguments = [&b"*262000\r\n"[..], &b"$0\r\n\r\n".repeat(250_000)].concat();
    let names = request(&["CLIENT", "SETNAME", &"n".repeat(1000)]).repeat(2000);
    let channels: Vec<String> = (0..200).map(|number| format!("{number}{}", "c".repeat(1000))).collect();
    let channels: Vec<&str> = ["SUBSCRIBE"].into_iter().chain(channels.iter().map(String::as_str)).collect();
    vec![
        ("half a request", half.into_bytes()),
        ("arguments", arguments),
        ("a transaction", [requests(&["MULTI"]), names].concat()),
        ("lists", [&requests(&["MULTI"])[..], &requests(&["CLIENT LIST"]).repeat(500), &requests(&["EXEC"])].concat()),
        ("replies", request(&["GET", "large"]).repeat(50)),
        ("small replies", request(&["GET", "small"]).repeat(20_000)),
        ("two bursts of replies", request(&["GET", "tiny"]).repeat(60_000)),
        ("replies to one alone", [requests(&["MULTI", "GET large", "EXEC"]), requests(&["MULTI"])].concat().repeat(3)),
        ("requests", request(&["SET", "own", &large[..1 << 20]]).repeat(6)),
        ("subscriptions", request(&channels)),
        ("a monitor", requests(&["MONITOR"])),
        ("names", request(&["CLIENT", "SETNAME", &"n".repeat(1000)])),
        ("console", requests(&["RESPOOL CLIENTS"]).repeat(200)),
    ]
}

/// Each client sends as far as it can, and none reads, until nothing more is taken of any and the gateway rests.
fn press(gateway: &Gateway, clients: &mut [(Client, Vec<u8>, usize)]) {
    let (mut quiet, mut spent) = (0, gateway.process().cpu_time());
    let ends = Instant::now() + DEADLINE;
    while quiet < 10 && Instant::now() < ends {
        let mut taken = 0;
        for (client, bytes, sent) in &mut *clients {
            if let Ok(more) = client.try_send_available(&bytes[*sent..]) {
                *sent += more;
                taken += more;
            }
        }
        pass(Duration::from_millis(100));
        let before = std::mem::replace(&mut spent, gateway.process().cpu_time());
        quiet = if taken == 0 && spent - before < Duration::from_millis(10) { quiet + 1 } else { 0 };
    }
}

/// Clients of every kind do all at once what they can, as users `one` and `other`, and the process stays within the sum.
fn hold(redis: &Redis, config: &str) {
    raise_descriptor_limit();
    let mut direct = redis.client();
    for (key, bytes) in [("large", 2 << 20), ("small", 1000), ("tiny", 400)] {
        direct.send(&["SET", key, &"v".repeat(bytes)]);
        direct.read_reply();
    }
    let allowed = figure(config, &redis.url());
    let builder = Gateway::builder().upstream(&redis.url()).config(config).allow("clients").allow("requests");
    let gateway = builder.allow("subscri").allow("login").allow("upstream is not ready").allow_lost_upstream().start();
    gateway.client().line("PING");
    let before = gateway.process().rss_bytes();
    let kinds = kinds();
    let mut clients: Vec<(Client, Vec<u8>, usize)> = Vec::new();
    for number in 0..150 {
        let (name, bytes) = &kinds[number % kinds.len()];
        let Ok(mut client) = Client::try_connect(gateway.address()) else { continue };
        client.small_buffers();
        // Every twelfth has not logged in.
        let user = ["one", "other"][number % 2];
        if number % 12 != 11 && client.try_line(&format!("AUTH {user} secret")).is_err() {
            panic!("{name}: {user} is let in");
        }
        clients.push((client, bytes.clone(), 0));
    }
    press(&gateway, &mut clients);
    let grown = gateway.process().peak_rss_bytes().saturating_sub(before);
    println!("{} MiB more memory, {} MiB are what --check adds up", grown / MIB, allowed / MIB);
    assert!(grown < allowed, "{grown} bytes more memory, {allowed} are what --check adds up");
    assert!(grown > allowed / 20, "{grown} bytes more memory: the clients did too little to prove anything");
    drop(clients);
    wait("others to be served again", || {
        let mut client = gateway.client();
        let is_in = client.line("AUTH one secret") == b"+OK\r\n";
        (is_in && client.line("SET k v") == b"+OK\r\n").then_some(())
    });
}

#[test]
fn all_that_clients_do_at_once_stays_within_what_check_adds_up() {
    hold(&Redis::start(&[]), &config(&users(&[("one", "secret"), ("other", "secret")])));
}

#[test]
fn so_it_does_where_each_login_has_a_pool_of_its_own() {
    let redis = Redis::start(&[]);
    let mut direct = redis.client();
    for user in ["one", "other"] {
        direct.expect(&format!("ACL SETUSER {user} on >secret ~* &* +@all"), "+OK\r\n");
    }
    hold(&redis, &config("mode = \"upstream\"\nlogins_max = 8\n"));
}

/// Replies that are put together of those of several nodes, while nobody reads them: one that is as large as it may be, and
/// many that come one behind another.
#[test]
fn so_it_does_where_replies_are_put_together_of_those_of_several_nodes() {
    let nodes = Nodes::start();
    let keys: Vec<String> = (0..60).map(|number| key_of(number * 273)).collect();
    let config = format!(
        "[pool]\nworkers = 1\nexclusive_max = 16\npools_max = 8\nqueue_capacity = 64\nqueue_bytes_max = {0}\n\
         replies_bytes_max = {1}\nreply_bytes_max = {1}\n[clients]\nclients_max = 26\nrequest_bytes_max = {0}\n\
         args_max = 4096\ninput_bytes_max = {0}\nbacklog_bytes_max = {0}\n[pubsub]\nbacklog_bytes_max = {0}",
        3 * MIB,
        128 * MIB,
    );
    let allowed = figure(&config, &nodes.url());
    let gateway = Gateway::builder().upstream(&nodes.url()).config(&config).allow("requests failed").start();
    let mut filler = gateway.client();
    for key in &keys {
        assert_eq!(filler.call(&["SET", key, &"v".repeat(2 << 20)]), b"+OK\r\n");
    }
    let before = gateway.process().rss_bytes();
    let all: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    let pipeline: Vec<u8> = keys.iter().flat_map(|key| request(&["GET", key])).collect();
    let kinds = [request(&all), pipeline, request(&all[..25])];
    for count in [1, 24] {
        let connect = |number: usize| {
            let client = gateway.client();
            client.small_buffers();
            (client, kinds[number % kinds.len()].clone(), 0)
        };
        press(&gateway, &mut (0..count).map(connect).collect::<Vec<_>>());
        let grown = gateway.process().peak_rss_bytes().saturating_sub(before);
        println!("{} MiB more memory, {} MiB are what --check adds up", grown / MIB, allowed / MIB);
        assert!(grown < allowed, "{grown} bytes more memory, {allowed} are what --check adds up");
        assert!(grown > 120 * MIB, "{grown} bytes more memory: the clients did too little to prove anything");
    }
    let reply = filler.call(&all);
    assert!(reply.len() > 120 << 20, "{}", String::from_utf8_lossy(&reply[..reply.len().min(200)]));
}

#[test]
fn what_several_nodes_say_together_is_no_larger_than_a_reply_may_be() {
    let nodes = Nodes::start();
    let config = format!("[pool]\nreply_bytes_max = {}", 2 * MIB);
    let builder = Gateway::builder().upstream(&nodes.url()).config(&config);
    let (gateway, wide) = (builder.allow("requests failed").start(), Gateway::start(&nodes.url()));
    let name = "n".repeat(4096);
    let keys: Vec<String> = (0..600).map(|number| format!("{{{}}}{name}{number}", key_of(number * 27))).collect();
    let (mut client, mut other) = (gateway.client(), wide.client());
    for key in &keys {
        assert_eq!(client.call(&["SET", key, &name]), b"+OK\r\n");
    }
    let all: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    let exceeded = |reply: &[u8]| {
        let reply = String::from_utf8_lossy(&reply[..reply.len().min(200)]).into_owned();
        assert!(
            reply.contains("-ERR respool: ")
                && reply.contains("reply_bytes_max exceeded: the replies are larger than 2097152 bytes"),
            "{reply}"
        );
    };
    for asked in [&["KEYS", "*"][..], &all] {
        exceeded(&client.call(asked));
        assert!(other.call(asked).len() > 2 << 20);
        client.expect("PING", "+PONG\r\n");
    }
    for client in [&mut client, &mut other] {
        client.send_raw(&requests(&["MULTI", "KEYS *", "INCR n", "EXEC"]));
    }
    let executed = client.read_replies(4).remove(3);
    exceeded(&executed);
    assert!(matches!(&executed[..], [.., b':', b'1' | b'2', b'\r', b'\n']), "the rest was executed");
    assert!(other.read_replies(4)[3].len() > 2 << 20);
}
