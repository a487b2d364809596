//! All that can happen to a cluster, in an order that a seed decides, under a verified load.

use std::time::{Duration, Instant};

use super::{
    failover::{COUNTED, goes_on, under_load},
    nodes::{NODE_TIMEOUT, Nodes, SHARDS},
};
use crate::{
    at_most_once::failover::trial::soak,
    support::{pass, wait},
};

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    SlotsMoved,
    Ordered,
    PrimaryKilled,
    PrimaryFrozen,
    NodeJoinsAndLeaves,
}

const EVENTS: [Event; 5] =
    [Event::SlotsMoved, Event::Ordered, Event::PrimaryKilled, Event::PrimaryFrozen, Event::NodeJoinsAndLeaves];

/// The short form has each kind once.
const SHORT: Duration = Duration::ZERO;

/// A cluster, and which shard has which of the slots that are counted in.
struct Trial {
    nodes: Nodes,
    owners: [usize; COUNTED.len()],
    rng: fastrand::Rng,
}

impl Trial {
    /// The primary of a shard, which is one of two nodes.
    fn primary(&self, shard: usize) -> usize {
        let places = [shard, shard + SHARDS];
        wait("one primary", || {
            let mut primaries = places.into_iter().filter(|place| self.nodes.0[*place].is_primary());
            primaries.next().filter(|_| primaries.next().is_none())
        })
    }

    fn other_of(place: usize) -> usize {
        (place + SHARDS) % (2 * SHARDS)
    }

    fn happen(&mut self, event: Event) {
        let shard = self.rng.usize(0..SHARDS);
        let primary = self.primary(shard);
        let other = Self::other_of(primary);
        let taken_over = |nodes: &Nodes| wait("the replica to take over", || nodes.0[other].is_primary().then_some(()));
        match event {
            Event::SlotsMoved => {
                for (at, slot) in COUNTED.into_iter().enumerate() {
                    let to = (self.owners[at] + self.rng.usize(1..SHARDS)) % SHARDS;
                    let (from, target) = (self.primary(self.owners[at]), self.primary(to));
                    self.nodes.move_slot(slot, &self.nodes.0[from], &self.nodes.0[target], |_| {});
                    self.nodes.wait_until_known(slot, &self.nodes.0[target]);
                    self.owners[at] = to;
                }
            }
            Event::Ordered => self.nodes.fail_over(other),
            Event::PrimaryKilled => {
                self.nodes.0[primary].kill9();
                taken_over(&self.nodes);
                self.nodes.0[primary].restart();
            }
            Event::PrimaryFrozen => {
                self.nodes.0[primary].freeze();
                taken_over(&self.nodes);
                pass(Duration::from_millis(self.rng.u64(0..1_000)));
                self.nodes.0[primary].thaw();
            }
            Event::NodeJoinsAndLeaves => {
                let (further, at) = (self.nodes.join(), self.rng.usize(0..COUNTED.len()));
                let owner = self.primary(self.owners[at]);
                self.nodes.move_slot(COUNTED[at], &self.nodes.0[owner], &further, |_| {});
                self.nodes.move_slot(COUNTED[at], &further, &self.nodes.0[owner], |_| {});
                self.nodes.wait_until_known(COUNTED[at], &self.nodes.0[owner]);
                self.nodes.part(further);
            }
        }
        self.nodes.wait_until_ready();
        // A node that is demoted and elected again within this time counts the votes of before, as Redis does, and takes
        // over with an epoch that the others have left behind.
        pass(2 * NODE_TIMEOUT);
    }
}

fn trial(seed: u64, time: Duration) {
    println!("seed {seed}; run it again with: ./tests/run soak --seed {seed} --seconds {}", time.as_secs());
    let owners = COUNTED.map(|slot| usize::from(slot) * SHARDS / 16_384);
    let mut trial = Trial { nodes: Nodes::start(), owners, rng: fastrand::Rng::with_seed(seed) };
    let gateway = trial.nodes.gateway();
    let (mut happened, mut losing) = (Vec::new(), 0);
    let seen = under_load(&gateway, || {
        let (began, mut next) = (Instant::now(), EVENTS);
        for number in 0.. {
            if number % EVENTS.len() == 0 {
                // Each kind once before any comes twice.
                if number > 0 && began.elapsed() >= time {
                    break;
                }
                trial.rng.shuffle(&mut next);
            }
            let event = next[number % EVENTS.len()];
            goes_on(&gateway);
            trial.happen(event);
            losing += usize::from(matches!(event, Event::PrimaryKilled | Event::PrimaryFrozen));
            happened.push(event);
        }
        goes_on(&gateway);
    });
    let (told, lost): (u32, i64) = (seen.iter().map(|seen| seen.told).sum(), seen.iter().map(|seen| seen.lost).sum());
    let errors: Vec<&String> = seen.iter().flat_map(|seen| &seen.errors).collect();
    println!("{happened:?}: {told} numbers, {} errors, {lost} lost", errors.len());
    // One request of each client may have been under way when a primary was lost.
    assert!(errors.len() <= losing * COUNTED.len(), "{errors:?}");
    // Replication may not have got what was acknowledged just before.
    assert!(lost <= i64::try_from(losing * COUNTED.len()).expect("few"), "{lost}");
}

#[test]
fn whatever_happens_to_a_cluster_nothing_counts_twice() {
    trial(1, SHORT);
}

#[test]
#[ignore = "takes as long as it is told to, by ./tests/run soak"]
fn soak_of_a_cluster() {
    soak(trial);
}
