//! The state machine: who gets the writes, and whether requests wait. A node is left for another one only for a
//! reason that is newer than the one for which it was chosen; so a former primary gets no write whatever it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Address, Awaited, Chosen, Event, Named, Patience, Role, Topology,
    policy::{
        heads::Heads,
        node::Node,
        replicas::{connected, replicas},
        sentinels::{Answer, Attempt, Sentinels},
        serving::{Serving, Successor},
    },
};

/// Nodes that are asked; further ones are left out.
const NODES_MAX: usize = 64;

/// How often the nodes should be asked for their role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Once a period.
    Calm,
    /// Every few milliseconds: requests wait for what they say.
    Fast,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Policy {
    patience: Patience,
    sentinels: Sentinels,
    nodes: BTreeMap<Address, Node>,
    serving: Option<Serving>,
    /// How far the serving node was.
    heads: Heads,
    /// Replicas that are named for it, beside those that are found.
    listed: Vec<Address>,
    /// Those that the serving node speaks of are asked too, and its primary should it become a replica.
    finds_others: bool,
    /// When a sentinel first named any primary.
    named_since: Option<Instant>,
    /// When something was first awaited, if it is.
    awaited_since: Option<Instant>,
    /// The epoch with which a sentinel names another than the serving node, and since when.
    contested: Option<(u64, Instant)>,
    topology: Topology,
}

impl Policy {
    /// Follows what these sentinels say of a service, and what its nodes say.
    pub fn sentinels(sentinels: impl IntoIterator<Item = Address>, patience: Patience) -> Self {
        let mut policy = Self::new(Sentinels::new(sentinels), patience);
        policy.topology.awaited = Some(Awaited::First);
        policy.topology.sentinels = policy.sentinels.len();
        policy
    }

    /// Follows a node that is named once, and its primary should it become a replica; and the replicas that are
    /// named, beside those that the primary knows.
    pub fn single(node: Address, listed: Vec<Address>, patience: Patience) -> Self {
        let mut policy = Self { listed, ..Self::new(Sentinels::default(), patience) };
        policy.go(Successor { address: node, epoch: 0, confirmed: true, chosen: Chosen::Configured });
        policy.publish(None);
        policy
    }

    /// Looks at a shard whose nodes somebody else names, at the addresses at which they can be asked.
    pub fn shard(primary: Address, replicas: Vec<Address>) -> Self {
        Self { finds_others: false, ..Self::single(primary, replicas, Patience::within(Duration::ZERO)) }
    }

    fn new(sentinels: Sentinels, patience: Patience) -> Self {
        Self {
            patience,
            sentinels,
            finds_others: true,
            nodes: BTreeMap::new(),
            serving: None,
            heads: Heads::default(),
            listed: Vec::new(),
            named_since: None,
            awaited_since: None,
            contested: None,
            topology: Topology::default(),
        }
    }

    /// Takes in news, and decides.
    pub fn on(&mut self, event: Event, now: Instant) {
        match event {
            Event::Heard { sentinel, message } => self.sentinels.heard(&sentinel, message, now),
            Event::Answered { sentinel, asked, id, named, replicas, peers } => {
                self.named_since.get_or_insert(now);
                self.sentinels.answered(&sentinel, Answer { asked, id, named, replicas, peers }, now);
            }
            Event::Silent { sentinel } => self.sentinels.silent(&sentinel),
            Event::Named { replicas } => self.listed = replicas,
            Event::Role { node, role, asked, history } => {
                self.measure(&node, &role, asked, history.as_ref());
                if let Some(known) = self.nodes.get_mut(&node) {
                    known.took(now.saturating_duration_since(asked));
                    known.says(role, now);
                }
            }
            Event::Gone { node } => {
                if let Some(known) = self.nodes.get_mut(&node) {
                    known.reachable = false;
                }
            }
            Event::Tick => {}
        }
        self.decide(now);
    }

    /// What is decided.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Sentinels to follow.
    pub fn sentinels_followed(&self) -> impl Iterator<Item = &Address> {
        self.sentinels.addresses()
    }

    /// Nodes to ask for their role.
    pub fn nodes_asked(&self) -> impl Iterator<Item = &Address> {
        self.nodes.keys()
    }

    /// How often to ask them.
    pub fn pace(&self, now: Instant) -> Pace {
        match self.awaited_since {
            Some(since) if now < since + self.patience.haste => Pace::Fast,
            Some(_) | None => Pace::Calm,
        }
    }

    /// When to come with [`Event::Tick`] if nothing happens before.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let patience = &self.patience;
        let serving = self.serving.as_ref();
        let attempts = serving.into_iter().flat_map(|serving| self.sentinels.attempts(&serving.address));
        let times = attempts
            .map(|attempt| attempt.since + patience.hold)
            .chain(self.nodes.values().filter_map(|node| Some(node.turned? + patience.explain)))
            .chain(serving.and_then(|serving| Some(serving.doubted? + patience.doubt)))
            .chain(self.contested.map(|(_, since)| since + patience.doubt))
            .chain(self.awaited_since.map(|since| since + patience.haste))
            .chain(self.named_since.map(|since| since + patience.settle));
        times.filter(|time| *time > now).min()
    }

    fn decide(&mut self, now: Instant) {
        self.follow_nodes();
        self.confirm(now);
        if let Some(successor) = self.successor(now) {
            self.topology.since = self.serving.as_ref().map(|_| now);
            self.go(successor);
            self.follow_nodes();
            self.confirm(now);
        }
        let contester = self.contester().map(|named| named.epoch);
        self.contested = match (contester, self.contested) {
            (Some(epoch), Some((known, since))) if epoch == known => Some((epoch, since)),
            (contester, _) => contester.map(|epoch| (epoch, now)),
        };
        let awaited = self.awaited(now);
        match awaited {
            Some(_) => self.awaited_since = self.awaited_since.or(Some(now)),
            None => self.awaited_since = None,
        }
        self.publish(awaited);
    }

    /// Takes in how far the primary is, or a replica.
    fn measure(&mut self, node: &Address, role: &Role, asked: Instant, history: Option<&Arc<str>>) {
        let Some(serving) = &self.serving else { return };
        let is_serving = serving.address == *node;
        let Some(known) = self.nodes.get_mut(node) else { return };
        known.caught_up = match role {
            Role::Primary { offset, .. } if is_serving => {
                self.heads.note(asked, history, *offset);
                Some(asked)
            }
            // Where nobody says whose history it is, the primary that it names has to do.
            Role::Replica { primary, linked: true, offset: Some(offset) }
                if history.is_some() || *primary == serving.address =>
            {
                self.heads.reached(history, *offset)
            }
            Role::Primary { .. } | Role::Replica { .. } | Role::Sentinel => None,
        };
    }

    /// Asks the nodes that matter now, and forgets the others.
    fn follow_nodes(&mut self) {
        let mut wanted: BTreeSet<Address> = self.serving.iter().map(|serving| serving.address.clone()).collect();
        wanted.extend(self.followed().filter(|_| self.finds_others).cloned());
        let known = self.serving.iter().flat_map(|serving| connected(&serving.address, &self.nodes));
        let known = known.filter(|_| self.finds_others && self.sentinels.len() == 0);
        for node in self.sentinels.nodes().chain(&self.listed).chain(known) {
            if wanted.len() < NODES_MAX {
                wanted.insert(node.clone());
            }
        }
        self.nodes.retain(|address, _| wanted.contains(address));
        for address in wanted {
            self.nodes.entry(address).or_default();
        }
    }

    /// The node that the serving one says it is a replica of.
    fn followed(&self) -> Option<&Address> {
        match &self.nodes.get(&self.serving.as_ref()?.address)?.role {
            Some(Role::Replica { primary, .. }) => Some(primary),
            Some(Role::Primary { .. } | Role::Sentinel) | None => None,
        }
    }

    /// Looks whether the serving node still proves itself and is named.
    fn confirm(&mut self, now: Instant) {
        let Some(serving) = &mut self.serving else { return };
        if let Some(epoch) = self.sentinels.epoch_of(&serving.address).filter(|epoch| *epoch >= serving.epoch) {
            serving.epoch = epoch;
            serving.confirmed = true;
        }
        let proves = self.nodes.get(&serving.address).is_some_and(Node::proves);
        if proves && serving.confirmed {
            serving.doubted = None;
        } else {
            serving.doubted.get_or_insert(now);
        }
    }

    fn successor(&self, now: Instant) -> Option<Successor> {
        self.primary_of_replica()
            .or_else(|| self.promoted())
            .or_else(|| self.named_newer(now))
            .or_else(|| self.agreed(now))
            .filter(|successor| self.serving.as_ref().is_none_or(|serving| serving.address != successor.address))
    }

    /// The serving node has become a replica, and its primary is one.
    fn primary_of_replica(&self) -> Option<Successor> {
        let (address, serving) = (self.followed()?, self.serving.as_ref()?);
        let successor = Successor {
            address: address.clone(),
            epoch: serving.epoch,
            // The sentinels, if there are any, learn of it later.
            confirmed: self.sentinels.len() == 0,
            chosen: Chosen::Followed,
        };
        self.proves(address).then_some(successor)
    }

    /// A sentinel has begun a failover, and one of the replicas turned primary since.
    fn promoted(&self) -> Option<Successor> {
        let serving = self.serving.as_ref()?;
        let is_promoted = |address: &Address, node: &Node, attempt: &Attempt| {
            let meant = attempt.selected.as_ref().is_none_or(|selected| selected == address);
            meant && node.proves() && node.primary_since.is_some_and(|since| since >= attempt.since)
        };
        let mut nodes = self.nodes.iter().filter(|(address, _)| **address != serving.address);
        let (address, _) = nodes.find(|(address, node)| {
            self.sentinels.attempts(&serving.address).any(|attempt| is_promoted(address, node, attempt))
        })?;
        let epoch = serving.epoch + 1;
        Some(Successor { address: address.clone(), epoch, confirmed: false, chosen: Chosen::Promoted })
    }

    /// A sentinel names another with a higher epoch, and it proves itself. At the start others get a moment to
    /// name a newer one.
    fn named_newer(&self, now: Instant) -> Option<Successor> {
        let named = self.sentinels.newest()?;
        let ready = match &self.serving {
            Some(serving) => named.epoch > serving.epoch,
            None => self.sentinels.all_tried() || self.named_since.is_some_and(|at| now >= at + self.patience.settle),
        };
        let (address, epoch) = (named.primary.clone(), named.epoch);
        let successor = Successor { address, epoch, confirmed: true, chosen: Chosen::Named };
        (ready && self.proves(&named.primary)).then_some(successor)
    }

    /// Most sentinels name another, whatever its epoch, and the serving node has been doubtful for too long. If one
    /// names yet another with a higher epoch, which proves itself, that is the newer word. A leader that is slow to tell the
    /// others whom it has promoted is waited for.
    fn agreed(&self, now: Instant) -> Option<Successor> {
        let doubted = match &self.serving {
            Some(serving) => serving.doubted?,
            None => self.named_since?,
        };
        let agreed = self.sentinels.agreed().filter(|_| now >= doubted + self.patience.doubt)?;
        let is_serving_proven = self.serving.as_ref().is_some_and(|serving| self.proves(&serving.address));
        if is_serving_proven && self.sentinels.is_left_by_one(&agreed.primary) {
            return None;
        }
        let newer = |named: &&Named| named.epoch > agreed.epoch && self.proves(&named.primary);
        let named = self.sentinels.newest().filter(newer).unwrap_or(agreed);
        let (address, epoch) = (named.primary.clone(), named.epoch);
        let successor = Successor { address, epoch, confirmed: true, chosen: Chosen::Agreed };
        self.proves(&named.primary).then_some(successor)
    }

    fn proves(&self, address: &Address) -> bool {
        self.nodes.get(address).is_some_and(Node::proves)
    }

    fn go(&mut self, successor: Successor) {
        let Successor { address, epoch, confirmed, chosen } = successor;
        self.topology.generation += 1;
        self.topology.chosen = Some(chosen);
        let former = self.serving.take().map(|serving| serving.address);
        if let Some(former) = &former {
            // What was heard and seen before has had its effect.
            if chosen == Chosen::Promoted {
                self.sentinels.spend_attempts(former);
            }
            self.sentinels.forget_attempts(!matches!(chosen, Chosen::Promoted | Chosen::Agreed));
            self.nodes.values_mut().for_each(|node| node.turned = None);
        }
        let instead_of = former.filter(|_| chosen == Chosen::Promoted);
        self.nodes.entry(address.clone()).or_default();
        self.heads.forget();
        self.nodes.values_mut().for_each(|node| node.caught_up = None);
        self.serving = Some(Serving { address, epoch, confirmed, doubted: None, instead_of });
    }

    /// What keeps requests from being sent now.
    fn awaited(&self, now: Instant) -> Option<Awaited> {
        let Some(serving) = &self.serving else { return Some(Awaited::First) };
        if let Some(at) = self.followed() {
            return Some(Awaited::Primary { of: serving.address.clone(), at: at.clone() });
        }
        if let Some(named) = self.contester().filter(|_| !self.is_outvoted(now)) {
            return Some(Awaited::Proof(named.primary.clone()));
        }
        if self.sentinels.attempts(&serving.address).any(|attempt| now < attempt.since + self.patience.hold) {
            return Some(Awaited::Failover(serving.address.clone()));
        }
        if self.is_forsaken(now) {
            return Some(Awaited::Confirmation(serving.address.clone()));
        }
        let unexplained = |node: &Node| {
            let turned = node.turned.filter(|turned| now < *turned + self.patience.explain);
            turned.is_some() && node.proves()
        };
        let mut others = self.nodes.iter().filter(|(address, _)| **address != serving.address);
        others.find(|(_, node)| unexplained(node)).map(|(address, _)| Awaited::Explanation(address.clone()))
    }

    /// Whether the sentinel that promoted the serving node has been lost, or has given up, before any other has heard of
    /// it: they stand by the former primary, which is one as before. What is written until one of the two is left is lost.
    fn is_forsaken(&self, now: Instant) -> bool {
        let Some(Serving { address, confirmed: false, instead_of: Some(former), doubted: Some(since), .. }) =
            &self.serving
        else {
            return false;
        };
        let is_confirmed_soon = || self.sentinels.is_left_by_one(former) || self.sentinels.is_named_by_one(address);
        now < *since + self.patience.doubt && self.proves(former) && !is_confirmed_soon()
    }

    /// What a sentinel says that names another node than the serving one, with a higher epoch.
    fn contester(&self) -> Option<&Named> {
        let serving = self.serving.as_ref()?;
        self.sentinels.newest().filter(|named| named.epoch > serving.epoch && named.primary != serving.address)
    }

    /// Whether most sentinels have stood by the serving node for so long that one with a higher epoch must be wrong.
    fn is_outvoted(&self, now: Instant) -> bool {
        let Some(serving) = &self.serving else { return false };
        let long = self.contested.is_some_and(|(_, since)| now >= since + self.patience.doubt);
        let agreed = self.sentinels.agreed().is_some_and(|named| named.primary == serving.address);
        long && agreed && self.proves(&serving.address)
    }

    fn publish(&mut self, awaited: Option<Awaited>) {
        let serving = self.serving.as_ref().map(|serving| &serving.address);
        let replicas = serving.map_or_else(Vec::new, |serving| replicas(serving, &self.nodes));
        let topology = &mut self.topology;
        topology.replicas = replicas;
        topology.primary = self.serving.as_ref().map(|serving| serving.address.clone());
        topology.epoch = self.serving.as_ref().map_or(0, |serving| serving.epoch);
        topology.proven =
            topology.primary.as_ref().and_then(|primary| self.nodes.get(primary)).is_some_and(Node::proves);
        topology.awaited = awaited;
        topology.round_trip =
            topology.primary.as_ref().and_then(|primary| self.nodes.get(primary)).and_then(|node| node.round_trip);
        (topology.sentinels_up, topology.sentinels) = (self.sentinels.up(), self.sentinels.len());
    }
}
