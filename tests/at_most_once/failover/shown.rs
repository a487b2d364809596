//! What operators see of a service is what it is: the console, readiness, metrics and the log name the primary, what is
//! waited for, and replicas with their lag.

use std::time::Duration;

use serde_json::Value;

use super::service::Service;
use crate::support::{DEADLINE, Gateway, Metrics, get, wait};

const SEEN: Duration = Duration::from_secs(10);

/// The nodes as `/status` has them, which are those of `RESPOOL TOPOLOGY`.
fn nodes(gateway: &Gateway) -> Vec<Value> {
    let (_, status) = get(gateway.metrics_address(), "/status");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let console = String::from_utf8_lossy(&gateway.client().line("RESPOOL TOPOLOGY")).into_owned();
    let nodes = status["topology"].as_array().expect("rows").clone();
    for node in &nodes {
        assert!(console.contains(node["node"].as_str().expect("an address")), "{console}");
    }
    nodes
}

#[test]
fn the_nodes_of_a_service_are_shown_as_they_are() {
    let service = Service::start(&[]);
    let config = "[sentinel]\nrefresh_ms = 100";
    let builder = Gateway::builder().upstream(&service.url()).config(config).metrics().allow_lost_upstream();
    let gateway = builder.allow("sentinel does not answer").start();
    let address = gateway.metrics_address();
    let shown = |index: usize| service.nodes[index].address().to_string();
    let linked = |nodes: &[Value]| nodes.iter().filter(|node| node["state"] == "linked").count();
    wait("the replicas to be shown", || (linked(&nodes(&gateway)) == 2).then_some(()));
    let found = nodes(&gateway);
    assert_eq!(
        (&found[0]["node"], &found[0]["role"], &found[0]["state"]),
        (&shown(0).into(), &"primary".into(), &"up".into())
    );
    assert_eq!(
        (&found[0]["generation"], &found[0]["sentinels_up"], &found[0]["awaited"]),
        (&1.into(), &3.into(), &"".into())
    );
    assert!(found[1]["lag_bytes"].is_u64() && found[2]["lag_bytes"].is_u64(), "{found:?}");
    // On a busy machine sentinels may take the primary for down before that.
    wait("readiness", || (get(address, "/readyz").0 == 200).then_some(()));

    service.nodes[2].freeze();
    gateway.logs().wait_for("replica does not follow the primary any more", SEEN);
    let metrics = Metrics::read(address);
    let links = metrics.by("respool_replica_linked", "node");
    assert_eq!((links[shown(1).as_str()], links[shown(2).as_str()]), (1.0, 0.0));
    service.nodes[2].thaw();
    wait("the replica to follow again", || (linked(&nodes(&gateway)) == 2).then_some(()));

    // Frozen, so that clients neither fail nor are told of the next one before the sentinels have decided.
    service.nodes[0].freeze();
    wait("unreadiness", || {
        let (code, why) = get(address, "/readyz");
        (code == 503 && why.starts_with("requests wait: a failover from ")).then_some(())
    });
    wait("readiness at another primary", || (get(address, "/readyz").0 == 200).then_some(()));
    let found = nodes(&gateway);
    assert_ne!(found[0]["node"], shown(0));
    assert_eq!((&found[0]["state"], &found[0]["generation"]), (&"up".into(), &2.into()));
    assert_eq!(Metrics::read(address).value("respool_topology_generation"), 2.0);
    gateway.logs().wait_for_count("primary is another", 2, DEADLINE);
    assert_eq!(gateway.logs().count("primary is another"), 2, "a line for each");
    service.nodes[0].thaw();
}

#[test]
fn what_is_waited_for_is_said_as_long_as_there_is_no_primary() {
    let service = Service::start(&[]);
    let url = service.url().replace("orders", "elsewhere");
    let builder = Gateway::builder().upstream(&url).metrics().allow("sentinel does not answer");
    let gateway = builder.start();
    let (code, why) = get(gateway.metrics_address(), "/readyz");
    assert_eq!((code, why.as_str()), (503, "requests wait: no sentinel has named a primary that says it is one\n"));
    let pools = String::from_utf8_lossy(&gateway.client().line("RESPOOL POOLS")).into_owned();
    assert!(pools.contains("$7\r\nwaiting\r\n"), "{pools}");
    assert_eq!(nodes(&gateway)[0]["state"], "unknown");
}

#[test]
fn an_upstream_of_one_node_is_shown_too() {
    let redis = crate::support::Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).metrics().start();
    wait("the upstream to be known", || (nodes(&gateway)[0]["role"] == "primary").then_some(()));
    let found = nodes(&gateway);
    assert_eq!(
        (found.len(), &found[0]["node"], &found[0]["state"]),
        (1, &redis.address().to_string().into(), &"up".into())
    );
}
