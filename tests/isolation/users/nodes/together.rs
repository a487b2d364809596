//! Two users of a cluster at once, some clients each, while all that may change does: passwords at all nodes, users that one
//! node does not know for a moment, connections that are killed, a node that stands still, primaries that change. No reply,
//! key or right of one reaches the other.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{Ends, gateway, have, nodes};
use crate::{
    at_most_once::cluster::nodes::{Node, Nodes, SHARDS},
    isolation::users::actor::{Actor, Found, User},
    support::{Gateway, pass, seeded, wait},
};

/// Clients of each user.
const CLIENTS: usize = 4;

/// How long it goes on at least, and between two faults.
const TIME: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(200);

/// Kinds of faults, each of which comes once before any comes twice.
const FAULTS: usize = 6;

struct Trouble<'t> {
    nodes: Nodes,
    gateway: Gateway,
    users: &'t [User; 2],
    rng: Rng,
    caused: usize,
}

fn rules(user: &User) -> String {
    let (name, password) = (user.name, user.password.lock().expect("nobody panics with it"));
    format!("reset on >{password} ~{name}:* &{name}.* +@all -@admin -@dangerous")
}

impl Trouble<'_> {
    fn node(&mut self) -> usize {
        self.rng.usize(..2 * SHARDS)
    }

    fn cause(&mut self, fault: usize) {
        self.caused += 1;
        let (user, node) = (&self.users[self.rng.usize(..2)], self.node());
        let kill = |node: &Node| drop(node.client().line(&format!("CLIENT KILL USER {}", user.name)));
        match fault {
            0 => {
                let workers = self.rng.usize(1..4);
                self.gateway.rewrite(&format!("[users.{}]\nworkers = {workers}", user.name));
                self.gateway.hang_up();
            }
            1 => {
                *user.password.lock().expect("nobody panics with it") = format!("{}{}", user.name, self.caused);
                self.nodes.0.iter().for_each(|node| have(node, user.name, &rules(user)));
                self.nodes.0.iter().for_each(kill);
            }
            2 => kill(&self.nodes.0[node]),
            3 => {
                self.nodes.0[node].freeze();
                pass(Duration::from_millis(self.rng.u64(200..500)));
                self.nodes.0[node].thaw();
            }
            4 => {
                self.nodes.0[node].client().line(&format!("ACL DELUSER {}", user.name));
                pass(PAUSE);
                have(&self.nodes.0[node], user.name, &rules(user));
            }
            _ => {
                let replica = (0..2 * SHARDS).find(|place| !self.nodes.0[*place].is_primary()).expect("there are some");
                self.nodes.fail_over(replica);
            }
        }
    }
}

#[test]
fn no_reply_key_or_right_of_one_user_reaches_another_whatever_breaks_in_a_cluster() {
    let users = [User::new("ada", "bob"), User::new("bob", "ada")];
    let nodes = nodes();
    nodes.0.iter().for_each(|node| users.iter().for_each(|user| have(node, user.name, &rules(user))));
    let gateway = gateway(&nodes, "");
    let address = gateway.address();
    let mut trouble = Trouble { nodes, gateway, users: &users, rng: seeded("two users of a cluster"), caused: 0 };
    let (over, found) = (AtomicBool::new(false), [Found::default(), Found::default()]);
    thread::scope(|scope| {
        let actors = Actor::begin_all(scope, CLIENTS, address, (&users, &found), &over);
        // However it ends, so do they.
        let _ends = Ends(&over);
        let (ends, mut faults) = (Instant::now() + TIME, Vec::new());
        while (Instant::now() < ends || trouble.caused < FAULTS) && !actors.iter().any(|actor| actor.is_finished()) {
            if faults.is_empty() {
                faults.extend(0..FAULTS);
                trouble.rng.shuffle(&mut faults);
            }
            pass(PAUSE);
            trouble.cause(faults.pop().expect("there are some"));
        }
        // And all of them go on afterwards.
        let verified = |of: usize| found[of].verified.load(Ordering::Relaxed);
        let before = [verified(0), verified(1)];
        wait("both users to go on", || (0..2).all(|of| verified(of) > before[of] + 50).then_some(()));
    });
    users.iter().zip(&found).for_each(|(user, found)| found.tell(user));
    println!("{} times something was done to them", trouble.caused);
}
