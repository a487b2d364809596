//! Which primaries give cause to ask others: those that cannot be reached or have failed, and those that are silent, of
//! which nobody knows whether they are primaries still. What a silent one says when it wakes is heard only once others
//! have confirmed, later than its first sign of life, that it has not been replaced. It is told what the time is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pool::{Control, Conversation, Upstream};
use tokio::{task::JoinSet, time::Instant};
use topology::{Address, Layout};

/// A primary that gives a sign of life within this time, on a connection of its own, is busy with what it was asked on
/// others, and is believed.
const SIGN: Duration = Duration::from_millis(50);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// Primaries that cannot be reached, or that their cluster thinks have failed.
    missing: BTreeSet<Address>,
    missing_since: Option<Instant>,
    /// Those of them that do not answer, and since when: others load their data, or have become replicas.
    gone: BTreeMap<Address, Instant>,
    /// As the last view says.
    pub(crate) failing: Vec<Address>,
    silent: BTreeMap<Address, Silence>,
    /// Silent ones that are asked for a sign of life.
    signs: JoinSet<(Address, Option<Conversation>)>,
    /// One that has woken may be replaced for so long, if others think that it has failed, or do not say.
    patience: Duration,
}

/// Of a primary.
#[derive(Debug)]
struct Silence {
    since: Instant,
    is_asked: bool,
    /// Its first sign of life.
    woke: Option<Instant>,
    /// It has given no sign for so long that it is not believed.
    is_distrusted: bool,
}

impl Trouble {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            missing: BTreeSet::new(),
            missing_since: None,
            gone: BTreeMap::new(),
            failing: Vec::new(),
            silent: BTreeMap::new(),
            signs: JoinSet::new(),
            patience,
        }
    }

    /// Since when there is any.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.silent.values().map(|silence| silence.since).chain(self.missing_since).max()
    }

    /// Whom to ask nothing about the cluster, and whose replicas to ask.
    pub(crate) fn absent(&self) -> BTreeSet<Address> {
        self.missing.iter().chain(self.silent.keys()).cloned().collect()
    }

    /// Whether nothing that a node still has to say is to be waited for.
    pub(crate) fn is_lost(&self, node: &Address) -> bool {
        self.gone.contains_key(node) || self.silent.get(node).is_some_and(|silence| silence.is_distrusted)
    }

    /// Whether a node has been gone for so long that what need not be there is to go elsewhere, in time for what waits for it.
    pub(crate) fn is_given_up(&self, node: &Address, now: Instant) -> bool {
        self.gone.get(node).is_some_and(|since| now >= *since + self.patience / 2)
    }

    /// Sees how primaries are by their pools; whether one is new among those that give cause for concern.
    pub(crate) fn notice(&mut self, layout: &Layout, pools: &[(Address, Control)], now: Instant) -> bool {
        let mut missing: BTreeSet<Address> = layout
            .shards()
            .iter()
            .map(|shard| &shard.primary)
            .filter(|node| self.failing.contains(node))
            .cloned()
            .collect();
        let is_down = |control: &Control| matches!(*control.upstream().borrow(), Upstream::Down(_));
        let is_unready = |control: &Control| matches!(*control.upstream().borrow(), Upstream::Unready { .. });
        // Whether a user is let in says nothing of the node.
        let own = || pools.iter().filter(|(_, control)| control.is_own());
        missing.extend(own().filter(|(_, control)| is_down(control)).map(|(node, _)| node.clone()));
        self.gone.retain(|node, _| missing.contains(node));
        for node in &missing {
            self.gone.entry(node.clone()).or_insert(now);
        }
        missing.extend(own().filter(|(_, control)| is_unready(control)).map(|(node, _)| node.clone()));
        let is_news = missing.iter().any(|address| !self.missing.contains(address));
        self.missing = missing;
        self.missing_since = match (self.missing.is_empty(), self.missing_since) {
            (true, _) => None,
            (false, Some(since)) if !is_news => Some(since),
            (false, _) => Some(now),
        };
        self.notice_silence(layout, pools, now) || is_news
    }

    fn notice_silence(&mut self, layout: &Layout, pools: &[(Address, Control)], now: Instant) -> bool {
        // Somebody else has to be there to ask.
        let is_watched = |node: &Address| {
            layout.members().nth(1).is_some() && layout.shards().iter().any(|shard| shard.primary == *node)
        };
        let before = self.silent.len();
        for (node, _) in pools.iter().filter(|(node, control)| control.is_silent() && is_watched(node)) {
            let fresh = || Silence { since: now, is_asked: false, woke: None, is_distrusted: false };
            self.silent.entry(node.clone()).or_insert_with(fresh);
        }
        let is_news = self.silent.len() > before;
        let over: Vec<Address> = self.silent.keys().filter(|node| !is_watched(node)).cloned().collect();
        over.iter().for_each(|node| self.explained(node, pools));
        for (node, silence) in &mut self.silent {
            silence.is_distrusted |= silence.woke.is_none() && now >= silence.since + SIGN;
            if silence.is_distrusted {
                pools.iter().filter(|(of, _)| of == node).for_each(|(_, control)| control.distrust());
            }
        }
        is_news
    }

    /// Silent ones that are to be asked for a sign of life.
    pub(crate) fn unasked(&mut self) -> Vec<Address> {
        let unasked = self.silent.iter_mut().filter(|(_, silence)| !silence.is_asked && silence.woke.is_none());
        unasked
            .map(|(node, silence)| {
                silence.is_asked = true;
                node.clone()
            })
            .collect()
    }

    /// Waits for the sign, which says that it is awake, and nothing else.
    pub(crate) fn await_sign(
        &mut self,
        node: Address,
        asking: impl Future<Output = Option<Conversation>> + Send + 'static,
    ) {
        self.signs.spawn(async move { (node, asking.await) });
    }

    /// The next node that has woken, with the connection to it; `None` at once if none is asked, or one did not answer.
    /// Cancel-safe.
    pub(crate) async fn sign(&mut self) -> Option<(Address, Conversation)> {
        // A panic is a bug, and says so by itself.
        let (node, conversation) = self.signs.join_next().await?.ok()?;
        if let Some(silence) = self.silent.get_mut(&node) {
            silence.is_asked = false;
            silence.woke = conversation.is_some().then(Instant::now);
        }
        Some((node, conversation?))
    }

    /// Others have been asked since `began`, and what they say is known, if they did. Trusts those that woke before and
    /// have not been replaced, and those that were awake.
    pub(crate) fn looked(&mut self, pools: &[(Address, Control)], began: Instant, have_answered: bool) {
        let (failing, patience) = (&self.failing, self.patience);
        let explained = |node: &Address, silence: &Silence| {
            silence.woke.is_some_and(|woke| {
                let may_be_replaced = (failing.contains(node) || !have_answered) && began < woke + patience;
                !silence.is_distrusted || (woke <= began && !may_be_replaced)
            })
        };
        let over: Vec<Address> = self
            .silent
            .iter()
            .filter(|(node, silence)| explained(node, silence))
            .map(|(node, _)| node.clone())
            .collect();
        over.iter().for_each(|node| self.explained(node, pools));
    }

    fn explained(&mut self, node: &Address, pools: &[(Address, Control)]) {
        self.silent.remove(node);
        pools.iter().filter(|(of, _)| of == node).for_each(|(_, control)| control.trust());
    }
}
