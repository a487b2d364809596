//! What changes about a user while it has clients: at all nodes, or at one of them alone.

use super::{SLOTS, WRONG, bulk, gateway, have, key, logged_in, no_right, nodes, not_let_in};
use crate::support::{Client, requests, wait};

/// Values of a column of `RESPOOL POOLS` where another one is this.
fn pools(admin: &mut Client, login: &str) -> Vec<String> {
    let shown = String::from_utf8_lossy(&admin.line("RESPOOL POOLS")).into_owned();
    let cell = |row: &str, name: &str| {
        let cell = row.split(&format!("\r\n{name}\r\n")).nth(1).and_then(|rest| rest.split("\r\n").nth(1));
        cell.unwrap_or_default().to_owned()
    };
    let rows = shown.split("$4\r\nnode").skip(1).map(|row| format!("\r\nnode{row}"));
    rows.filter(|row| cell(row, "login") == login).map(|row| cell(&row, "node")).collect()
}

#[test]
fn a_user_that_is_deleted_everywhere_is_closed() {
    let nodes = nodes();
    let gateway = gateway(&nodes, "");
    let (mut ops, mut idle) = (logged_in(&gateway, "ops"), logged_in(&gateway, "narrow"));
    let mut clients = SLOTS.map(|slot| {
        let mut client = logged_in(&gateway, "narrow");
        client.expect(&format!("GET {}", key("app", slot)), "$-1\r\n");
        client.send(&["BLPOP", &key("app:list", slot), "0"]);
        client
    });
    let is_blocked = |slot: usize| {
        let info = String::from_utf8_lossy(&nodes.0[slot].client().line("INFO clients")).into_owned();
        info.contains("blocked_clients:1\r")
    };
    wait("all to block", || (0..3).all(is_blocked).then_some(()));
    // The gateway has it done by all primaries.
    ops.expect("ACL DELUSER narrow", ":1\r\n");
    for client in &mut clients {
        assert!(!String::from_utf8_lossy(&client.read_to_end()).contains("*2"));
    }
    idle.expect_closed();
    gateway.client().expect("AUTH narrow narrow", WRONG);
    ops.expect("ACL SETUSER narrow on >other ~* +@all", "+OK\r\n");
    gateway.client().expect("AUTH narrow narrow", WRONG);
    let mut client = gateway.client();
    client.expect("AUTH narrow other", "+OK\r\n");
    for slot in SLOTS {
        client.expect(&format!("GET {}", key("x", slot)), "$-1\r\n");
    }
}

#[test]
fn a_user_that_one_node_does_not_know_gets_an_error_there_and_nobody_elses_rights() {
    let nodes = nodes();
    let gateway = gateway(&nodes, "[auth]\nadmins = [\"ops\"]");
    let (mut narrow, mut wide) = (logged_in(&gateway, "narrow"), logged_in(&gateway, "wide"));
    let all = SLOTS.map(|slot| key("app", slot));
    wide.expect(&format!("MSET {} a {} b {} c", all[0], all[1], all[2]), "+OK\r\n");
    narrow.expect(&format!("GET {}", all[1]), &bulk("b"));
    let node = &nodes.0[1];
    for change in ["ACL DELUSER narrow", "ACL SETUSER narrow off", "ACL SETUSER narrow resetpass >other"] {
        node.client().line(change);
        node.client().line("CLIENT KILL USER narrow");
        wait("the node to be asked", || (!narrow.line(&format!("GET {}", all[1])).starts_with(b"$")).then_some(()));
        wait("the node to have refused", || {
            narrow
                .line(&format!("GET {}", all[1]))
                .starts_with(b"-ERR respool: the client's user is not let in")
                .then_some(())
        });
        not_let_in(&mut narrow, &format!("SET {} x", all[1]), node);
        not_let_in(&mut narrow, &format!("BLPOP {} 0", all[1]), node);
        not_let_in(&mut narrow, &format!("MGET {} {}", all[0], all[1]), node);
        // Who logs in now is let in, since it is the first node that decides.
        let mut other = logged_in(&gateway, "narrow");
        not_let_in(&mut other, &format!("GET {}", all[1]), node);
        for client in [&mut narrow, &mut other] {
            client.expect(&format!("GET {}", all[0]), &bulk("a"));
            client.send_raw(&requests(&[&format!("GET {}", all[2]), &format!("GET {}", all[1]), "ACL WHOAMI"]));
            let replies = client.read_replies(3);
            assert!(replies[1].starts_with(b"-ERR respool: the client's user is not let in: "));
            assert_eq!((&replies[0][..], &replies[2][..]), (bulk("c").as_bytes(), bulk("narrow").as_bytes()));
        }
        wide.expect(&format!("GET {}", all[1]), &bulk("b"));
        have(node, "narrow", &format!("reset {}", super::NARROW));
        // A login is proven, and the node asked again at once.
        wait("the node to let it in again", || {
            let mut client = logged_in(&gateway, "narrow");
            (client.line(&format!("GET {}", all[1])) == bulk("b").as_bytes()).then_some(())
        });
        narrow.expect(&format!("GET {}", all[1]), &bulk("b"));
    }
    // Rights are those of the node, at the next command.
    have(node, "narrow", "resetkeys ~else:*");
    no_right(&mut narrow, &format!("GET {}", all[1]));
    narrow.expect(&format!("GET {}", all[2]), &bulk("c"));
    // The first one decides who may log in.
    let first = gateway_first(&mut logged_in(&gateway, "ops"));
    let first = nodes.0.iter().find(|node| node.address().to_string() == first).expect("it is one of them");
    first.client().expect("ACL DELUSER wide", ":1\r\n");
    wide.expect_closed();
    gateway.client().expect("AUTH wide wide", WRONG);
}

#[test]
fn a_password_without_a_name_that_one_node_has_not_got_is_refused_there_at_once() {
    let nodes = nodes();
    let gateway = gateway(&nodes, "[auth]\nadmins = [\"ops\"]");
    let first = gateway_first(&mut logged_in(&gateway, "ops"));
    let open = (0..3).find(|node| nodes.0[*node].address().to_string() != first).expect("there are three");
    for node in (0..3).filter(|node| *node != open) {
        have(&nodes.0[node], "default", "resetpass >p");
    }
    let mut client = gateway.client();
    client.expect("AUTH p", "+OK\r\n");
    let reply = String::from_utf8_lossy(&client.line(&format!("GET {}", key("app", SLOTS[open])))).into_owned();
    let words = "login refused: ERR AUTH <password> called without any password configured for the default user.";
    let text = format!("-ERR respool: the client's user is not let in: {}: {words}", nodes.0[open].address());
    assert!(reply.starts_with(&text), "{reply}");
    client.expect(&format!("GET {}", key("app", SLOTS[(open + 1) % 3])), "$-1\r\n");
}

/// Where the gateway's first pool leads.
fn gateway_first(admin: &mut Client) -> String {
    pools(admin, "").remove(0)
}

#[test]
fn pools_of_users_at_nodes_are_bounded_and_end() {
    let nodes = nodes();
    let mut gateway = gateway(&nodes, "[auth]\nlogins_max = 3\nadmins = [\"ops\"]\n[pool]\npools_idle_ms = 60000");
    let mut ops = logged_in(&gateway, "ops");
    for number in 0..2 {
        ops.expect(&format!("ACL SETUSER u{number} on >u{number} ~* +@all"), "+OK\r\n");
    }
    let users = ["u0", "u1"];
    let mut clients = users.map(|user| logged_in(&gateway, user));
    let refused = String::from_utf8_lossy(&gateway.client().line("AUTH wide wide")).into_owned();
    assert!(
        refused.starts_with("-ERR respool: the login could not be asked of the upstream: all 3 pools"),
        "{refused}"
    );
    // Three at the first node, and as many at others, of whom all have what they need in turn.
    for turn in 0..20 {
        for slot in SLOTS {
            for (client, user) in clients.iter_mut().zip(users) {
                client.expect(&format!("SET {} {turn}", key(user, slot)), "+OK\r\n");
                client.expect("ACL WHOAMI", &bulk(user));
            }
            ops.expect(&format!("GET {}", key("u0", slot)), &bulk(&turn.to_string()));
        }
        let further: usize = ["ops", "u0", "u1"].iter().map(|user| pools(&mut ops, user).len()).sum();
        assert!((3..=6).contains(&further), "{further}");
    }
    drop(clients);
    gateway.rewrite("[pool]\npools_idle_ms = 50");
    ops.line("RESPOOL RELOAD");
    wait("pools of users to end", || {
        (pools(&mut ops, "u0").is_empty() && pools(&mut ops, "u1").is_empty()).then_some(())
    });
}
