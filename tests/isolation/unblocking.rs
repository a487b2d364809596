//! `CLIENT UNBLOCK` ends the wait of the client that it names, or nobody's: not the wait of a client that has borrowed
//! the same connection since.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::support::{Client, Gateway, Redis, pass, seeded, wait};

/// How often a race is run that one of the two has to win each time.
const ROUNDS: usize = 1000;

fn id(client: &mut Client) -> String {
    String::from_utf8(client.line("CLIENT ID")).expect("text").trim_matches([':', '\r', '\n']).to_owned()
}

/// Waits until a client of the upstream is blocked in `command`.
fn wait_for_blocked(direct: &mut Client, command: &str) {
    let command = format!(" cmd={command} ");
    wait("a client to be blocked", || {
        let list = String::from_utf8_lossy(&direct.line("CLIENT LIST")).into_owned();
        list.lines().any(|line| line.contains(" flags=b ") && line.contains(&command)).then_some(())
    });
}

#[test]
fn an_unblock_held_back_by_a_pause_of_the_gateway_ends_no_other_clients_wait() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 1\nexclusive_max = 1";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("paused").start();
    let (mut operator, mut direct) = (gateway.client(), redis.client());
    for round in 0..20 {
        let (mut named, mut asking, mut other) = (gateway.client(), gateway.client(), gateway.client());
        let named_id = id(&mut named);
        named.send(&["BLPOP", "one", "0"]);
        wait_for_blocked(&mut direct, "blpop");
        operator.line("RESPOOL PAUSE");
        asking.send(&["CLIENT", "UNBLOCK", &named_id]);
        // Both have come once a third has been answered.
        other.send(&["BLPOP", "other", "0"]);
        gateway.client().expect("CLIENT GETNAME", "$-1\r\n");
        direct.expect("RPUSH one x", ":1\r\n");
        assert_eq!(named.read_reply(), b"*2\r\n$3\r\none\r\n$1\r\nx\r\n");
        operator.expect("RESPOOL RESUME", "+OK\r\n");
        assert_eq!(asking.read_reply(), b":0\r\n", "round {round}");
        wait_for_blocked(&mut direct, "blpop");
        direct.expect("RPUSH other y", ":1\r\n");
        let reply = String::from_utf8_lossy(&other.read_reply()).into_owned();
        assert_eq!(reply, "*2\r\n$5\r\nother\r\n$1\r\ny\r\n", "round {round}");
    }
}

#[test]
fn an_unblock_behind_a_paused_write_ends_no_other_clients_wait() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1\nexclusive_max = 1").start();
    let mut direct = redis.client();
    for round in 0..5 {
        let (mut named, mut writer, mut asking) = (gateway.client(), gateway.client(), gateway.client());
        let named_id = id(&mut named);
        named.send(&["XREAD", "BLOCK", "150", "STREAMS", "s", "$"]);
        wait_for_blocked(&mut direct, "xread");
        direct.expect("CLIENT PAUSE 60000 WRITE", "+OK\r\n");
        writer.send(&["SET", "k", "v"]);
        wait_for_blocked(&mut direct, "set");
        asking.send(&["CLIENT", "UNBLOCK", &named_id]);
        assert_eq!(named.read_reply(), b"*-1\r\n", "its time is up");
        let mut other = gateway.client();
        other.send(&["XREAD", "BLOCK", "0", "STREAMS", "t", "$"]);
        wait_for_blocked(&mut direct, "xread");
        direct.expect("CLIENT UNPAUSE", "+OK\r\n");
        assert_eq!(writer.read_reply(), b"+OK\r\n");
        assert_eq!(asking.read_reply(), b":0\r\n", "round {round}");
        direct.line("XADD t 1-1 f v");
        let reply = String::from_utf8_lossy(&other.read_reply()).into_owned();
        assert!(reply.contains("1-1"), "round {round}: {reply:?}");
        direct.expect("DEL t", ":1\r\n");
    }
}

#[test]
fn an_unblock_ends_the_wait_and_the_next_to_wait_has_a_connection_of_its_own() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&behind.url());
    let clients: [[Client; 2]; 2] = [gateway.address(), beside.address()].map(|at| [at, at].map(Client::connect));
    let directs = [behind.client(), beside.client()];
    let found = clients.into_iter().zip(directs).map(|([mut named, mut asking], mut direct)| {
        let named_id = id(&mut named);
        let mut found = Vec::new();
        for line in ["BLPOP l 0", "XREAD BLOCK 0 STREAMS s $", "WAIT 1 0"] {
            for reason in ["", " TIMEOUT", " error", " NONSENSE"] {
                found.push(asking.line(&format!("CLIENT UNBLOCK {named_id}{reason}")));
                named.send(&line.split(' ').collect::<Vec<_>>());
                wait_for_blocked(&mut direct, &line[..line.find(' ').unwrap_or(0)].to_lowercase());
                found.push(asking.line(&format!("CLIENT UNBLOCK {named_id}{reason}")));
                if reason == " NONSENSE" {
                    found.push(asking.line(&format!("CLIENT UNBLOCK {named_id}")));
                }
                found.push(named.read_reply());
            }
        }
        for id in ["0", "-1", "x", "99999999999", "99999999999999999999"] {
            found.push(asking.line(&format!("CLIENT UNBLOCK {id}")));
        }
        found.into_iter().map(|reply| String::from_utf8_lossy(&reply).into_owned()).collect::<Vec<_>>()
    });
    let [found, expected] = found.collect::<Vec<_>>().try_into().expect("two");
    assert_eq!(found, expected);
}

/// One client is unblocked again and again, times out, or is served; another waits for what it is sent. They share one
/// connection to borrow, and the upstream holds back writes, and what stands behind them, now and then.
#[test]
fn nobody_is_unblocked_who_was_not_named() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 1\nexclusive_max = 1\nqueue_timeout_ms = 60000";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let (mut named, mut other, mut direct) = (gateway.client(), gateway.client(), redis.client());
    let named_id = id(&mut named);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            let (mut asking, id, over) = (gateway.client(), &named_id, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let reply = asking.line(&format!("CLIENT UNBLOCK {id}"));
                    assert!(reply == b":0\r\n" || reply == b":1\r\n", "{}", String::from_utf8_lossy(&reply));
                }
            });
        }
        let (mut writer, over_for_writer) = (gateway.client(), &over);
        scope.spawn(move || {
            while !over_for_writer.load(Ordering::Relaxed) {
                writer.expect("SET k v", "+OK\r\n");
            }
        });
        let mut random = seeded("races");
        let mut timed_out = 0;
        let over = Over(&over);
        for round in 0..ROUNDS {
            if random.u8(..) < 64 {
                direct.expect("CLIENT PAUSE 3 WRITE", "+OK\r\n");
            }
            named.send(&["XREAD", "BLOCK", ["1", "2"][round % 2], "STREAMS", "s", "$"]);
            timed_out += usize::from(named.read_reply() == b"*-1\r\n");
            other.send(&["XREAD", "BLOCK", "0", "STREAMS", "t", "$"]);
            wait_for_blocked(&mut direct, "xread");
            pass(Duration::from_micros(random.u64(..1000)));
            let entry = direct.line("XADD t * f v");
            let reply = String::from_utf8_lossy(&other.read_reply()).into_owned();
            assert!(reply.contains(String::from_utf8_lossy(&entry).trim()), "round {round}: {reply:?}");
        }
        assert_eq!(timed_out, ROUNDS);
        drop(over);
    });
}

/// Ends the threads beside a test, also when it fails.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
