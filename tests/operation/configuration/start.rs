//! Configuration: what is wrong is refused before anything is bound, with exit code 64 and the key's name;
//! the command line overrides the file; the shipped file is valid and documents every key.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Output, Stdio},
};

use crate::support::{Client, Gateway, Redis, wait};

const EXIT_USAGE: Option<i32> = Some(64);
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/respool.toml");

fn run(args: &[&str]) -> Output {
    Gateway::command().args(args).stdin(Stdio::null()).output().expect("the gateway can be started")
}

/// Runs with `toml` as the configuration file.
fn run_with(toml: &[u8], args: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("test.toml");
    std::fs::write(&path, toml).expect("written");
    let path = path.to_str().expect("text");
    run(&[&["--config", path], args].concat())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Files that must be refused, and what the message has to name.
const REFUSED: [(&str, &str); 42] = [
    ("nonsense = 1", "nonsense"),
    ("[pool]\nworker = 3", "worker"),
    ("[nosuch]\nkey = 1", "nosuch"),
    ("listen = 6380", "listen"),
    ("listen = \"nonsense\"", "listen"),
    ("listen = \"127.0.0.1\"", "listen"),
    ("listen = \"127.0.0.1:99999\"", "listen"),
    ("[upstream]\nurl = \"\"", "upstream.url"),
    ("[upstream]\nurl = \"http://127.0.0.1\"", "upstream.url"),
    ("[upstream]\nurl = \"redis://127.0.0.1:6379/abc\"", "upstream.url"),
    ("[upstream]\nurl = \"redis://127.0.0.1:6379/-1\"", "upstream.url"),
    ("[upstream]\nconnect_timeout_ms = 0", "connect_timeout_ms"),
    ("[upstream]\nreconnect_delay_min_ms = 10\nreconnect_delay_max_ms = 5", "reconnect_delay_max_ms"),
    ("[pool]\nworkers = 0", "pool.workers"),
    ("[pool]\nworkers = 251", "pool.workers"),
    ("[pool]\nworkers = -1", "workers"),
    ("[pool]\nworkers = \"four\"", "workers"),
    ("[pool]\npipeline_depth = 0", "pool.pipeline_depth"),
    ("[pool]\nqueue_capacity = 0", "pool.queue_capacity"),
    ("[pool]\nqueue_bytes_max = 0", "pool.queue_bytes_max"),
    ("[pool]\nqueue_timeout_ms = 0", "pool.queue_timeout_ms"),
    ("[pool]\nreply_timeout_ms = 0", "pool.reply_timeout_ms"),
    ("[pool]\nbatch_max = 0", "pool.batch_max"),
    ("[pool]\nbatch_bytes_max = 0", "pool.batch_bytes_max"),
    ("[clients]\nclients_max = 0", "clients.clients_max"),
    ("[clients]\nrequest_bytes_max = 0", "clients.request_bytes_max"),
    ("[clients]\nargs_max = 0", "clients.args_max"),
    ("[log]\nformat = \"xml\"", "log.format"),
    ("[log]\nfilter = \"respool=loud=very\"", "log.filter"),
    ("[runtime]\nthreads = 0", "runtime.threads"),
    ("[upstream]\nurl = \"localhost:6379\"", "line 2: upstream.url: has no scheme; write redis://localhost:6379"),
    (
        "[upstream]\nurl = \"unix://tmp/x.sock\"",
        "line 2: upstream.url: names no path; after unix: there are three slashes",
    ),
    ("[upstream]\nurl = \"redis://h/0?timeout=3\"", "line 2: upstream.url: has something after the address"),
    ("[upstream]\nrole = \"master\"", "line 2: upstream.role: \"master\" is neither \"primary\" nor \"replica\" nor"),
    ("listen = \":6380\"", "line 1: listen: \":6380\": no host in front of the port; write 127.0.0.1:6380"),
    ("[pool]\nworker = 4", "line 2: pool.worker: no such key; did you mean \"workers\"?"),
    ("[pool]\nqueue_timeout_ms = \"5 seconds\"", "line 2: pool.queue_timeout_ms: expected milliseconds (5000), or"),
    ("[log]\nfilter = \"inof\"", "line 2: log.filter: \"inof\" is no level"),
    (
        "listen = \"127.0.0.1:7\"\n[metrics]\nlisten = \"127.0.0.1:7\"",
        "line 3: metrics.listen: 127.0.0.1:7 is taken by",
    ),
    ("[commands]\ndeny = [\"config set\"]", "line 2: commands.deny: \"config set\" is not written as"),
    (
        "[commands]\ndeny = [\"FLUSHAL\"]",
        "line 2: commands.deny: \"FLUSHAL\" is not the name of a command; did you mean",
    ),
    ("[commands]\ndeny = [\"flushall \"]", "line 2: commands.deny: \"flushall \" is not written as"),
];

#[test]
fn a_bad_configuration_exits_with_64_and_names_the_key() {
    for (toml, key) in REFUSED {
        let output = run_with(toml.as_bytes(), &[]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), EXIT_USAGE, "{toml:?}: {message}");
        assert!(message.contains(key), "{toml:?}: {message:?} does not name {key}");
        let checked = run_with(toml.as_bytes(), &["--check"]);
        assert_eq!((checked.status.code(), stderr(&checked).contains(key)), (EXIT_USAGE, true), "{toml:?} checked");
    }
}

#[test]
fn files_that_cannot_be_read_exit_with_64() {
    let missing = run(&["--config", "/nonexistent/respool.toml"]);
    assert_eq!(missing.status.code(), EXIT_USAGE);
    assert!(stderr(&missing).contains("/nonexistent/respool.toml"));
    for toml in [&b"listen = "[..], b"[pool", b"\xff\xfe", b"listen = \"a\"\nlisten = \"b\""] {
        let output = run_with(toml, &[]);
        assert_eq!(output.status.code(), EXIT_USAGE, "{}", stderr(&output));
    }
}

#[test]
fn a_bad_command_line_exits_with_64() {
    for args in [&["--listen", "nonsense"][..], &["--upstream", "http://x"], &["--nosuch"], &["stray"], &["--config"]] {
        let output = run(args);
        assert_eq!(output.status.code(), EXIT_USAGE, "{args:?}: {}", stderr(&output));
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arg in ["--help", "--version"] {
        let output = run(&[arg]);
        assert!(output.status.success() && !output.stdout.is_empty(), "{arg}");
    }
}

#[test]
fn check_accepts_what_is_valid_and_starts_nothing() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let listen = format!("listen = \"{}\"", taken.local_addr().expect("bound"));
    let output = run_with(listen.as_bytes(), &["--check"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let shipped = run(&["--config", SHIPPED, "--check"]);
    assert!(shipped.status.success(), "{}", stderr(&shipped));
    let report = String::from_utf8_lossy(&shipped.stdout).into_owned();
    report.parse::<toml::Table>().expect("the report is a configuration");
    assert!(report.contains("workers = 4") && report.contains("MiB  together"), "{report}");
}

#[test]
fn every_key_of_the_shipped_file_is_documented_beside_it() {
    let text = std::fs::read_to_string(SHIPPED).expect("config/respool.toml is there");
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let is_key = line.contains('=') && !line.starts_with('#');
        assert!(!is_key || lines[index - 1].starts_with('#'), "{line:?} has no comment above it");
    }
}

#[test]
fn an_address_in_use_is_told_and_is_no_usage_error() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let output = run(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

#[test]
fn listening_beyond_this_machine_has_to_be_meant() {
    let output = run(&["--listen", "0.0.0.0:0", "--check"]);
    assert_eq!(output.status.code(), EXIT_USAGE);
    assert!(stderr(&output).contains("protected_mode"), "{}", stderr(&output));
    let meant = run_with(b"listen = \"0.0.0.0:0\"\nprotected_mode = false", &["--check"]);
    assert!(meant.status.success(), "{}", stderr(&meant));
}

#[test]
fn the_command_line_overrides_the_file() {
    let redis = Redis::start(&[]);
    let toml = "listen = \"127.0.0.1:1\"\n[upstream]\nurl = \"http://refused\"";
    let output = run_with(toml.as_bytes(), &["--listen", "127.0.0.1:0", "--upstream", &redis.url(), "--check"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_password_is_never_repeated() {
    for url in ["http://user:hunter2@host", "redis://user:hunter2@host/abc", "redis://user:hunter2@:x/"] {
        let output = run(&["--upstream", url]);
        assert_eq!(output.status.code(), EXIT_USAGE, "{url}");
        assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
    let gateway = Gateway::builder().upstream("redis://user:hunter2@127.0.0.1:1").allow_lost_upstream().start();
    let reply = gateway.client().line("GET k");
    assert!(reply.starts_with(b"-ERR respool: ") && !String::from_utf8_lossy(&reply).contains("hunter2"));
    wait("the upstream to be down", || gateway.logs().find("upstream is down"));
    assert!(gateway.logs().find("hunter2").is_none());
}

#[test]
fn several_threads_serve_as_one_does() {
    let redis = Redis::start(&[]);
    let config = "[runtime]\nthreads = 3\n[pool]\nworkers = 3";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    std::thread::scope(|scope| {
        for index in 0..8 {
            let mut client: Client = gateway.client();
            scope.spawn(move || {
                for round in 1..=300 {
                    client.expect(&format!("INCR k{index}"), &format!(":{round}\r\n"));
                }
            });
        }
    });
}

#[test]
fn clients_of_a_thread_that_has_lost_its_workers_are_served_by_those_of_another() {
    let redis = Redis::start(&[]);
    let config = "[runtime]\nthreads = 2\n[pool]\nworkers = 2";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("runtime.threads: 1 of 2").start();
    let (mut operator, mut clients) = (gateway.client(), [0; 6].map(|_| gateway.client()));
    let mut count = 0;
    for workers in [2, 1, 2, 1] {
        let set = operator.line(&format!("RESPOOL CONFIG SET pool.workers {workers}"));
        assert!(!set.starts_with(b"-"), "{}", String::from_utf8_lossy(&set));
        for _ in 0..20 {
            for client in &mut clients {
                count += 1;
                client.expect("INCR n", &format!(":{count}\r\n"));
            }
        }
        wait("as many connections as workers", || {
            let list = String::from_utf8_lossy(&redis.client().line("CLIENT LIST")).into_owned();
            (list.matches("respool-worker").count() == workers).then_some(())
        });
    }
}
