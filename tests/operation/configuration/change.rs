//! A change of the running configuration: what is told of it, what the console takes, and what it refuses because
//! it would shut itself out.

use std::fs;

use crate::support::{Client, DEADLINE, Gateway, Redis, assert_own_error};

/// Of "one".
const DIGEST: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

fn told(client: &mut Client, line: &str) -> String {
    String::from_utf8_lossy(&client.line(line)).into_owned()
}

#[test]
fn a_reload_tells_first_what_has_changed_and_from_what_to_what() {
    let mut gateway = Gateway::builder().upstream("embedded").config("[pool]\nworkers = 2").start();
    let mut client = gateway.client();
    gateway.rewrite(&format!("[pool]\nworkers = 3\nqueue_capacity = 77\n[auth]\nusers = {{ app = \"{DIGEST}\" }}"));
    let reply = told(&mut client, "RESPOOL RELOAD");
    let parts = ["applied", "auth.users: added app", "pool.workers: 2 -> 3", "needs_restart"];
    let parts = parts.into_iter().chain(["pool.queue_capacity: 16384 -> 77", "warnings", "unchanged", "generation"]);
    let places: Vec<_> = parts.map(|part| reply.find(part).unwrap_or_else(|| panic!("{part}: {reply}"))).collect();
    assert!(places.is_sorted() && !reply.contains(DIGEST), "{reply}");
    assert_eq!(reply.matches("pool.").count(), 2, "{reply}");
    let line = gateway.logs().wait_for("configuration in force", DEADLINE);
    assert!(line.contains("auth.users: added app, pool.workers: 2 -> 3") && !line.contains(DIGEST), "{line}");
}

#[test]
fn a_weak_point_that_is_new_is_warned_of() {
    let mut gateway = Gateway::builder().upstream("embedded").allow("commands.deny: RESPOOL is denied").start();
    let mut client = gateway.client();
    gateway.rewrite("[commands]\ndeny = [\"RESPOOL\"]");
    assert!(told(&mut client, "RESPOOL RELOAD").contains("nobody can use the console"));
    // The same again is no news.
    gateway.hang_up();
    gateway.logs().wait_for("\"generation\":3", DEADLINE);
    gateway.rewrite("[pool]\nworkers = 3");
    gateway.hang_up();
    gateway.logs().wait_for("-> 3", DEADLINE);
    assert_eq!(gateway.logs().count("weak point"), 1);
}

#[test]
fn the_console_takes_values_as_the_file_does() {
    let gateway = Gateway::builder().upstream("embedded").allow("configuration refused").start();
    let mut client = gateway.client();
    for (key, value, shown) in [
        ("pool.queue_timeout_ms", "7s", "7000"),
        ("pool.queue_timeout_ms", "700", "700"),
        ("pool.queue_bytes_max", "32MiB", "33554432"),
        ("clients.tcp_keepalive_s", "2m", "120"),
        ("log.filter", "debug", "debug"),
        ("commands.deny", "[\"KEYS\"]", "[\"KEYS\"]"),
    ] {
        assert!(told(&mut client, &format!("RESPOOL CONFIG SET {key} {value}")).contains(&format!("{key}: ")));
        let expected = format!("*2\r\n${}\r\n{key}\r\n${}\r\n{shown}\r\n", key.len(), shown.len());
        client.expect(&format!("RESPOOL CONFIG GET {key}"), &expected);
    }
    for (change, problem) in [
        ("pool.worker 1", "pool.worker: no such key; did you mean \"workers\"?"),
        ("pool.workers none", "pool.workers: expected a whole number"),
        ("pool.queue_timeout_ms 7sec", "pool.queue_timeout_ms: expected milliseconds (5000), or a time with its unit"),
        ("commands.deny [\"FLUSHAL\"]", "did you mean \"FLUSHALL\"?"),
        ("auth.users {}", "auth.users: change it in the file and reload"),
        ("pool 1", "pool: is a section"),
        ("upstream.tls.verify ca", "upstream.tls"),
    ] {
        let reply = client.line(&format!("RESPOOL CONFIG SET {change}"));
        assert_own_error(&reply);
        assert!(String::from_utf8_lossy(&reply).contains(problem), "{}", String::from_utf8_lossy(&reply));
    }
    assert!(told(&mut client, "RESPOOL CONFIG GET upstream.tls.*").contains("upstream.tls.verify"));
}

#[test]
fn no_change_on_the_console_shuts_it_out() {
    let users = format!("[auth]\nadmins = [\"app\", \"ops\"]\nusers = {{ app = \"{DIGEST}\", ops = \"{DIGEST}\" }}");
    let gateway = Gateway::builder().upstream("embedded").config(&users).allow("configuration refused").start();
    let mut client = gateway.client();
    client.expect("AUTH app one", "+OK\r\n");
    for change in [
        "commands.deny [\"RESPOOL\"]",
        "commands.deny [\"respool|config\"]",
        "commands.deny [\"AUTH\"]",
        "auth.admins []",
        "auth.admins [\"ops\"]",
        "clients.request_bytes_max 100",
        "clients.args_max 3",
        "clients.idle_timeout_ms 1",
        "clients.write_timeout_ms 1",
        "auth.login_timeout_ms 1",
    ] {
        assert_own_error(&client.line(&format!("RESPOOL CONFIG SET {change}")));
    }
    // The smallest bounds that there are leave room to undo them.
    for change in ["clients.request_bytes_max 512", "clients.args_max 8", "auth.admins [\"app\"]"] {
        assert!(!client.line(&format!("RESPOOL CONFIG SET {change}")).starts_with(b"-"), "{change}");
    }
    let deny = (0..20).map(|_| "\"FLUSHALL\"").collect::<Vec<_>>().join(",");
    assert!(!client.line(&format!("RESPOOL CONFIG SET commands.deny [{deny}]")).starts_with(b"-"));
    assert!(!client.line("RESPOOL CONFIG SET clients.request_bytes_max 512MiB").starts_with(b"-"));
    let mut another = gateway.client();
    another.expect("HELLO 3 AUTH app one SETNAME x", &String::from_utf8_lossy(&client.line("HELLO 3")));
}

#[test]
fn a_login_of_another_upstream_waits_for_the_restart_with_its_url() {
    let redis = Redis::start(&["--requirepass", "secret"]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("password");
    fs::write(&file, "secret\n").expect("written");
    let login = format!("[upstream]\nurl = \"{}\"\npassword_file = \"{}\"", redis.url(), file.display());
    let mut gateway = Gateway::builder().config(&login).start();
    let mut client = gateway.client();
    client.expect("SET k 1", "+OK\r\n");
    gateway.rewrite("[upstream]\nurl = \"redis-sentinel://:secret@127.0.0.1:1/service\"\npassword_file = \"\"");
    let reply = told(&mut client, "RESPOOL RELOAD");
    let waits = reply.find("needs_restart").unwrap_or_else(|| panic!("{reply}"));
    for key in ["upstream.url: ", "upstream.password_file: "] {
        assert!(reply.find(key).is_some_and(|at| at > waits), "{key}: {reply}");
    }
    // Connections that are made anew log in as before.
    client.expect("RESPOOL RECONNECT", "+OK\r\n");
    client.expect("GET k", "$1\r\n1\r\n");
    client.expect("BLPOP nosuch 0.01", "*-1\r\n");
}
