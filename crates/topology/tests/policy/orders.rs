//! Any order of events: messages lost, repeated, late, from stale sentinels.

use proptest::prelude::*;
use topology::{Awaited, Chosen, Event, Message, Role};

use crate::told::{Told, node, primary, replica_of};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Step {
    Named(u16, usize, u64),
    FailingOver(u16, usize, u64),
    Begun(u16, usize),
    Selected(u16, usize),
    Aborted(u16),
    Silent(u16),
    Primary(usize),
    Replica(usize, usize),
    Gone(usize),
    Pass(u64),
}

fn step(epochs: std::ops::Range<u64>) -> impl Strategy<Value = Step> {
    let (sentinel, node) = (1..4_u16, 0..NAMES.len());
    prop_oneof![
        (sentinel.clone(), node.clone(), epochs.clone()).prop_map(|(by, node, epoch)| Step::Named(by, node, epoch)),
        (sentinel.clone(), node.clone(), epochs).prop_map(|(by, node, epoch)| Step::FailingOver(by, node, epoch)),
        (sentinel.clone(), node.clone()).prop_map(|(by, node)| Step::Begun(by, node)),
        (sentinel.clone(), node.clone()).prop_map(|(by, node)| Step::Selected(by, node)),
        sentinel.clone().prop_map(Step::Aborted),
        sentinel.prop_map(Step::Silent),
        node.clone().prop_map(Step::Primary),
        (node.clone(), node.clone()).prop_map(|(node, of)| Step::Replica(node, of)),
        node.prop_map(Step::Gone),
        (0..3_000_u64).prop_map(Step::Pass),
    ]
}

fn take(told: &mut Told, step: &Step) {
    match *step {
        Step::Named(by, node, epoch) => told.named(by, NAMES[node], epoch),
        Step::FailingOver(by, node, epoch) => told.failing_over(by, NAMES[node], epoch),
        Step::Begun(by, node) => told.begun(by, NAMES[node]),
        Step::Selected(by, node) => told.selected(by, NAMES[node]),
        Step::Aborted(by) => told.heard(by, Message::Aborted("-failover-abort-not-elected".into())),
        Step::Silent(by) => told.silent(by),
        Step::Primary(node) => told.role(NAMES[node], primary()),
        Step::Replica(node, of) => told.role(NAMES[node], replica_of(NAMES[of])),
        Step::Gone(node) => told.gone(NAMES[node]),
        Step::Pass(millis) => told.pass(millis),
    }
}

proptest! {
    #[test]
    fn a_new_primary_has_proved_itself_and_the_reason_is_newer_than_that_for_the_old_one(
        steps in prop::collection::vec(step(0..6), 0..80),
    ) {
        let mut told = Told::sentinels();
        for step in &steps {
            let before = told.topology().clone();
            take(&mut told, step);
            let after = told.topology();
            if after.generation == before.generation {
                prop_assert_eq!(&after.primary, &before.primary);
                prop_assert!(after.epoch >= before.epoch);
                continue;
            }
            prop_assert!(after.proven && after.primary != before.primary, "{:?} after {:?}", after, before);
            prop_assert!(after.generation > before.generation);
            match after.chosen {
                Some(Chosen::Named) => prop_assert!(before.primary.is_none() || after.epoch > before.epoch),
                Some(Chosen::Promoted) => prop_assert!(after.epoch > before.epoch),
                Some(Chosen::Followed) => {
                    let waited = matches!(before.awaited, Some(Awaited::Primary { .. }));
                    prop_assert!(waited || matches!(step, Step::Replica(..)));
                }
                Some(Chosen::Agreed | Chosen::Configured) | None => {}
            }
        }
    }

    #[test]
    fn a_write_never_goes_to_a_node_that_says_it_is_a_replica(steps in prop::collection::vec(step(0..6), 0..80)) {
        let mut told = Told::sentinels();
        for step in &steps {
            take(&mut told, step);
            if let Step::Replica(said, of) = step && said != of {
                let topology = told.topology();
                let goes = topology.awaited.is_none() && topology.primary == Some(node(NAMES[*said]));
                prop_assert!(!goes, "{:?}", topology);
            }
        }
    }

    #[test]
    fn a_former_primary_stays_barred_while_its_successor_is_named_and_proves_itself(
        steps in prop::collection::vec(step(0..6), 0..80),
    ) {
        let mut told = Told::settled();
        told.begun(1, "a");
        told.role("b", primary());
        (1..=3).for_each(|number| told.named(number, "b", 5));
        for step in &steps {
            match step {
                // What really happens to the new primary is another story.
                Step::Replica(1, _) | Step::Gone(1) | Step::Begun(_, 1) | Step::FailingOver(_, 1, _) => continue,
                step => take(&mut told, step),
            }
            told.role("b", primary());
            prop_assert_eq!(told.topology().primary.as_ref(), Some(&node("b")), "after {:?}", step);
        }
    }

    #[test]
    fn whatever_happened_requests_go_on_once_all_agree(steps in prop::collection::vec(step(0..6), 0..80), last in 0..NAMES.len()) {
        let mut told = Told::sentinels();
        steps.iter().for_each(|step| take(&mut told, step));
        for _ in 0..10 {
            (1..=3).for_each(|number| told.named(number, NAMES[last], 9));
            for name in NAMES {
                told.role(name, if name == NAMES[last] { primary() } else { replica_of(NAMES[last]) });
            }
            told.pass(1_000);
        }
        told.serves(NAMES[last]);
    }

    #[test]
    fn a_hold_ends_by_itself_where_the_primary_is_one(steps in prop::collection::vec(step(0..6), 0..80)) {
        let mut told = Told::sentinels();
        steps.iter().for_each(|step| take(&mut told, step));
        let Some(serving) = told.topology().primary.clone() else { return Ok(()) };
        let (role, asked) = (Role::Primary { offset: 1, replicas: Vec::new() }, told.now);
        told.on(Event::Role { node: serving.clone(), role, asked, history: None });
        (1..=3).for_each(|number| told.silent(number));
        told.pass(10_000);
        let topology = told.topology();
        let open = topology.awaited.is_none() || matches!(topology.awaited, Some(Awaited::Proof(_)));
        prop_assert!(open || topology.primary != Some(serving), "{:?}", topology);
    }

    #[test]
    fn nodes_and_deadlines_are_bounded(steps in prop::collection::vec(step(0..6), 0..80)) {
        let mut told = Told::sentinels();
        for step in &steps {
            take(&mut told, step);
            prop_assert!(told.policy.nodes_asked().count() <= NAMES.len());
            prop_assert!(told.policy.deadline(told.now).is_none_or(|deadline| deadline > told.now));
        }
    }
}
