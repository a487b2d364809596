//! The nodes behind the gateway as `RESPOOL TOPOLOGY`, `/status` and the metrics show them: the primary first, what
//! requests wait for, and its replicas; of a cluster, shard by shard.

use std::sync::Arc;

use ::topology::{Address, Chosen, Replica, Topology};
use cluster::{Cluster, Node};
use pool::{Key, Role, Upstream};

use crate::{
    config::operator::Operator,
    console::rows::{Row, number, text},
    observe::published::Published,
};

/// `RESPOOL TOPOLOGY`: a row for each node.
pub(crate) fn rows(operator: &Operator, published: &Published) -> Vec<Row> {
    if let Some(cluster) = published.cluster.get() {
        return of_cluster(cluster, operator, published);
    }
    match &*published.nodes.topology.borrow() {
        Some(topology) => followed(topology),
        None => vec![alone(operator)],
    }
}

/// The primary is followed.
fn followed(topology: &Topology) -> Vec<Row> {
    let primary = topology.primary.as_ref().map(ToString::to_string).unwrap_or_default();
    let state = match (&topology.primary, topology.proven) {
        (None, _) => "unknown",
        (Some(_), true) => "up",
        (Some(_), false) => "unproven",
    };
    let first = vec![
        ("node", text(primary)),
        ("role", text("primary")),
        ("state", text(state)),
        ("generation", number(topology.generation)),
        ("why", text(topology.chosen.map_or("", Chosen::name))),
        ("awaited", text(topology.awaited.as_ref().map(ToString::to_string).unwrap_or_default())),
        ("epoch", number(topology.epoch)),
        ("sentinels_up", number(topology.sentinels_up)),
        ("sentinels", number(topology.sentinels)),
    ];
    [first].into_iter().chain(topology.replicas.iter().map(replica)).collect()
}

fn replica(replica: &Replica) -> Row {
    let mut row = vec![
        ("node", text(replica.address.to_string())),
        ("role", text("replica")),
        ("state", text(if replica.linked { "linked" } else { "not linked" })),
    ];
    row.extend(replica.behind.map(|bytes| ("lag_bytes", number(bytes))));
    row.extend(replica.caught_up.map(|then| ("lag_ms", number(then.elapsed().as_millis()))));
    row
}

/// The node of the URL is all that there is.
fn alone(operator: &Operator) -> Row {
    let pool = operator.pool();
    let (facts, status) = (pool.facts(), pool.status());
    let (state, awaited) = condition(&status.upstream);
    vec![
        ("node", text(pool.settings().endpoint.to_string())),
        ("role", text(facts.role().map_or("unknown", Role::name))),
        ("state", text(state)),
        ("generation", number(facts.generation())),
        ("why", text(Chosen::Configured.name())),
        ("awaited", text(awaited)),
    ]
}

/// What state a node is in, and what is awaited of it.
fn condition(upstream: &Upstream) -> (&'static str, String) {
    match upstream {
        Upstream::Up(_) => ("up", String::new()),
        Upstream::Connecting => ("connecting", "the first connection".to_owned()),
        Upstream::Unready { reason, .. } => ("unready", reason.to_string()),
        Upstream::Down(reason) => ("down", reason.to_string()),
    }
}

/// A shard of a cluster.
// Open: the metrics show its parts.
pub(crate) struct Shard {
    pub(crate) primary: Address,
    pub(crate) replicas: Vec<Address>,
    pub(crate) slots: usize,
    pub(crate) first_slot: Option<u16>,
    /// As the primary's pool finds it.
    pub(crate) upstream: Upstream,
}

/// The shards of a cluster, by their first slots.
pub(crate) fn shards(cluster: &Cluster, operator: &Operator) -> Vec<Shard> {
    let (map, pools) = (cluster.map(), operator.pools().all());
    let of_key = |key: &Key| {
        let listed = pools.iter().find(|listed| listed.key == *key);
        listed.map_or(Upstream::Connecting, |listed| listed.control.status().upstream)
    };
    let shards = map.layout().shards().iter().zip(map.nodes()).enumerate();
    let shard = |(place, (shard, node)): (usize, (&::topology::Shard, &Arc<Node>))| Shard {
        primary: shard.primary.clone(),
        replicas: shard.replicas.clone(),
        slots: map.layout().slots(place),
        first_slot: map.layout().first_slot(place),
        upstream: of_key(node.key()),
    };
    shards.map(shard).collect()
}

/// Why not all requests to a cluster can be served, if so.
pub(crate) fn unready(cluster: &Cluster, operator: &Operator) -> Option<String> {
    let map = cluster.map();
    if let Some(problem) = map.problem() {
        return Some(format!("requests wait: {problem}"));
    }
    let unready = shards(cluster, operator).into_iter().find_map(|shard| {
        let (state, why) = condition(&shard.upstream);
        (state != "up").then(|| format!("{} of the cluster is {state}: {why}", shard.primary))
    });
    let uncovered = map.layout().uncovered();
    unready.or_else(|| (uncovered > 0).then(|| format!("{uncovered} slots of the cluster have no node")))
}

fn of_cluster(cluster: &Cluster, operator: &Operator, published: &Published) -> Vec<Row> {
    let map = cluster.map();
    let generation = map.layout().generation;
    let shards = shards(cluster, operator);
    if shards.is_empty() {
        let awaited = map.problem().map(ToString::to_string).unwrap_or_default();
        let row = [("node", text(operator.settings().session.upstream)), ("role", text("unknown"))];
        return vec![row.into_iter().chain([("state", text("unknown")), ("awaited", text(awaited))]).collect()];
    }
    let rows = shards.into_iter().enumerate().flat_map(|(place, shard)| {
        let (state, awaited) = condition(&shard.upstream);
        let primary = vec![
            ("node", text(shard.primary.to_string())),
            ("role", text("primary")),
            ("state", text(state)),
            ("generation", number(generation)),
            ("awaited", text(awaited)),
            ("shard", number(place + 1)),
            ("slots", number(shard.slots)),
            ("first_slot", number(shard.first_slot.unwrap_or_default())),
        ];
        // More is known where they may have reads.
        let followed = published.shards.of(&shard.primary).and_then(|nodes| nodes.topology.borrow().clone());
        let replica_row = move |address: Address| {
            let known = followed.iter().flat_map(|topology| &topology.replicas).find(|one| one.address == address);
            let row =
                known.map_or_else(|| vec![("node", text(address.to_string())), ("role", text("replica"))], replica);
            row.into_iter().chain([("shard", number(place + 1))]).collect()
        };
        [primary].into_iter().chain(shard.replicas.into_iter().map(replica_row))
    });
    rows.collect()
}
