//! What was lent comes back: every state in which a session borrows an exclusive connection, left in every
//! way there is, with one connection to lend. Afterwards another session can borrow, and the upstream
//! sees no trace.

use crate::support::{Client, DEADLINE, Gateway, Redis, assert_same, requests, wait};

/// A state, how to get there and, where a client can, how to get out of it in good order.
#[derive(Clone, Copy)]
struct State {
    name: &'static str,
    /// Requests and how many messages come of them.
    enter: (&'static [&'static str], usize),
    /// What the upstream's `CLIENT LIST` then says of the connection.
    sign: &'static str,
    finish: Option<&'static [&'static str]>,
    /// A request is unanswered, so that no other is looked at.
    blocked: bool,
}

const fn state(name: &'static str, enter: (&'static [&'static str], usize), sign: &'static str) -> State {
    State { name, enter, sign, finish: None, blocked: false }
}

const fn finished(state: State, by: &'static [&'static str]) -> State {
    State { finish: Some(by), ..state }
}

const fn blocked(name: &'static str, enter: (&'static [&'static str], usize), sign: &'static str) -> State {
    State { name, enter, sign, finish: None, blocked: true }
}

const STATES: &[State] = &[
    finished(state("open transaction", (&["MULTI", "SET k v"], 2), " multi=1 "), &["EXEC"]),
    finished(state("transaction to discard", (&["MULTI", "SET k v"], 2), " multi=1 "), &["DISCARD"]),
    finished(state("transaction gone wrong", (&["MULTI", "NOSUCH"], 2), " flags=x "), &["EXEC"]),
    finished(state("transaction in another database", (&["SELECT 5", "MULTI"], 2), " db=5 "), &["EXEC"]),
    finished(state("watching", (&["WATCH k"], 1), " cmd=watch "), &["UNWATCH"]),
    finished(state("watching and failing", (&["WATCH k", "MULTI", "GET k", "WATCH k"], 4), " multi=1 "), &["EXEC"]),
    finished(state("watching in RESP3", (&["HELLO 3", "WATCH k"], 2), " resp=3"), &["UNWATCH"]),
    finished(
        state("subscribed", (&["SUBSCRIBE a b", "PSUBSCRIBE c*", "SSUBSCRIBE d"], 4), " sub=2 psub=1 "),
        &["UNSUBSCRIBE a b", "PUNSUBSCRIBE c*", "SUNSUBSCRIBE d"],
    ),
    finished(state("subscribed in RESP3", (&["HELLO 3", "SUBSCRIBE a"], 2), " sub=1 "), &["UNSUBSCRIBE a"]),
    finished(state("tracking", (&["HELLO 3", "CLIENT TRACKING ON"], 2), " flags=t "), &["CLIENT TRACKING OFF"]),
    state("monitoring", (&["MONITOR"], 1), " flags=O "),
    blocked("blocked", (&["BLPOP nothing 0"], 0), " flags=b "),
    blocked("blocked in RESP3", (&["HELLO 3", "XREAD BLOCK 0 STREAMS nothing $"], 1), " flags=b "),
    blocked("waiting for a replica", (&["WAIT 1 0"], 0), " flags=b "),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Finish,
    Quit,
    Reset,
    Close,
    HalfClose,
    Abort,
    Killed,
    UpstreamLost,
}

const EXITS: [Exit; 8] = [
    Exit::Finish,
    Exit::Quit,
    Exit::Reset,
    Exit::Close,
    Exit::HalfClose,
    Exit::Abort,
    Exit::Killed,
    Exit::UpstreamLost,
];

/// The upstream's lines about exclusive connections.
fn exclusive(direct: &mut Client) -> Vec<String> {
    let list = String::from_utf8(direct.line("CLIENT LIST")).expect("text");
    list.lines().filter(|line| line.contains("name=respool-exclusive")).map(str::to_owned).collect()
}

fn id(line: &str) -> &str {
    line.split(' ').find_map(|field| field.strip_prefix("id=")).expect("every line has an id")
}

/// Brings a new client into `state`; the client, its id, and the upstream's line about the connection.
fn enter(gateway: &Gateway, direct: &mut Client, state: &State) -> (Client, String, String) {
    let mut client = gateway.client();
    let own = String::from_utf8(client.line("CLIENT ID")).expect("text");
    let (lines, replies) = state.enter;
    for line in lines {
        client.send_raw(&requests(&[line]));
    }
    client.read_replies(replies);
    let line = wait(&format!("the upstream to see the state {:?}", state.name), || {
        exclusive(direct).into_iter().find(|line| line.contains(state.sign))
    });
    (client, own.trim_matches([':', '\r', '\n']).to_owned(), line)
}

/// Leaves `state`; the client that goes on, if there is one.
fn leave(gateway: &Gateway, direct: &mut Client, state: &State, exit: Exit) -> Option<Client> {
    let (mut client, own, line) = enter(gateway, direct, state);
    match exit {
        Exit::Finish => {
            let lines = state.finish?;
            client.send_raw(&requests(lines));
            client.send(&["ECHO", "done"]);
            while client.read_reply() != b"$4\r\ndone\r\n" {}
            return Some(client);
        }
        Exit::Quit => {
            client.send(&["QUIT"]);
            client.read_to_end();
        }
        Exit::Reset => {
            client.send(&["RESET"]);
            while client.read_reply() != b"+RESET\r\n" {}
            client.expect("ECHO x", "$1\r\nx\r\n");
            return Some(client);
        }
        Exit::Close => drop(client),
        Exit::HalfClose => {
            client.half_close();
            client.read_to_end();
        }
        Exit::Abort => client.reset(),
        Exit::Killed => {
            gateway.client().expect(&format!("CLIENT KILL ID {own}"), ":1\r\n");
            client.read_to_end();
        }
        Exit::UpstreamLost => {
            direct.line(&format!("CLIENT KILL ID {}", id(&line)));
            if state.blocked {
                assert!(client.read_reply().starts_with(b"-ERR respool: "), "{}", state.name);
            } else {
                client.read_to_end();
            }
        }
    }
    None
}

/// Nothing is lent, the connection that is kept is as new, and what was watched is forgotten.
fn assert_clean(gateway: &Gateway, direct: &mut Client, what: &str) {
    let traces = [" flags=N ", " db=0 ", " sub=0 ", " psub=0 ", " ssub=0 ", " multi=-1 ", " resp=2"];
    wait(&format!("a clean connection after {what}"), || {
        let lines = exclusive(direct);
        assert!(lines.len() <= 1, "{what}: more connections than there may be: {lines:?}");
        lines.iter().all(|line| traces.iter().all(|trace| line.contains(trace))).then_some(())
    });
    let mut other = gateway.client();
    other.expect("MULTI", "+OK\r\n");
    direct.line("SET k changed");
    other.expect("GET k", "+QUEUED\r\n");
    other.expect("EXEC", "*1\r\n$7\r\nchanged\r\n");
}

#[test]
fn every_way_out_of_every_state_returns_what_was_lent() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nexclusive_max = 1").start();
    let mut direct = redis.client();
    for state in STATES {
        for exit in EXITS {
            if state.blocked && matches!(exit, Exit::Quit | Exit::Reset) {
                // As with Redis, these wait until the blocked request is answered.
                continue;
            }
            let what = format!("{:?} by {exit:?}", state.name);
            println!("{what}");
            let stays = leave(&gateway, &mut direct, state, exit);
            assert_clean(&gateway, &mut direct, &what);
            if let Some(mut client) = stays {
                client.expect("ECHO still", "$5\r\nstill\r\n");
            }
        }
    }
}

#[test]
fn a_drain_closes_what_is_lent() {
    let redis = Redis::start(&[]);
    let mut direct = redis.client();
    for state in STATES {
        let mut gateway = Gateway::start(&redis.url());
        let (mut client, _, _) = enter(&gateway, &mut direct, state);
        gateway.terminate();
        client.expect_closed();
        gateway.wait_end(DEADLINE);
        wait("the upstream to see the end", || {
            let list = String::from_utf8(direct.line("CLIENT LIST")).expect("text");
            (!list.contains("name=respool")).then_some(())
        });
    }
}

#[test]
fn a_drain_loses_no_element_that_a_blocked_client_was_to_get() {
    const CLIENTS: usize = 40;
    let redis = Redis::start(&[]);
    let mut direct = redis.client();
    let mut gateway = Gateway::start(&redis.url());
    let mut blocked: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    blocked.iter_mut().for_each(|client| client.send(&["BLPOP", "queue", "0"]));
    wait("all to be blocked", || {
        let line = |line: &String| line.contains(" flags=b ");
        (exclusive(&mut direct).into_iter().filter(line).count() == CLIENTS).then_some(())
    });
    gateway.terminate();
    let pushes: Vec<u8> = (0..CLIENTS).flat_map(|_| requests(&["RPUSH queue x"])).collect();
    for half in pushes.chunks(pushes.len() / 2) {
        direct.send_raw(half);
        gateway.logs().wait_for("draining", DEADLINE);
    }
    direct.read_replies(CLIENTS);
    let served = blocked.iter_mut().map(Client::read_to_end).filter(|reply| !reply.is_empty()).count();
    gateway.wait_end(DEADLINE);
    println!("{served} of {CLIENTS} were served before the drain reached them");
    let left = CLIENTS - served;
    direct.expect("LLEN queue", &format!(":{left}\r\n"));
}

#[test]
fn an_idle_client_is_closed_and_what_it_borrowed_returns() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder()
        .upstream(&redis.url())
        .config("[pool]\nexclusive_max = 1\n[clients]\nidle_timeout_ms = 1000")
        .start();
    let mut direct = redis.client();
    for state in STATES.iter().filter(|state| !state.blocked && !state.name.contains("subscribed")) {
        if state.name == "monitoring" {
            continue;
        }
        let (mut client, _, _) = enter(&gateway, &mut direct, state);
        client.expect_closed();
        assert_clean(&gateway, &mut direct, state.name);
    }
}

#[test]
fn what_came_for_a_subscriber_who_went_is_no_reply_to_who_borrows_next() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nexclusive_max = 1").start();
    let (mut direct, mut publisher) = (redis.client(), redis.client());
    publisher.expect("SET k v", "+OK\r\n");
    let subscribed = state("subscribed", (&["SUBSCRIBE news"], 1), " sub=1 ");
    let tracking = state("tracking", (&["HELLO 3", "CLIENT TRACKING ON BCAST"], 2), " flags=tB ");
    for (left, news) in [(subscribed, "PUBLISH news item"), (tracking, "SET k v")].repeat(5) {
        let (client, _, _) = enter(&gateway, &mut direct, &left);
        redis.freeze();
        // Redis finds the news before it finds that nobody wants them.
        publisher.send_raw(&requests(&[news]).repeat(3));
        client.reset();
        let mut next = gateway.client();
        next.send(&["WATCH", "k"]);
        // The connection has been given back once this one waits for it; a moment later than that is as well.
        gateway.client().expect("CLIENT GETNAME", "$-1\r\n");
        redis.thaw();
        publisher.read_replies(3);
        assert_eq!(String::from_utf8_lossy(&next.read_reply()), "+OK\r\n", "after {}", left.name);
        next.expect("GET k", "$1\r\nv\r\n");
        next.expect("UNWATCH", "+OK\r\n");
    }
}

#[test]
fn an_exclusive_max_that_was_lowered_counts_those_that_are_closed_instead_of_given_back() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nexclusive_max = 6\nqueue_timeout_ms = 1000\n[clients]\nshare_percent = 100";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let mut operator = gateway.client();
    let lent = |operator: &mut Client, count: usize| {
        let pools = String::from_utf8_lossy(&operator.line("RESPOOL POOLS")).into_owned();
        pools.contains(&format!("exclusive_lent\r\n:{count}\r\n")).then_some(())
    };
    let mut blocked: Vec<Client> = (0..6).map(|_| gateway.client()).collect();
    blocked.iter_mut().for_each(|client| client.send(&["BLPOP", "nothing", "0"]));
    wait("six to be lent", || lent(&mut operator, 6));
    operator.line("RESPOOL CONFIG SET pool.exclusive_max 2");
    drop(blocked);
    wait("all to be closed", || lent(&mut operator, 0));
    let mut holders = [gateway.client(), gateway.client()];
    holders.iter_mut().for_each(|client| client.expect("WATCH k", "+OK\r\n"));
    let refusal = String::from_utf8_lossy(&gateway.client().line("WATCH k")).into_owned();
    assert!(refusal.contains("all 2 exclusive connections were in use"), "{refusal}");
    drop(holders);
    gateway.client().expect("WATCH k", "+OK\r\n");
}

#[test]
fn subscriptions_made_in_a_transaction_hold_after_it_as_with_redis() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&behind.url());
    for protocol in ["2", "3"] {
        for at_once in [false, true] {
            let (mut client, mut direct) = (gateway.client(), beside.client());
            let (mut publisher, mut other) = (gateway.client(), beside.client());
            client.call(&["HELLO", protocol]);
            direct.call(&["HELLO", protocol]);
            let lines =
                ["MULTI", "SUBSCRIBE a", "GET nothing", "PSUBSCRIBE p*", "SUBSCRIBE b", "UNSUBSCRIBE b", "EXEC"];
            if at_once {
                client.send_raw(&requests(&lines));
                direct.send_raw(&requests(&lines));
            }
            for line in lines {
                let pair = if at_once {
                    (client.read_reply(), direct.read_reply())
                } else {
                    (client.line(line), direct.line(line))
                };
                assert_same(&pair.0, &pair.1, line);
            }
            for (line, receivers) in
                [("PUBLISH a one", ":1\r\n"), ("PUBLISH pq two", ":1\r\n"), ("PUBLISH b x", ":0\r\n")]
            {
                publisher.expect(line, receivers);
                other.expect(line, receivers);
            }
            assert_eq!(client.read_replies(2), direct.read_replies(2));
            for line in ["UNSUBSCRIBE a", "PUNSUBSCRIBE p*", "SET k v", "PING"] {
                assert_same(&client.line(line), &direct.line(line), line);
            }
            wait("the connection to be given back", || {
                let pools = String::from_utf8_lossy(&publisher.line("RESPOOL POOLS")).into_owned();
                pools.contains("exclusive_lent\r\n:0\r\n").then_some(())
            });
        }
    }
}

#[test]
fn a_transaction_that_changes_many_subscriptions_in_one_request_is_aborted() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut client = gateway.client();
    for line in ["SUBSCRIBE a b", "PSUBSCRIBE a b c", "UNSUBSCRIBE", "PUNSUBSCRIBE a b"] {
        client.expect("MULTI", "+OK\r\n");
        client.expect("SET k v", "+QUEUED\r\n");
        client.expect(line, "-ERR respool: within MULTI, subscriptions change one name at a time\r\n");
        client.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
        client.expect("GET k", "$-1\r\n");
    }
}

/// `CLIENT INFO` within a transaction once told the database that it began in.
#[test]
fn a_database_entered_in_a_transaction_is_the_one_from_there_on() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut client = gateway.client();
    let told = |reply: &[u8]| {
        let text = String::from_utf8_lossy(reply);
        text.split(' ').filter_map(|field| field.strip_prefix("db=")).map(str::to_owned).collect::<Vec<_>>()
    };
    for line in ["MULTI", "CLIENT INFO", "SELECT 2", "CLIENT INFO", "SELECT 99", "CLIENT INFO", "SET k two"] {
        client.line(line);
    }
    let executed = client.line("EXEC");
    assert_eq!(told(&executed), ["0", "2", "2"]);
    assert_eq!(told(&client.line("CLIENT INFO")), ["2"]);
    client.expect("GET k", "$3\r\ntwo\r\n");
    for line in ["MULTI", "SELECT 3", "DISCARD"] {
        client.line(line);
    }
    client.expect("GET k", "$3\r\ntwo\r\n");
}

#[test]
fn a_client_that_stays_on_a_connection_has_its_name_there() {
    let redis = Redis::start(&[]);
    redis.client().expect("ACL SETUSER app on nopass ~* &* +@all -client|setname", "+OK\r\n");
    let gateway = Gateway::start(&redis.url().replace("redis://", "redis://app@"));
    let (mut client, mut other, mut direct) = (gateway.client(), gateway.client(), redis.client());
    client.expect("CLIENT SETNAME billing", "+OK\r\n");
    let mut name = || {
        let list = String::from_utf8_lossy(&direct.line("CLIENT LIST")).into_owned();
        let names = list.split(' ').filter_map(|field| field.strip_prefix("name="));
        names.filter(|name| *name == "billing" || name.contains("exclusive")).map(str::to_owned).collect::<String>()
    };
    client.line("SUBSCRIBE c");
    assert_eq!(name(), "billing");
    client.line("UNSUBSCRIBE c");
    wait("it to have its own again", || (name() == "respool-exclusive-1").then_some(()));
    client.expect("CONFIG SET maxmemory-samples 6", "+OK\r\n");
    assert_eq!(name(), "billing", "until others send something there");
    other.line("BLPOP q 0.01");
    assert_eq!(name(), "respool-exclusive-1");
    client.line("MULTI");
    assert_eq!(name(), "respool-exclusive-1", "not for what is frequent");
    assert_eq!(redis.client().line("ACL LOG"), b"*0\r\n");
}
