//! What is known of replicas: which there are, what they lack, and until when they are known to lack nothing.

use std::time::Duration;

use topology::{Event, Patience, Policy, Replica, Role};

use crate::told::{Told, node, primary, replica_of};

#[test]
fn replicas_are_shown_with_what_they_lack() {
    let mut told = Told::settled();
    let connected = vec![(node("b"), 80), (node("d"), 70)];
    told.role("a", Role::Primary { offset: 100, replicas: connected });
    told.gone("c");
    let shown = |replica: &Replica| (replica.address.host.clone(), replica.linked, replica.behind);
    let replicas: Vec<_> = told.topology().replicas.iter().map(shown).collect();
    let expected = [("b", true, 10), ("c", false, 10), ("d", true, 30)];
    assert_eq!(replicas, expected.map(|(name, linked, behind)| (name.into(), linked, Some(behind))));
}

#[test]
fn a_replica_is_known_to_have_what_the_primary_had_when_it_was_asked() {
    let mut told = Told::settled();
    let caught_up = |told: &Told, name: &str| {
        told.topology().replicas.iter().find(|replica| replica.address == node(name)).and_then(|found| found.caught_up)
    };
    let at = |offset| Role::Primary { offset, replicas: Vec::new() };
    let has = |offset| Role::Replica { primary: node("a"), linked: true, offset: Some(offset) };
    told.pass(100);
    let first = told.now;
    told.role("a", at(200));
    told.pass(100);
    let second = told.now;
    told.role("a", at(300));
    told.role("b", has(300));
    told.role("c", has(299));
    assert_eq!((caught_up(&told, "b"), caught_up(&told, "c")), (Some(second), Some(first)));
    // One that has lost its link, follows another node, or has another history, is not known to have anything.
    told.role("b", Role::Replica { primary: node("a"), linked: false, offset: Some(300) });
    told.role("c", Role::Replica { primary: node("b"), linked: true, offset: Some(300) });
    assert_eq!((caught_up(&told, "b"), caught_up(&told, "c")), (None, None));
    let says = |told: &mut Told, name: &str, role, history: &str| {
        let (asked, history) = (told.now, Some(history.into()));
        told.on(Event::Role { node: node(name), role, asked, history });
    };
    says(&mut told, "a", at(400), "new");
    says(&mut told, "b", has(400), "new");
    says(&mut told, "c", has(400), "old");
    assert!(caught_up(&told, "b").is_some() && caught_up(&told, "c").is_none());
    // Another primary begins anew.
    told.begun(1, "a");
    told.role("b", primary());
    told.serves("b");
    says(&mut told, "c", has(500), "new");
    assert_eq!(caught_up(&told, "c"), None);
}

#[test]
fn a_node_without_sentinels_has_the_replicas_that_it_knows_and_those_that_are_listed() {
    let mut told = Told::single("a");
    told.policy = Policy::single(node("a"), vec![node("l")], Patience::within(Duration::from_secs(5)));
    told.role("a", Role::Primary { offset: 100, replicas: vec![(node("b"), 90)] });
    told.role("l", Role::Replica { primary: node("a"), linked: true, offset: Some(100) });
    told.role("b", replica_of("a"));
    let names: Vec<_> = told.topology().replicas.iter().map(|replica| replica.address.host.clone()).collect();
    assert_eq!(names, ["b", "l"]);
    assert!(told.topology().replicas.iter().any(|replica| replica.caught_up.is_some()));
}

#[test]
fn of_a_shard_only_the_nodes_that_are_named_are_asked() {
    let mut told = Told::single("a");
    told.policy = Policy::shard(node("a"), vec![node("l")]);
    told.role("a", Role::Primary { offset: 100, replicas: vec![(node("b"), 90)] });
    told.role("l", Role::Replica { primary: node("a"), linked: true, offset: Some(100) });
    let asked: Vec<_> = told.policy.nodes_asked().map(|node| node.host.clone()).collect();
    assert_eq!(asked, ["a", "l"]);
    // It stays with the primary that it has, whatever that becomes.
    told.role("a", replica_of("b"));
    assert_eq!(told.topology().primary, Some(node("a")));
    assert!(!told.topology().proven && told.policy.nodes_asked().count() == 2);
}
