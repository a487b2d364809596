//! One client sends all that has ever cost others something, while others work. Those are answered, rightly, all the time.
//! `./tests/run soak` does it for as long as it is told to, with a hundred of them.

use std::{
    env,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Gateway, Redis, pass, raise_descriptor_limit, request, requests, users};

/// What one client sends at one go.
struct Attack {
    name: &'static str,
    bytes: Vec<u8>,
    /// It has logged in first.
    logged_in: bool,
}

fn lines(name: &'static str, lines: &[&str]) -> Attack {
    Attack { name, bytes: requests(lines), logged_in: true }
}

fn raw(name: &'static str, bytes: impl Into<Vec<u8>>) -> Attack {
    Attack { name, bytes: bytes.into(), logged_in: true }
}

fn before_login(name: &'static str, bytes: impl Into<Vec<u8>>) -> Attack {
    Attack { name, bytes: bytes.into(), logged_in: false }
}

/// One request of many arguments.
fn many(first: &[&str], count: usize, argument: impl Fn(usize) -> String) -> Vec<u8> {
    let further: Vec<String> = (0..count).map(argument).collect();
    request(&first.iter().copied().chain(further.iter().map(String::as_str)).collect::<Vec<_>>())
}

/// What reaches for other clients' connections, or for what they share.
fn reaching() -> Vec<Attack> {
    let redirects: Vec<String> = (0..60).map(|id| format!("CLIENT TRACKING ON BCAST REDIRECT {id}")).collect();
    let redirects: Vec<&str> = ["HELLO 3"].into_iter().chain(redirects.iter().map(String::as_str)).collect();
    let unblocks: Vec<String> = (0..200).map(|id| format!("CLIENT UNBLOCK {id} ERROR")).collect();
    let unblocks: Vec<&str> = unblocks.iter().map(String::as_str).collect();
    vec![
        lines("invalidations of others", &redirects),
        lines("waits of others", &unblocks),
        lines("a group called STREAMS", &["XREADGROUP GROUP streams c BLOCK 200 STREAMS s >"]),
        lines("a replica's word from a script", &["EVAL return(redis.error_reply('READONLY')) 0"; 50]),
        lines("databases that there are not", &["SELECT 9", "SELECT 99", "SET k v", "SELECT -1", "GET k"]),
        lines("replication", &["PSYNC ? -1", "SYNC", "REPLCONF listening-port 1"]),
        lines("a script to end", &["SCRIPT KILL", "FUNCTION KILL", "SCRIPT DEBUG YES"]),
        lines(
            "clients that there are not",
            &["CLIENT KILL ADDR 1.2.3.4:5", "CLIENT KILL TYPE replica", "CLIENT KILL x"],
        ),
        lines("a cluster", &["ASKING", "READONLY", "CLUSTER SLOTS", "CLIENT CAPA redirect", "CLIENT NOSUCH"]),
        lines(
            "the console",
            &["RESPOOL PAUSE", "RESPOOL DRAIN", "RESPOOL KILL 1", "RESPOOL CONFIG SET pool.workers 1"],
        ),
        raw(
            "a filter a hundred thousand times",
            many(&["CLIENT", "KILL"], 20_000, |at| ["ID", "1000000"][at % 2].into()),
        ),
    ]
}

/// What is large, deep, or has no end.
fn large() -> Vec<Attack> {
    let deep = format!("return {}1{}", "{".repeat(40), "}".repeat(40));
    let lists = [&["MULTI"][..], &["CLIENT LIST"; 200], &["EXEC"]].concat();
    let names: Vec<Vec<u8>> = (0..20).map(|_| request(&["CLIENT", "SETNAME", &"n".repeat(1 << 20)])).collect();
    vec![
        raw("a deep reply", request(&["EVAL", &deep, "0"]).repeat(20)),
        raw("an argument longer than the upstream takes", request(&["SET", "big", &"x".repeat(3 << 19)])),
        raw("empty arguments", many(&["DEL"], 300_000, |_| String::new())),
        raw("names in a transaction", [requests(&["MULTI"]), names.concat(), requests(&["EXEC"])].concat()),
        lines("lists in a transaction", &lists),
        raw("large replies", request(&["GET", "large"]).repeat(40)),
        raw("subscriptions", many(&["SUBSCRIBE"], 20_000, |at| format!("channel:{at}"))),
        raw("half a request", &b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$100000000\r\nxxxx"[..]),
        raw("a request without an end", [&b"*1000000\r\n"[..], &b"$1\r\nx\r\n".repeat(100_000)].concat()),
        raw("a long password", request(&["AUTH", "evil", &"p".repeat(4 << 20)])),
        before_login("requests without a login", requests(&["PING"]).repeat(20_000)),
        before_login("passwords", requests(&["MULTI", "AUTH app x", "AUTH app y", "EXEC"]).repeat(20)),
    ]
}

/// What leaves a state behind, or is none of Redis's.
fn odd() -> Vec<Attack> {
    vec![
        lines("a refused request in a transaction", &["MULTI", "SET odd 1", "PSYNC ? -1", "EXEC", "DISCARD"]),
        lines("a transaction left open", &["WATCH odd", "MULTI", "SET odd 2"]),
        lines("a monitor", &["MONITOR"]),
        lines("a subscriber that also asks", &["HELLO 3", "SUBSCRIBE news", "LRANGE messages 0 -1", "PING"]),
        lines("no replies", &["CLIENT REPLY OFF", "GET large", "GET large", "MULTI", "EXEC"]),
        lines("a wait", &["BLPOP nothing 0"]),
        lines("a wait for replicas", &["WAIT 5 0"]),
        lines("another version", &["HELLO 3", "HELLO 2 SETNAME x", "HELLO 4", "RESET", "HELLO 3 AUTH evil wrong"]),
        raw("TLS", [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 500]].concat()),
        raw("HTTP", &b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET odd 3\r\n"[..]),
        raw("no request", &b"*02\r\n$4\r\nPING\r\n*-7\r\n$x\r\n"[..]),
    ]
}

/// Plays all attacks, again and again, each over a connection of its own, and lets some of these lie about.
fn attack(gateway: &Gateway, over: &AtomicBool) -> usize {
    let attacks = [reaching(), large(), odd()].into_iter().flatten().collect::<Vec<_>>();
    let (mut held, mut played) = (Vec::new(), 0);
    while !over.load(Ordering::Relaxed) {
        let attack = &attacks[played % attacks.len()];
        played += 1;
        let Ok(mut client) = Client::try_connect(gateway.address()) else { continue };
        client.small_buffers();
        if attack.logged_in && !matches!(client.try_line("AUTH evil secret"), Ok(reply) if reply == b"+OK\r\n") {
            continue;
        }
        // What the gateway does not take, it does not take.
        let _ = client.try_send_available(&attack.bytes);
        pass(Duration::from_millis(5));
        held.push((attack.name, client));
        if held.len() > 2 * attacks.len() {
            let (_, oldest) = held.remove(0);
            if played % 2 == 0 {
                oldest.reset();
            }
        }
    }
    played
}

/// One who works: every reply is known beforehand. How many there were, and the longest that one took.
fn work(gateway: &Gateway, number: usize, over: &AtomicBool) -> (u64, Duration) {
    let mut client = gateway.client();
    client.expect("AUTH app secret", "+OK\r\n");
    let (mut count, mut replies, mut longest) = (0_u64, 0, Duration::ZERO);
    let own = |name: &str| format!("work:{number}:{name}");
    let (counter, list, value) = (own("n"), own("l"), own("v"));
    while !over.load(Ordering::Relaxed) || count == 0 {
        let sent = Instant::now();
        count += 1;
        client.expect(&format!("INCR {counter}"), &format!(":{count}\r\n"));
        client.send_raw(&requests(&[&format!("SET {value} {count}"), &format!("GET {value}"), "ECHO x"]));
        let digits = count.to_string();
        let expected = format!("+OK\r\n${}\r\n{digits}\r\n$1\r\nx\r\n", digits.len());
        assert_eq!(String::from_utf8_lossy(&client.read_replies(3).concat()), expected);
        replies += 4;
        if count.is_multiple_of(3) {
            client.send_raw(&requests(&["MULTI", &format!("GET {value}"), "EXEC"]));
            let executed = format!("+OK\r\n+QUEUED\r\n*1\r\n${}\r\n{digits}\r\n", digits.len());
            assert_eq!(String::from_utf8_lossy(&client.read_replies(3).concat()), executed);
            client.expect(&format!("RPUSH {list} x"), ":1\r\n");
            let popped = format!("*2\r\n${}\r\n{list}\r\n$1\r\nx\r\n", list.len());
            client.expect(&format!("BLPOP {list} 0"), &popped);
            client.expect(&format!("WATCH {value}"), "+OK\r\n");
            client.expect("MULTI", "+OK\r\n");
            client.expect(&format!("GET {value}"), "+QUEUED\r\n");
            client.expect("EXEC", &format!("*1\r\n${}\r\n{digits}\r\n", digits.len()));
            replies += 9;
        }
        longest = longest.max(sent.elapsed());
        pass(Duration::from_millis(2));
    }
    (replies, longest)
}

/// Has so many clients work beside the one for `time`.
fn siege(workers: usize, time: Duration) {
    raise_descriptor_limit();
    let redis = Redis::start(&["--proto-max-bulk-len", "1mb"]);
    let mut direct = redis.client();
    direct.send(&["SET", "large", &"x".repeat(512 << 10)]);
    direct.read_reply();
    direct.expect("RPUSH messages message one two", ":3\r\n");
    let mib = 1 << 20;
    let config = format!(
        "[pool]\nreplies_bytes_max = {}\n[clients]\ninput_bytes_max = {}\nrequest_bytes_max = {}\n[auth]\nlogin_timeout_ms = 2000\n\
         failure_delay_ms = 10\n{}",
        64 * mib,
        64 * mib,
        8 * mib,
        users(&[("app", "secret"), ("evil", "secret")])
    );
    let builder = Gateway::builder().upstream(&redis.url()).config(&config);
    let gateway = builder.allow("login").allow("clients").allow("requests").allow("subscri").allow("TLS").start();
    let (over, replies) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let (gateway, over, replies) = (&gateway, &over, &replies);
        let working: Vec<_> = (0..workers)
            .map(|number| {
                scope.spawn(move || {
                    let (count, longest) = work(gateway, number, over);
                    replies.fetch_add(count, Ordering::Relaxed);
                    longest
                })
            })
            .collect();
        let attacking = scope.spawn(move || attack(gateway, over));
        let ends = Instant::now() + time;
        while Instant::now() < ends && !working.iter().any(|worker| worker.is_finished()) {
            pass(Duration::from_millis(50));
        }
        over.store(true, Ordering::Relaxed);
        let played = attacking.join().expect("the attacker goes on whatever it gets");
        let failed = working.into_iter().map(thread::ScopedJoinHandle::join).filter(|worked| match worked {
            Ok(longest) => {
                println!("the longest turn took {longest:?}");
                false
            }
            Err(_) => true,
        });
        let failed = failed.count();
        println!(
            "{played} attacks, {} replies verified, {failed} of {workers} clients failed",
            replies.load(Ordering::Relaxed)
        );
        assert_eq!(failed, 0, "of {workers} clients beside {played} attacks");
    });
}

#[test]
fn one_client_that_sends_all_that_is_hostile_fails_nobody_elses_requests() {
    siege(8, Duration::from_secs(6));
}

#[test]
#[ignore = "takes as long as it is told to, by ./tests/run soak"]
fn soak() {
    let seconds = env::var("RESPOOL_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    siege(100, Duration::from_secs(seconds.unwrap_or(60)));
}
