//! The directory of shared subscriptions, without I/O: which channels and patterns are subscribed at the upstream,
//! and for which sessions (a feed). What comes for a name goes into the queues of those who listen.
//!
//! Sessions join and leave; each `link` to the upstream asks what to send and tells what came. Both do so in
//! short turns at one lock; messages are taken without it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use settings::PubSubSettings;

use crate::{
    observe::{published::Published, sharing::party::Party},
    pubsub::{
        backlog::Backlog,
        feed::{Feed, Upstream},
        link::LinkState,
        message::{Kind, Name},
        nodes::Shards,
        queue::Queue,
    },
};

/// How far the subscription to names has come that a session has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Joined {
    Waiting,
    /// For nodes of a cluster, which tell events of their own keys.
    WaitingForNodes,
    Confirmed,
    /// The upstream's error, without its mark.
    Refused(Arc<str>),
    /// The upstream cannot be reached; holds why.
    Down(Arc<str>),
}

/// Why there is no place for a further name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// As many are subscribed as may be.
    All,
    /// Clients of the same host and user have as many as they may have.
    Share,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Directory {
    contents: Mutex<Contents>,
    settings: PubSubSettings,
    /// Where others see how many feeds there are and what became of slow listeners.
    seen_by: Arc<Published>,
}

pub(super) struct Contents {
    pub(super) backlog: Backlog,
    /// Number of the last message.
    pub(super) number: u64,
    /// How many feeds count to whose share.
    parties: HashMap<Party, usize>,
    pub(super) feeds: [HashMap<Arc<[u8]>, Feed>; 3],
    /// By their numbers.
    pub(super) links: BTreeMap<u64, LinkState>,
    pub(super) links_made: u64,
    /// Nodes whose events are to be heard are not known yet.
    awaits_nodes: bool,
    /// Who tells events of which key, where the upstream is a cluster.
    pub(super) shards: Option<Shards>,
}

impl fmt::Debug for Contents {
    /// Not the names, which are clients'.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("feeds", &self.len()).finish_non_exhaustive()
    }
}

impl Contents {
    fn len(&self) -> usize {
        self.feeds.iter().map(HashMap::len).sum()
    }

    /// Of all feeds.
    pub(super) fn names(&self) -> impl Iterator<Item = Name> {
        Kind::ALL
            .into_iter()
            .zip(&self.feeds)
            .flat_map(|(kind, feeds)| feeds.keys().map(move |bytes| Name { kind, bytes: Arc::clone(bytes) }))
    }

    pub(super) fn feed(&mut self, name: &Name) -> Option<&mut Feed> {
        self.feeds[name.kind as usize].get_mut(&name.bytes)
    }

    pub(super) fn remove(&mut self, name: &Name) -> Option<Feed> {
        self.links.values_mut().for_each(|link| link.forget(name));
        let feed = self.feeds[name.kind as usize].remove(&name.bytes)?;
        uncount(&mut self.parties, &feed.party);
        Some(feed)
    }

    /// Removes feeds to which nobody listens and that are subscribed nowhere.
    pub(super) fn remove_those_over(&mut self) {
        let over: Vec<Name> = Kind::ALL
            .into_iter()
            .zip(&self.feeds)
            .flat_map(|(kind, feeds)| {
                let over = feeds.iter().filter(|(_, feed)| feed.is_over());
                over.map(move |(bytes, _)| Name { kind, bytes: Arc::clone(bytes) })
            })
            .collect();
        over.iter().for_each(|name| drop(self.remove(name)));
    }

    /// Adds a feed that counts to the share of `party`.
    fn add(&mut self, name: &Name, party: &Party) {
        *self.parties.entry(party.clone()).or_default() += 1;
        self.feeds[name.kind as usize].insert(Arc::clone(&name.bytes), Feed::new(party.clone()));
    }

    /// Has a feed count to the share of one who listens, if it counts to that of one who does no more.
    fn recount(&mut self, name: &Name) {
        let Self { feeds, parties, .. } = self;
        let Some(feed) = feeds[name.kind as usize].get_mut(&name.bytes) else { return };
        let Some(listener) = feed.listeners.values().next() else { return };
        if !feed.listeners.values().any(|listener| *listener.party() == feed.party) {
            uncount(parties, &feed.party);
            feed.party = listener.party().clone();
            *parties.entry(feed.party.clone()).or_default() += 1;
        }
    }
}

fn uncount(parties: &mut HashMap<Party, usize>, party: &Party) {
    if let Some(count) = parties.get_mut(party) {
        *count -= 1;
        if *count == 0 {
            parties.remove(party);
        }
    }
}

impl Directory {
    pub(crate) fn new(settings: PubSubSettings, seen_by: Arc<Published>) -> Self {
        Self {
            contents: Mutex::new(Contents {
                backlog: Backlog::new(settings.backlog_bytes_max),
                number: 0,
                parties: HashMap::new(),
                feeds: Default::default(),
                links: BTreeMap::new(),
                links_made: 0,
                awaits_nodes: false,
                shards: None,
            }),
            settings,
            seen_by,
        }
    }

    /// Keys are at these nodes now.
    pub(super) fn are_at(&self, shards: Shards) {
        self.lock().shards = Some(shards);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn settings(&self) -> &PubSubSettings {
        &self.settings
    }

    /// Whether all that clients subscribe to is subscribed here, and not only events of nodes.
    pub(crate) fn is_for_all(&self) -> bool {
        self.settings.for_all
    }

    /// Nodes whose events are to be heard have yet to be found, or there are links to them by now.
    pub(crate) fn await_nodes(&self, awaits: bool) {
        let mut contents = self.lock();
        if std::mem::replace(&mut contents.awaits_nodes, awaits) && !awaits {
            contents.feeds.iter_mut().flat_map(|feeds| feeds.values_mut()).for_each(Feed::wake);
        }
    }

    /// Counts a session that was too slow.
    pub(crate) fn count_overrun(&self) {
        self.seen_by.counts.subscribers_overrun.add_one();
    }

    /// Lets others see how many feeds there are.
    pub(super) fn show(&self, contents: &Contents) {
        self.seen_by.counts.subscriptions.set(contents.len());
    }

    /// Channels, patterns and sharded channels for which there is a feed.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Makes a session a listener of `name`, of what comes after the message whose number is returned. Fails when there
    /// is no place for a further feed.
    pub(crate) fn join(&self, name: &Name, listener: &Arc<Queue>) -> Result<u64, Full> {
        let mut contents = self.lock();
        if contents.feed(name).is_none() {
            if contents.len() >= self.settings.subscriptions_max {
                return Err(Full::All);
            }
            if contents.parties.get(listener.party()).is_some_and(|count| *count >= self.settings.subscriptions_share) {
                return Err(Full::Share);
            }
            contents.add(name, listener.party());
            self.show(&contents);
        }
        let Contents { links, feeds, number, .. } = &mut *contents;
        let Some(feed) = feeds[name.kind as usize].get_mut(&name.bytes) else { return Err(Full::All) };
        feed.listeners.insert(listener.id(), Arc::clone(listener));
        for (link, state) in links.iter_mut().filter(|(_, state)| state.wants(name)) {
            let upstream = &mut feed.at(*link).upstream;
            match upstream {
                Upstream::Asked | Upstream::Confirmed => {}
                Upstream::Refused(_) | Upstream::Absent | Upstream::Leaving => {
                    if matches!(upstream, Upstream::Refused(_)) {
                        *upstream = Upstream::Absent;
                    }
                    state.has_changed(name);
                }
            }
        }
        Ok(*number)
    }

    /// Takes a session off the listeners of `name`. The last one's leaving ends the subscription.
    pub(crate) fn leave(&self, name: &Name, id: u64) {
        let mut contents = self.lock();
        let Some(feed) = contents.feed(name) else { return };
        feed.listeners.remove(&id);
        if !feed.listeners.is_empty() {
            return contents.recount(name);
        }
        if feed.is_over() {
            contents.remove(name);
            return self.show(&contents);
        }
        let Contents { links, feeds, .. } = &mut *contents;
        let Some(feed) = feeds[name.kind as usize].get_mut(&name.bytes) else { return };
        for (link, state) in links.iter_mut().filter(|(_, state)| state.wants(name)) {
            if matches!(feed.at(*link).upstream, Upstream::Asked | Upstream::Confirmed) {
                state.has_changed(name);
            }
        }
    }

    /// Whether all of `names` can be confirmed to a session that has joined them.
    pub(crate) fn joined<'n>(&self, names: impl IntoIterator<Item = &'n Name>) -> Joined {
        let mut contents = self.lock();
        let Contents { links, feeds, awaits_nodes, .. } = &mut *contents;
        let (mut joined, mut down) = (Joined::Confirmed, None);
        for name in names {
            let Some(feed) = feeds[name.kind as usize].get_mut(&name.bytes) else {
                return Joined::Refused("ERR no such subscription".into());
            };
            let mut served = true;
            for (link, state) in links.iter().filter(|(_, state)| state.wants(name)) {
                match &feed.at(*link).upstream {
                    Upstream::Confirmed => continue,
                    Upstream::Refused(text) => return Joined::Refused(Arc::clone(text)),
                    Upstream::Absent | Upstream::Asked | Upstream::Leaving => served = false,
                }
                if state.serves.is_main() {
                    down = down.or(state.down.as_ref());
                    joined = Joined::Waiting;
                } else if state.down.is_none() && joined == Joined::Confirmed {
                    joined = Joined::WaitingForNodes;
                }
            }
            feed.served |= served;
            if *awaits_nodes && joined == Joined::Confirmed && name.may_be_of_events() {
                joined = Joined::WaitingForNodes;
            }
        }
        match (joined, down) {
            (Joined::Waiting, Some(reason)) => Joined::Down(Arc::clone(reason)),
            (joined, _) => joined,
        }
    }
}
