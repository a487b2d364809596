//! What the sentinels said last, each for itself and together.

use std::{collections::BTreeMap, time::Instant};

use crate::{Address, Message, Named, Peer};

/// Sentinels that are followed; further ones that they name are left out.
const SENTINELS_MAX: usize = 32;

/// One sentinel and its word.
#[derive(Debug, Default)]
pub(crate) struct Sentinel {
    /// What it calls itself.
    id: String,
    /// The configuration names it.
    configured: bool,
    /// What it answered last, even if it is silent since.
    named: Option<Named>,
    replicas: Vec<Address>,
    peers: Vec<Peer>,
    /// It answered when it was last asked.
    up: bool,
    /// It has answered or failed to.
    tried: bool,
    /// The failover that it leads, as far as was heard.
    attempt: Option<Attempt>,
}

/// A failover that a sentinel has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// From this primary.
    pub(crate) primary: Address,
    pub(crate) since: Instant,
    /// The replica that it will promote.
    pub(crate) selected: Option<Address>,
    /// It has had its effect: a replica turned primary. It makes no other one.
    pub(crate) spent: bool,
}

impl Attempt {
    fn new(primary: Address, since: Instant) -> Self {
        Self { primary, since, selected: None, spent: false }
    }
}

/// All of them, by address.
#[derive(Debug, Default)]
pub(crate) struct Sentinels(BTreeMap<Address, Sentinel>);

/// One sentinel's answer.
pub(crate) struct Answer {
    pub(crate) asked: Instant,
    pub(crate) id: String,
    pub(crate) named: Named,
    pub(crate) replicas: Vec<Address>,
    pub(crate) peers: Vec<Peer>,
}

impl Sentinels {
    pub(crate) fn new(addresses: impl IntoIterator<Item = Address>) -> Self {
        let sentinel = || Sentinel { configured: true, ..Sentinel::default() };
        Self(addresses.into_iter().map(|address| (address, sentinel())).collect())
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.0.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many answer.
    pub(crate) fn up(&self) -> usize {
        self.0.values().filter(|sentinel| sentinel.up).count()
    }

    /// None has still to answer, or to fail to, for the first time.
    pub(crate) fn all_tried(&self) -> bool {
        self.0.values().all(|sentinel| sentinel.tried)
    }

    /// One answered. An attempt that it led has ended if it says so and was asked after it began.
    pub(crate) fn answered(&mut self, address: &Address, answer: Answer, now: Instant) {
        let Some(sentinel) = self.0.get_mut(address) else { return };
        let Answer { asked, id, named, replicas, peers } = answer;
        if named.failing_over {
            if sentinel.attempt.as_ref().is_none_or(|attempt| attempt.primary != named.primary) {
                sentinel.attempt = Some(Attempt::new(named.primary.clone(), now));
            }
        } else {
            sentinel.attempt.take_if(|attempt| attempt.since < asked);
        }
        (sentinel.id, sentinel.named, sentinel.replicas, sentinel.peers) = (id, Some(named), replicas, peers);
        (sentinel.up, sentinel.tried) = (true, true);
        self.follow_peers();
    }

    /// Takes in sentinels that others name, unless one is known by another address, and lets go of those that
    /// nobody names any more.
    fn follow_peers(&mut self) {
        let ids: Vec<String> = self.0.values().map(|sentinel| sentinel.id.clone()).collect();
        let peers: Vec<Peer> = self.0.values().flat_map(|sentinel| sentinel.peers.iter().cloned()).collect();
        self.0.retain(|address, sentinel| {
            sentinel.configured || sentinel.up || peers.iter().any(|peer| peer.address == *address)
        });
        for peer in peers {
            let known = !peer.id.is_empty() && ids.contains(&peer.id);
            if !known && self.0.len() < SENTINELS_MAX {
                self.0.entry(peer.address).or_default();
            }
        }
        // One that was followed before its id was known may be another's other address.
        let configured: Vec<String> =
            self.0.values().filter(|sentinel| sentinel.configured).map(|sentinel| sentinel.id.clone()).collect();
        self.0.retain(|_, one| one.configured || one.id.is_empty() || !configured.contains(&one.id));
    }

    /// One cannot be reached. What it said before still counts.
    pub(crate) fn silent(&mut self, address: &Address) {
        if let Some(sentinel) = self.0.get_mut(address) {
            (sentinel.up, sentinel.tried) = (false, true);
        }
    }

    /// One published a message.
    pub(crate) fn heard(&mut self, address: &Address, message: Message, now: Instant) {
        let Some(sentinel) = self.0.get_mut(address) else { return };
        match message {
            Message::Begun { primary } => sentinel.attempt = Some(Attempt::new(primary, now)),
            Message::Selected { replica } => {
                if let Some(attempt) = &mut sentinel.attempt {
                    attempt.selected = Some(replica);
                }
            }
            Message::Aborted(_) => sentinel.attempt = None,
            // What follows is asked for.
            Message::Switched { .. } | Message::Changed => {}
        }
    }

    /// Failovers from `primary` that have still to have their effect.
    pub(crate) fn attempts<'s>(&'s self, primary: &'s Address) -> impl Iterator<Item = &'s Attempt> {
        let attempts = self.0.values().filter_map(|sentinel| sentinel.attempt.as_ref());
        attempts.filter(move |one| one.primary == *primary && !one.spent)
    }

    /// Those from `left`, which is left for what one of them promoted, have had their effect. They are not over before
    /// their leaders say so.
    pub(crate) fn spend_attempts(&mut self, left: &Address) {
        let attempts = self.0.values_mut().filter_map(|sentinel| sentinel.attempt.as_mut());
        attempts.filter(|attempt| attempt.primary == *left).for_each(|attempt| attempt.spent = true);
    }

    /// Lets go of all failovers, or of those that have still to have their effect: another primary was found.
    pub(crate) fn forget_attempts(&mut self, spent_ones_too: bool) {
        self.0.values_mut().for_each(|sentinel| {
            sentinel.attempt.take_if(|attempt| spent_ones_too || !attempt.spent);
        });
    }

    /// Whether one that answers has not said that its failover from `primary` is over.
    pub(crate) fn is_left_by_one(&self, primary: &Address) -> bool {
        let from = |sentinel: &Sentinel| sentinel.attempt.as_ref().is_some_and(|attempt| attempt.primary == *primary);
        self.0.values().any(|sentinel| sentinel.up && from(sentinel))
    }

    /// Whether one that answers names `primary`, with whatever epoch.
    pub(crate) fn is_named_by_one(&self, primary: &Address) -> bool {
        let names = |sentinel: &Sentinel| sentinel.named.as_ref().is_some_and(|named| named.primary == *primary);
        self.0.values().any(|sentinel| sentinel.up && names(sentinel))
    }

    /// The newest word of all, even of those that are silent now.
    pub(crate) fn newest(&self) -> Option<&Named> {
        self.0.values().filter_map(|sentinel| sentinel.named.as_ref()).max_by_key(|named| named.epoch)
    }

    /// The highest epoch with which one names `primary`.
    pub(crate) fn epoch_of(&self, primary: &Address) -> Option<u64> {
        let named = self.0.values().filter_map(|sentinel| sentinel.named.as_ref());
        named.filter(|named| named.primary == *primary).map(|named| named.epoch).max()
    }

    /// The node that more than half of those that answer name. One that is known by two addresses has one word.
    pub(crate) fn agreed(&self) -> Option<&Named> {
        let answering = || self.0.iter().filter(|(_, sentinel)| sentinel.up);
        let is_first = |address: &Address, id: &str| {
            id.is_empty() || answering().find(|(_, one)| one.id == id).is_some_and(|(first, _)| first == address)
        };
        let heard = || answering().filter(|(address, sentinel)| is_first(address, &sentinel.id));
        let names = || heard().filter_map(|(_, sentinel)| sentinel.named.as_ref());
        let half = names().count() / 2;
        names().find(|named| names().filter(|other| other.primary == named.primary).count() > half)
    }

    /// Nodes that any of them speaks of.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Address> {
        self.0.values().flat_map(|sentinel| {
            let selected = sentinel.attempt.as_ref().and_then(|attempt| attempt.selected.as_ref());
            let primary = sentinel.named.as_ref().map(|named| &named.primary);
            sentinel.replicas.iter().chain(primary).chain(selected)
        })
    }
}
