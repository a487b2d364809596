//! What the system around the gateway does to it: the clock on the wall jumps, names lead elsewhere or nowhere,
//! memory is short. The clock and names are changed by libraries that stand before the system's own.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};

use crate::support::{
    Client, DEADLINE, Gateway, Machine, Process, Redis, Relay, assert_own_error, pass, request, requests,
    shared_library, wait,
};

/// Replaces a file in one step, and gives it a time of its own, by which its readers know that it is another.
fn replace(path: &Path, text: &str, version: u64) {
    let next = path.with_extension("next");
    fs::write(&next, text).expect("the temporary directory can be written");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + version);
    File::options().append(true).open(&next).and_then(|file| file.set_modified(time)).expect("our own file");
    fs::rename(next, path).expect("a file in place of another");
}

/// By how many hours the gateway's clock on the wall is ahead, as the newest entry of its slow log says.
fn hours_ahead(client: &mut Client) -> i64 {
    client.expect("GET k", "$1\r\nv\r\n");
    let entry = client.line("RESPOOL SLOWLOG GET 1");
    let text = String::from_utf8_lossy(&entry).into_owned();
    let (_, rest) = text.split_once("time\r\n:").expect("an entry has its time");
    let time: i64 = rest.split("\r\n").next().and_then(|digits| digits.parse().ok()).expect("seconds since 1970");
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    (time - i64::try_from(now).expect("before the year 2^33")).div_euclid(3_600)
}

#[test]
fn jumps_of_the_clock_on_the_wall_end_no_wait_and_prolong_none() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = directory.path().join("clock");
    replace(&clock, "+0", 0);
    let redis = Redis::start(&[]);
    let config = "[pool]\nreply_timeout_ms = 1000\nqueue_timeout_ms = 1000\n[clients]\nidle_timeout_ms = 60000\n\
                  [upstream]\nkeepalive_ms = 5000\n[slowlog]\nthreshold_us = 1";
    let gateway = Gateway::builder()
        .upstream(&redis.url())
        .config(config)
        .preload("faketime", "libfaketimeMT.so.1")
        .environment("FAKETIME_TIMESTAMP_FILE", &clock)
        .environment("FAKETIME_NO_CACHE", "1")
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .allow("connection lost")
        .start();
    let (mut client, mut idle, mut waiting) = (gateway.client(), gateway.client(), gateway.client());
    client.expect("SET k v", "+OK\r\n");
    idle.expect("PING", "+PONG\r\n");
    for (version, (text, hours)) in
        [("+100h", 100), ("-50h", -50), ("+20y", 175_200), ("+0", 0)].into_iter().enumerate()
    {
        waiting.send(&["BLPOP", "queue", "0"]);
        replace(&clock, text, 1 + version as u64);
        wait("the clock to have jumped", || (hours_ahead(&mut client) - hours).abs().le(&1).then_some(()));
        for round in 1..=200 {
            client.expect(&format!("INCR rounds{version}"), &format!(":{round}\r\n"));
        }
        client.expect("RPUSH queue x", ":1\r\n");
        assert_eq!(waiting.read_reply(), b"*2\r\n$5\r\nqueue\r\n$1\r\nx\r\n");
        idle.expect("PING", "+PONG\r\n");
    }
    // A wait that has begun ends when it would have.
    redis.freeze();
    client.send(&["GET", "k"]);
    replace(&clock, "-100h", 9);
    let began = Instant::now();
    assert_own_error(&client.read_reply());
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    redis.thaw();
    wait("the reply that came too late to be out of the way", || {
        (client.line("GET k") == b"$1\r\nv\r\n").then_some(())
    });
}

/// Two places with a Redis, and a name that leads to either of them or nowhere.
struct Name {
    directory: tempfile::TempDir,
    version: u64,
}

impl Name {
    fn hosts(&self) -> std::path::PathBuf {
        self.directory.path().join("hosts")
    }

    fn leads_to(&mut self, place: Option<Ipv4Addr>) {
        self.version += 1;
        let line =
            place.map_or_else(|| "127.0.0.9 nobody.test\n".to_owned(), |place| format!("{place} upstream.test\n"));
        replace(&self.hosts(), &line, self.version);
    }
}

#[test]
fn a_dns_name_is_looked_up_for_each_connection_and_may_lead_nowhere_for_a_while() {
    const SECOND_PLACE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    let [one, two] = ["one", "two"].map(|name| {
        let redis = Redis::start(&[]);
        redis.client().expect(&format!("SET who {name}"), "+OK\r\n");
        redis
    });
    let port = one.address().port();
    let _second = Relay::start_at(SocketAddr::from((SECOND_PLACE, port)), two.address());
    let mut name = Name { directory: tempfile::tempdir().expect("a temporary directory"), version: 0 };
    name.leads_to(Some(Ipv4Addr::LOCALHOST));
    let mut gateway = Gateway::builder()
        .upstream(&format!("redis://upstream.test:{port}"))
        // Of two look-ups at the same time, the library that answers them here sometimes fails one.
        .config("[pool]\nworkers = 1")
        .preload("libnss-wrapper", "libnss_wrapper.so")
        .environment("NSS_WRAPPER_HOSTS", name.hosts())
        .allow_lost_upstream()
        .start();
    let mut client = gateway.client();
    client.expect("GET who", "$3\r\none\r\n");
    client.expect("BLPOP nothing 0.01", "*-1\r\n");
    name.leads_to(Some(SECOND_PLACE));
    client.expect("RESPOOL RECONNECT", "+OK\r\n");
    wait("the name to be followed", || (client.line("GET who") == b"$3\r\ntwo\r\n").then_some(()));
    // On an exclusive connection, too.
    client.expect("WATCH k", "+OK\r\n");
    client.expect("GET who", "$3\r\ntwo\r\n");
    client.expect("UNWATCH", "+OK\r\n");
    wait("all connections to move", || {
        let list = String::from_utf8_lossy(&one.client().line("CLIENT LIST")).into_owned();
        (!list.contains("respool-")).then_some(())
    });
    name.leads_to(None);
    two.client().line("CLIENT KILL TYPE normal");
    let refusal = wait("the name to be missed", || {
        let reply = String::from_utf8_lossy(&client.line("GET who")).into_owned();
        reply.starts_with("-ERR respool: upstream is down: ").then_some(reply)
    });
    assert!(refusal.contains("upstream.test"), "{refusal}");
    name.leads_to(Some(Ipv4Addr::LOCALHOST));
    wait("the name to lead somewhere again", || (client.line("GET who") == b"$3\r\none\r\n").then_some(()));
    client.expect("INCR n", ":1\r\n");
    // Bug: the end waited for what the system was still looking up, for as long as its resolver takes to give up.
    name.leads_to(None);
    one.client().line("CLIENT KILL TYPE normal");
    wait("the name to be missed", || client.line("GET who").starts_with(b"-ERR respool: ").then_some(()));
    gateway.terminate();
    let machine = Machine::watch();
    let took = gateway.wait_end(DEADLINE);
    machine.assert_within(Duration::from_secs(5), took, "to end in the middle of a look-up");
}

/// Bug: it said after `connect_timeout_ms` that nobody answers, and ended once the system's resolver had given up, too.
#[test]
fn a_check_does_not_wait_for_a_name_that_the_system_still_looks_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Who reads it waits for somebody to write.
    let hosts = directory.path().join("hosts");
    mknodat(CWD, &hosts, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe with a name");
    let mut check = Gateway::command();
    check.args(["--check", "--upstream", "redis-cluster://upstream.test:7000"]).stdout(Stdio::null());
    check.env("LD_PRELOAD", shared_library("libnss-wrapper", "libnss_wrapper.so")).env("NSS_WRAPPER_HOSTS", hosts);
    let mut check = Process::new(check.stderr(Stdio::null()).spawn().expect("the gateway can be started"));
    assert_eq!(check.wait_end(DEADLINE).code(), Some(69));
}

/// What `--check` says that the bounds of this configuration add up to, in MiB.
fn bound_mib(gateway: &Gateway) -> u64 {
    let output = Gateway::command().arg("--config").arg(gateway.config_path()).arg("--check").output();
    let report = String::from_utf8(output.expect("the gateway can be started").stdout).expect("text");
    let line = report.lines().find(|line| line.ends_with(" MiB  together")).expect("a sum");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn with_no_more_memory_than_its_bounds_ask_for_it_refuses_some_and_serves_the_rest() {
    const MIB: usize = 1 << 20;
    let redis = Redis::start(&[]);
    // Address space is not memory: the allocator sets twice as much aside, and the program is mapped, too.
    let gateway = Gateway::builder()
        .upstream(&redis.url())
        .config(
            "[pool]\nqueue_bytes_max = 8388608\nreplies_bytes_max = 16777216\nreply_bytes_max = 4194304\n\
             [clients]\nclients_max = 200\ninput_bytes_max = 8388608\nrequest_bytes_max = 4194304\nargs_max = 1000\n[upstream]\nconnect_timeout_ms = 10000",
        )
        .address_space_max(400 << 10)
        .start();
    let mut modest = gateway.client();
    assert_eq!(modest.call(&["SET", "large", &"x".repeat(MIB)]), b"+OK\r\n");
    let never_read: Vec<Client> = (0..60)
        .map(|_| {
            let mut client = gateway.client();
            client.small_buffers();
            client.send_raw(&requests(&["GET large"; 30]));
            client
        })
        .collect();
    let never_end: Vec<Client> = (0..60)
        .map(|_| {
            let mut client = gateway.client();
            client.send_available(&[&b"*3\r\n$3\r\nSET\r\n$1\r\nh\r\n$4000000\r\n"[..], &[b'y'; 300_000]].concat());
            client
        })
        .collect();
    let written = thread::scope(|scope| {
        let writers: Vec<_> = (0..20)
            .map(|index| {
                let mut client = gateway.client();
                let request = request(&["SET", &format!("own{index}"), &"z".repeat(MIB / 16)]);
                scope.spawn(move || {
                    (0..40)
                        .flat_map(|_| {
                            client.send_raw(&request.repeat(8));
                            client.read_replies(8)
                        })
                        .filter(|reply| reply == b"+OK\r\n")
                        .count()
                })
            })
            .collect();
        for round in 1..=500 {
            modest.expect("INCR n", &format!(":{round}\r\n"));
        }
        writers.into_iter().map(|writer| writer.join().expect("no client fails")).sum::<usize>()
    });
    assert!(written > 0, "nobody could write");
    let (peak, bound) = (gateway.process().peak_rss_bytes() >> 20, bound_mib(&gateway) + 48);
    assert!(peak < bound, "{peak} MiB of {bound}, the program itself among them");
    drop((never_read, never_end));
    modest.expect("INCR n", ":501\r\n");
}

#[test]
fn a_gateway_that_stood_still_reads_what_has_come_before_it_gives_anything_up() {
    let redis = Redis::start(&[]);
    let config =
        "[pool]\nworkers = 1\nreply_timeout_ms = 500\nqueue_timeout_ms = 500\n[clients]\nidle_timeout_ms = 2000";
    // It may take note of how long the upstream seemed to be silent.
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("upstream is not ready").start();
    let (mut direct, mut idle) = (redis.client(), gateway.client());
    let (mut blocked, mut held_back) = (gateway.client(), gateway.client());
    idle.expect("PING", "+PONG\r\n");
    blocked.send(&["BLPOP", "queue", "1"]);
    direct.expect("CLIENT PAUSE 300 WRITE", "+OK\r\n");
    held_back.send(&["INCR", "n"]);
    wait("both requests to wait at the upstream", || {
        let clients = direct.line("INFO clients");
        String::from_utf8_lossy(&clients).contains("blocked_clients:2").then_some(())
    });
    gateway.process().signal(Signal::STOP);
    idle.send(&["GET", "n"]);
    wait("the pause to be over", || (direct.line("GET n") == b"$1\r\n1\r\n").then_some(()));
    direct.expect("RPUSH queue x", ":1\r\n");
    direct.expect("LLEN queue", ":0\r\n");
    // Longer than all that is waited for there.
    pass(Duration::from_millis(2_500));
    gateway.process().signal(Signal::CONT);
    assert_eq!(held_back.read_reply(), b":1\r\n");
    assert_eq!(blocked.read_reply(), b"*2\r\n$5\r\nqueue\r\n$1\r\nx\r\n");
    assert_eq!(idle.read_reply(), b"$1\r\n1\r\n");
}
