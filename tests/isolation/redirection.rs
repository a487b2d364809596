//! `CLIENT TRACKING … REDIRECT` reaches the client that is named, or nobody, and every id is the gateway's.

use crate::support::{Client, Gateway, Redis, wait};

const INVALID: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
const INVALID_MESSAGE: &str = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n";

fn id(client: &mut Client) -> String {
    String::from_utf8(client.line("CLIENT ID")).expect("text").trim_matches([':', '\r', '\n']).to_owned()
}

#[track_caller]
fn expect_reply(client: &mut Client, expected: &str) {
    assert_eq!(String::from_utf8_lossy(&client.read_reply()), expected);
}

fn hello3(client: &mut Client) {
    client.line("HELLO 3");
}

/// Borrowed connections of the upstream, as its `CLIENT LIST` shows them.
fn borrowed(direct: &mut Client, sign: &str) -> usize {
    let list = String::from_utf8(direct.line("CLIENT LIST")).expect("text");
    list.lines().filter(|line| line.contains("name=respool-exclusive") && line.contains(sign)).count()
}

#[test]
fn an_id_that_no_client_of_the_gateway_has_is_refused() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut client, mut direct) = (gateway.client(), redis.client());
    let own = id(&mut client);
    let unknown = "-ERR The client ID you want redirect to does not exist\r\n";
    let upstreams = id(&mut direct).parse::<u64>().expect("a number");
    for id in (0..=upstreams + 1).map(|id| id.to_string()).filter(|id| *id != own) {
        client.expect(&format!("CLIENT TRACKING ON REDIRECT {id}"), unknown);
        client.expect(&format!("CLIENT TRACKING OFF REDIRECT {id}"), unknown);
    }
    for bad in ["-1", "x", "9223372036854775807", "9223372036854775808", "own REDIRECT own", "own NONSENSE"] {
        let bad = format!("CLIENT TRACKING ON REDIRECT {bad}");
        let expected = direct.line(&bad.replace("own", &upstreams.to_string()));
        assert!(expected.starts_with(b"-"), "{bad}");
        client.expect(&bad.replace("own", &own), &String::from_utf8(expected).expect("text"));
    }
    client.expect("CLIENT GETREDIR", ":-1\r\n");
    let gone = id(&mut gateway.client());
    wait("the other to be gone", || {
        let list = client.line("CLIENT LIST");
        (!String::from_utf8_lossy(&list).contains(&format!("id={gone} "))).then_some(())
    });
    client.expect(&format!("CLIENT TRACKING ON REDIRECT {gone}"), unknown);
}

/// What clients that redirect to one that does nothing but wait are answered, and what that one gets.
fn course(connect: impl Fn() -> Client, direct: &mut Client) -> Vec<String> {
    direct.expect("FLUSHALL", "+OK\r\n");
    // Ids that are no counts of anything.
    (0..20).for_each(|_| drop(connect().line("PING")));
    let [mut target, mut tracking, mut second] = [(); 3].map(|()| connect());
    let mut found = Vec::new();
    let target_id = id(&mut target);
    let second_id = id(&mut second);
    hello3(&mut target);
    let mut note = |reply: Vec<u8>| {
        let text = String::from_utf8(reply).expect("text");
        found.push(text.replace(&format!(":{target_id}\r"), ":target\r").replace(&format!(":{second_id}\r"), ":own\r"));
    };
    hello3(&mut second);
    for client in [&mut tracking, &mut second] {
        for line in ["CLIENT GETREDIR", "CLIENT TRACKINGINFO"] {
            note(client.line(line));
        }
        note(client.line(&format!("CLIENT TRACKING ON REDIRECT {target_id}")));
        for line in ["CLIENT GETREDIR", "CLIENT TRACKINGINFO", "GET k"] {
            note(client.line(line));
        }
        direct.expect("SET k 1", "+OK\r\n");
        note(target.read_reply());
    }
    // A client may redirect to itself.
    for line in [&format!("CLIENT TRACKING ON REDIRECT {second_id}"), "CLIENT GETREDIR", "GET k"] {
        note(second.line(line));
    }
    direct.expect("SET k 2", "+OK\r\n");
    note(second.read_reply());
    // In a transaction.
    let redirect = format!("CLIENT TRACKING ON REDIRECT {target_id} NOLOOP");
    for line in ["MULTI", "CLIENT GETREDIR", &redirect, "CLIENT TRACKINGINFO", "CLIENT GETREDIR", "GET k", "EXEC"] {
        note(second.line(line));
    }
    direct.expect("SET k 3", "+OK\r\n");
    note(target.read_reply());
    note(second.line("CLIENT TRACKING ON"));
    note(second.line("CLIENT GETREDIR"));
    note(second.line("GET k"));
    direct.expect("SET k 4", "+OK\r\n");
    note(second.read_reply());
    // It lives on with RESP2, and gets messages while it is subscribed to something.
    target.expect("RESET", "+RESET\r\n");
    note(tracking.line("GET k"));
    direct.expect("SET k 5", "+OK\r\n");
    note(target.line("PING"));
    note(target.line("SUBSCRIBE any"));
    note(tracking.line("GET k"));
    direct.expect("SET k 6", "+OK\r\n");
    note(target.read_reply());
    note(tracking.line("CLIENT TRACKING OFF"));
    note(tracking.line("CLIENT GETREDIR"));
    // The target goes.
    for line in [&format!("CLIENT TRACKING ON REDIRECT {target_id}"), "GET k"] {
        note(second.line(line));
    }
    note(target.line("QUIT"));
    direct.expect("SET k 7", "+OK\r\n");
    note(second.read_reply());
    note(second.line("CLIENT TRACKINGINFO"));
    note(second.line("CLIENT GETREDIR"));
    note(second.line(&format!("CLIENT TRACKING ON REDIRECT {target_id}")));
    note(second.line("CLIENT TRACKING OFF"));
    found
}

#[test]
fn a_client_that_is_redirected_to_gets_what_is_invalid_and_no_other_does() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    for config in ["", "[pubsub]\nmode = \"shared\""] {
        let gateway = Gateway::builder().upstream(&behind.url()).config(config).start();
        let found = course(|| gateway.client(), &mut behind.client());
        let expected = course(|| beside.client(), &mut beside.client());
        assert_eq!(found, expected, "{config}");
        let mut direct = behind.client();
        wait("the connections of the redirections to be closed", || {
            (borrowed(&mut direct, " sub=1 ") == 0).then_some(())
        });
    }
}

#[test]
fn who_borrows_a_connection_later_gets_nothing_of_the_one_before() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut target, mut tracking, mut direct) = (gateway.client(), gateway.client(), redis.client());
    let target_id = id(&mut target);
    target.line("SUBSCRIBE x");
    tracking.expect(&format!("CLIENT TRACKING ON REDIRECT {target_id} BCAST"), "+OK\r\n");
    target.line("UNSUBSCRIBE x");
    let mut others: Vec<_> = (0..4).map(|_| gateway.client()).collect();
    for other in &mut others {
        other.line("SUBSCRIBE y");
    }
    direct.expect("SET k 2", "+OK\r\n");
    // The target speaks RESP2 and is subscribed to nothing: nobody gets it.
    target.expect("SUBSCRIBE z", "*3\r\n$9\r\nsubscribe\r\n$1\r\nz\r\n:1\r\n");
    direct.expect("SET k 3", "+OK\r\n");
    expect_reply(&mut target, INVALID_MESSAGE);
    direct.expect("PUBLISH y over", ":4\r\n");
    for other in &mut others {
        expect_reply(other, "*3\r\n$7\r\nmessage\r\n$1\r\ny\r\n$4\r\nover\r\n");
    }
}

#[test]
fn a_redirection_has_one_connection_for_all_who_redirect_to_a_client_and_for_as_long_as_one_does() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut target, mut direct) = (gateway.client(), redis.client());
    let target_id = id(&mut target);
    hello3(&mut target);
    let mut trackers: Vec<_> = (0..5).map(|_| gateway.client()).collect();
    for tracker in &mut trackers {
        tracker.expect(&format!("CLIENT TRACKING ON REDIRECT {target_id}"), "+OK\r\n");
    }
    assert_eq!(borrowed(&mut direct, " sub=1 "), 1);
    let ends = ["CLIENT TRACKING OFF", "RESET", "QUIT", "CLIENT TRACKING ON", "HELLO 3"];
    for (tracker, end) in trackers.iter_mut().zip(ends) {
        tracker.line(end);
    }
    let last = trackers.last_mut().expect("five");
    last.line("GET k");
    direct.expect("SET k 1", "+OK\r\n");
    expect_reply(&mut target, INVALID);
    drop(trackers);
    wait("the connection to be closed", || (borrowed(&mut direct, " sub=1 ") == 0).then_some(()));
}

#[test]
fn a_client_that_is_killed_or_waits_is_still_heard_of_and_still_hears() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut target, mut tracking, mut direct) = (gateway.client(), gateway.client(), redis.client());
    let (target_id, tracking_id) = (id(&mut target), id(&mut tracking));
    hello3(&mut target);
    hello3(&mut tracking);
    tracking.expect(&format!("CLIENT TRACKING ON REDIRECT {target_id}"), "+OK\r\n");
    tracking.line("GET k");
    // Both wait in the upstream.
    target.send(&["BLPOP", "l", "0"]);
    tracking.send(&["BLPOP", "l", "0"]);
    wait("both to wait", || (borrowed(&mut direct, " cmd=blpop ") == 2).then_some(()));
    direct.expect("SET k 1", "+OK\r\n");
    expect_reply(&mut target, INVALID);
    direct.expect("RPUSH l 1 2", ":2\r\n");
    let (_, _) = (target.read_reply(), tracking.read_reply());
    tracking.line("GET k");
    let mut other = gateway.client();
    let list = String::from_utf8(other.line("CLIENT LIST")).expect("text");
    let shown = |id: &str| list.lines().find(|line| line.starts_with(&format!("id={id} "))).expect("listed").to_owned();
    let own = list.lines().find(|line| line.starts_with(&format!("id={tracking_id} "))).expect("listed");
    assert!(own.contains(&format!(" redir={target_id} ")), "{own}");
    assert!(shown(&target_id).contains(" redir=-1 "));
    other.expect(&format!("CLIENT KILL ID {target_id}"), ":1\r\n");
    direct.expect("SET k 2", "+OK\r\n");
    expect_reply(&mut tracking, &format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{target_id}\r\n"));
    target.expect_closed();
}

#[test]
fn without_a_connection_to_lend_a_redirection_is_refused_and_nothing_is_kept() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nexclusive_max = 1\nqueue_timeout_ms = 50";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).allow("failed").start();
    let (mut target, mut tracking) = (gateway.client(), gateway.client());
    let redirect = format!("CLIENT TRACKING ON REDIRECT {}", id(&mut target));
    for _ in 0..2 {
        let refused = String::from_utf8(tracking.line(&redirect)).expect("text");
        assert!(refused.starts_with("-ERR respool: ") && refused.contains("exclusive_max"), "{refused}");
        tracking.expect("CLIENT GETREDIR", ":-1\r\n");
        tracking.expect("MULTI", "+OK\r\n");
        assert_eq!(String::from_utf8(tracking.line(&redirect)).expect("text"), refused);
        let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        tracking.expect("EXEC", aborted);
    }
    target.expect("MULTI", "+OK\r\n");
    target.expect("EXEC", "*0\r\n");
}
