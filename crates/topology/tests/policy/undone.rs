//! Promotions that come to nothing, and sentinels that are wrong.

use std::time::Duration;

use topology::{Awaited, Chosen, Event, Message, Patience, Policy};

use crate::told::{Told, node, primary, sentinel};

#[test]
fn a_promotion_whose_leader_died_is_undone_when_the_others_stand_by_the_old_primary() {
    let mut told = Told::settled();
    told.begun(1, "a");
    told.role("b", primary());
    told.serves("b");
    told.silent(1);
    told.named(2, "a", 4);
    told.named(3, "a", 4);
    told.role("a", primary());
    // What was written at the new one would be lost then.
    assert_eq!(told.topology().awaited, Some(Awaited::Confirmation(node("b"))));
    told.pass(2_000);
    told.holds();
    told.pass(2_000);
    told.serves("a");
    assert_eq!(told.topology().chosen, Some(Chosen::Agreed));
    // Its leader comes back, and has not given it up.
    told.failing_over(1, "a", 4);
    told.serves("a");
    // It begins another one.
    told.begun(1, "a");
    told.holds();
    told.role("c", primary());
    told.serves("c");
}

#[test]
fn a_promotion_whose_leader_is_lost_goes_on_where_the_old_primary_is_gone_or_another_sentinel_names_it() {
    let promoted = || {
        let mut told = Told::settled();
        told.begun(1, "a");
        told.role("b", primary());
        told.silent(1);
        told.holds();
        told
    };
    let mut told = promoted();
    told.gone("a");
    told.serves("b");
    let mut told = promoted();
    told.named(2, "b", 5);
    told.serves("b");
    // It tells whom it has promoted before it tells the others.
    let mut told = Told::settled();
    told.begun(1, "a");
    told.role("b", primary());
    told.named(1, "b", 4);
    told.role("a", primary());
    told.serves("b");
}

#[test]
fn a_promotion_that_is_undone_because_the_new_primary_died_holds_nothing_up_again() {
    let mut told = Told::settled();
    told.begun(1, "a");
    told.selected(1, "b");
    told.role("b", primary());
    told.serves("b");
    told.gone("b");
    told.named(2, "a", 4);
    told.named(3, "a", 4);
    told.role("a", primary());
    told.pass(3_000);
    told.serves("a");
    // The leader waits for it in vain.
    for _ in 0..8 {
        told.failing_over(1, "a", 4);
        told.serves("a");
        told.pass(500);
    }
    told.heard(1, Message::Aborted("-failover-abort-slave-timeout".into()));
    told.serves("a");
}

#[test]
fn a_sentinel_that_is_listed_twice_has_one_voice() {
    let mut told = Told::sentinels();
    let mut list: Vec<_> = (1..=3).map(sentinel).collect();
    let again = topology::Address::new("s3-by-another-name", 26379);
    list.push(again.clone());
    told.policy = Policy::sentinels(list, Patience::within(Duration::from_secs(5)));
    let named = |name: &str, epoch| topology::Named { primary: node(name), epoch, failing_over: false };
    let twice = |told: &mut Told, name: &str, epoch| {
        told.named(3, name, epoch);
        let (asked, id, replicas) = (told.now, "id3".to_owned(), vec![node("b")]);
        let (sentinel, named, peers) = (again.clone(), named(name, epoch), Vec::new());
        told.on(Event::Answered { sentinel, asked, id, named, replicas, peers });
    };
    told.named(1, "a", 4);
    told.named(2, "a", 4);
    twice(&mut told, "a", 4);
    told.role("a", primary());
    told.serves("a");
    // It is wrong, with a high epoch.
    twice(&mut told, "x", 100);
    told.holds();
    told.pass(4_000);
    told.serves("a");
}

#[test]
fn a_promotion_whose_leader_is_slow_to_tell_the_others_stands_until_it_gives_up() {
    let mut told = Told::settled();
    told.begun(1, "a");
    told.role("b", primary());
    told.serves("b");
    for _ in 0..8 {
        // All name the old primary, the leader too, if it says anything.
        told.named(2, "a", 4);
        told.named(3, "a", 4);
        told.role("a", primary());
        told.pass(1_000);
        told.serves("b");
    }
    told.failing_over(1, "a", 4);
    told.pass(8_000);
    told.serves("b");
    told.named(1, "a", 4);
    told.serves("a");
    assert_eq!(told.topology().chosen, Some(Chosen::Agreed));
}
