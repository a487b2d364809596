//! What is about all nodes of a cluster reaches all of them.

use std::time::Duration;

use super::nodes::{Nodes, key_of, text};
use crate::{
    parity::clients::are_counted,
    support::{Client, requests, wait},
};

#[test]
fn what_overtakes_reaches_every_primary() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    client.expect("CONFIG SET busy-reply-threshold 50", "+OK\r\n");
    client
        .expect("CONFIG SET nonsense 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'\r\n");
    for node in &nodes.0[..3] {
        let said = node.client().line("CONFIG GET busy-reply-threshold");
        assert!(said.ends_with(b"$2\r\n50\r\n"), "{}", String::from_utf8_lossy(&said));
    }
    client.expect("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.\r\n");
    // A script that does not end is ended wherever it runs.
    for slot in [5, 7_000, 12_000] {
        let mut busy = gateway.client();
        busy.send(&["EVAL", "while redis.call('exists', KEYS[1]) == 0 do end", "1", &key_of(slot)]);
        wait("the script to be ended", || (client.line("SCRIPT KILL") == b"+OK\r\n").then_some(()));
        let ended = busy.read_reply();
        assert!(String::from_utf8_lossy(&ended).contains("Script killed by user"), "{ended:?}");
    }
    // A pause holds writes up at every primary.
    client.expect("CLIENT PAUSE 60000 WRITE", "+OK\r\n");
    let mut writers: Vec<_> = [5, 7_000, 12_000].map(|slot| (gateway.client(), key_of(slot))).into();
    for (writer, key) in &mut writers {
        writer.send(&["SET", key, "v"]);
        writer.read_timeout(Duration::from_millis(50));
        assert!(writer.try_read_reply().is_err(), "it is held up");
        writer.read_timeout(Duration::from_secs(20));
    }
    client.expect("CLIENT UNPAUSE", "+OK\r\n");
    for (writer, key) in &mut writers {
        assert_eq!(writer.read_reply(), b"+OK\r\n");
        assert_eq!(text(&client.line(&format!("GET {key}"))), "v");
    }
}

#[test]
fn replicas_are_waited_for_at_every_primary() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    let mut set_all = |value: &str| {
        for slot in [5, 7_000, 12_000] {
            client.expect(&format!("SET {} {value}", key_of(slot)), "+OK\r\n");
        }
        client.line("WAIT 1 500")
    };
    wait("all replicas to follow", || (set_all("1") == b":1\r\n").then_some(()));
    // The shard that has fewest counts.
    nodes.0[4].freeze();
    assert_eq!(set_all("2"), b":0\r\n");
    // A client that goes away waits at no primary any more.
    let mut gone = gateway.client();
    gone.send(&["WAIT", "1", "0"]);
    let waiting = |node: usize| {
        let said = nodes.0[node].client().line("INFO clients");
        String::from_utf8_lossy(&said).contains("blocked_clients:1\r\n")
    };
    wait("the wait to begin", || waiting(1).then_some(()));
    drop(gone);
    wait("the wait to end", || (!waiting(1)).then_some(()));
    let mut patient = gateway.client();
    patient.send(&["WAIT", "1", "0"]);
    wait("another wait to begin", || waiting(1).then_some(()));
    nodes.0[4].thaw();
    assert_eq!(patient.read_reply(), b":1\r\n");
    for wrong in ["WAIT x 1", "WAIT 1 -1", "WAIT 1"] {
        assert_eq!(patient.line(wrong), nodes.0[0].client().line(wrong), "{wrong}");
    }
    // In a transaction it is of the node of that, and does not wait.
    patient.expect("MULTI", "+OK\r\n");
    patient.expect("WAIT 5 0", "+QUEUED\r\n");
    assert!(patient.line("EXEC").starts_with(b"*1\r\n:"));
}

#[test]
fn a_cluster_of_one_primary_has_what_one_redis_has() {
    let nodes = Nodes::alone();
    let gateway = nodes.gateway();
    let (mut client, mut other) = (gateway.client(), gateway.client());
    client.expect("SET first 1", "+OK\r\n");
    client.send_raw(&requests(&["MULTI", "DBSIZE", "CONFIG RESETSTAT", "WAIT 0 0", "EXEC"]));
    assert_eq!(client.read_replies(5)[4], b"*3\r\n:1\r\n+OK\r\n:0\r\n");
    // What a client has read is told to be invalid, whichever slot it is of, and what no node answers alone is answered.
    client.line("HELLO 3");
    client.expect("CLIENT TRACKING ON", "+OK\r\n");
    client.send_raw(&requests(&["GET first", "DBSIZE", "GET second", "CLUSTER INFO", "GET third"]));
    let no_cluster = b"-ERR This instance has cluster support disabled\r\n";
    assert_eq!(client.read_replies(5), [&b"$1\r\n1\r\n"[..], b":1\r\n", b"_\r\n", no_cluster, b"_\r\n"]);
    let info = String::from_utf8_lossy(&client.line("INFO cluster")).into_owned();
    assert!(info.contains("cluster_enabled:0\r\n"), "{info}");
    for key in ["second", "third"] {
        other.expect(&format!("SET {key} 1"), "+OK\r\n");
        let told = format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len());
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), told);
    }
    let mut scanned = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let said = client.line(&format!("SCAN {cursor} COUNT 1"));
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        scanned.extend(lines[4..].iter().skip(1).step_by(2).map(|key| (*key).to_owned()));
        cursor = lines[2].to_owned();
        if cursor == "0" {
            break;
        }
    }
    scanned.sort();
    assert_eq!(scanned, ["first", "second", "third"]);
    client.expect("CLIENT TRACKING OFF", "+OK\r\n");
    client.expect("GET second", "$1\r\n1\r\n");
}

#[test]
fn what_each_primary_counts_is_shown_as_one_sum() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    let slots = [5, 7_000, 12_000];
    slots.iter().for_each(|slot| client.expect(&format!("SET {} v EX 1000", key_of(*slot)), "+OK\r\n"));
    client.expect(&format!("SET {}{{{}}} v", "x", key_of(5)), "+OK\r\n");
    let mut blocked: Vec<_> = slots.iter().map(|slot| (gateway.client(), key_of(*slot))).collect();
    blocked.iter_mut().for_each(|(client, key)| client.send(&["BLPOP", &format!("{{{key}}}:list"), "0"]));
    let mut info = |what: &str| String::from_utf8_lossy(&client.line(what)).into_owned();
    wait("all to be blocked", || info("INFO clients").contains("blocked_clients:3\r\n").then_some(()));
    let said = info("INFO");
    for expected in ["blocked_clients:3\r\n", "db0:keys=4,expires=3,avg_ttl=", "redis_mode:standalone\r\n"] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    assert!(info("INFO commandstats").contains("cmdstat_set:calls=4,"), "{}", info("INFO commandstats"));
    drop(blocked);
    wait("none to be blocked", || info("INFO").contains("blocked_clients:0\r\n").then_some(()));
    client.line("HELLO 3");
    let said = String::from_utf8_lossy(&client.line("INFO keyspace")).into_owned();
    assert!(said.starts_with('=') && said.contains("txt:# Keyspace\r\ndb0:keys=4,"), "{said}");
    // Neither a frozen node nor the loss of it keeps anybody waiting, whichever of them it is.
    for (node, left) in [(0, "db0:keys=2,"), (1, "db0:keys=3,"), (2, "db0:keys=3,")] {
        nodes.0[node].freeze();
        let began = std::time::Instant::now();
        let said = String::from_utf8_lossy(&client.line("INFO keyspace")).into_owned();
        assert!(said.contains(left) && began.elapsed().as_secs() < 5, "{:?}: {said}", began.elapsed());
        nodes.0[node].thaw();
        wait("it to answer", || {
            String::from_utf8_lossy(&client.line("INFO keyspace")).contains("db0:keys=4,").then_some(())
        });
    }
}

#[test]
fn clients_of_a_cluster_are_counted_as_those_of_one_node() {
    let nodes = Nodes::start();
    let keys = [5, 7_000, 12_000].map(key_of);
    are_counted(&nodes.gateway(), keys.each_ref().map(String::as_str));
}

#[test]
fn a_slow_log_of_all_has_as_many_entries_as_were_asked_for_and_the_last_ones() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    client.expect("CONFIG SET slowlog-log-slower-than -1", "+OK\r\n");
    client.expect("SLOWLOG RESET", "+OK\r\n");
    client.expect("SLOWLOG GET 5", "*0\r\n");
    client.expect("CONFIG SET slowlog-log-slower-than 0", "+OK\r\n");
    for slot in [5, 7_000, 12_000] {
        (0..5).for_each(|_| drop(client.line(&format!("GET {}", key_of(slot)))));
    }
    client.expect("CONFIG SET slowlog-log-slower-than -1", "+OK\r\n");
    for (asked, count) in [("SLOWLOG GET 5", 5), ("SLOWLOG GET", 10), ("SLOWLOG GET 0", 0)] {
        let said = String::from_utf8_lossy(&client.line(asked)).into_owned();
        assert!(said.starts_with(&format!("*{count}\r\n")), "{asked}: {said}");
    }
    let all = String::from_utf8_lossy(&client.line("SLOWLOG GET -1")).into_owned();
    let count: usize = all.lines().next().and_then(|head| head[1..].parse().ok()).expect("a count");
    assert!(count >= 15, "{all}");
    assert_eq!(all.matches("slowlog-log-slower-than").count(), 1, "what all have executed is there once: {all}");
    client.expect("CONFIG SET slowlog-max-len 4", "+OK\r\n");
    client.expect("SLOWLOG LEN", ":4\r\n");
    assert!(client.line("SLOWLOG GET x").starts_with(b"-ERR"), "Redis has the words for that");
}

#[test]
fn latencies_of_all_are_those_of_one() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    client.expect("CONFIG RESETSTAT", "+OK\r\n");
    for slot in [5, 7_000, 12_000] {
        client.expect(&format!("SET {} v", key_of(slot)), "+OK\r\n");
    }
    for (command, calls) in [("set", 3), ("config|resetstat", 1)] {
        let said = String::from_utf8_lossy(&client.line(&format!("LATENCY HISTOGRAM {command}"))).into_owned();
        let expected = format!("*2\r\n${}\r\n{command}\r\n*4\r\n$5\r\ncalls\r\n:{calls}\r\n", command.len());
        assert!(said.starts_with(&expected), "{said}");
    }
    client.expect("CONFIG SET latency-monitor-threshold 10000", "+OK\r\n");
    client.expect("LATENCY RESET", ":0\r\n");
    client.expect("LATENCY LATEST", "*0\r\n");
    let tells = |node: usize| String::from_utf8_lossy(&nodes.0[node].client().line("LATENCY LATEST")).len() > 4;
    // An event of a node that has nothing else to do with the client.
    let mut debugged = nodes.0[1].client();
    debugged.expect("CONFIG SET latency-monitor-threshold 20", "+OK\r\n");
    debugged.expect("DEBUG SLEEP 0.05", "+OK\r\n");
    wait("the event", || tells(1).then_some(()));
    assert!(client.line("LATENCY LATEST").starts_with(b"*1\r\n*4\r\n$7\r\ncommand\r\n"));
    assert!(client.line("LATENCY HISTORY command").starts_with(b"*1\r\n*2\r\n:"));
    let graph = String::from_utf8_lossy(&client.line("LATENCY GRAPH command")).into_owned();
    assert!(graph.contains("command - high "), "of the node that has had the event: {graph}");
    assert!(client.line("LATENCY GRAPH fork").starts_with(b"-ERR No samples available"));
    assert!(client.line("LATENCY RESET").starts_with(b":"));
}

#[test]
fn what_debugs_reaches_the_node_of_its_key_or_all() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    for slot in [5, 7_000, 12_000] {
        client.expect(&format!("SET {} v", key_of(slot)), "+OK\r\n");
        assert!(client.line(&format!("DEBUG OBJECT {}", key_of(slot))).starts_with(b"+Value at:"), "slot {slot}");
    }
    client.expect("DEBUG SLEEP 0", "+OK\r\n");
    for node in &nodes.0[..3] {
        let stats = String::from_utf8_lossy(&node.client().line("INFO commandstats")).into_owned();
        assert!(stats.contains("cmdstat_debug:calls=2,"), "{stats}");
    }
}

#[test]
fn an_error_of_one_primary_says_that_others_have_done_their_part() {
    let mut nodes = Nodes::start();
    let gateway = nodes.gateway_that_waits(0, "");
    wait("a connection to each node", || (gateway.logs().count("upstream is up") >= 3).then_some(()));
    let mut client = gateway.client();
    let hint = " (a part of the command was executed at other shards)\r\n";
    let of_all = [
        ("config|set", "CONFIG SET slowlog-max-len 77"),
        ("client|pause", "CLIENT PAUSE 1 WRITE"),
        ("debug", "DEBUG SET-ACTIVE-EXPIRE 1"),
        ("slowlog|reset", "SLOWLOG RESET"),
        ("script|flush", "SCRIPT FLUSH"),
        ("flushall", "FLUSHALL"),
    ];
    for (name, line) in of_all {
        nodes.0[1].client().expect(&format!("ACL SETUSER default -{name}"), "+OK\r\n");
        let said = String::from_utf8_lossy(&client.line(line)).into_owned();
        assert!(said.starts_with("-NOPERM ") && said.ends_with(hint), "{line}: {said}");
        nodes.0[1].client().expect(&format!("ACL SETUSER default +{name}"), "+OK\r\n");
        client.expect(line, "+OK\r\n");
        // What all of them refuse, and what changes nothing, has no part that was executed.
        let said = client.line(&format!("{line} nonsense of more words"));
        assert!(!String::from_utf8_lossy(&said).ends_with(hint), "{line}: {}", String::from_utf8_lossy(&said));
    }
    nodes.0[1].client().expect("ACL SETUSER default -wait", "+OK\r\n");
    let said = String::from_utf8_lossy(&client.line("WAIT 0 1")).into_owned();
    assert!(said.starts_with("-NOPERM ") && !said.ends_with(hint), "{said}");
    // So does the error of a primary that is not there.
    nodes.0[1].kill9();
    nodes.0[4].kill9();
    wait("the loss to be noticed", || {
        let said = String::from_utf8_lossy(&client.line("CONFIG SET slowlog-max-len 78")).into_owned();
        (said.starts_with("-ERR respool: ") && said.ends_with(hint)).then_some(())
    });
    nodes.0[2].client().expect("CONFIG GET slowlog-max-len", "*2\r\n$15\r\nslowlog-max-len\r\n$2\r\n78\r\n");
}

#[test]
fn a_slow_log_names_clients_and_is_not_filled_by_what_the_gateway_asks() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    let log = |client: &mut Client| String::from_utf8_lossy(&client.line("SLOWLOG GET -1")).into_owned();
    client.expect("CLIENT SETNAME billing", "+OK\r\n");
    client.expect("CONFIG SET slowlog-log-slower-than 0", "+OK\r\n");
    client.expect("SLOWLOG RESET", "+OK\r\n");
    for line in ["CONFIG SET maxmemory-samples 6", "DEBUG SLEEP 0", "CONFIG SET slowlog-max-len 1000"] {
        client.expect(line, "+OK\r\n");
    }
    for node in &nodes.0[..3] {
        let said = log(&mut node.client());
        let own = ["respool-probe", "*1\r\n$5\r\nRESET", "$5\r\nHELLO"].map(|own| said.contains(own));
        assert_eq!((said.matches("billing").count(), own), (3, [false; 3]), "{said}");
    }
    assert_eq!(log(&mut client).matches("billing").count(), 3);
    // What may change what is known of the upstream has it asked.
    client.expect("CONFIG SET TIMEOUT 1000", "+OK\r\n");
    nodes.0[..3].iter().for_each(|node| assert!(log(&mut node.client()).contains("respool-probe")));
}
