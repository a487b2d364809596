//! What is seen of a cluster: one Redis by clients, each shard by operators.

use serde_json::Value;

use super::nodes::{Nodes, key_of, text};
use crate::support::{Gateway, Metrics, Redis, free_port, get, requests, wait};

/// The rows of `/status`, whose nodes `RESPOOL TOPOLOGY` names too.
fn rows(gateway: &Gateway) -> Vec<Value> {
    let status: Value = serde_json::from_str(&get(gateway.metrics_address(), "/status").1).expect("JSON");
    let rows = status["topology"].as_array().expect("rows").clone();
    let console = String::from_utf8_lossy(&gateway.client().line("RESPOOL TOPOLOGY")).into_owned();
    for row in &rows {
        assert!(console.contains(row["node"].as_str().expect("an address")), "{row} in {console}");
    }
    rows
}

#[test]
fn operators_see_each_shard() {
    let mut nodes = Nodes::start();
    let gateway = nodes.gateway();
    let address = gateway.metrics_address();
    wait("readiness", || (get(address, "/readyz").0 == 200).then_some(()));
    wait("the replicas to be shown", || (rows(&gateway).len() == 6).then_some(()));
    let found = rows(&gateway);
    let of = |role: &str| found.iter().filter(|row| row["role"] == role).cloned().collect::<Vec<_>>();
    let (primaries, replicas) = (of("primary"), of("replica"));
    assert_eq!((primaries.len(), replicas.len()), (3, 3), "{found:?}");
    for (place, row) in primaries.iter().enumerate() {
        assert_eq!((&row["node"], &row["state"]), (&nodes.0[place].address().to_string().into(), &"up".into()));
        assert_eq!(row["shard"], place + 1);
        assert!(replicas.iter().any(|replica| replica["shard"] == row["shard"]));
    }
    let slots: u64 = primaries.iter().map(|row| row["slots"].as_u64().expect("a number")).sum();
    assert_eq!(slots, 16_384);
    let metrics = Metrics::read(address);
    assert_eq!(metrics.value("respool_cluster_slots_uncovered"), 0.0);
    assert_eq!(metrics.by("respool_cluster_slots", "node").values().sum::<f64>(), 16_384.0);
    assert_eq!(metrics.by("respool_primary_up", "node").values().sum::<f64>(), 3.0);

    // One shard without its primary, and the gateway is not ready, and says which.
    let lost = nodes.0[1].address().to_string();
    nodes.0[1].kill9();
    wait("unreadiness", || {
        let (code, why) = get(address, "/readyz");
        (code == 503 && why.contains(&lost) && why.contains("of the cluster is")).then_some(())
    });
    wait("readiness with its replica", || (get(address, "/readyz").0 == 200).then_some(()));
    assert!(rows(&gateway).iter().all(|row| row["role"] == "replica" || row["node"] != lost.as_str()));
    nodes.0[1].restart();
}

#[test]
fn clients_see_one_redis() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    let no_cluster = "-ERR This instance has cluster support disabled\r\n";
    for line in ["CLUSTER INFO", "CLUSTER SLOTS", "READONLY", "READWRITE", "ASKING"] {
        client.expect(line, no_cluster);
    }
    client.expect("MULTI", "+OK\r\n");
    client.expect("READONLY", no_cluster);
    client.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    // So it is where a transaction goes on at the node of its first key.
    let set = format!("SET {} v", key_of(7_000));
    client.send_raw(&requests(&["MULTI", "PING"]));
    assert_eq!(client.read_replies(2)[1], b"+QUEUED\r\n");
    client.expect("CLUSTER INFO", no_cluster);
    client.expect(&set, "+QUEUED\r\n");
    client.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    client.expect(&format!("EXISTS {}", key_of(7_000)), ":0\r\n");
    for hello in ["HELLO", "HELLO 3", "HELLO 2"] {
        let said = String::from_utf8_lossy(&client.line(hello)).into_owned();
        assert!(said.contains("$4\r\nmode\r\n$10\r\nstandalone\r\n"), "{said}");
    }
    for info in ["INFO", "INFO everything", "INFO respool server cluster"] {
        let said = String::from_utf8_lossy(&client.line(info)).into_owned();
        assert!(said.contains("redis_mode:standalone\r\n") && said.contains("cluster_enabled:0\r\n"), "{said}");
    }
    // In a transaction, sent at once and step by step.
    let ask = ["MULTI", "PING", "INFO server", "INFO cluster", "PING", "EXEC"];
    client.send_raw(&requests(&ask));
    let at_once = client.read_replies(6).remove(5);
    let in_steps = ask.iter().map(|line| client.line(line)).last().expect("a reply");
    for said in [at_once, in_steps].map(|said| String::from_utf8_lossy(&said).into_owned()) {
        assert!(said.starts_with("*4\r\n+PONG\r\n$") && said.ends_with("\r\n+PONG\r\n"), "{said}");
        assert!(said.contains("redis_mode:standalone\r\n") && said.contains("cluster_enabled:0\r\n"), "{said}");
    }
    // A subscriber is refused a key of another node in the words for any key.
    let refused = "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
                   context\r\n";
    client.expect("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    for slot in [5, 7_000, 12_000] {
        client.expect(&format!("GET {}", key_of(slot)), refused);
    }
    client.expect("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    client.expect("RESET", "+RESET\r\n");
    client.expect(&set, "+OK\r\n");
    assert_eq!(text(&client.line(&format!("GET {}", key_of(7_000)))), "v");
}

#[test]
fn clients_that_insist_on_a_cluster_see_one_of_one_node() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway_that_waits(30_000, "[cluster]\npresent_as = \"cluster\"");
    let (mut client, address) = (gateway.client(), gateway.address());
    let said = |reply: Vec<u8>| String::from_utf8_lossy(&reply).into_owned();
    let id = text(&client.line("CLUSTER MYID"));
    let (host, port) = (address.ip().to_string(), address.port());
    let slots =
        format!("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n${}\r\n{host}\r\n:{port}\r\n$40\r\n{id}\r\n*0\r\n", host.len());
    client.expect("CLUSTER SLOTS", &slots);
    client.expect("cluster keyslot 123456789", ":12739\r\n");
    let line = format!("{id} {address}@{} myself,master - 0 0 1 connected 0-16383", u32::from(port) + 10_000);
    assert_eq!(text(&client.line("CLUSTER NODES")), line);
    assert!(said(client.line("CLUSTER INFO")).contains("cluster_state:ok\r\n"));
    assert!(said(client.line("CLUSTER SHARDS")).contains(&format!("$4\r\nport\r\n:{port}\r\n")));
    for line in ["READONLY", "READWRITE", "ASKING"] {
        client.expect(line, "+OK\r\n");
    }
    for wrong in ["CLUSTER", "CLUSTER SLOTS x", "CLUSTER KEYSLOT", "READONLY x"] {
        assert_eq!(said(client.line(wrong)), said(nodes.0[0].client().line(wrong)), "{wrong}");
    }
    assert!(said(client.line("CLUSTER FAILOVER")).contains("of which the gateway shows none"));
    for hello in ["HELLO 3", "HELLO 2"] {
        assert!(said(client.line(hello)).contains("$4\r\nmode\r\n$7\r\ncluster\r\n"));
    }
    for info in ["INFO", "INFO respool cluster"] {
        assert!(said(client.line(info)).contains("cluster_enabled:1\r\n"), "{info}");
    }
    // Whatever slot a key has, nobody is sent elsewhere.
    for slot in [5, 7_000, 12_000] {
        client.expect(&format!("SET {} v", key_of(slot)), "+OK\r\n");
    }
    client.expect("MULTI", "+OK\r\n");
    assert!(said(client.line("CLUSTER SLOTS")).contains("cannot be part of a transaction"));
    client.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");

    // Behind NAT it is told where it is.
    let told = "[cluster]\npresent_as = \"cluster\"\nannounce = \"redis.example:7000\"";
    let elsewhere = nodes.gateway_that_waits(30_000, told);
    assert!(said(elsewhere.client().line("CLUSTER SLOTS")).contains("$13\r\nredis.example\r\n:7000\r\n"));
}

/// What `--check` says of these nodes: its exit status, and its lines of both kinds.
fn checked(url: &str) -> (Option<i32>, String) {
    let output = Gateway::command().args(["--check", "--upstream", url]).output().expect("runs");
    let of_cluster = |line: &&str| line.starts_with("# Cluster") || line.starts_with("# WARNING: upstream.url");
    let said = String::from_utf8_lossy(&output.stdout).lines().filter(of_cluster).collect::<Vec<_>>().join("\n");
    (output.status.code(), said + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_check_asks_the_nodes_of_the_url_and_says_in_plain_words_what_is_wrong() {
    let (one, other, alone) = (Nodes::alone(), Nodes::alone(), Redis::start(&[]));
    let (first, dead) = (one.0[0].address(), free_port());
    let found = "# Cluster: 1 primaries, 0 replicas.";
    assert_eq!(checked(&format!("redis-cluster://{first}")), (Some(0), found.into()));
    let (status, said) = checked(&format!("redis-cluster://127.0.0.1:{dead},{first}"));
    assert!(said.contains(&format!("WARNING: upstream.url: 127.0.0.1:{dead}: cannot connect")), "{said}");
    assert_eq!(status, Some(0), "one node is enough");
    let other = other.0[0].address();
    for (url, problem) in [
        (format!("{}", alone.address()), "is no node of a cluster (cluster_enabled:0)"),
        (format!("{first},{}", alone.address()), "is no node of a cluster (cluster_enabled:0)"),
        (format!("{first},{other}"), "belongs to another cluster than"),
        (format!("127.0.0.1:{dead}"), "cannot connect"),
        (format!("{first}/3"), "refuses database 3, in which the URL has clients begin: ERR "),
    ] {
        let (status, said) = checked(&format!("redis-cluster://{url}"));
        assert_eq!(status, Some(69), "{said}");
        assert!(said.contains("respool: upstream.url: ") && said.contains(problem), "{said}");
    }
    let (status, said) = checked(&format!("rediss-cluster://{first}"));
    assert!(status == Some(69) && said.contains("by TLS: does the upstream speak it there?"), "{said}");
    assert_eq!(one.0[0].client().line("CLUSTER DELSLOTS 5 6"), b"+OK\r\n");
    let (status, said) = checked(&format!("redis-cluster://{first}"));
    assert!(status == Some(69) && said.contains("2 slots of the cluster have no node"), "{said}");
}

#[test]
fn a_check_of_a_primary_that_refuses_the_login_does_not_speak_of_its_address() {
    let nodes = Nodes::start();
    for node in [0, 2] {
        nodes.0[node].client().expect("ACL SETUSER app on >app ~* &* +@all", "+OK\r\n");
    }
    let (status, said) = checked(&format!("redis-cluster://app:app@{}", nodes.0[0].address()));
    let refused = format!("the primary {} cannot be used: login refused: WRONGPASS", nodes.0[1].address());
    assert!(status == Some(69) && said.contains(&refused) && !said.contains("reached_at"), "{said}");
}

#[test]
fn a_client_whose_request_is_at_a_node_is_shown_as_active() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, mut operator) = (gateway.client(), gateway.client());
    client.expect("CLIENT SETNAME here", "+OK\r\n");
    let mut is_active = || {
        let clients = String::from_utf8_lossy(&operator.line("RESPOOL CLIENTS")).into_owned();
        // The state comes before the name.
        clients
            .split("$4\r\nhere\r\n")
            .next()
            .and_then(|before| before.rsplit("$5\r\nstate\r\n").next()?.lines().nth(1).map(|state| state == "active"))
    };
    for (node, slot) in [(0, 5), (1, 7_000), (2, 12_000)] {
        assert_eq!(is_active(), Some(false));
        nodes.0[node].client().expect("CLIENT PAUSE 60000 WRITE", "+OK\r\n");
        client.send_raw(&requests(&[&format!("INCR {}", key_of(slot))]));
        wait("the request to be seen", || is_active().filter(|active| *active));
        nodes.0[node].client().expect("CLIENT UNPAUSE", "+OK\r\n");
        assert_eq!(client.read_replies(1), [b":1\r\n"]);
    }
}
