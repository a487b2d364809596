//! What all primaries of a cluster execute as a part of a transaction at one of them: as one Redis does, or not at all.

use super::nodes::{Node, Nodes, key_of};
use crate::support::{Client, Redis, requests, wait};

const SLOTS: [u16; 3] = [5, 7_000, 12_000];

/// Sends requests one by one, or all at once; their replies.
fn replies(client: &mut Client, lines: &[String], at_once: bool) -> Vec<String> {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let replies = if at_once {
        client.send_raw(&requests(&lines));
        client.read_replies(lines.len())
    } else {
        lines.iter().map(|line| client.line(line)).collect()
    };
    replies.iter().map(|reply| String::from_utf8_lossy(reply).into_owned()).collect()
}

/// Has one key of each primary, and no other.
fn fill(client: &mut Client) {
    client.expect("FLUSHALL", "+OK\r\n");
    SLOTS.iter().for_each(|slot| client.expect(&format!("SET {} v", key_of(*slot)), "+OK\r\n"));
}

#[test]
fn what_is_about_all_primaries_has_its_place_in_a_transaction() {
    let (nodes, redis) = (Nodes::start(), Redis::start(&["--enable-debug-command", "local"]));
    let gateway = nodes.gateway();
    let key = key_of(SLOTS[1]);
    let digest = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let transactions = [
        "MULTI|DBSIZE|FLUSHALL|SET $k 1|DBSIZE|KEYS *|FLUSHDB ASYNC|DBSIZE|EXEC|DBSIZE",
        "MULTI|DBSIZE|EXEC",
        "MULTI|GET $k|CONFIG SET maxmemory bla|APPEND $k w|CONFIG SET slowlog-max-len 77|EXEC|CONFIG GET slowlog-max-len",
        "MULTI|SLOWLOG RESET|SLOWLOG LEN|SLOWLOG GET|GET $k|EXEC",
        "MULTI|SCRIPT EXISTS $d|SCRIPT FLUSH|SCRIPT EXISTS $d|GET $k|EXEC|SCRIPT EXISTS $d|EVALSHA $d 0",
        "MULTI|FLUSHALL|DISCARD|DBSIZE",
        "MULTI|FLUSHALL|NOSUCH|EXEC|DBSIZE",
        "MULTI|FLUSHALL|EXEC now|EXEC|DBSIZE",
        "MULTI|FLUSHALL x y|DBSIZE|EXEC|DBSIZE",
        "MULTI|CLIENT PAUSE 60000 WRITE|SET $k 1|CLIENT UNPAUSE|EXEC|SET $k 2",
        "MULTI|ACL SETUSER t on|ACL DELUSER t|ACL DELUSER t|GET $k|EXEC",
        "MULTI|DEBUG SET-ACTIVE-EXPIRE 0|DEBUG SET-ACTIVE-EXPIRE 1|GET $k|EXEC",
    ];
    let (mut direct, mut client) = (redis.client(), gateway.client());
    for client in [&mut direct, &mut client] {
        client.expect("CONFIG SET slowlog-log-slower-than -1", "+OK\r\n");
    }
    for (transaction, at_once) in transactions.iter().flat_map(|one| [(one, true), (one, false)]) {
        let lines: Vec<String> =
            transaction.split('|').map(|line| line.replace("$k", &key).replace("$d", digest)).collect();
        let mut said = [&mut direct, &mut client].map(|client| {
            fill(client);
            assert_eq!(client.call(&["SCRIPT", "LOAD", "return 1"]), format!("$40\r\n{digest}\r\n").as_bytes());
            replies(client, &lines, at_once)
        });
        let through = std::mem::take(&mut said[1]);
        assert_eq!(through, said[0], "{transaction}, at once: {at_once}");
    }
    for node in &nodes.0[..3] {
        node.client().expect("CONFIG GET slowlog-max-len", "*2\r\n$15\r\nslowlog-max-len\r\n$2\r\n77\r\n");
    }

    // One who wants no replies gets none.
    let muted = ["CLIENT REPLY OFF", "MULTI", "FLUSHALL", &format!("SET {key} 1"), "EXEC", "CLIENT REPLY ON", "DBSIZE"];
    client.send_raw(&requests(&muted));
    assert_eq!(client.read_replies(2).concat(), b"+OK\r\n:1\r\n");

    // What is watched decides for all of them.
    fill(&mut client);
    client.expect(&format!("WATCH {key}"), "+OK\r\n");
    gateway.client().expect(&format!("SET {key} other"), "+OK\r\n");
    client.send_raw(&requests(&["MULTI", "FLUSHALL", "EXEC", "DBSIZE"]));
    assert_eq!(client.read_replies(4).concat(), b"+OK\r\n+QUEUED\r\n*-1\r\n:3\r\n");
}

#[test]
fn one_primary_that_refuses_its_part_has_nothing_executed() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, key) = (gateway.client(), key_of(SLOTS[0]));
    fill(&mut client);
    nodes.0[2].client().expect("ACL SETUSER default -flushall", "+OK\r\n");
    let transaction =
        requests(&["MULTI", &format!("SET {key} w"), "FLUSHALL", "EXEC", "PING", &format!("GET {key}"), "DBSIZE"]);
    client.send_raw(&transaction);
    let said = client.read_replies(7);
    let aborted = String::from_utf8_lossy(&said[3]).into_owned();
    assert!(aborted.starts_with("-EXECABORT Transaction discarded because of: NOPERM "), "{aborted}");
    assert_eq!(said[4..].concat(), b"+PONG\r\n$1\r\nv\r\n:3\r\n");
    nodes.0[2].client().expect("ACL SETUSER default +flushall", "+OK\r\n");
    client.send_raw(&transaction);
    assert_eq!(client.read_replies(7)[3..].concat(), b"*2\r\n+OK\r\n+OK\r\n+PONG\r\n$-1\r\n:0\r\n");
}

#[test]
fn one_primary_that_is_lost_is_waited_for_before_and_told_of_after() {
    let mut nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, key) = (gateway.client(), key_of(SLOTS[0]));
    fill(&mut client);
    // Before anything is executed its replica may take over.
    nodes.0[1].kill9();
    client.send_raw(&requests(&[
        "MULTI",
        &format!("SET {key} w"),
        "FLUSHALL",
        &format!("SET {key} x"),
        "EXEC",
        "DBSIZE",
    ]));
    assert_eq!(client.read_replies(6)[4..].concat(), b"*3\r\n+OK\r\n+OK\r\n+OK\r\n:1\r\n");
    nodes.0[4].client().expect("DBSIZE", ":0\r\n");

    // It is lost when the others have executed their part, or do so.
    fill(&mut client);
    let mut first = nodes.0[0].client();
    client.send_raw(&requests(&["MULTI", &format!("SET {key} w"), "FLUSHALL"]));
    assert_eq!(client.read_replies(3).concat(), b"+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    first.expect("CLIENT PAUSE 60000 WRITE", "+OK\r\n");
    client.send(&["EXEC"]);
    wait("the others to have queued it", || {
        String::from_utf8_lossy(&nodes.0[2].client().line("CLIENT LIST")).contains(" multi=1 ").then_some(())
    });
    nodes.0[2].kill9();
    first.expect("CLIENT UNPAUSE", "+OK\r\n");
    let said = String::from_utf8_lossy(&client.read_reply()).into_owned();
    assert!(said.starts_with("*2\r\n+OK\r\n-ERR respool: "), "{said}");
    assert!(said.ends_with(" (a part of the command was executed at other shards)\r\n"), "{said}");
    nodes.0[0].client().expect("DBSIZE", ":0\r\n");
    nodes.0[4].client().expect("DBSIZE", ":0\r\n");
}

#[test]
fn a_client_that_is_ended_while_others_are_prepared_waits_no_longer_and_one_that_leaves_is_served() {
    let mut nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, mut leaving, mut other) = (gateway.client(), gateway.client(), gateway.client());
    fill(&mut client);
    let id = String::from_utf8_lossy(&client.line("CLIENT ID")).trim_start_matches(':').trim_end().to_owned();
    let transaction = requests(&["MULTI", &format!("SET {} w", key_of(SLOTS[0])), "FLUSHALL", "EXEC"]);
    let queued = |nodes: &Nodes, count: usize| {
        wait("the others to have queued it", || {
            let clients = String::from_utf8_lossy(&nodes.0[2].client().line("CLIENT LIST")).into_owned();
            (clients.matches(" multi=1 ").count() == count).then_some(())
        });
    };
    nodes.0[4].kill9();
    nodes.0[1].kill9();
    client.send_raw(&transaction);
    queued(&nodes, 1);
    other.expect(&format!("CLIENT KILL ID {id}"), ":1\r\n");
    client.read_to_end();
    queued(&nodes, 0);
    leaving.send_raw(&transaction);
    leaving.half_close();
    queued(&nodes, 1);
    nodes.0[1].restart();
    let said = leaving.read_replies(4).concat();
    assert!(said.ends_with(b"*2\r\n+OK\r\n+OK\r\n"), "{}", String::from_utf8_lossy(&said));
    other.expect("DBSIZE", ":0\r\n");
}

/// How often a node has executed a command.
fn calls(node: &Node, command: &str) -> u32 {
    let said = String::from_utf8_lossy(&node.client().line("INFO commandstats")).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn a_transaction_is_begun_at_the_node_of_its_first_request_and_at_no_other() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, mut other) = (gateway.client(), gateway.client());
    let last = key_of(12_000);
    client.expect("CONFIG RESETSTAT", "+OK\r\n");
    client.expect("MULTI", "+OK\r\n");
    let info = String::from_utf8_lossy(&other.line("CLIENT LIST")).into_owned();
    assert!(info.contains(" flags=x ") && info.contains(" multi=0 "), "{info}");
    client.expect("MULTI", "-ERR MULTI calls can not be nested\r\n");
    client.expect(&format!("SET {last} 1"), "+QUEUED\r\n");
    client.expect("EXEC", "*1\r\n+OK\r\n");
    client.expect("CONFIG RESETSTAT", "+OK\r\n");
    client.expect("MULTI", "+OK\r\n");
    client.expect(&format!("SET {last} 2"), "+QUEUED\r\n");
    client.expect("CLIENT GETNAME", "+QUEUED\r\n");
    client.expect(&format!("GET {last}"), "+QUEUED\r\n");
    client.expect("EXEC", "*3\r\n+OK\r\n$-1\r\n$1\r\n2\r\n");
    assert_eq!([0, 1, 2].map(|node| calls(&nodes.0[node], "multi")), [0, 0, 1]);
    assert_eq!([0, 1, 2].map(|node| calls(&nodes.0[node], "reset")), [0, 0, 1]);
    // Whatever comes first is a part of it.
    let unwatched = "-ERR WATCH inside MULTI is not allowed\r\n";
    for (line, said, end, executed) in [
        ("", "", "EXEC", "*0\r\n"),
        ("", "", "DISCARD", "+OK\r\n"),
        ("PING", "+QUEUED\r\n", "EXEC", "*1\r\n+PONG\r\n"),
        ("BLPOP nothing 0", "+QUEUED\r\n", "EXEC", "*1\r\n*-1\r\n"),
        ("DBSIZE", "+QUEUED\r\n", "EXEC", "*1\r\n:1\r\n"),
        ("UNSUBSCRIBE a", "+QUEUED\r\n", "EXEC", "*1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"),
        (&format!("WATCH {last}"), unwatched, "DISCARD", "+OK\r\n"),
    ] {
        client.expect("MULTI", "+OK\r\n");
        if !line.is_empty() {
            client.expect(line, said);
        }
        client.expect(end, executed);
    }
    client.expect("MULTI", "+OK\r\n");
    client.expect("WAIT 0 0", "+QUEUED\r\n");
    assert!(client.line("EXEC").starts_with(b"*1\r\n:"));
    client.expect("EXEC", "-ERR EXEC without MULTI\r\n");
    client.expect("MULTI", "+OK\r\n");
    client.expect("RESET", "+RESET\r\n");
    client.expect("EXEC", "-ERR EXEC without MULTI\r\n");
    // Nor is anything executed where it cannot be begun.
    let others = |rights: &str| nodes.0[..3].iter().for_each(|node| drop(node.client().line(rights)));
    others("ACL SETUSER default -multi");
    client.expect("MULTI", "+OK\r\n");
    assert!(client.line(&format!("SET {last} 3")).starts_with(b"-NOPERM"));
    assert!(client.line(&format!("SET {last} 4")).starts_with(b"-ERR respool: "));
    assert!(client.line("EXEC").starts_with(b"-EXECABORT"));
    client.expect("MULTI", "+OK\r\n");
    assert!(client.line("EXEC").starts_with(b"-NOPERM"));
    client.expect(&format!("GET {last}"), "$1\r\n2\r\n");
    others("ACL SETUSER default +multi");
    client.expect("MULTI", "+OK\r\n");
    client.expect(&format!("SET {last} 5"), "+QUEUED\r\n");
    client.expect("EXEC", "*1\r\n+OK\r\n");
}
