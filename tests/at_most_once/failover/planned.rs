//! Failovers that an operator asks for cost no client an error, nor a write.

use std::time::{Duration, Instant};

use super::{
    load::{more_load, under_load},
    service::{Sentinel, Service},
};
use crate::support::{Client, DEADLINE, Gateway, Machine, Metrics, Redis, request, requests, wait};

/// How long a client may have to wait, on an idle machine.
const GAP: Duration = Duration::from_millis(1_200);

#[test]
fn a_failover_that_a_sentinel_is_asked_for_loses_nothing_and_costs_no_error() {
    let service = Service::start(&[]);
    let gateway = Gateway::start(&service.url());
    let machine = Machine::watch();
    let told = under_load(&gateway, |rounds| {
        for sentinel in [0, 1] {
            more_load(rounds, 20);
            let before = service.primary(&[0, 1, 2]);
            service.fail_over(sentinel);
            more_load(rounds, 20);
            wait("the sentinels to agree on another", || (service.primary(&[0, 1, 2]) != before).then_some(()));
            // The old one goes on calling itself a primary; clients go on meanwhile.
            more_load(rounds, 200);
        }
    });
    told.assert_no_error();
    told.assert_counted_once();
    let primary = service.primary(&[0, 1, 2]);
    assert_eq!(told.lost(&mut service.direct(primary)).len(), 0, "acknowledged writes are lost");
    machine.assert_within(GAP, told.gap(), "the longest time without an acknowledged write");
}

/// A new primary has no replica at first, and refuses writes until one follows it.
#[test]
fn a_failover_costs_no_error_where_a_primary_has_to_have_a_replica() {
    let service = Service::start(&["--min-replicas-to-write", "1", "--min-replicas-max-lag", "60"]);
    let config = "[upstream]\nfailover_wait_ms = 30_000\n[pool]\nqueue_timeout_ms = 30_000";
    let gateway = Gateway::builder().upstream(&service.url()).config(config).start();
    let former = service.primary(&[0, 1, 2]);
    let told = under_load(&gateway, |rounds| {
        more_load(rounds, 20);
        service.fail_over(0);
        wait("the new primary", || (gateway.logs().count("primary is another") >= 2).then_some(()));
        more_load(rounds, 20);
    });
    told.assert_no_error();
    told.assert_counted_once();
    let primary = service.primary_but(former);
    assert_eq!(told.lost(&mut service.direct(primary)).len(), 0, "acknowledged writes are lost");
}

/// It is not asked again then, for however long a request may wait.
#[test]
fn a_lack_of_replicas_is_said_at_once_where_the_primary_is_not_new() {
    let service = Service::start(&[]);
    let config = "[upstream]\nfailover_wait_ms = 600_000\n[pool]\nqueue_timeout_ms = 600_000";
    let gateway = Gateway::builder().upstream(&service.url()).config(config).start();
    let mut client = gateway.client();
    client.expect("SET k 1", "+OK\r\n");
    let primary = service.primary(&[0, 1, 2]);
    service.direct(primary).expect("CONFIG SET min-replicas-to-write 9", "+OK\r\n");
    client.expect("SET k 2", "-NOREPLICAS Not enough good replicas to write.\r\n");
}

#[test]
fn a_failover_that_is_given_up_lets_requests_go_on() {
    let service = Service::start_with(&[], Duration::from_secs(2));
    let config = "[upstream]\nfailover_wait_ms = 30_000\n[pool]\nqueue_timeout_ms = 30_000";
    let gateway = Gateway::builder().upstream(&service.url()).config(config).start();
    let mut client = gateway.client();
    client.expect("SET k 1", "+OK\r\n");
    // The replica that the sentinel selects does not follow.
    service.nodes[1..].iter().for_each(Redis::freeze);
    service.fail_over(2);
    gateway.logs().wait_for("a failover from", DEADLINE);
    client.expect("SET k 2", "+OK\r\n");
    gateway.logs().wait_for("requests go on", DEADLINE);
    assert_eq!(gateway.logs().count("primary is another"), 1, "it stayed where it was");
}

#[test]
fn a_failover_that_the_primary_is_asked_for_loses_nothing_and_costs_no_error() {
    let mut service = Service::start(&[]);
    let config = "[upstream]\nfailover_wait_ms = 20_000\n[pool]\nqueue_timeout_ms = 20_000";
    let builder = Gateway::builder().upstream(&service.url()).config(config).allow("not ready");
    let gateway = builder.allow("sentinel does not answer").start();
    let told = under_load(&gateway, |rounds| {
        more_load(rounds, 20);
        // They would take the former primary, which says that it is a replica, for dead.
        service.sentinels.iter_mut().for_each(Sentinel::kill9);
        for (from, to) in [(0, 1), (1, 0)] {
            let before = gateway.logs().count("primary is another");
            let to = service.nodes[to].address().port();
            // It refuses while it has not heard that the replica keeps up.
            wait("a failover", || {
                let reply = service.direct(from).line(&format!("FAILOVER TO 127.0.0.1 {to}"));
                (reply == b"+OK\r\n").then_some(())
            });
            wait("another primary", || (gateway.logs().count("primary is another") > before).then_some(()));
            more_load(rounds, 50);
        }
    });
    told.assert_no_error();
    told.assert_counted_once();
    assert_eq!(told.lost(&mut service.direct(0)).len(), 0, "acknowledged writes are lost");
}

#[test]
fn a_move_by_hand_between_pause_and_resume_loses_nothing_and_costs_no_error() {
    let old = Redis::start(&[]);
    let of = format!("127.0.0.1 {}", old.address().port());
    let new = Redis::start(&["--replicaof", &of, "--repl-diskless-sync-delay", "0"]);
    let gateway = Gateway::builder().upstream(&old.url()).allow("paused").start();
    let mut operator = gateway.client();
    let told = under_load(&gateway, |rounds| {
        more_load(rounds, 20);
        let paused = operator.line("RESPOOL PAUSE");
        assert!(String::from_utf8_lossy(&paused).contains("paused"), "{}", String::from_utf8_lossy(&paused));
        // Nothing is written any more, so that the offsets can meet.
        let offset = |node: &Redis, field: &str| {
            let said = String::from_utf8_lossy(&node.client().line("INFO replication")).into_owned();
            said.lines().find_map(|line| line.strip_prefix(field)?.parse::<u64>().ok())
        };
        wait("the replica to have all", || {
            let head = offset(&old, "master_repl_offset:")?;
            (offset(&new, "slave_repl_offset:")? >= head).then_some(())
        });
        new.client().expect("REPLICAOF NO ONE", "+OK\r\n");
        let url = new.url();
        let moved = operator.call(&["RESPOOL", "CONFIG", "SET", "upstream.url", &url]);
        assert!(!moved.starts_with(b"-"), "{}", String::from_utf8_lossy(&moved));
        operator.expect("RESPOOL RESUME", "+OK\r\n");
        more_load(rounds, 20);
    });
    told.assert_no_error();
    told.assert_counted_once();
    assert_eq!(told.lost(&mut new.client()).len(), 0, "acknowledged writes are lost");
}

/// Each kind of request is under way when its node becomes a replica, which refuses it.
#[test]
fn what_a_replica_refuses_is_executed_once_by_the_next_primary_and_no_client_hears_of_it() {
    let mut service = Service::start(&[]);
    let config = "[upstream]\nfailover_wait_ms = 20_000\n[pool]\nqueue_timeout_ms = 20_000";
    let builder = Gateway::builder().upstream(&service.url()).config(config).metrics().allow("not ready");
    let gateway = builder.allow("sentinel does not answer").start();
    let mut clients: Vec<Client> = (0..6).map(|_| gateway.client()).collect();
    clients[0].expect("RPUSH l v", ":1\r\n");
    // What its replies cost is known by then.
    for _ in 0..10 {
        clients[2].send_raw(&requests(&["PING"; 4]));
        clients[2].read_replies(4);
    }
    service.sentinels.iter_mut().for_each(Sentinel::kill9);
    let (mut old, mut new) = (service.direct(0), service.direct(1));
    wait("the replica to have it", || (new.line("EXISTS l") == b":1\r\n").then_some(()));
    old.expect("CLIENT PAUSE 600000 WRITE", "+OK\r\n");
    let in_flight = || Metrics::read(gateway.metrics_address()).value("respool_in_flight");
    let script = "redis.call('GET', 'nosuch') return redis.call('INCR', 'script')";
    clients[2].send_raw(&requests(&["SET first 1", "INCR count"]));
    wait("requests to be under way", || (in_flight() >= 1.0).then_some(()));
    // They follow while those are out.
    clients[2].send_raw(&requests(&["INCR count", "GET count", "APPEND last x"]));
    clients[0].send(&["EVAL", script, "0"]);
    clients[1].send(&["BLPOP", "l", "30"]);
    clients[3].send_raw(&requests(&["MULTI", "INCR transaction", "EXEC"]));
    clients[4].send(&["EVAL", "return redis.error_reply('READONLY of its own')", "0"]);
    let run = request(&["EVAL", "return redis.call('INCR', 'queued')", "0"]);
    let transaction = [requests(&["MULTI", "GET nosuch"]), run, requests(&["EXEC"])].concat();
    clients[5].send_raw(&transaction);
    old.expect("EXISTS script count transaction last queued", ":0\r\n");
    old.expect(&format!("REPLICAOF 127.0.0.1 {}", service.nodes[1].address().port()), "+OK\r\n");
    old.expect("CLIENT UNPAUSE", "+OK\r\n");
    // As they did at the start.
    wait("requests to wait", || (gateway.logs().count("requests wait") == 2).then_some(()));
    new.expect("REPLICAOF NO ONE", "+OK\r\n");
    let expected = [
        vec![":1\r\n"],
        vec!["*2\r\n$1\r\nl\r\n$1\r\nv\r\n"],
        vec!["+OK\r\n", ":1\r\n", ":2\r\n", "$1\r\n2\r\n", ":1\r\n"],
        vec!["+OK\r\n", "+QUEUED\r\n", "*1\r\n:1\r\n"],
        vec!["-READONLY of its own\r\n"],
        vec!["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "*2\r\n$-1\r\n:1\r\n"],
    ];
    for (client, expected) in clients.iter_mut().zip(expected) {
        let replies = client.read_replies(expected.len());
        let replies: Vec<_> = replies.iter().map(|reply| String::from_utf8_lossy(reply)).collect();
        assert_eq!(replies, expected);
    }
    assert_eq!(
        new.line("MGET script count transaction last queued"),
        b"*5\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n1\r\n$1\r\nx\r\n$1\r\n1\r\n"
    );
}

/// The node refuses what is under way only when another one is the primary already, swap after swap.
#[test]
fn what_a_former_primary_refuses_late_is_executed_once_by_the_next_one_as_well() {
    let mut service = Service::start(&[]);
    let builder = Gateway::builder().upstream(&service.url()).config("[sentinel]\nrefresh_ms = 100").metrics();
    let gateway = builder.allow("not ready").allow("sentinel does not answer").start();
    let mut clients: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    let mut blocked = gateway.client();
    clients[3].send_raw(&requests(&["CLIENT REPLY OFF"]));
    gateway.client().expect("MSET count 0 script 0 transaction 0 muted 0", "+OK\r\n");
    service.sentinels.iter_mut().for_each(Sentinel::kill9);
    let in_flight = || Metrics::read(gateway.metrics_address()).value("respool_in_flight");
    let mut in_time = 0;
    for (from, to) in [(0, 1), (1, 0)].into_iter().cycle().take(8) {
        let (mut old, mut new) = (service.direct(from), service.direct(to));
        let counts =
            |node: &mut Client| String::from_utf8_lossy(&node.line("MGET count script transaction muted")).into_owned();
        old.expect("CLIENT PAUSE 600000 WRITE", "+OK\r\n");
        wait("the replica to have all", || (counts(&mut new) == counts(&mut old)).then_some(()));
        let before: Vec<u64> =
            counts(&mut old).lines().skip(2).step_by(2).map(|count| count.parse().expect("a count")).collect();
        clients[0].send_raw(&requests(&["INCR count", "INCR count"]));
        clients[1].send(&["EVAL", "return redis.call('INCR', 'script')", "0"]);
        clients[2].send_raw(&requests(&["MULTI", "INCR transaction", "EXEC"]));
        clients[3].send(&["INCR", "muted"]);
        blocked.send(&["BLPOP", "list", "60"]);
        // A second request may wait here for the first one.
        wait("all to be under way", || (in_flight() >= 5.0).then_some(()));
        wait("it to block", || String::from_utf8_lossy(&old.line("CLIENT LIST")).contains("cmd=blpop").then_some(()));
        let logged = |text| gateway.logs().count(text);
        let (waits, moves) = (logged("requests wait"), logged("primary is another"));
        old.expect(&format!("REPLICAOF 127.0.0.1 {}", service.nodes[to].address().port()), "+OK\r\n");
        wait("requests to wait", || (logged("requests wait") > waits).then_some(()));
        let began = Instant::now();
        new.expect("REPLICAOF NO ONE", "+OK\r\n");
        wait("another primary", || (logged("primary is another") > moves).then_some(()));
        old.expect("CLIENT UNPAUSE", "+OK\r\n");
        // It has a second to refuse it.
        let is_in_time = began.elapsed() < Duration::from_millis(900);
        let replies: Vec<_> =
            [2, 1, 3].into_iter().zip(&mut clients).flat_map(|(due, client)| client.read_replies(due)).collect();
        new.line("RPUSH list v");
        let popped = String::from_utf8_lossy(&blocked.read_reply()).into_owned();
        new.line("DEL list");
        wait("nothing to be under way", || (in_flight() == 0.0).then_some(()));
        if is_in_time {
            in_time += 1;
            assert_eq!(popped, "*2\r\n$4\r\nlist\r\n$1\r\nv\r\n");
            let [count, script, transaction, muted] = before[..] else { panic!("four counts: {before:?}") };
            let executed = format!("*1\r\n:{}\r\n", transaction + 1);
            let expected = [count + 1, count + 2, script + 1].map(|count| format!(":{count}\r\n"));
            let expected = expected.into_iter().chain(["+OK\r\n".into(), "+QUEUED\r\n".into(), executed]);
            let replies: Vec<_> = replies.iter().map(|reply| String::from_utf8_lossy(reply).into_owned()).collect();
            assert_eq!(replies, expected.collect::<Vec<_>>());
            wait("what the muted client sent", || {
                counts(&mut new).ends_with(&format!("{}\r\n", muted + 1)).then_some(())
            });
        }
        wait("the former one to follow", || {
            old.line("INFO replication").windows(21).any(|at| at == b"master_link_status:up").then_some(())
        });
    }
    assert!(in_time > 0, "the machine is too busy");
}

/// It refuses reads too where it is not to show old data.
#[test]
fn what_a_replica_that_is_cut_off_refuses_is_answered_by_the_next_primary() {
    let mut service = Service::start(&["--replica-serve-stale-data", "no"]);
    let config =
        "[upstream]\nfailover_wait_ms = 20_000\n[pool]\nqueue_timeout_ms = 20_000\n[sentinel]\nrefresh_ms = 60_000";
    let builder = Gateway::builder().upstream(&service.url()).config(config).allow("not ready");
    let gateway = builder.allow("sentinel does not answer").start();
    let mut clients: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    clients[0].expect("SET k v", "+OK\r\n");
    clients[0].expect("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    service.sentinels.iter_mut().for_each(Sentinel::kill9);
    let (mut old, mut new) = (service.direct(0), service.direct(1));
    wait("the replica to have it", || (new.line("EXISTS s") == b":1\r\n").then_some(()));
    // Nobody is there.
    old.expect("REPLICAOF 127.0.0.1 1", "+OK\r\n");
    clients[0].send_raw(&requests(&["GET k", "SET k w", "GET k"]));
    clients[1].send(&["EVAL", "return redis.call('GET', 's:none')", "0"]);
    clients[2].send_raw(&requests(&["MULTI", "GET nosuch", "EXEC"]));
    clients[3].send(&["XREAD", "BLOCK", "20000", "STREAMS", "s", "0"]);
    wait("requests to wait", || (gateway.logs().count("requests wait") == 2).then_some(()));
    new.expect("REPLICAOF NO ONE", "+OK\r\n");
    old.expect(&format!("REPLICAOF 127.0.0.1 {}", service.nodes[1].address().port()), "+OK\r\n");
    let entries = "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
    let expected = [
        vec!["$1\r\nv\r\n", "+OK\r\n", "$1\r\nw\r\n"],
        vec!["$-1\r\n"],
        vec!["+OK\r\n", "+QUEUED\r\n", "*1\r\n$-1\r\n"],
        vec![entries],
    ];
    for (client, expected) in clients.iter_mut().zip(expected) {
        let replies = client.read_replies(expected.len());
        let replies: Vec<_> = replies.iter().map(|reply| String::from_utf8_lossy(reply)).collect();
        assert_eq!(replies, expected);
    }
}

#[test]
fn a_refusal_says_that_there_is_no_primary_where_none_is_waited_for() {
    let mut service = Service::start(&[]);
    let config = "[upstream]\nfailover_wait_ms = 0\n[sentinel]\nrefresh_ms = 60_000";
    let builder = Gateway::builder().upstream(&service.url()).config(config).allow("not ready");
    let gateway = builder.allow("sentinel does not answer").start();
    gateway.logs().wait_for("upstream is up", DEADLINE);
    let mut client = gateway.client();
    client.expect("SET k 1", "+OK\r\n");
    service.sentinels.iter_mut().for_each(Sentinel::kill9);
    service.direct(0).expect(&format!("REPLICAOF 127.0.0.1 {}", service.nodes[1].address().port()), "+OK\r\n");
    for request in ["SET k 2", "INCR n"] {
        let reply = String::from_utf8_lossy(&client.line(request)).into_owned();
        assert!(reply.starts_with("-ERR respool: no primary within failover_wait_ms (0 ms): "), "{reply}");
    }
}
