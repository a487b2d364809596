//! Slots and primaries that move while users are at work: what takes over is spoken to as the same user.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{Ends, SLOTS, bulk, gateway, have, key, logged_in, no_right, nodes, not_let_in};
use crate::{
    at_most_once::cluster::nodes::{Node, READY},
    support::{Client, Gateway, pass, requests, within},
};

/// Asks for keys of all shards, again and again, until it is over. An error of the gateway's own is none of anybody's rights.
fn work(mut client: Client, user: &str, over: &AtomicBool) -> (usize, Vec<String>) {
    let (mut turns, mut errors) = (0, Vec::new());
    let keys = SLOTS.map(|slot| (key("app", slot), key("other", slot)));
    while !over.load(Ordering::Relaxed) {
        turns += 1;
        for (own, other) in &keys {
            let lines = [&format!("GET {other}"), "MULTI", &format!("GET {own}"), "ACL WHOAMI", "EXEC"];
            client.send_raw(&requests(&lines));
            let replies = client.read_replies(5).into_iter().map(|reply| String::from_utf8_lossy(&reply).into_owned());
            let replies: Vec<String> = replies.collect();
            let executed = format!("*2\r\n{}{}", bulk("v"), bulk(user));
            for (reply, due) in
                [(&replies[0], if user == "narrow" { "-NOPERM" } else { "$1" }), (&replies[4], &executed)]
            {
                match reply {
                    _ if reply.starts_with(due) => {}
                    _ if reply.starts_with("-ERR respool: ") || reply.starts_with("-EXECABORT") => {
                        errors.push(reply.clone());
                    }
                    _ => panic!("{user}: {replies:?}"),
                }
            }
        }
    }
    (turns, errors)
}

/// Has both users work while this happens; the errors that they have got.
fn meanwhile(gateway: &Gateway, happens: impl FnOnce()) -> Vec<String> {
    let over = AtomicBool::new(false);
    let mut wide = logged_in(gateway, "wide");
    for slot in SLOTS {
        for user in ["app", "other"] {
            wide.expect(&format!("SET {} v", key(user, slot)), "+OK\r\n");
        }
    }
    thread::scope(|scope| {
        let working = ["narrow", "wide", "narrow", "wide"].map(|user| {
            let (client, over) = (logged_in(gateway, user), &over);
            scope.spawn(move || work(client, user, over))
        });
        // However it ends, so do those who work.
        let ends = Ends(&over);
        happens();
        drop(ends);
        let seen = working.map(|working| working.join().expect("it saw nothing wrong"));
        assert!(seen.iter().all(|(turns, _)| *turns > 0));
        seen.into_iter().flat_map(|(_, errors)| errors).collect()
    })
}

#[test]
fn slots_and_primaries_that_move_by_order_are_followed_as_the_same_user() {
    let nodes = nodes();
    let gateway = gateway(&nodes, "");
    let errors = meanwhile(&gateway, || {
        nodes.move_slot(SLOTS[1], &nodes.0[1], &nodes.0[2], |_| {});
        nodes.wait_until_known(SLOTS[1], &nodes.0[2]);
        // The first primary too, where the gateway's own and all users' first pools lead.
        for replica in [3, 4, 5] {
            nodes.fail_over(replica);
        }
        nodes.move_slot(SLOTS[1], &nodes.0[5], &nodes.0[4], |_| {});
    });
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_replica_that_takes_over_is_spoken_to_as_the_same_user() {
    let mut nodes = nodes();
    let gateway = gateway(&nodes, "");
    let errors = meanwhile(&gateway, || {
        for lost in [1, 0] {
            nodes.0[lost].kill9();
            within(READY, "the replica to take over", || nodes.0[lost + 3].is_primary().then_some(()));
            // A login is not waited with for long where the first primary is lost.
            let mut client = within(READY, "a login", || {
                let mut client = gateway.client();
                (client.line("AUTH narrow narrow") == b"+OK\r\n").then_some(client)
            });
            client.expect(&format!("GET {}", key("app", SLOTS[lost])), &bulk("v"));
            no_right(&mut client, &format!("GET {}", key("other", SLOTS[lost])));
        }
    });
    assert!(errors.iter().all(|error| !error.contains("not let in")), "{errors:?}");
}

#[test]
fn a_replica_that_does_not_know_a_user_refuses_it_when_it_takes_over() {
    let nodes = nodes();
    let gateway = gateway(&nodes, "");
    let (mut narrow, mut wide) = (logged_in(&gateway, "narrow"), logged_in(&gateway, "wide"));
    let own = SLOTS.map(|slot| key("app", slot));
    wide.expect(&format!("SET {} v", own[1]), "+OK\r\n");
    narrow.expect(&format!("GET {}", own[1]), &bulk("v"));
    nodes.0[4].client().expect("ACL DELUSER narrow", ":1\r\n");
    nodes.fail_over(4);
    let at = format!("GET {}", own[1]);
    within(READY, "the gateway to be at the new primary", || (narrow.line(&at) != bulk("v").as_bytes()).then_some(()));
    not_let_in(&mut narrow, &at, &nodes.0[4]);
    narrow.expect(&format!("GET {}", own[2]), "$-1\r\n");
    wide.expect(&at, &bulk("v"));
    have(&nodes.0[4], "narrow", super::NARROW);
    within(READY, "it to be let in", || (narrow.line(&at) == bulk("v").as_bytes()).then_some(()));
    // Nor is a client let in that is at the first primary, once it is another one that decides.
    nodes.0[3].client().expect("ACL DELUSER narrow", ":1\r\n");
    nodes.fail_over(3);
    narrow.expect_closed();
    wide.expect("ACL WHOAMI", &bulk("wide"));
}

#[test]
fn a_login_waits_until_the_cluster_is_found() {
    let nodes = nodes();
    nodes.0.iter().for_each(Node::freeze);
    let gateway = gateway(&nodes, "");
    let mut clients = ["narrow", "wide"].map(|user| {
        let mut client = gateway.client();
        client.send(&["AUTH", user, user]);
        (user, client)
    });
    pass(Duration::from_millis(300));
    assert!(clients.iter_mut().all(|(_, client)| !client.has_arrived()));
    nodes.0.iter().for_each(Node::thaw);
    for (user, client) in &mut clients {
        assert_eq!(client.read_reply(), b"+OK\r\n");
        client.expect("ACL WHOAMI", &bulk(user));
    }
}
