//! The replicas of the serving node, as far as it and they themselves say.

use std::collections::BTreeMap;

use crate::{Address, Replica, Role, policy::node::Node};

/// Those that the serving node says are connected to it.
pub(crate) fn connected<'n>(
    serving: &Address,
    nodes: &'n BTreeMap<Address, Node>,
) -> impl Iterator<Item = &'n Address> {
    let replicas = match nodes.get(serving).and_then(|node| node.role.as_ref()) {
        Some(Role::Primary { replicas, .. }) => replicas.as_slice(),
        Some(Role::Replica { .. } | Role::Sentinel) | None => &[],
    };
    replicas.iter().map(|(address, _)| address)
}

/// Replicas that answer for themselves, and those that only the primary speaks of.
pub(crate) fn replicas(serving: &Address, nodes: &BTreeMap<Address, Node>) -> Vec<Replica> {
    let role = nodes.get(serving).and_then(|node| node.role.as_ref());
    let Some(Role::Primary { offset: head, replicas: connected }) = role else { return Vec::new() };
    let mut found = BTreeMap::new();
    for (address, offset) in connected {
        let behind = Some(head.saturating_sub(*offset));
        let replica = Replica { address: address.clone(), linked: true, behind, caught_up: None, round_trip: None };
        found.insert(address, replica);
    }
    for (address, node) in nodes {
        if let Some(Role::Replica { linked, offset, .. }) = &node.role {
            // Both answers are a moment old: the one that makes the replica better off is the newer one.
            let behind = offset.map(|offset| head.saturating_sub(offset));
            let known = found.get(address).and_then(|replica| replica.behind);
            let behind = known.into_iter().chain(behind).min();
            let linked = *linked && node.reachable;
            let caught_up = node.caught_up.filter(|_| linked);
            let replica = Replica { address: address.clone(), linked, behind, caught_up, round_trip: node.round_trip };
            found.insert(address, replica);
        }
    }
    found.into_values().collect()
}
