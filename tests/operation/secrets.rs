//! Passwords, and what clients send and get, stay out of everything that others can read: logs at the most
//! talkative level, error messages, metrics, the console. All of them hold one word here, which is then
//! looked for everywhere.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::FileExt,
    process::Stdio,
};

use sha2::{Digest, Sha256};

use crate::support::{Client, DEADLINE, Gateway, Redis, request, requests, users, wait};

/// Part of every password, key, value and channel.
const SECRET: &str = "S3cret";
const OF_USER: &str = "Us3rS3cret";
const OF_UPSTREAM: &str = "Upstr3amS3cret";

/// Fails where `text` holds the secret: as text, as a list of bytes, or a password's digest.
#[track_caller]
fn assert_clean(what: &str, text: &str) {
    let listed = format!("{:?}", SECRET.as_bytes()).replace(['[', ']'], "");
    let digest = Sha256::digest(OF_USER).iter().take(6).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    for secret in [SECRET, &listed, &digest] {
        let line = text.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{what} holds {secret:?}: {line:?}");
    }
}

fn upstream() -> Redis {
    Redis::start(&["--requirepass", OF_UPSTREAM])
}

fn url(redis: &Redis) -> String {
    redis.url().replace("redis://", &format!("redis://:{OF_UPSTREAM}@"))
}

fn gateway(redis: &Redis, mode: &str) -> Gateway {
    let config = format!(
        "[log]\nfilter = \"trace\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n[pubsub]\nmode = \"{mode}\"\n\
         [auth]\nadmins = [\"app\"]\nfailure_delay_ms = 1\n{}",
        users(&[("default", OF_USER), ("app", OF_USER)])
    );
    let builder = Gateway::builder().upstream(&url(redis)).config(&config).allow_lost_upstream();
    builder.allow("login refused").allow("configuration refused").allow("paused").start()
}

/// What clients do with secrets, the wrong way too. The replies are theirs and may hold anything.
fn use_secrets(gateway: &Gateway) {
    for login in [&["AUTH", "Wr0ngS3cret"][..], &["AUTH", "app", "Wr0ngS3cret"], &["AUTH", OF_USER, "app"]] {
        let mut client = gateway.client();
        assert!(client.call(login).starts_with(b"-WRONGPASS"));
        client.call(&["HELLO", "3", "AUTH", "app", "Wr0ngS3cret"]);
        client.call(&["GET", "K3yS3cret"]);
    }
    let mut client = gateway.client();
    assert!(client.call(&["HELLO", "3", "AUTH", "app", OF_USER]).starts_with(b"%"));
    for line in [
        "SET K3yS3cret V4lueS3cret",
        "GET K3yS3cret",
        "S3cret with S3cret",
        "LPUSH K3yS3cret V4lueS3cret",
        "CLIENT SETINFO lib-name S3cret",
        "CONFIG SET requirepass2 S3cret",
        "ACL SETUSER other >S3cret",
        "EVAL S3cret 0",
        "SELECT S3cret",
        "SELECT 1",
        "WATCH K3yS3cret",
        "MULTI",
        "SET K3yS3cret V4lueS3cret",
        "AUTH app Wr0ngS3cret",
        "EXEC",
        "RPUSH L1stS3cret V4lueS3cret",
        "BLPOP L1stS3cret 0",
        "SYNC S3cret",
        "RESPOOL CONFIG SET pool.workers S3cret",
        "RESPOOL CONFIG SET upstream.url redis://:S3cret@[",
        "RESPOOL CONFIG SET upstream.urls S3cret",
        "RESPOOL CONFIG SET log.filter S3cret=S3cret",
        "RESPOOL S3cret",
    ] {
        client.line(line);
    }
    let mut subscriber = gateway.client();
    subscriber.call(&["AUTH", OF_USER]);
    subscriber.call(&["SUBSCRIBE", "Ch4nnelS3cret"]);
    client.call(&["PUBLISH", "Ch4nnelS3cret", "M3ssageS3cret"]);
    subscriber.read_reply();
    for malformed in ["*1\r\n:S3cret\r\n", "get \"S3cret\r\n", "*S3cret\r\n"] {
        let mut client = gateway.client();
        client.call(&["AUTH", OF_USER]);
        client.send_raw(malformed.as_bytes());
        client.read_to_end();
    }
}

/// All that the console and the metrics show.
fn shown(gateway: &Gateway) -> String {
    let mut admin = gateway.client();
    assert_eq!(admin.call(&["AUTH", "app", OF_USER]), b"+OK\r\n");
    let mut text = String::new();
    for line in ["POOLS", "CLIENTS", "WORKERS", "STATS", "HELP", "CONFIG GET *", "RELOAD", "PAUSE", "RESUME"] {
        text += &String::from_utf8_lossy(&admin.line(&format!("RESPOOL {line}")));
    }
    text += &String::from_utf8_lossy(&admin.line("CLIENT LIST"));
    let line = gateway.logs().wait_for("metrics address is open", DEADLINE);
    let at = line.find("127.0.0.1:").expect("an address");
    let end = line[at..].find('"').map_or(line.len(), |end| at + end);
    let address: SocketAddr = line[at..end].parse().expect("an address");
    for path in ["/metrics", "/status", "/healthz", "/readyz", "/S3cret"] {
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: S3cret\r\nConnection: close\r\n\r\n").expect("sends");
        stream.read_to_string(&mut text).expect("a whole answer");
    }
    text
}

#[test]
fn logs_console_and_metrics_hold_no_secret_at_any_level() {
    for mode in ["dedicated", "shared"] {
        let redis = upstream();
        let mut gateway = gateway(&redis, mode);
        use_secrets(&gateway);
        let shown = shown(&gateway);
        assert!(shown.contains("login_timeout_ms") && shown.contains("respool_clients"), "{shown}");
        assert_clean("the console and the metrics", &shown);

        // A reload that succeeds, then some that do not, each with a secret where it goes wrong.
        gateway.rewrite("[clients]\nidle_timeout_ms = 100_000");
        gateway.hang_up();
        gateway.logs().wait_for("configuration in force", DEADLINE);
        for (round, bad) in broken_files().iter().enumerate() {
            gateway.overwrite(bad);
            gateway.hang_up();
            wait("the refusal", || (gateway.logs().count("configuration refused") > round).then_some(()));
        }

        // An upstream that ends connections with a request on its way, and does not know the password any more.
        let (mut client, mut direct) = (gateway.client(), redis.client());
        client.call(&["AUTH", OF_USER]);
        client.send_raw(&requests(&["SET K3yS3cret V4lueS3cret", "BLPOP L1stS3cret 0"]));
        client.read_reply();
        direct.call(&["AUTH", OF_UPSTREAM]);
        direct.expect("CONFIG SET requirepass 0therS3cret", "+OK\r\n");
        direct.line("CLIENT KILL TYPE normal SKIPME yes");
        gateway.logs().wait_for("WRONGPASS", DEADLINE);
        assert_clean("an error reply", &error_of(&gateway));

        gateway.terminate();
        gateway.wait_end(DEADLINE);
        let lines = gateway.logs().lines();
        assert!(lines.iter().any(|line| line.contains("\"DEBUG\"")), "the filter lets everything pass");
        assert_clean("the log", &lines.join("\n"));
    }
}

/// What a client gets that asks for nothing secret.
fn error_of(gateway: &Gateway) -> String {
    let mut client = gateway.client();
    client.call(&["AUTH", OF_USER]);
    String::from_utf8_lossy(&client.line("PING")).into_owned()
}

fn broken_files() -> [String; 7] {
    let valid = users(&[("default", OF_USER)]);
    [
        format!("{valid}[upstream]\nurl = \"redis://:S3cret@127.0.0.1"),
        format!("{valid}[upstream]\nurl = \"redis://:S3cret@127.0.0.1:70000\""),
        format!("{valid}[upstream]\nurl = \"redis://user:S3cret@/0\""),
        "[auth.users]\napp = \"S3cret\"\n".to_owned(),
        "[auth.users]\napp = S3cret\n".to_owned(),
        "[auth]\nusers = \"S3cret\"\n".to_owned(),
        format!("{valid}[auth]\nfailures_max = \"S3cret\\\", expected S3cret\"\n"),
    ]
}

#[test]
fn what_check_and_a_failed_start_print_holds_no_secret() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("respool.toml");
    let run = |args: &[&str], text: &str| {
        std::fs::write(&path, text).expect("written");
        let mut command = Gateway::command();
        command.arg("--config").arg(&path).args(args).stdin(Stdio::null());
        let output = command.output().expect("the gateway can be started");
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    };
    let valid = format!("[upstream]\nurl = \"redis://app:{OF_UPSTREAM}@127.0.0.1:1\"\n{}", users(&[("app", OF_USER)]));
    let report = run(&["--check"], &valid);
    assert!(report.contains("login_timeout_ms") && report.contains("(login)@127.0.0.1:1"), "{report}");
    assert_clean("--check", &report);
    for bad in broken_files() {
        for args in [&[][..], &["--check"]] {
            let text = run(args, &bad);
            assert!(text.starts_with("respool: "), "{text}");
            assert_clean("a refusal", &text);
        }
    }
    for url in ["redis://:S3cret@host:70000", "redis://:S3cret@", "http://app:S3cret@host", "redis://:S3cret@host/x"] {
        assert_clean("a refused argument", &run(&["--upstream", url], ""));
    }
}

#[test]
fn requests_that_nobody_may_see_reach_the_upstream_all_the_same() {
    let redis = upstream();
    let gateway = gateway(&redis, "dedicated");
    let mut client = gateway.client();
    client.call(&["AUTH", OF_USER]);
    client.send_raw(&request(&["SET", "K3yS3cret", "V4lueS3cret"]));
    assert_eq!(client.read_reply(), b"+OK\r\n");
    let mut direct: Client = redis.client();
    assert_eq!(direct.call(&["AUTH", OF_UPSTREAM]), b"+OK\r\n");
    direct.expect("GET K3yS3cret", "$11\r\nV4lueS3cret\r\n");
}

/// How often the memory of the gateway holds each of `texts`.
fn in_memory<const N: usize>(gateway: &Gateway, texts: [&str; N]) -> [usize; N] {
    let process = format!("/proc/{}", gateway.process().id());
    let maps = std::fs::read_to_string(format!("{process}/maps")).expect("a list of what is mapped");
    let memory = File::open(format!("{process}/mem")).expect("memory of a child may be read");
    let (mut found, mut read) = ([0; N], 0);
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let bound = |hex: &str| u64::from_str_radix(hex, 16).expect("an address");
        let (from, to) = (bound(range.0), bound(range.1));
        let mut bytes = vec![0; usize::try_from(to - from).expect("fits")];
        // What is mapped and not there cannot be read.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            read += bytes.len();
            for (found, text) in found.iter_mut().zip(texts) {
                *found += memchr::memmem::find_iter(&bytes, text).count();
            }
        }
    }
    assert!(read > 1 << 20, "{read} bytes are not the memory of a process");
    found
}

#[test]
fn passwords_of_clients_are_wiped_from_memory_once_they_are_used() {
    let redis = Redis::start(&[]);
    let who = users(&[("default", OF_USER), ("app", OF_USER)]);
    let builder = Gateway::builder().upstream(&redis.url()).config("[auth]\nfailure_delay_ms = 1").config(&who);
    let gateway = builder.allow("login refused").start();
    let wrong = "Wr0ngOf4Cl1ent";
    let mut clients: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.call(&["AUTH", "app", wrong]);
        client.call(&["HELLO", "3", "AUTH", "app", OF_USER, "SETNAME", "V1s1bleName"]);
        // Behind other requests, in pieces, and in a transaction.
        client.send_raw(&requests(&["PING", "PING", &format!("AUTH {OF_USER}"), "PING"]));
        client.read_replies(4);
        let whole = request(&["AUTH", "app", OF_USER]);
        client.send_raw(&whole[..30]);
        client.send_raw(&whole[30..]);
        client.read_reply();
        client.send_raw(&requests(&["MULTI", &format!("AUTH app {OF_USER}"), "EXEC"]));
        client.read_replies(3);
    }
    let [name, wrong, right] = in_memory(&gateway, ["V1s1bleName", wrong, OF_USER]);
    assert!(name >= 8, "what is kept is found");
    assert_eq!((wrong, right), (0, 0), "copies of passwords");
}
