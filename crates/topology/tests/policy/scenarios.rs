//! Failovers as they happen, and as they go wrong.

use topology::{Awaited, Chosen, Event, Message, Pace, Peer};

use crate::told::{Told, node, primary, replica_of, sentinel};

#[test]
fn a_planned_failover_holds_from_its_first_message_and_goes_on_the_moment_the_replica_is_a_primary() {
    let mut told = Told::settled();
    let before = told.topology().generation;
    assert_eq!(told.topology().since, None, "it took no other's place");
    told.begun(2, "a");
    told.holds();
    assert_eq!(told.policy.pace(told.now), Pace::Fast);
    told.selected(2, "b");
    told.role("b", replica_of("a"));
    told.holds();
    told.role("b", primary());
    told.serves("b");
    assert_eq!(told.topology().generation, before + 1);
    assert_eq!((told.topology().chosen, told.topology().since), (Some(Chosen::Promoted), Some(told.now)));
    // The sentinels go on naming the old one for a second, and it goes on calling itself a primary for ten.
    for _ in 0..10 {
        told.failing_over(2, "a", 4);
        told.named(1, "a", 4);
        told.role("a", primary());
        told.role("b", primary());
        told.pass(100);
        told.serves("b");
    }
    told.named(2, "b", 5);
    told.named(1, "b", 5);
    told.named(3, "b", 5);
    told.pass(20_000);
    told.serves("b");
    assert_eq!((told.topology().generation, told.topology().epoch), (before + 1, 5));
}

#[test]
fn an_aborted_failover_lets_go() {
    let mut told = Told::settled();
    told.begun(1, "a");
    told.holds();
    told.heard(1, Message::Aborted("-failover-abort-no-good-slave".into()));
    told.serves("a");
}

#[test]
fn an_abort_that_is_not_heard_is_asked_for() {
    let mut told = Told::settled();
    let before = told.now;
    told.begun(1, "a");
    let stale = topology::Named { primary: node("a"), epoch: 4, failing_over: false };
    told.answer(1, before, stale, Vec::new());
    told.holds();
    told.failing_over(1, "a", 4);
    told.holds();
    told.named(1, "a", 4);
    told.serves("a");
}

#[test]
fn a_hold_has_an_end_even_if_the_leader_dies() {
    let mut told = Told::settled();
    told.begun(1, "a");
    told.silent(1);
    told.pass(2_000);
    told.holds();
    told.pass(1_000);
    told.serves("a");
}

#[test]
fn two_sentinels_may_try_and_one_give_up() {
    let mut told = Told::settled();
    told.begun(1, "a");
    told.begun(2, "a");
    told.heard(1, Message::Aborted("-failover-abort-not-elected".into()));
    told.holds();
    told.role("c", primary());
    told.serves("c");
}

#[test]
fn only_the_replica_that_was_selected_counts() {
    let mut told = Told::settled();
    told.begun(1, "a");
    told.selected(1, "b");
    told.role("c", primary());
    told.holds();
    told.role("b", primary());
    told.serves("b");
}

#[test]
fn a_leader_that_is_not_heard_is_noticed_by_what_it_does() {
    let mut told = Told::settled();
    told.gone("b");
    told.role("b", primary());
    assert_eq!(told.topology().awaited, Some(Awaited::Explanation(node("b"))));
    told.pass(900);
    told.holds();
    told.named(3, "b", 5);
    told.serves("b");
}

#[test]
fn a_replica_that_somebody_detached_holds_for_a_moment_only() {
    let mut told = Told::settled();
    told.role("b", primary());
    told.holds();
    told.pass(2_600);
    told.serves("a");
    told.role("b", primary());
    told.serves("a");
}

#[test]
fn a_primary_that_dies_is_replaced_the_moment_its_successor_is_one() {
    let mut told = Told::settled();
    told.gone("a");
    told.begun(3, "a");
    told.selected(3, "c");
    told.gone("c");
    told.role("c", primary());
    told.serves("c");
    // It comes back, and nobody has told it yet, nor all sentinels.
    told.role("a", primary());
    told.pass(1_000);
    told.named(3, "c", 5);
    told.pass(8_000);
    told.role("a", primary());
    told.serves("c");
}

#[test]
fn without_any_message_the_period_finds_out() {
    let mut told = Told::settled();
    told.gone("a");
    told.pass(500);
    told.named(1, "b", 5);
    told.holds();
    assert_eq!(told.topology().awaited, Some(Awaited::Proof(node("b"))));
    told.role("b", primary());
    told.serves("b");
    assert_eq!(told.topology().chosen, Some(Chosen::Named));
}

#[test]
fn a_stale_sentinel_brings_nothing_back() {
    let mut told = Told::settled();
    told.named(1, "b", 5);
    told.role("b", primary());
    told.serves("b");
    told.named(3, "a", 4);
    told.heard(3, Message::Switched { from: node("b"), to: node("a") });
    told.begun(3, "a");
    told.role("a", primary());
    told.pass(60_000);
    told.serves("b");
}

#[test]
fn a_former_primary_can_be_made_one_again() {
    let mut told = Told::settled();
    for (epoch, name) in [(5, "b"), (6, "a"), (7, "c")] {
        told.named(2, name, epoch);
        told.role(name, primary());
        told.serves(name);
    }
    assert_eq!(told.topology().generation, 4);
}

#[test]
fn a_primary_that_says_it_is_a_replica_is_believed() {
    let mut told = Told::settled();
    told.role("a", replica_of("b"));
    assert_eq!(told.topology().awaited, Some(Awaited::Primary { of: node("a"), at: node("b") }));
    told.pass(4_000);
    told.holds();
    told.role("b", primary());
    told.serves("b");
    // The sentinels know nothing of it.
    (1..=3).for_each(|number| told.named(number, "a", 4));
    told.pass(20_000);
    told.serves("b");
}

#[test]
fn a_sentinel_that_is_set_up_anew_is_believed_once_the_old_primary_is_none() {
    let mut told = Told::settled();
    (1..=3).for_each(|number| told.named(number, "c", 0));
    told.role("c", primary());
    told.pass(5_000);
    told.serves("a");
    told.gone("a");
    told.pass(2_000);
    assert_eq!(told.topology().primary, Some(node("a")));
    told.pass(2_000);
    told.serves("c");
}

#[test]
fn the_newer_word_of_one_counts_more_than_the_older_one_of_most() {
    let mut told = Told::settled();
    // A promotion of which no sentinel ever speaks again.
    told.begun(1, "a");
    told.role("b", primary());
    told.serves("b");
    told.named(2, "c", 3);
    told.named(3, "c", 3);
    told.role("c", primary());
    told.named(1, "a", 4);
    let before = told.topology().generation;
    told.pass(4_000);
    told.serves("a");
    assert_eq!(told.topology().generation, before + 1, "it went there at once");
}

#[test]
fn one_sentinel_that_is_wrong_with_a_high_epoch_is_outvoted() {
    let mut told = Told::settled();
    told.named(3, "x", 100);
    told.holds();
    told.pass(4_000);
    told.serves("a");
    told.pass(60_000);
    told.serves("a");
}

#[test]
fn at_the_start_the_newest_word_counts_and_a_proof_is_asked_for() {
    let mut told = Told::sentinels();
    assert_eq!(told.topology().awaited, Some(Awaited::First));
    told.named(1, "a", 4);
    told.role("a", primary());
    told.holds();
    told.named(2, "b", 5);
    told.role("b", primary());
    told.pass(60);
    told.serves("b");
    assert_eq!(told.topology().generation, 1);
}

#[test]
fn at_the_start_one_live_sentinel_is_enough() {
    let mut told = Told::sentinels();
    told.silent(1);
    told.named(3, "a", 4);
    told.role("a", primary());
    assert!(told.topology().primary.is_none(), "the second has still to answer");
    told.pass(60);
    told.serves("a");
    let mut told = Told::sentinels();
    told.silent(1);
    told.silent(2);
    told.named(3, "a", 4);
    told.role("a", primary());
    told.serves("a");
}

#[test]
fn at_the_start_in_the_middle_of_a_failover_writes_wait() {
    let mut told = Told::sentinels();
    told.silent(1);
    told.failing_over(2, "a", 4);
    told.named(3, "a", 4);
    told.role("a", primary());
    told.holds();
    told.role("b", primary());
    told.serves("b");
}

#[test]
fn a_single_node_is_followed_to_its_primary() {
    let mut told = Told::single("a");
    told.serves("a");
    assert_eq!(told.topology().generation, 1);
    told.role("a", primary());
    told.role("a", replica_of("b"));
    told.holds();
    assert!(told.policy.nodes_asked().any(|address| *address == node("b")));
    told.role("b", replica_of("a"));
    told.holds();
    told.role("b", primary());
    told.serves("b");
    assert_eq!(told.topology().chosen, Some(Chosen::Followed));
    told.role("b", replica_of("c"));
    told.role("c", primary());
    told.serves("c");
}

#[test]
fn a_failover_that_is_taken_back_lets_go() {
    let mut told = Told::single("a");
    told.role("a", replica_of("b"));
    told.holds();
    told.role("a", primary());
    told.serves("a");
}

#[test]
fn further_sentinels_are_learned_once_each_and_forgotten() {
    let mut told = Told::sentinels();
    let peer = |host: &str, id: &str| Peer { address: topology::Address::new(host, 26379), id: id.into() };
    let named = topology::Named { primary: node("a"), epoch: 1, failing_over: false };
    let count = |told: &Told| told.policy.sentinels_followed().count();
    told.named(2, "a", 1);
    let now = told.now;
    // The second is known by name already.
    told.answer(1, now, named.clone(), vec![peer("10.0.0.2", "id2"), peer("10.0.0.9", "id9")]);
    assert_eq!(count(&told), 4);
    // An id that turns out to be the third's.
    told.answer(1, now, named.clone(), vec![peer("10.0.0.3", "")]);
    assert_eq!(count(&told), 4, "the ninth is named by nobody now");
    let (sentinel_three, id) = (topology::Address::new("10.0.0.3", 26379), "id3".to_owned());
    told.on(Event::Answered {
        sentinel: sentinel_three,
        asked: now,
        id,
        named: named.clone(),
        replicas: Vec::new(),
        peers: Vec::new(),
    });
    told.answer(3, now, named.clone(), Vec::new());
    assert_eq!(count(&told), 3);
    assert!(told.policy.sentinels_followed().any(|address| *address == sentinel(3)));
    let many = (0..100).map(|number| peer(&format!("h{number}"), &format!("x{number}"))).collect();
    told.answer(1, now, named, many);
    assert_eq!(count(&told), 32);
}
