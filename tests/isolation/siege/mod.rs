//! One client sends all that has ever cost others something, while others work. Those are answered, rightly, all the time.
//! `./tests/run soak` does it for as long as it is told to, with a hundred of them.

mod attacks;
mod waits;

use std::{
    env,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use self::attacks::Attack;
use crate::support::{Client, Gateway, Redis, pass, raise_descriptor_limit, requests, users};

/// A client of the attacker's: what it could send of `attack` is sent. Nothing if it is not let in.
fn strike(address: SocketAddr, attack: &Attack) -> Option<Client> {
    let mut client = Client::try_connect(address).ok()?;
    client.small_buffers();
    if attack.logged_in && !matches!(client.try_line("AUTH evil secret"), Ok(reply) if reply == b"+OK\r\n") {
        return None;
    }
    // What is not taken, is not taken.
    let _ = client.try_send_available(&attack.bytes);
    Some(client)
}

/// Plays all attacks, again and again, each over a connection of its own, and lets some of these lie about.
fn attack(gateway: &Gateway, over: &AtomicBool) -> usize {
    let attacks = attacks::all();
    let (mut held, mut played) = (Vec::new(), 0);
    while !over.load(Ordering::Relaxed) {
        let attack = &attacks[played % attacks.len()];
        played += 1;
        let Some(client) = strike(gateway.address(), attack) else { continue };
        pass(Duration::from_millis(5));
        held.push(client);
        if held.len() > 2 * attacks.len() {
            let oldest = held.remove(0);
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

/// A Redis with what the attacks reach for, where both users may log in too, and the gateway before it.
fn besieged() -> (Redis, Gateway) {
    // The attacker knows the names by which commands are called that would change a connection.
    let names = [("SYNC", "XSYNC"), ("READONLY", "XREADONLY"), ("SSUBSCRIBE", "XSUBSCRIBE"), ("PSYNC", "XPSYNC")];
    let renamed = names.iter().flat_map(|(own, name)| ["--rename-command", own, name]);
    let redis = Redis::start(&["--proto-max-bulk-len", "1mb"].into_iter().chain(renamed).collect::<Vec<_>>());
    let mut direct = redis.client();
    for user in ["app", "evil"] {
        direct.expect(&format!("ACL SETUSER {user} on >secret ~* &* +@all"), "+OK\r\n");
    }
    direct.send(&["SET", "large", &"x".repeat(512 << 10)]);
    direct.read_reply();
    direct.expect("RPUSH messages message one two", ":3\r\n");
    let mib = 1 << 20;
    let config = format!(
        "[upstream]\nconnect_timeout_ms = 10000\n[pool]\nreplies_bytes_max = {}\n[clients]\ninput_bytes_max = {}\nrequest_bytes_max = {}\n[auth]\nlogin_timeout_ms = 2000\n\
         failure_delay_ms = 10\n{}",
        64 * mib,
        64 * mib,
        8 * mib,
        users(&[("app", "secret"), ("evil", "secret")])
    );
    let builder = Gateway::builder().upstream(&redis.url()).config(&config);
    let builder = builder.allow("login").allow("clients").allow("requests").allow("subscri").allow("TLS");
    let gateway = builder.allow("upstream is not ready").start();
    (redis, gateway)
}

/// Has so many clients work beside the one for `time`.
fn siege(workers: usize, time: Duration) {
    raise_descriptor_limit();
    let (_redis, gateway) = besieged();
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
