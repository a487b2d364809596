//! Nodes come and go, and some of those that the URL names are not there.

use std::time::{Duration, Instant};

use super::{
    failover::{goes_on, served, under_load},
    nodes::{Node, Nodes, key_of},
};

#[test]
fn a_node_that_joins_gets_slots_and_leaves_again_costs_no_client_an_error() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let seen = under_load(&gateway, || {
        goes_on(&gateway);
        let further = nodes.join();
        for (slot, from) in [(5, 0), (6_000, 1), (16_000, 2)] {
            nodes.move_slot(slot, &nodes.0[from], &further, |_| {});
            goes_on(&gateway);
        }
        for (slot, to) in [(5, 1), (6_000, 2), (16_000, 0)] {
            nodes.move_slot(slot, &further, &nodes.0[to], |_| {});
        }
        goes_on(&gateway);
        nodes.part(further);
        goes_on(&gateway);
    });
    let errors: Vec<_> = seen.iter().flat_map(|seen| &seen.errors).collect();
    assert!(errors.is_empty() && seen.iter().all(|seen| seen.told > 10 && seen.lost == 0), "{seen:?}");
}

/// A gateway whose first seed is lost in this way serves all the same, and its slots too once its replica has taken over.
fn pass_over(lose: impl FnOnce(&mut Node)) {
    let mut nodes = Nodes::start();
    lose(&mut nodes.0[0]);
    let gateway = nodes.gateway();
    let began = Instant::now();
    gateway.client().expect(&format!("SET {} v", key_of(7_000)), "+OK\r\n");
    let took = began.elapsed();
    // A mute node is not waited for: a second one is asked meanwhile.
    assert!(took < Duration::from_secs(2), "{took:?}");
    served(&gateway, 5);
}

#[test]
fn a_seed_that_is_dead_is_passed_over() {
    pass_over(Node::kill9);
}

#[test]
fn a_seed_that_is_mute_is_passed_over() {
    pass_over(|node| node.freeze());
}
