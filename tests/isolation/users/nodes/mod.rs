//! Users of a cluster: whatever node a request goes to, it runs there with its user's rights and no others. Each node has
//! users of its own.

mod changes;
mod lent;
mod moving;
mod together;

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::{
    at_most_once::cluster::nodes::{Node, Nodes, SHARDS, key_of},
    support::{Client, Gateway, requests, users, wait},
};

/// May read and write `app:`, block there, and subscribe to `news.`.
const NARROW: &str = "on >narrow ~app:* &news.* -@all +@read +@write +@transaction +@blocking +@pubsub +@connection +eval \
    +evalsha +ping +acl|whoami +asking -keys -flushall";

const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

/// A slot of each shard.
const SLOTS: [u16; SHARDS] = [5, 7_000, 16_000];

/// Says that it is over when it goes.
struct Ends<'o>(&'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A key of this user in a slot.
fn key(user: &str, slot: u16) -> String {
    format!("{user}:{{{}}}", key_of(slot))
}

fn have(node: &Node, user: &str, rules: &str) {
    node.client().expect(&format!("ACL SETUSER {user} {rules}"), "+OK\r\n");
}

/// Nodes that all know the same users. The default one is theirs, so that they can be spoken to.
fn nodes() -> Nodes {
    let nodes = Nodes::start();
    for node in &nodes.0 {
        have(node, "ops", "on >ops ~* &* +@all");
        have(node, "narrow", NARROW);
        have(node, "wide", "on >wide ~* &* +@all");
    }
    nodes
}

/// A gateway whose users are those of the nodes, with further sections of its configuration.
fn gateway(nodes: &Nodes, more: &str) -> Gateway {
    let url = nodes.url().replace("redis-cluster://", "redis-cluster://ops:ops@");
    let mode = "[auth]\nmode = \"upstream\"\nfailure_delay_ms = 1\nfailures_max = 100\ncache_ms = 200\n\
        [upstream]\nfailover_wait_ms = 30000\nrefused_delay_max_ms = 200\n[pool]\nqueue_timeout_ms = 40000\nreply_timeout_ms = 40000";
    let builder = Gateway::builder().upstream(&url).config(mode).config(more).metrics().allow_lost_upstream();
    builder.allow("login refused").start()
}

fn logged_in(gateway: &Gateway, user: &str) -> Client {
    let mut client = gateway.client();
    client.expect(&format!("AUTH {user} {user}"), "+OK\r\n");
    client
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

#[track_caller]
fn no_right(client: &mut Client, line: &str) {
    let reply = client.line(line);
    assert!(reply.starts_with(b"-NOPERM"), "{line}: {}", String::from_utf8_lossy(&reply));
}

/// The error of a request at a node that does not let its user in.
#[track_caller]
fn not_let_in(client: &mut Client, line: &str, node: &Node) {
    let reply = String::from_utf8_lossy(&client.line(line)).into_owned();
    let text = format!("-ERR respool: the client's user is not let in: {}: login refused: WRONGPASS", node.address());
    assert!(reply.starts_with(&text), "{line}: {reply}");
}

#[test]
fn each_node_obeys_the_rights_of_each_user() {
    let nodes = nodes();
    let gateway = gateway(&nodes, "");
    let mut client = gateway.client();
    for line in ["AUTH narrow wide", "AUTH nobody narrow", "HELLO 3 AUTH wide narrow", "AUTH ops wrong"] {
        client.expect(line, WRONG);
        client.expect("ACL WHOAMI", &bulk("default"));
    }
    for slot in SLOTS {
        client.send_raw(&requests(&["MULTI", &format!("EXISTS {}", key("app", slot)), "ACL WHOAMI", "EXEC"]));
        let executed = client.read_replies(4)[3].clone();
        assert_eq!(String::from_utf8_lossy(&executed), format!("*2\r\n:0\r\n{}", bulk("default")));
    }
    for hello in ["AUTH narrow narrow", "HELLO 3 AUTH narrow narrow"] {
        let mut narrow = gateway.client();
        assert!(!narrow.line(hello).starts_with(b"-"));
        let mut wide = logged_in(&gateway, "wide");
        for slot in SLOTS {
            let (own, other) = (key("app", slot), key("other", slot));
            wide.expect(&format!("SET {other} w"), "+OK\r\n");
            narrow.expect(&format!("SET {own} n"), "+OK\r\n");
            wide.expect(&format!("GET {own}"), &bulk("n"));
            for line in [format!("GET {other}"), format!("SET {other} n"), format!("EVAL return(1) 1 {other}")] {
                no_right(&mut narrow, &line);
            }
            // At the node of the key.
            for (client, name) in [(&mut narrow, "narrow"), (&mut wide, "wide")] {
                client.send_raw(&requests(&["MULTI", &format!("GET {own}"), "ACL WHOAMI", "EXEC"]));
                let executed = client.read_replies(4)[3].clone();
                assert_eq!(String::from_utf8_lossy(&executed), format!("*2\r\n{}{}", bulk("n"), bulk(name)));
            }
        }
        let all = |user| SLOTS.map(|slot| key(user, slot)).join(" ");
        narrow.expect(&format!("MGET {}", all("app")), &format!("*3\r\n{0}{0}{0}", bulk("n")));
        no_right(&mut narrow, &format!("MGET {} {}", all("app"), key("other", SLOTS[2])));
        no_right(&mut narrow, &format!("DEL {}", all("other")));
        no_right(&mut narrow, "KEYS *");
        no_right(&mut narrow, "FLUSHALL");
        no_right(&mut narrow, "CONFIG SET maxmemory 0");
        narrow.expect("DBSIZE", ":6\r\n");
        wide.expect("AUTH narrow wide", WRONG);
        wide.expect("ACL WHOAMI", &bulk("wide"));
        wide.expect("AUTH narrow narrow", "+OK\r\n");
        no_right(&mut wide, &format!("GET {}", key("other", SLOTS[1])));
        wide.expect("RESET", "+RESET\r\n");
        wide.expect("ACL WHOAMI", &bulk("default"));
    }
}

/// Sends something for all shards at a time, and looks at each reply; a user's values say whose they are. `tags` put keys
/// into slots.
fn turn(client: &mut Client, user: &str, turn: usize, tags: &[String]) {
    let (mut lines, mut due) = (Vec::new(), Vec::new());
    for tag in tags {
        let (own, value) = (format!("app:{user}:{turn}:{{{tag}}}"), format!("{user}{turn}"));
        lines.extend([format!("SET {own} {value}"), format!("GET {own}")]);
        due.extend(["+OK\r\n".to_owned(), bulk(&value)]);
        if user == "narrow" {
            lines.push(format!("GET wide:{{{tag}}}"));
            due.push("-NOPERM".to_owned());
        }
    }
    lines.push("ACL WHOAMI".to_owned());
    due.push(bulk(user));
    client.send_raw(&requests(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
    for (reply, (line, due)) in client.read_replies(due.len()).iter().zip(lines.iter().zip(&due)) {
        let reply = String::from_utf8_lossy(reply);
        assert!(reply.starts_with(due), "{user}: {line}: {reply}");
    }
}

#[test]
fn no_reply_or_right_of_one_user_reaches_another_at_any_node() {
    let nodes = nodes();
    let gateway = gateway(&nodes, "");
    let over = AtomicBool::new(false);
    let tags: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
    thread::scope(|scope| {
        let users = ["narrow", "wide"];
        let (gateway, over, tags) = (&gateway, &over, &tags);
        let clients: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn(move || {
                    let mut client = logged_in(gateway, users[number % 2]);
                    let mut turns = 0;
                    while turns < 5 || !over.load(Ordering::Relaxed) {
                        turn(&mut client, users[number % 2], number + 100 * turns, tags);
                        turns += 1;
                    }
                })
            })
            .collect();
        // However it ends, so do they.
        let ends = Ends(over);
        // Others come and go, and are somebody else each time.
        for number in 0..30 {
            let mut client = gateway.client();
            for user in [users[number % 2], users[(number + 1) % 2]] {
                client.expect(&format!("AUTH {user} {user}"), "+OK\r\n");
                client.expect(
                    &format!("GET other:{{{}}}", key_of(SLOTS[number % SHARDS])),
                    match user {
                        "wide" => "$-1\r\n",
                        _ => "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n",
                    },
                );
            }
        }
        drop(ends);
        clients.into_iter().for_each(|client| client.join().expect("it saw nothing wrong"));
    });
}

#[test]
fn a_user_of_the_gateway_has_its_own_login_at_each_node() {
    let nodes = nodes();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("password");
    fs::write(&file, "narrow\n").expect("written");
    let url = nodes.url().replace("redis-cluster://", "redis-cluster://ops:ops@");
    let as_narrow = format!("[users.app]\nupstream_user = \"narrow\"\nupstream_password_file = \"{}\"", file.display());
    let builder = Gateway::builder().upstream(&url).config(&users(&[("app", "a"), ("root", "r")])).config(&as_narrow);
    let mut gateway = builder.allow_lost_upstream().start();
    let (mut app, mut root) = (gateway.client(), gateway.client());
    app.expect("AUTH app a", "+OK\r\n");
    root.expect("AUTH root r", "+OK\r\n");
    let at_node = |client: &mut Client, slot: u16| {
        client.send_raw(&requests(&["MULTI", &format!("GET {}", key("app", slot)), "ACL WHOAMI", "EXEC"]));
        String::from_utf8_lossy(&client.read_replies(4)[3]).into_owned()
    };
    for slot in SLOTS {
        root.expect(&format!("SET {} v", key("app", slot)), "+OK\r\n");
        no_right(&mut app, &format!("GET {}", key("other", slot)));
        assert!(at_node(&mut app, slot).ends_with(&bulk("narrow")) && at_node(&mut root, slot).ends_with(&bulk("ops")));
    }
    // A reload that takes its login away leaves it the gateway's.
    gateway.rewrite("[users.app]\nupstream_user = \"\"\nupstream_password_file = \"\"");
    gateway.hang_up();
    wait("the login to be another", || at_node(&mut app, SLOTS[0]).ends_with(&bulk("ops")).then_some(()));
    SLOTS.iter().for_each(|slot| assert!(at_node(&mut app, *slot).ends_with(&bulk("ops"))));
}
