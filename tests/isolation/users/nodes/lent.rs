//! What is executed on connections that are lent: they are of the user who borrows them, at whatever node.

use super::{SLOTS, bulk, gateway, have, key, logged_in, no_right, nodes, not_let_in};
use crate::{
    at_most_once::cluster::nodes::text,
    support::{requests, wait},
};

#[test]
fn what_is_lent_at_a_node_has_the_rights_of_its_user() {
    let nodes = nodes();
    let gateway = gateway(&nodes, "");
    let (mut narrow, mut wide) = (logged_in(&gateway, "narrow"), logged_in(&gateway, "wide"));
    for (place, slot) in SLOTS.into_iter().enumerate() {
        let (own, other, list) = (key("app", slot), key("other", slot), key("app:list", slot));
        for name in ["narrow", "wide"] {
            let client = if name == "narrow" { &mut narrow } else { &mut wide };
            client.expect(&format!("WATCH {own}"), "+OK\r\n");
            client.expect("ACL WHOAMI", &bulk(name));
            client.expect("MULTI", "+OK\r\n");
            client.expect(&format!("INCR {own}"), "+QUEUED\r\n");
            client.expect("ACL WHOAMI", "+QUEUED\r\n");
            let executed = String::from_utf8_lossy(&client.line("EXEC")).into_owned();
            assert!(executed.ends_with(&bulk(name)) && executed.starts_with("*2\r\n:"), "{executed}");
        }
        no_right(&mut narrow, &format!("BLPOP {other} 0"));
        no_right(&mut narrow, &format!("WATCH {other}"));
        narrow.expect("MULTI", "+OK\r\n");
        no_right(&mut narrow, &format!("GET {other}"));
        assert!(narrow.line("EXEC").starts_with(b"-EXECABORT"));
        narrow.send(&["BLPOP", &list, "0"]);
        let blocked = || {
            text(&nodes.0[place].client().line("CLIENT LIST ID 0")).is_empty() && {
                let clients = String::from_utf8_lossy(&nodes.0[place].client().line("CLIENT LIST")).into_owned();
                clients.lines().any(|line| line.contains("cmd=blpop") && line.contains("user=narrow"))
            }
        };
        wait("it to block at the node of its key, as its user", || blocked().then_some(()));
        wide.expect(&format!("RPUSH {list} v"), ":1\r\n");
        assert!(narrow.read_reply().ends_with(b"$1\r\nv\r\n"));
    }
}

#[test]
fn who_listens_does_so_with_its_own_rights() {
    let nodes = nodes();
    for node in &nodes.0 {
        node.client().expect("CONFIG SET notify-keyspace-events KEA", "+OK\r\n");
        have(node, "hears", "on >hears &__keyspace@0__:app:* +@all ~app:*");
    }
    let gateway = gateway(&nodes, "");
    let mut wide = logged_in(&gateway, "wide");
    let mut narrow = logged_in(&gateway, "narrow");
    no_right(&mut narrow, "SUBSCRIBE other");
    no_right(&mut narrow, "PSUBSCRIBE __key*__:*");
    narrow.expect("SUBSCRIBE news.a", "*3\r\n$9\r\nsubscribe\r\n$6\r\nnews.a\r\n:1\r\n");
    wide.line("PUBLISH news.a x");
    assert!(narrow.read_reply().ends_with(b"$1\r\nx\r\n"));
    for slot in SLOTS {
        let (own, other) = (key("news", slot).replace("news:", "news."), key("other", slot));
        let mut narrow = logged_in(&gateway, "narrow");
        no_right(&mut narrow, &format!("SSUBSCRIBE {other}"));
        assert!(narrow.line(&format!("SSUBSCRIBE {own}")).starts_with(b"*3\r\n$10\r\nssubscribe"));
        wide.expect(&format!("SPUBLISH {own} x"), ":1\r\n");
        assert!(narrow.read_reply().ends_with(b"$1\r\nx\r\n"));
    }
    // Of all nodes, for whom the channel is.
    let mut hears = logged_in(&gateway, "hears");
    assert!(hears.line("PSUBSCRIBE __keyspace@0__:app:*").starts_with(b"*3\r\n$10\r\npsubscribe"));
    for slot in SLOTS {
        wide.expect(&format!("SET {} v", key("app", slot)), "+OK\r\n");
        assert!(String::from_utf8_lossy(&hears.read_reply()).contains(&key("app", slot)));
    }
}

#[test]
fn who_listens_stays_who_it_is() {
    let nodes = nodes();
    let gateway = gateway(&nodes, "");
    for listens in ["SUBSCRIBE other", "PSUBSCRIBE *", "SSUBSCRIBE other"] {
        let mut client = gateway.client();
        assert!(client.line("HELLO 3 AUTH wide wide").starts_with(b"%"));
        assert!(client.line(listens).starts_with(b">3"), "{listens}");
        // Otherwise it would go on with the rights of the one and the name of the other.
        for login in ["AUTH narrow narrow", "HELLO 3 AUTH narrow narrow"] {
            let reply = client.line(login);
            assert!(reply.starts_with(b"-ERR respool: AUTH and HELLO are not possible"), "{listens}: {login}");
        }
        client.expect("RESET", "+RESET\r\n");
        client.expect("AUTH narrow narrow", "+OK\r\n");
        no_right(&mut client, "SUBSCRIBE other");
    }
}

#[test]
fn a_script_that_another_user_has_loaded_needs_no_right_to_load_it() {
    let nodes = nodes();
    for node in &nodes.0 {
        have(node, "runs", "on >runs ~* -@all +evalsha +get +multi +exec");
    }
    let gateway = gateway(&nodes, "");
    let digest = text(&logged_in(&gateway, "wide").line("SCRIPT LOAD return(redis.call('GET',KEYS[1]))"));
    let mut runs = logged_in(&gateway, "runs");
    for in_transaction in [false, true] {
        for node in &nodes.0[..3] {
            node.client().expect("SCRIPT FLUSH", "+OK\r\n");
            node.client().expect("ACL LOG RESET", "+OK\r\n");
        }
        for slot in SLOTS {
            let line = format!("EVALSHA {digest} 1 {}", key("app", slot));
            match in_transaction {
                false => runs.expect(&line, "$-1\r\n"),
                true => {
                    runs.send_raw(&requests(&["MULTI", &line, "EXEC"]));
                    assert_eq!(String::from_utf8_lossy(&runs.read_replies(3)[2]), "*1\r\n$-1\r\n");
                }
            }
        }
        for node in &nodes.0[..3] {
            node.client().expect("ACL LOG", "*0\r\n");
        }
    }
}

#[test]
fn who_tracks_or_monitors_several_nodes_does_so_as_its_user_at_each() {
    let nodes = nodes();
    let gateway = gateway(&nodes, "");
    let (mut tracks, mut monitors, mut wide) =
        (gateway.client(), logged_in(&gateway, "wide"), logged_in(&gateway, "ops"));
    assert!(tracks.line("HELLO 3 AUTH narrow narrow").starts_with(b"%"));
    tracks.expect("CLIENT TRACKING ON", "+OK\r\n");
    monitors.expect("MONITOR", "+OK\r\n");
    for (slot, node) in SLOTS.into_iter().zip(&nodes.0) {
        let (own, other) = (key("app", slot), key("other", slot));
        tracks.expect(&format!("GET {own}"), "_\r\n");
        no_right(&mut tracks, &format!("GET {other}"));
        let clients = String::from_utf8_lossy(&node.client().line("CLIENT LIST")).into_owned();
        let is_of = |user: &str, flag: char| {
            let is_one = |line: &str| {
                let flags = line.split(" flags=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
                flags.contains(flag) && line.contains(&format!(" user={user} "))
            };
            clients.lines().filter(|line| is_one(line)).count()
        };
        assert_eq!((is_of("narrow", 't'), is_of("wide", 'O')), (1, 1), "{clients}");
        assert_eq!((is_of("ops", 't'), is_of("ops", 'O')), (0, 0), "{clients}");
        wide.expect(&format!("SET {own} v"), "+OK\r\n");
        assert!(String::from_utf8_lossy(&tracks.read_reply()).contains(&own));
        while !String::from_utf8_lossy(&monitors.read_reply()).contains(&format!("\"SET\" \"{own}\"")) {}
    }
}

#[test]
fn who_wants_what_is_invalid_of_all_keys_is_told_which_node_does_not_let_it_in() {
    let nodes = nodes();
    let gateway = gateway(&nodes, "");
    nodes.0[1].client().expect("ACL DELUSER wide", ":1\r\n");
    for request in ["CLIENT TRACKING ON BCAST", "CLIENT TRACKING ON BCAST PREFIX app:"] {
        let mut client = logged_in(&gateway, "wide");
        client.line("HELLO 3");
        not_let_in(&mut client, request, &nodes.0[1]);
        client.expect_closed();
    }
}
