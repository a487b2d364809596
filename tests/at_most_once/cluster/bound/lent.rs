//! What binds a client to one node (a transaction that has been begun, channels that are subscribed) while its keys are
//! at another: each request is answered once, and a transaction of which any request was refused is not executed, nor
//! one whose keys that are watched have left their node.

use super::super::nodes::{Nodes, key_of};
use crate::support::{Client, Gateway, Metrics, assert_own_error, requests, wait};

/// Slots of two nodes that do not have what begins without a key.
const FAR: u16 = 12_000;
const NEAR: u16 = 77;

const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

fn gateway(nodes: &Nodes, more: &str) -> Gateway {
    let config = "[pool]\nqueue_timeout_ms = 40000\nreply_timeout_ms = 40000\npause_timeout_ms = 200";
    let builder = Gateway::builder().upstream(&nodes.url()).config(config).config(more);
    builder.allow("paused").allow_lost_upstream().start()
}

/// The connection is in step, and in no transaction.
#[track_caller]
fn assert_goes_on(client: &mut Client) {
    client.expect("ECHO on", "$2\r\non\r\n");
    client.expect("EXEC", "-ERR EXEC without MULTI\r\n");
}

#[test]
fn a_transaction_of_which_a_request_was_refused_is_executed_at_no_node() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes, "");
    let mut client = gateway.client();
    let (near, far) = (key_of(NEAR), key_of(FAR));
    let (set, across) = (format!("SET {far} v"), format!("MSET {near} v {far} v"));
    for refused in ["RESPOOL CLIENTS", "SUBSCRIBE", &across] {
        client.expect("MULTI", "+OK\r\n");
        let reply = client.line(refused);
        assert!(reply.starts_with(b"-"), "{refused}: {reply:?}");
        client.expect(&set, "+QUEUED\r\n");
        client.expect("EXEC", ABORTED);
        client.expect(&format!("EXISTS {near} {far}"), ":0\r\n");
    }

    // While nothing is lent, neither a request nor the end of a transaction can go on elsewhere.
    let mut operator = gateway.client();
    client.expect("MULTI", "+OK\r\n");
    operator.line("RESPOOL PAUSE");
    assert_own_error(&client.line(&set));
    operator.expect("RESPOOL RESUME", "+OK\r\n");
    assert_own_error(&client.line(&set));
    client.expect("EXEC", ABORTED);
    assert_goes_on(&mut client);
    client.expect(&format!("SET {near} 1"), "+OK\r\n");
    client.expect("MULTI", "+OK\r\n");
    client.expect(&format!("INCR {near}"), "+QUEUED\r\n");
    nodes.move_slot(NEAR, &nodes.0[0], &nodes.0[1], |step| {
        if step == "a key moved" {
            operator.line("RESPOOL PAUSE");
            assert_own_error(&client.line("EXEC"));
            operator.expect("RESPOOL RESUME", "+OK\r\n");
            assert_goes_on(&mut client);
        }
    });
    client.expect(&format!("GET {near}"), "$1\r\n1\r\n");
}

#[test]
fn a_subscriber_is_answered_about_keys_of_other_nodes_and_stays_subscribed() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes, "[pubsub]\nmode = \"dedicated\"");
    let (mut subscriber, mut publisher) = (gateway.client(), gateway.client());
    let gets: Vec<String> = [NEAR, 6_000, FAR].map(|slot| format!("GET {}", key_of(slot))).into();
    subscriber.expect("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    subscriber.send_raw(&requests(&[&gets[0], &gets[1], &gets[2], "PING"]));
    let replies = subscriber.read_replies(4);
    assert!(replies[..3].iter().all(|reply| reply.starts_with(b"-ERR ")), "{replies:?}");
    assert_eq!(replies[3], b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");

    let mut newer = gateway.client();
    newer.line("HELLO 3");
    newer.expect("SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    newer.send_raw(&requests(&["MULTI", &gets[2], "SUBSCRIBE d", "EXEC"]));
    let replies = newer.read_replies(4);
    assert_own_error(&replies[2]);
    assert_eq!(replies[3], ABORTED.as_bytes());
    assert_goes_on(&mut newer);
    // Each transaction of a subscriber has a slot of its own, and so has what it watches.
    let mut sharded = gateway.client();
    sharded.line("HELLO 3");
    sharded.line(&format!("SSUBSCRIBE {}", key_of(6_000)));
    for (slot, watched) in [(6_000, 6_002), (6_001, 6_003)] {
        let (set, watch) = (format!("SET {} v", key_of(slot)), format!("WATCH {}", key_of(watched)));
        sharded.send_raw(&requests(&[&watch, "UNWATCH", "MULTI", &set, "EXEC"]));
        assert_eq!(sharded.read_replies(5).concat(), b"+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    }
    publisher.line("PUBLISH c m");
    assert_eq!(newer.read_reply(), b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
    assert_eq!(subscriber.read_reply(), b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
}

#[test]
fn who_listens_has_keys_of_all_nodes() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes, "");
    let (mut client, mut other) = (gateway.client(), gateway.client());
    client.line("HELLO 3");
    client.expect("SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    for (count, slot) in [NEAR, 6_000, FAR].into_iter().enumerate() {
        let key = key_of(slot);
        let (watch, incr) = (format!("WATCH {key}"), format!("INCR {key}"));
        client.send_raw(&requests(&[&watch, "MULTI", &incr]));
        assert_eq!(client.read_replies(3).concat(), b"+OK\r\n+OK\r\n+QUEUED\r\n");
        other.expect("PUBLISH c m", ":1\r\n");
        assert_eq!(client.read_reply(), b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
        client.expect("EXEC", "*1\r\n:1\r\n");
        client.expect(&watch, "+OK\r\n");
        client.expect(&format!("PSUBSCRIBE {count}"), &format!(">3\r\n$10\r\npsubscribe\r\n$1\r\n{count}\r\n:2\r\n"));
        other.expect(&incr, ":2\r\n");
        client.send_raw(&requests(&["MULTI", &incr, "EXEC"]));
        assert_eq!(client.read_replies(3)[2], b"_\r\n");
        client.expect("PUNSUBSCRIBE", &format!(">3\r\n$12\r\npunsubscribe\r\n$1\r\n{count}\r\n:1\r\n"));
        // Messages come while it is blocked.
        client.send_raw(&requests(&[&format!("BLPOP {{{key}}}q 0")]));
        wait("it to be blocked", || {
            other.expect("PUBLISH c m", ":1\r\n");
            let shown = String::from_utf8_lossy(&other.line("CLIENT LIST")).into_owned();
            assert_eq!(client.read_reply(), b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
            shown.contains("cmd=blpop").then_some(())
        });
        other.expect(&format!("RPUSH {{{key}}}q v"), ":1\r\n");
        assert!(client.read_reply().ends_with(b"$1\r\nv\r\n"));
        assert_goes_on(&mut client);
    }
    // What is subscribed in a transaction is subscribed after it, and goes with the last unsubscription.
    let mut late = gateway.client();
    late.line("HELLO 3");
    late.send_raw(&requests(&["MULTI", &format!("GET {}", key_of(FAR)), "SUBSCRIBE d", "EXEC"]));
    late.read_replies(4);
    late.expect(&format!("BLPOP {} 0.01", key_of(NEAR + 1)), "_\r\n");
    other.expect("PUBLISH d m", ":0\r\n");
    assert_eq!(late.read_reply(), b">3\r\n$7\r\nmessage\r\n$1\r\nd\r\n$1\r\nm\r\n");
    client.send_raw(&requests(&["HELLO 2", "PING", "HELLO 3", "UNSUBSCRIBE", "PING"]));
    let replies = client.read_replies(5);
    assert_eq!(replies[1], b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    assert!(replies[2].starts_with(b"-ERR"), "{:?}", replies[2]);
    assert_eq!(replies[3..].concat(), b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n+PONG\r\n");
}

/// The next reply that is no line of a monitor.
fn replied(monitor: &mut Client) -> Vec<u8> {
    wait("a reply", || {
        let reply = monitor.read_reply();
        (!reply.starts_with(b"+1")).then_some(reply)
    })
}

#[test]
fn a_monitor_is_answered_and_has_keys_of_all_nodes() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes, "");
    let (mut monitor, mut other) = (gateway.client(), gateway.client());
    monitor.expect("MONITOR", "+OK\r\n");
    other.expect("ECHO one", "$3\r\none\r\n");
    wait("what others send to be shown", || {
        String::from_utf8_lossy(&monitor.read_reply()).ends_with("\"ECHO\" \"one\"\r\n").then_some(())
    });
    for slot in [NEAR, 6_000, FAR] {
        let key = key_of(slot);
        let lines =
            [format!("SET {key} 1"), format!("INCR {key}"), "MULTI".into(), format!("GET {key}"), "EXEC".into()];
        monitor.send_raw(&requests(&lines.each_ref().map(String::as_str)));
        let replies: Vec<u8> = (0..5).flat_map(|_| replied(&mut monitor)).collect();
        assert_eq!(String::from_utf8_lossy(&replies), "+OK\r\n:2\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\n2\r\n");
        monitor.send_raw(&requests(&[&format!("BLPOP {{{key}}}q 0.01"), "DBSIZE", "ECHO two"]));
        let replies: Vec<u8> = (0..3).flat_map(|_| replied(&mut monitor)).collect();
        assert!(replies.starts_with(b"*-1\r\n:") && replies.ends_with(b"\r\n$3\r\ntwo\r\n"), "{replies:?}");
    }
    monitor.send_raw(&requests(&["RESET"]));
    assert_eq!(replied(&mut monitor), b"+RESET\r\n");
    other.expect("ECHO three", "$5\r\nthree\r\n");
    monitor.expect("PING", "+PONG\r\n");
}

#[test]
fn a_transaction_does_not_run_without_the_watch_that_was_refused() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes, "");
    let mut client = gateway.client();
    let (near, far) = (key_of(NEAR), key_of(FAR));
    let incr = format!("INCR {near}");
    let watch = |keys: &str| format!("WATCH {keys}");
    for refused in [vec![watch(&format!("{near} {far}"))], vec![watch(&near), watch(&far)]] {
        let lines: Vec<&str> = refused.iter().map(String::as_str).chain(["MULTI", &incr, "EXEC"]).collect();
        client.send_raw(&requests(&lines));
        let replies = client.read_replies(lines.len());
        let refusals = &replies[refused.len() - 1..];
        assert!(refusals.iter().all(|reply| reply.starts_with(b"-")), "{refused:?}: {replies:?}");
        assert_eq!(refusals[3], ABORTED.as_bytes());
        client.expect(&format!("EXISTS {near}"), ":0\r\n");
        assert_goes_on(&mut client);
    }
    client.send_raw(&requests(&[&watch(&near), "MULTI", &incr, "EXEC"]));
    assert_eq!(client.read_replies(4)[3], b"*1\r\n:1\r\n");
    // What one Redis refuses, it leaves without effect.
    client.send_raw(&requests(&["WATCH", "MULTI", &incr, "EXEC"]));
    assert_eq!(client.read_replies(4)[3], b"*1\r\n:2\r\n");
}

#[test]
fn a_transaction_whose_watched_keys_have_left_their_node_is_answered_as_if_one_had_changed() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (key, incr) = (key_of(NEAR), format!("INCR {}", key_of(NEAR)));
    let (watch, sibling) = (format!("WATCH {key}"), format!("WATCH {{{key}}}2"));
    let generation = || Metrics::read(gateway.metrics_address()).value("respool_topology_generation");
    let ends: [(&[&str], &str); 6] = [
        (&["PUBLISH c m", "EXEC"], "*-1\r\n"),
        (&[&incr, "PING", &incr, "EXEC"], "*-1\r\n"),
        (&[&incr, "NOSUCH", "EXEC"], ABORTED),
        (&["CLIENT ID", "SUBSCRIBE", "EXEC"], ABORTED),
        (&[&incr, "DISCARD"], "+OK\r\n"),
        (&["EXEC"], "*-1\r\n"),
    ];
    let watching = || {
        let mut client = gateway.client();
        client.expect(&watch, "+OK\r\n");
        client
    };
    let mut begun = ends.map(|_| watching());
    begun.iter_mut().for_each(|client| client.expect("MULTI", "+OK\r\n"));
    let (mut later, mut unwatched, mut newer) = (ends.map(|_| watching()), watching(), watching());
    newer.line("HELLO 3");
    let before = generation();
    nodes.move_slot(NEAR, &nodes.0[0], &nodes.0[1], |_| {});
    gateway.client().expect(&format!("SET {key} 7"), "+OK\r\n");
    wait("the gateway to know", || (generation() > before).then_some(()));

    for ((lines, end), (begun, later)) in ends.iter().zip(begun.iter_mut().zip(&mut later)) {
        later.expect(&sibling, "+OK\r\n");
        later.expect("MULTI", "+OK\r\n");
        for client in [begun, later] {
            client.send_raw(&requests(lines));
            let replies = client.read_replies(lines.len());
            let (last, queued) = replies.split_last().expect("replies");
            assert_eq!(String::from_utf8_lossy(last), *end, "{lines:?}");
            let refused = queued.iter().filter(|reply| *reply != b"+QUEUED\r\n").count();
            assert_eq!(refused, usize::from(*end == ABORTED), "{replies:?}");
            assert_goes_on(client);
        }
    }
    newer.send_raw(&requests(&["MULTI", &incr, "EXEC"]));
    assert_eq!(newer.read_replies(3)[2], b"_\r\n");
    unwatched.send_raw(&requests(&["UNWATCH", "MULTI", &incr, "EXEC"]));
    assert_eq!(unwatched.read_replies(4)[3], b"*1\r\n:8\r\n");
    // Nothing of the others was executed, and they can watch and execute where the slot is now.
    for client in &mut begun {
        client.expect(&watch, "+OK\r\n");
    }
    begun[0].send_raw(&requests(&["MULTI", &incr, "EXEC"]));
    assert_eq!(begun[0].read_replies(3)[2], b"*1\r\n:9\r\n");
    begun[1].send_raw(&requests(&["MULTI", &incr, "EXEC"]));
    assert_eq!(begun[1].read_replies(3)[2], b"*-1\r\n");
}

#[test]
fn a_sharded_channel_is_subscribed_at_its_node_whatever_else_is_shared() {
    let nodes = Nodes::start();
    for mode in ["shared", "dedicated"] {
        let gateway = gateway(&nodes, &format!("[pubsub]\nmode = \"{mode}\""));
        let mut publisher = gateway.client();
        for slot in [NEAR, 6_000, FAR] {
            let channel = key_of(slot);
            let named = |kind: &str| format!("*3\r\n${}\r\n{kind}\r\n${}\r\n{channel}\r\n", kind.len(), channel.len());
            let mut client = gateway.client();
            client.expect(&format!("SSUBSCRIBE {channel}"), &format!("{}:1\r\n", named("ssubscribe")));
            if mode == "shared" {
                client.expect("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
                let shown = String::from_utf8_lossy(&publisher.line("CLIENT LIST")).into_owned();
                assert!(shown.contains(" sub=1 psub=0 ssub=1 "), "{shown}");
                publisher.line("PUBLISH c m");
                assert_eq!(client.read_reply(), b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
            }
            publisher.expect(&format!("SPUBLISH {channel} m"), ":1\r\n");
            assert_eq!(client.read_reply(), format!("{}$1\r\nm\r\n", named("smessage")).into_bytes());
            client.expect("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
            client.expect(&format!("SUNSUBSCRIBE {channel}"), &format!("{}:0\r\n", named("sunsubscribe")));
            publisher.expect(&format!("SPUBLISH {channel} m"), ":0\r\n");
            client.expect(&format!("SUNSUBSCRIBE {channel}"), &format!("{}:0\r\n", named("sunsubscribe")));
        }
    }
}

#[test]
fn a_subscriber_whose_sharded_channel_has_left_its_node_is_closed_and_not_deaf() {
    let nodes = Nodes::start();
    let gateway = gateway(&nodes, "");
    let channel = key_of(NEAR);
    let (mut idle, mut newer, mut other) = (gateway.client(), gateway.client(), gateway.client());
    newer.line("HELLO 3");
    for client in [&mut idle, &mut newer] {
        client.line(&format!("SSUBSCRIBE {channel}"));
    }
    other.line(&format!("SSUBSCRIBE {}", key_of(NEAR + 1)));
    gateway.client().expect(&format!("SPUBLISH {channel} m"), ":2\r\n");
    nodes.move_slot(NEAR, &nodes.0[0], &nodes.0[1], |_| {});
    for client in [&mut idle, &mut newer] {
        assert!(String::from_utf8_lossy(&client.read_reply()).contains("smessage"));
        client.expect_closed();
    }
    other.expect("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    gateway.client().expect(&format!("SPUBLISH {channel} m"), ":0\r\n");
}

#[test]
fn a_transaction_that_has_been_begun_goes_on_at_the_primary_that_takes_over() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (key, incr) = (key_of(NEAR), format!("INCR {}", key_of(NEAR)));
    let watch = format!("WATCH {key}");
    let begun: [(&[&str], &[&str], &str); 6] = [
        (&["MULTI", &incr], &[&incr, "EXEC"], "*2\r\n:1\r\n:2\r\n"),
        (&[&watch, "MULTI", &incr], &[&incr, "EXEC"], "*-1\r\n"),
        (&[&watch], &["MULTI", &incr, "EXEC"], "*-1\r\n"),
        (&[&watch], &["UNWATCH", "MULTI", &incr, "EXEC"], "*1\r\n:3\r\n"),
        (&["MULTI", &incr, "NOSUCH"], &["EXEC"], ABORTED),
        (&["MULTI", &incr], &["RESPOOL CLIENTS", "EXEC"], ABORTED),
    ];
    let mut clients = begun.map(|(lines, ..)| {
        let mut client = gateway.client();
        client.send_raw(&requests(lines));
        client.read_replies(lines.len());
        client
    });
    nodes.fail_over(3);
    for (client, (_, lines, end)) in clients.iter_mut().zip(begun) {
        client.send_raw(&requests(lines));
        let replies = client.read_replies(lines.len());
        assert_eq!(String::from_utf8_lossy(replies.last().expect("replies")), end, "{lines:?}: {replies:?}");
        assert_goes_on(client);
    }
}

#[test]
fn a_transaction_goes_where_its_first_key_is_however_much_stands_before_it() {
    let nodes = Nodes::start();
    let (key, text) = (key_of(FAR), "e".repeat(100_000));
    let increment = format!("INCR {key}");
    let begin = |client: &mut Client| {
        client.expect("MULTI", "+OK\r\n");
        (0..9).for_each(|_| assert_eq!(client.call(&["ECHO", &text]), b"+QUEUED\r\n"));
    };
    let gateways = [gateway(&nodes, ""), gateway(&nodes, "[clients]\nrequest_bytes_max = 500000")];
    let mut client = gateways[0].client();
    begin(&mut client);
    client.expect(&increment, "+QUEUED\r\n");
    // What is larger than a request may be stays where it is.
    let mut bounded = gateways[1].client();
    begin(&mut bounded);
    assert_own_error(&bounded.line(&increment));
    bounded.expect("EXEC", ABORTED);
    assert_goes_on(&mut bounded);
    let executed = client.line("EXEC");
    assert!(executed.starts_with(b"*10\r\n$100000\r\ne") && executed.ends_with(b"e\r\n:1\r\n"), "{}", executed.len());
    // It waits for a slot that is on its way, as any other.
    begin(&mut client);
    nodes.move_slot(FAR, &nodes.0[2], &nodes.0[1], |step| {
        if step == "a key moved" {
            client.send(&["INCR", &key]);
        }
    });
    assert_eq!(client.read_reply(), b"+QUEUED\r\n");
    assert!(client.line("EXEC").ends_with(b"e\r\n:2\r\n"));
    assert_goes_on(&mut client);
}

#[test]
fn what_has_moved_already_is_found_however_short_a_request_waits() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, key) = (gateway.client(), key_of(5));
    client.expect(&format!("XADD {key} 1-1 f v"), "$3\r\n1-1\r\n");
    let entry = format!("*1\r\n*2\r\n${}\r\n{key}\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n", key.len());
    let mut steps = 0;
    nodes.move_slot(5, &nodes.0[0], &nodes.0[1], |_| {
        client.expect(&format!("XREAD BLOCK 1 STREAMS {key} 0"), &entry);
        steps += 1;
    });
    assert_eq!(steps, 5);
}
