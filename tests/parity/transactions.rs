//! Commands that the gateway answers itself, inside a transaction: they run where they stand, as with Redis.

use crate::support::{Client, Gateway, Redis, wait};

fn id(client: &mut Client) -> String {
    String::from_utf8(client.line("CLIENT ID")).expect("text").trim_matches([':', '\r', '\n']).to_owned()
}

/// What a client gets for `lines` of which each stands for one request; `pause` is called before the last.
fn step_by_step(client: &mut Client, lines: &[String], pause: impl FnOnce()) -> Vec<String> {
    let (last, first) = lines.split_last().expect("one at least");
    let mut replies: Vec<Vec<u8>> = first.iter().map(|line| client.line(line)).collect();
    pause();
    replies.push(client.line(last));
    replies.iter().map(|reply| String::from_utf8_lossy(reply).into_owned()).collect()
}

fn blocked(direct: &mut Client, count: usize) {
    wait("a client to be blocked", || {
        let clients = String::from_utf8_lossy(&direct.line("INFO clients")).into_owned();
        clients.contains(&format!("blocked_clients:{count}\r\n")).then_some(())
    });
}

#[test]
fn unblocking_another_happens_at_exec_whether_it_waited_before_the_transaction_or_since() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&behind.url());
    for (before, reason) in [(true, ""), (true, " ERROR"), (false, ""), (false, " ERROR"), (false, " NONSENSE")] {
        let both = [(gateway.address(), behind.client()), (beside.address(), beside.client())];
        let [found, expected] = both.map(|(address, mut direct)| {
            let (mut named, mut asking) = (Client::connect(address), Client::connect(address));
            let unblock = format!("CLIENT UNBLOCK {}{reason}", id(&mut named));
            let lines = ["MULTI", &unblock, "RPUSH queue x", &unblock, "LLEN queue", "EXEC"].map(str::to_owned);
            if before {
                named.send(&["BLPOP", "queue", "0"]);
                blocked(&mut direct, 1);
            }
            let mut replies = step_by_step(&mut asking, if before { &lines } else { &lines[..2] }, || {});
            if !before {
                named.send(&["BLPOP", "queue", "0"]);
                blocked(&mut direct, 1);
                replies.push(String::from_utf8_lossy(&asking.line("EXEC")).into_owned());
            }
            direct.line("RPUSH queue last");
            replies.push(String::from_utf8_lossy(&named.read_reply()).into_owned());
            direct.line("DEL queue");
            replies
        });
        assert_eq!(found, expected, "blocked before: {before}, reason: {reason:?}");
    }
}

#[test]
fn a_client_that_kills_itself_in_a_transaction_gets_what_stands_before_and_is_closed() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&behind.url());
    for how in ["ID {id} SKIPME no", "{address}", "ID {id}"] {
        let [found, expected] =
            [(gateway.address(), behind.client()), (beside.address(), beside.client())].map(|(address, mut direct)| {
                let mut client = Client::connect(address);
                let own = [("{id}", id(&mut client)), ("{address}", client.local_addr().to_string())];
                let kill = own.iter().fold(format!("CLIENT KILL {how}"), |line, (from, to)| line.replace(from, to));
                for line in ["MULTI", "SET k before", &kill, "SET k after", "GET k"] {
                    client.line(line);
                }
                client.send(&["EXEC"]);
                client.half_close();
                let got = String::from_utf8_lossy(&client.read_to_end()).into_owned();
                (got, String::from_utf8_lossy(&direct.line("GET k")).into_owned())
            });
        assert_eq!(found, expected, "{how}");
    }
}

#[test]
fn a_transaction_that_is_begun_while_a_script_runs_is_executed_wholly_or_not_at_all() {
    let (behind, beside) = (Redis::start(&["--lua-time-limit", "10"]), Redis::start(&["--lua-time-limit", "10"]));
    let gateway = Gateway::start(&behind.url());
    for known in [false, true] {
        let both = [(gateway.address(), behind.client()), (beside.address(), beside.client())];
        let [found, expected] = both.map(|(address, mut direct)| {
            let (mut busy, mut client) = (Client::connect(address), Client::connect(address));
            client.expect("SELECT 9", "+OK\r\n");
            client.expect("SET n 1", "+OK\r\n");
            if known {
                client.expect("MULTI", "+OK\r\n");
                client.expect("DISCARD", "+OK\r\n");
            }
            busy.send(&["EVAL", "while true do end", "0"]);
            wait("a script that is busy", || direct.line("GET n").starts_with(b"-BUSY").then_some(()));
            client.line("MULTI");
            client.line("INCR n");
            if known {
                let mut blocked = Client::connect(address);
                blocked.line("SELECT 9");
                assert!(blocked.line("BLPOP queue 1").starts_with(b"-BUSY"), "as of a connection that was ready");
            }
            direct.expect("SCRIPT KILL", "+OK\r\n");
            assert!(busy.read_reply().starts_with(b"-"));
            client.line("INCR n");
            ["EXEC", "GET n", "PING"].map(|line| String::from_utf8_lossy(&client.line(line)).into_owned())
        });
        assert_eq!(found, expected);
    }
}
