//! Nodes come and go, and some of those that the URL names are not there.

use std::time::{Duration, Instant};

use super::{
    failover::{goes_on, served, under_load},
    nodes::{Nodes, key_of},
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

#[test]
fn seeds_that_are_dead_or_mute_are_passed_over() {
    let mut nodes = Nodes::start();
    for is_dead in [true, false] {
        if is_dead {
            nodes.0[0].kill9();
        } else {
            nodes.0[0].freeze();
        }
        let gateway = nodes.gateway();
        let began = Instant::now();
        gateway.client().expect(&format!("SET {} v", key_of(7_000)), "+OK\r\n");
        let took = began.elapsed();
        // A mute node is not waited for: a second one is asked meanwhile.
        assert!(took < Duration::from_secs(2), "{took:?}");
        // Its slots too, once its replica has taken over.
        served(&gateway, 5);
        drop(gateway);
        if is_dead {
            nodes.0[0].restart();
            nodes.wait_until_ready();
            nodes.fail_over(0);
        } else {
            nodes.0[0].thaw();
        }
    }
}
