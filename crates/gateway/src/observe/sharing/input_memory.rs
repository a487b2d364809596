//! The memory for requests that are not complete, of all clients together, beyond what is free for each. Where it is
//! full and one wants more, the client that holds the most has to go, as with Redis's `maxmemory-clients`; see
//! `holders`. One client at a time may hold more than half, and counts as half; a second one waits for it. Owned by
//! `published`; claimed by `client`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::observe::{
    registry::{Asked, Entry},
    sharing::{holders::Holders, party::Party},
};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct InputMemory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    holders: Holders,
    /// Those that hold something, by id.
    entries: HashMap<u64, Arc<Entry>>,
    /// Clients that wait for room, in the order in which they came, and how much more they want.
    waiting: BTreeMap<u64, (Arc<Entry>, usize)>,
    last_place: u64,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Granted,
    /// Others have been asked to make room, or one is waited for. The client is woken when there is some.
    Waits,
    /// The client itself is the one that would have to go.
    Refused,
}

/// A client that holds some.
#[derive(Debug)]
pub(crate) struct Hold {
    memory: Arc<InputMemory>,
    entry: Arc<Entry>,
    wait: Option<Wait>,
    bytes: usize,
    /// Of these, what is not with the client's input.
    // Open: the input keeps it here, because few clients have any.
    pub(crate) kept_elsewhere: usize,
    /// Of these, what has been gathered and is to go into the queue.
    // Open: likewise.
    pub(crate) gathered: usize,
}

/// A wait for room.
#[derive(Debug)]
struct Wait {
    /// Place in line.
    place: u64,
    since: Instant,
    /// It has waited long enough for the one that holds more than half.
    insists: bool,
}

impl InputMemory {
    /// Bytes held now.
    pub(crate) fn used(&self) -> usize {
        self.lock().holders.used()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Has a client hold `bytes`, as they are. Those that wait are told what it gives back.
    fn set(&mut self, entry: &Arc<Entry>, is_stranger: bool, bytes: usize, max: usize) {
        let (id, had_large) = (entry.id(), self.holders.has_large());
        let before = self.holders.held_by(id);
        self.holders.set(id, (&Party::of(entry), is_stranger), bytes, max);
        if bytes == 0 {
            self.entries.remove(&id);
        } else if before == 0 {
            self.entries.insert(id, Arc::clone(entry));
        }
        if had_large && !self.holders.has_large() {
            self.tell(usize::MAX);
        } else if bytes < before {
            self.tell(before - bytes);
        }
    }

    /// Has those look again that wait for `freed` bytes, and the first in any case.
    fn tell(&self, mut freed: usize) {
        for (entry, wanted) in self.waiting.values() {
            entry.wake();
            freed = freed.saturating_sub(*wanted);
            if freed == 0 {
                break;
            }
        }
    }

    /// Has others make room for `bytes` of a client, if it is not the client itself that would have to go.
    fn make_room(&mut self, entry: &Arc<Entry>, is_stranger: bool, bytes: usize, max: usize) -> bool {
        let going = self.holders.who_goes(entry.id(), (&Party::of(entry), is_stranger), bytes, max);
        let are_asked = going.is_some();
        for entry in going.iter().flatten().filter_map(|id| self.entries.get(id)) {
            entry.ask(Asked::MakeRoom);
        }
        are_asked
    }
}

impl Hold {
    /// A client that may hold some of `memory`, and holds nothing yet.
    pub(crate) fn new(memory: &Arc<InputMemory>, entry: &Arc<Entry>) -> Self {
        Self {
            memory: Arc::clone(memory),
            entry: Arc::clone(entry),
            wait: None,
            bytes: 0,
            kept_elsewhere: 0,
            gathered: 0,
        }
    }

    /// Until when the client waits for room, if it does and nobody waits longer than `patience`: once for one that
    /// holds more than half to be done, and once for others to make room.
    pub(crate) fn waits_until(&self, patience: Duration) -> Option<Instant> {
        self.wait.as_ref().map(|wait| wait.since + if wait.insists { patience } else { patience / 2 })
    }

    /// The time is over. Whether the client is to claim once more, now at the cost of whoever is in the way.
    pub(crate) fn insist(&mut self) -> bool {
        self.wait.as_mut().is_some_and(|wait| !std::mem::replace(&mut wait.insists, true))
    }

    /// Has the client hold `bytes`, at the cost of others if need be, so that all together hold no more than `max`. A
    /// stranger still has to log in.
    pub(crate) fn claim(&mut self, bytes: usize, max: usize, is_stranger: bool) -> Claim {
        let mut state = self.memory.lock();
        let insists = self.wait.as_ref().is_some_and(|wait| wait.insists);
        let id = self.entry.id();
        let claim = if state.holders.fits(id, bytes, max, max) {
            state.set(&self.entry, is_stranger, bytes.max(self.bytes), max);
            self.bytes = self.bytes.max(bytes);
            Claim::Granted
        } else if !insists && bytes > max / 2 && state.holders.is_large_taken(id)
            || state.make_room(&self.entry, is_stranger, bytes, max)
        {
            Claim::Waits
        } else {
            Claim::Refused
        };
        match (claim, &self.wait) {
            (Claim::Waits, None) => {
                state.last_place += 1;
                let place = state.last_place;
                state.waiting.insert(place, (Arc::clone(&self.entry), bytes - self.bytes));
                self.wait = Some(Wait { place, since: Instant::now(), insists: false });
            }
            (Claim::Granted | Claim::Refused, Some(wait)) => {
                state.waiting.remove(&wait.place);
                self.wait = None;
            }
            (Claim::Waits, Some(_)) | (Claim::Granted | Claim::Refused, None) => {}
        }
        claim
    }

    /// Has the client hold `bytes` if all together hold no more than half of `max` then.
    pub(crate) fn claim_spare(&mut self, bytes: usize, max: usize) -> bool {
        let mut state = self.memory.lock();
        let fits = bytes <= self.bytes || state.holders.fits(self.entry.id(), bytes, max, max / 2);
        if fits && bytes > self.bytes {
            state.set(&self.entry, false, bytes, max);
            self.bytes = bytes;
        }
        fits
    }

    /// Counts what the client holds as it is.
    pub(crate) fn settle(&mut self, bytes: usize, max: usize, is_stranger: bool) {
        if bytes != self.bytes {
            self.memory.lock().set(&self.entry, is_stranger, bytes, max);
            self.bytes = bytes;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.memory.lock();
        if let Some(wait) = self.wait.take() {
            state.waiting.remove(&wait.place);
        }
        state.set(&self.entry, false, 0, usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use crate::observe::{address::Address, published::Published};

    use super::*;

    /// A client of the host whose address ends with `host`.
    fn client(published: &Published, host: u8) -> Hold {
        let address = Address::from(SocketAddr::from(([10, 0, 0, host], 1)));
        Hold::new(&published.input, &published.registry.enter(address.clone(), address, Arc::default()))
    }

    fn asked(hold: &Hold) -> bool {
        hold.entry.asked() == Asked::MakeRoom
    }

    #[test]
    fn who_has_not_logged_in_goes_first_and_then_the_host_that_holds_the_most() {
        let published = Published::default();
        let mut clients: Vec<Hold> = [1, 1, 1, 2, 3].map(|host| client(&published, host)).into();
        for (hold, bytes) in clients.iter_mut().zip([20, 25, 20, 30]) {
            assert_eq!(hold.claim(bytes, 100, false), Claim::Granted);
        }
        assert_eq!(clients[4].claim(5, 100, true), Claim::Granted);
        let mut wants = client(&published, 4);
        assert_eq!(wants.claim(5, 100, false), Claim::Waits);
        assert!(wants.waits_until(Duration::ZERO).is_some());
        assert_eq!(clients.iter().map(asked).collect::<Vec<_>>(), [false, false, false, false, true]);
        drop(clients.pop());
        assert_eq!((wants.claim(5, 100, false), wants.waits_until(Duration::ZERO)), (Claim::Granted, None));
        assert_eq!(wants.claim(6, 100, false), Claim::Waits);
        assert_eq!(wants.claim(6, 100, false), Claim::Waits);
        assert_eq!(clients.iter().map(asked).collect::<Vec<_>>(), [false, true, false, false]);
        assert!(!clients[0].claim_spare(21, 100), "what is spare costs nobody anything");
        clients[3].settle(3, 100, false);
        assert_eq!(published.input.used(), 73);
        drop((clients, wants));
        assert_eq!(published.input.used(), 0);
    }

    #[test]
    fn a_user_of_many_hosts_goes_before_one_that_holds_less() {
        let published = Published::default();
        let mut clients: Vec<Hold> = (1..=5).map(|host| client(&published, host)).collect();
        for (at, hold) in clients.iter_mut().enumerate() {
            let user = if at < 4 { "greedy" } else { "modest" };
            hold.entry.update(|details| details.user = Some(user.into()));
        }
        for (hold, bytes) in clients.iter_mut().zip([20, 20, 21, 20]) {
            assert_eq!(hold.claim(bytes, 100, false), Claim::Granted);
        }
        assert_eq!(clients[4].claim(45, 100, false), Claim::Waits);
        assert_eq!(clients.iter().filter(|hold| asked(hold)).count(), 2);
        assert!(asked(&clients[2]) && !asked(&clients[4]));
    }

    #[test]
    fn one_may_hold_more_than_half_and_leaves_half_to_the_others() {
        let published = Published::default();
        let [mut one, mut other, mut third] = [1, 2, 3].map(|host| client(&published, host));
        assert_eq!(one.claim(200, 100, false), Claim::Granted);
        assert_eq!((other.claim(50, 100, false), asked(&one)), (Claim::Granted, false));
        assert_eq!((third.claim(1, 100, false), asked(&one)), (Claim::Waits, true));
        drop(one);
        assert_eq!((third.claim(1, 100, false), published.input.used()), (Claim::Granted, 51));
    }

    #[test]
    fn a_second_one_waits_for_the_one_that_holds_more_than_half_and_then_insists() {
        let published = Published::default();
        let [mut one, mut other] = [1, 2].map(|host| client(&published, host));
        assert_eq!(one.claim(90, 100, false), Claim::Granted);
        assert_eq!((other.claim(60, 100, false), asked(&one)), (Claim::Waits, false));
        assert!(other.insist());
        assert_eq!((other.claim(60, 100, false), asked(&one)), (Claim::Waits, true));
        assert!(!other.insist());
        one.settle(40, 100, false);
        assert_eq!(other.claim(60, 100, false), Claim::Granted);
    }
}
