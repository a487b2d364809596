//! Who holds how much of a room, and who would have to go first: those that have not logged in; then, of the user that
//! holds the most, of the host that holds the most of it, the client that does. Owned by `input_memory`. No I/O.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::observe::{
    address::Address,
    sharing::{party::Party, ranking::Ranking},
};

/// What is held in the name of whom, without those that go already.
#[derive(Debug, Default)]
struct Standing {
    /// By user.
    users: Ranking<Option<Arc<str>>>,
    /// Of each user, by host.
    hosts: HashMap<Option<Arc<str>>, Ranking<Address>>,
    /// Of each party, by the id of the client.
    clients: BTreeMap<Party, Ranking<u64>>,
}

/// One client.
#[derive(Debug)]
struct Holder {
    bytes: usize,
    is_stranger: bool,
    party: Party,
    /// It has been asked to go.
    goes: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Holders {
    used: usize,
    /// Of these, what those hold that go.
    going: usize,
    /// The client that may hold more than half, and counts as half.
    large: Option<u64>,
    by_client: HashMap<u64, Holder>,
    /// Those that have logged in, or need not, and strangers.
    standings: [Standing; 2],
}

/// How much stands against a client: the larger, the sooner it goes.
type Weight = (bool, usize, usize, usize);

impl Standing {
    fn set(&mut self, party: &Party, client: u64, bytes: usize) {
        let clients = self.clients.entry(party.clone()).or_default();
        let before = clients.amount(&client);
        clients.set(&client, bytes);
        if clients.is_empty() {
            self.clients.remove(party);
        }
        let hosts = self.hosts.entry(party.user.clone()).or_default();
        hosts.set(&party.host, hosts.amount(&party.host) - before + bytes);
        if hosts.is_empty() {
            self.hosts.remove(&party.user);
        }
        self.users.set(&party.user, self.users.amount(&party.user) - before + bytes);
    }

    fn most(&self) -> Option<u64> {
        let user = self.users.most()?;
        let host = self.hosts.get(user)?.most()?;
        self.clients.get(&Party { user: user.clone(), host: host.clone() })?.most().copied()
    }
}

impl Holders {
    /// Bytes held now.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn held_by(&self, client: u64) -> usize {
        self.by_client.get(&client).map_or(0, |holder| holder.bytes)
    }

    /// Has a client hold `bytes`, whether they fit or not.
    pub(super) fn set(&mut self, client: u64, (party, is_stranger): (&Party, bool), bytes: usize, max: usize) {
        let goes = self.remove(client);
        if bytes == 0 {
            return;
        }
        self.used += bytes;
        if goes {
            self.going += bytes;
        } else {
            self.standings[usize::from(is_stranger)].set(party, client, bytes);
        }
        self.by_client.insert(client, Holder { bytes, is_stranger, party: party.clone(), goes });
        if bytes > max / 2 && self.large.is_none() {
            self.large = Some(client);
        }
    }

    /// A client holds nothing any more. Returns whether it was asked to go.
    pub(super) fn remove(&mut self, client: u64) -> bool {
        let Some(holder) = self.by_client.remove(&client) else { return false };
        self.used -= holder.bytes;
        if holder.goes {
            self.going -= holder.bytes;
        } else {
            self.standings[usize::from(holder.is_stranger)].set(&holder.party, client, 0);
        }
        self.large = self.large.filter(|large| *large != client);
        holder.goes
    }

    /// Whether a client holds more than half.
    pub(super) fn has_large(&self) -> bool {
        self.large.is_some()
    }

    /// Whether another client than this one holds more than half.
    pub(super) fn is_large_taken(&self, client: u64) -> bool {
        self.large.is_some_and(|large| large != client)
    }

    /// As what the bytes of the client that may be large count.
    fn counted(&self, client: u64, bytes: usize, max: usize) -> usize {
        if self.is_large_taken(client) { bytes } else { bytes.min(max / 2) }
    }

    /// Whether a client may hold `bytes` without there being more than `limit`, as it counts, of which half of `max` is
    /// the most for one. Who holds alone may always.
    pub(super) fn fits(&self, client: u64, bytes: usize, max: usize, limit: usize) -> bool {
        let own = self.held_by(client);
        if bytes <= own || self.used == own {
            return true;
        }
        if bytes > max / 2 && self.is_large_taken(client) {
            return false;
        }
        let large = self.large.filter(|large| *large != client).map_or(0, |large| self.held_by(large));
        let others = self.used - own - large.saturating_sub(max / 2);
        others.saturating_add(self.counted(client, bytes, max)) <= limit
    }

    fn weight(&self, client: u64) -> Option<Weight> {
        let holder = self.by_client.get(&client)?;
        let standing = &self.standings[usize::from(holder.is_stranger)];
        let of_host = standing.hosts.get(&holder.party.user).map_or(0, |hosts| hosts.amount(&holder.party.host));
        Some((holder.is_stranger, standing.users.amount(&holder.party.user), of_host, holder.bytes))
    }

    /// Who has to go for a client to hold `bytes`, and are to be asked; `None` if it is the client itself. It holds what
    /// it held before.
    pub(super) fn who_goes(&mut self, client: u64, who: (&Party, bool), bytes: usize, max: usize) -> Option<Vec<u64>> {
        let (own, large) = (self.held_by(client), self.large);
        self.set(client, who, bytes, max);
        let mut going = Vec::new();
        let is_enough = loop {
            if self.stay_within(client, max) {
                break true;
            }
            // One that is in the way of a second large one is the only one that helps.
            let in_the_way = self.large.filter(|large| *large != client && bytes > max / 2 && !self.goes(*large));
            let most = in_the_way.or_else(|| self.standings.iter().rev().find_map(Standing::most));
            let Some(most) = most.filter(|most| self.weight(*most) > self.weight(client)) else { break false };
            self.set_going(most, true);
            going.push(most);
        };
        if !is_enough {
            going.iter().for_each(|client| self.set_going(*client, false));
        }
        self.set(client, who, own, max);
        self.large = large;
        is_enough.then_some(going)
    }

    /// Whether what stays once all are gone that go is within `max`, as it counts.
    fn stay_within(&self, client: u64, max: usize) -> bool {
        let own = self.held_by(client);
        let large = self.large.filter(|large| !self.goes(*large));
        if own > max / 2 && large.is_some_and(|large| large != client) {
            return false;
        }
        let large = large.map_or(own, |large| self.held_by(large));
        self.used - self.going <= max.saturating_add(large.saturating_sub(max / 2))
    }

    fn goes(&self, client: u64) -> bool {
        self.by_client.get(&client).is_some_and(|holder| holder.goes)
    }

    fn set_going(&mut self, client: u64, goes: bool) {
        let Some(holder) = self.by_client.get_mut(&client) else { return };
        holder.goes = goes;
        self.going = if goes { self.going + holder.bytes } else { self.going - holder.bytes };
        let stays = if goes { 0 } else { holder.bytes };
        self.standings[usize::from(holder.is_stranger)].set(&holder.party, client, stays);
    }
}
