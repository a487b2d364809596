//! A cluster that changes while its nodes know it more or less well: any order of their words and views ends at the right
//! node.

use proptest::prelude::*;
use topology::{Address, Belief, Heard, Layout, Shard, View};

const NODES: usize = 4;
const SLOTS: [u16; 3] = [0, 7_000, 16_383];

fn node(at: usize) -> Address {
    Address::new("node", u16::try_from(7_000 + at).expect("few enough"))
}

/// Who has each of the slots that are looked at, and how new that is.
#[derive(Debug, Clone)]
struct Truth {
    owners: [usize; SLOTS.len()],
    epoch: u64,
}

impl Truth {
    fn view(&self) -> View {
        let shards = (0..NODES).map(|at| {
            let ranges = SLOTS.iter().zip(self.owners).filter(|(_, owner)| *owner == at);
            let ranges = ranges.map(|(slot, _)| (*slot, *slot)).collect();
            (Shard { primary: node(at), replicas: Vec::new() }, ranges)
        });
        View { layout: Layout::new(shards, (0..NODES).map(node)), epoch: self.epoch, failing: Vec::new() }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// The cluster moves a slot. Every node but the former and the new owner hears of it later.
    Move(usize, usize),
    /// A node hears all there is to hear.
    Hears(usize),
    /// A node is asked for its view.
    Asks(usize),
    /// The oldest answer comes.
    Comes,
    /// A request for a slot finds its way.
    Request(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..SLOTS.len(), 0..NODES).prop_map(|(slot, to)| Step::Move(slot, to)),
        (0..NODES).prop_map(Step::Hears),
        (0..NODES).prop_map(Step::Asks),
        Just(Step::Comes),
        (0..SLOTS.len()).prop_map(Step::Request),
    ]
}

struct Cluster {
    truth: Truth,
    known: Vec<Truth>,
    belief: Belief,
    on_the_way: Vec<(Heard, View)>,
}

impl Cluster {
    fn new() -> Self {
        let truth = Truth { owners: [0, 1, 2], epoch: 1 };
        let mut belief = Belief::default();
        belief.views(belief.asks(), truth.view());
        Self { known: vec![truth.clone(); NODES], truth, belief, on_the_way: Vec::new() }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Move(slot, to) => {
                let from = self.truth.owners[slot];
                self.truth.owners[slot] = to;
                self.truth.epoch += 1;
                for at in [from, to] {
                    self.known[at].owners[slot] = to;
                    self.known[at].epoch = self.truth.epoch;
                }
            }
            Step::Hears(at) => self.known[at] = self.truth.clone(),
            Step::Asks(at) => self.on_the_way.push((self.belief.asks(), self.known[at].view())),
            Step::Comes => {
                if !self.on_the_way.is_empty() {
                    let (asked, view) = self.on_the_way.remove(0);
                    self.belief.views(asked, view);
                }
            }
            Step::Request(slot) => drop(self.request(slot)),
        }
    }

    /// Goes where it is believed to belong, and from there where it is sent, as long as nothing else happens; the nodes
    /// at which it was.
    fn request(&mut self, slot: usize) -> Vec<usize> {
        let mut at = self.belief.layout().primary_of(SLOTS[slot]).expect("an owner").clone();
        let mut ways = Vec::new();
        loop {
            let here = (0..NODES).find(|other| node(*other) == at).expect("a node");
            ways.push(here);
            let there = self.known[here].owners[slot];
            if there == here || ways.len() > 2 * NODES {
                return ways;
            }
            at = node(there);
            self.belief.moved(SLOTS[slot], &at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_request_ends_at_the_node_that_has_its_slot(steps in prop::collection::vec(step(), 0..60)) {
        let mut cluster = Cluster::new();
        for step in &steps {
            cluster.take(step);
        }
        // Nodes gossip until all know the same.
        (0..NODES).for_each(|at| cluster.take(&Step::Hears(at)));
        for slot in 0..SLOTS.len() {
            let ways = cluster.request(slot);
            prop_assert_eq!(ways.last(), Some(&cluster.truth.owners[slot]), "{:?}", ways);
            prop_assert!(ways.len() <= 2, "it was sent elsewhere once at most: {:?}", ways);
            prop_assert_eq!(cluster.request(slot).len(), 1, "and is known from then on");
        }
        // A view that was asked for before is no reason to forget what was heard since.
        while !cluster.on_the_way.is_empty() {
            cluster.take(&Step::Comes);
        }
        for slot in 0..SLOTS.len() {
            let ways = cluster.request(slot);
            prop_assert_eq!(ways.last(), Some(&cluster.truth.owners[slot]));
        }
    }

    #[test]
    fn a_generation_changes_with_the_layout_and_only_then(steps in prop::collection::vec(step(), 0..60)) {
        let mut cluster = Cluster::new();
        for step in &steps {
            let before = cluster.belief.layout().clone();
            cluster.take(step);
            let after = cluster.belief.layout();
            prop_assert_eq!(after.generation == before.generation, after.is_like(&before));
            prop_assert!(after.generation >= before.generation);
        }
    }
}

#[test]
fn what_a_node_says_since_a_view_was_asked_for_is_newer_than_that_view() {
    let mut cluster = Cluster::new();
    cluster.take(&Step::Asks(3));
    assert!(cluster.belief.moved(SLOTS[0], &node(2)));
    cluster.take(&Step::Comes);
    assert_eq!(cluster.belief.layout().primary_of(SLOTS[0]), Some(&node(2)));
    cluster.take(&Step::Asks(3));
    cluster.take(&Step::Comes);
    assert_eq!(cluster.belief.layout().primary_of(SLOTS[0]), Some(&node(0)), "a view that was asked for later");
}

#[test]
fn no_word_leads_to_a_node_that_is_not_of_the_cluster() {
    let mut cluster = Cluster::new();
    assert!(!cluster.belief.moved(SLOTS[0], &Address::new("elsewhere", 6379)));
    assert_eq!(cluster.belief.layout().primary_of(SLOTS[0]), Some(&node(0)));
}

#[test]
fn a_node_that_knows_less_is_not_believed_unless_it_goes_on() {
    let mut cluster = Cluster::new();
    cluster.take(&Step::Move(0, 3));
    let old = cluster.known[1].view();
    cluster.belief.views(cluster.belief.asks(), cluster.truth.view());
    for _ in 0..3 {
        cluster.belief.looks();
        // However many nodes know less, and answer at one time.
        for _ in 0..NODES {
            assert!(!cluster.belief.views(cluster.belief.asks(), old.clone()));
            assert_eq!(cluster.belief.layout().primary_of(SLOTS[0]), Some(&node(3)));
        }
    }
    cluster.belief.looks();
    assert!(cluster.belief.views(cluster.belief.asks(), old), "the cluster was made anew");
}
