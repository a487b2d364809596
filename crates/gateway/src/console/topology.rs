//! The nodes behind the gateway as `RESPOOL TOPOLOGY`, `/status` and the metrics show them: the primary first, what
//! requests wait for, and its replicas.

use ::topology::{Chosen, Replica, Topology};
use pool::{Role, Upstream};

use crate::{
    config::operator::Operator,
    console::rows::{Row, number, text},
    observe::published::Published,
};

/// `RESPOOL TOPOLOGY`: a row for each node.
pub(crate) fn rows(operator: &Operator, published: &Published) -> Vec<Row> {
    match &*published.topology.borrow() {
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
    let (state, awaited) = match &status.upstream {
        Upstream::Up(_) => ("up", String::new()),
        Upstream::Connecting => ("connecting", "the first connection".to_owned()),
        Upstream::Unready { reason, .. } => ("unready", reason.to_string()),
        Upstream::Down(reason) => ("down", reason.to_string()),
    };
    vec![
        ("node", text(pool.settings().endpoint.to_string())),
        ("role", text(facts.role().map_or("unknown", Role::name))),
        ("state", text(state)),
        ("generation", number(facts.generation())),
        ("why", text(Chosen::Configured.name())),
        ("awaited", text(awaited)),
    ]
}
