//! The task that owns what is known of the cluster, and publishes it as a map. It asks nodes for their views: now and then,
//! when a pool has lost its node or a reply speaks against what is known, and without pause while a shard has no primary.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use pool::{At, Control, Conversation, Key, Listed, NoPool, Pools};
use tokio::{
    sync::watch,
    task::{JoinSet, yield_now},
    time::{Instant, sleep_until, timeout_at},
};
use topology::{Address, Belief};

use crate::{
    cluster::ClusterSettings,
    following::{
        anchor::Anchor,
        asking::{Answer, Question, ask, candidates, sign_of_life},
        commands::Told,
        news::News,
        pace::Pace,
        trouble::Trouble,
    },
    map::{Map, Node},
};

/// How long a node may take before the next one is asked as well.
const STAGGER: Duration = Duration::from_millis(60);

/// How long a node may take to answer while a shard has no primary.
const TROUBLED: Duration = Duration::from_millis(200);

/// How long a node that is a primary no more, and answers, may take to answer what it has got.
const GRACE: Duration = Duration::from_millis(500);

/// Nodes that are asked at a time while a shard has no primary.
const ASKED_MAX: usize = 8;

/// See the module's documentation.
pub(crate) struct Keeper {
    settings: ClusterSettings,
    pools: Pools,
    runtimes: usize,
    published: Arc<watch::Sender<Arc<Map>>>,
    news: Arc<News>,
    belief: Belief,
    commands: Told,
    anchor: Anchor,
    /// Nodes that are primaries no more, and until when they may answer.
    leaving: BTreeMap<Address, Instant>,
    /// Since when there is no room for the pool of a primary.
    full_since: Option<Instant>,
    /// Connections on which nodes were asked and will be again.
    open: BTreeMap<Address, Conversation>,
    /// Which of the known nodes is asked next.
    turn: usize,
    trouble: Trouble,
    began: Instant,
    /// What was said last of why there is no map, or not the one that there should be.
    problem: Option<Arc<str>>,
}

impl Keeper {
    /// Goes on from what is published.
    pub(crate) fn new(
        settings: ClusterSettings,
        pools: Pools,
        runtimes: usize,
        published: Arc<watch::Sender<Arc<Map>>>,
        news: Arc<News>,
    ) -> Self {
        let map = Arc::clone(&published.borrow());
        let trouble = Trouble::new(pools.first().settings().failover_wait);
        let anchor = Anchor { node: map.anchor().cloned(), slot: map.anchor_slot };
        Self {
            settings,
            pools,
            runtimes,
            published,
            news,
            belief: Belief::of(map.layout.clone()),
            commands: Told::of(map.problem.is_none().then(|| Arc::clone(&map.commands))),
            anchor,
            leaving: BTreeMap::new(),
            full_since: None,
            open: BTreeMap::new(),
            turn: 0,
            trouble,
            began: Instant::now(),
            problem: None,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            let began = Instant::now();
            self.look().await;
            let pace = Pace::after(began, Instant::now(), self.trouble(), self.settings.refresh);
            self.listen(pace).await;
            yield_now().await;
        }
    }

    /// Since when primaries cannot be reached, or nothing was ever found.
    fn trouble(&self) -> Option<Instant> {
        self.trouble.since().or(self.belief.layout().shards().is_empty().then_some(self.began))
    }

    /// Hears what rounds are told, until it is time to look again.
    async fn listen(&mut self, mut pace: Pace) {
        let (news, pools) = (Arc::clone(&self.news), self.pools.clone());
        loop {
            let next = pace.next;
            let leaves = self.leaving.values().min().copied().unwrap_or(next).min(next);
            tokio::select! {
                () = sleep_until(leaves), if leaves < next => self.leave(),
                () = sleep_until(next) => return,
                () = news.doubted() => pace.doubted(),
                () = pools.fallen_silent() => {}
                Some((node, conversation)) = self.trouble.sign() => {
                    self.open.insert(node, conversation);
                    pace.lost();
                }
                () = news.command_missed() => if self.commands.miss() { pace.doubted() },
                words = news.spoken() => {
                    let mut are_known = true;
                    for word in words {
                        are_known &= self.belief.layout().has(&word.to);
                        self.belief.moved(word.slot, &word.to);
                    }
                    self.publish(false);
                    if !are_known {
                        pace.doubted();
                    }
                }
            }
            if self.notice_trouble() {
                pace.lost();
            }
        }
    }

    /// Where a node is reached from here.
    fn reached<'a>(&'a self, node: &'a Address) -> &'a Address {
        self.settings.reached(node)
    }

    /// The pools of primaries, with every login.
    fn pools_of_primaries(&self) -> Vec<(Address, Control)> {
        let shards = self.belief.layout().shards();
        let primaries: BTreeMap<&Address, &Address> =
            shards.iter().map(|shard| (self.reached(&shard.primary), &shard.primary)).collect();
        let of_primary = |listed: Listed| {
            let at = match listed.key.at {
                At::Upstream => self.reached(self.anchor.node.as_ref()?).clone(),
                At::Node { host, port } => Address::new(host.as_ref(), port),
                At::Replica { .. } => return None,
            };
            Some(((*primaries.get(&at)?).clone(), listed.control))
        };
        self.pools.all().into_iter().filter_map(of_primary).collect()
    }

    /// Sees which primaries give cause for concern; whether one is new among them.
    fn notice_trouble(&mut self) -> bool {
        let pools = self.pools_of_primaries();
        let is_news = self.trouble.notice(self.belief.layout(), &pools, Instant::now());
        for node in self.trouble.unasked() {
            let question = self.question(node.clone());
            self.trouble.await_sign(node, sign_of_life(question));
        }
        is_news
    }

    /// Asks for views and takes in what comes.
    async fn look(&mut self) {
        let look = News::look(&self.news);
        self.leave();
        self.notice_trouble();
        self.belief.looks();
        let (began, absent) = (Instant::now(), self.trouble.absent());
        let in_trouble = !absent.is_empty();
        let limit = self.pools.first().settings().connect_timeout;
        let deadline = Instant::now() + if in_trouble { limit.min(TROUBLED) } else { limit };
        self.turn = self.turn.wrapping_add(1);
        let (nodes, wanted) = candidates(self.belief.layout(), (&look.at, &absent), &self.settings.seeds, self.turn);
        let (mut asking, mut candidates) = (JoinSet::new(), nodes.into_iter().peekable());
        let (mut taken, mut problem) = (0, None);
        while taken < wanted {
            let at_once = if in_trouble { ASKED_MAX } else { 1 };
            while asking.len() < at_once
                && let Some(node) = candidates.next()
            {
                asking.spawn(self.ask(node));
            }
            if asking.is_empty() {
                break;
            }
            let until = if candidates.peek().is_some() { deadline.min(Instant::now() + STAGGER) } else { deadline };
            match timeout_at(until, asking.join_next()).await {
                Ok(Some(Ok(Ok(answer)))) => match self.take(answer).await {
                    Ok(()) => taken += 1,
                    Err(why) => problem = Some(why),
                },
                Ok(Some(Ok(Err(why)))) => problem = Some(why),
                // A panic is a bug, and says so by itself.
                Ok(Some(Err(_)) | None) => {}
                // It takes its time; another one is asked as well.
                Err(_) => match candidates.next() {
                    Some(node) => drop(asking.spawn(self.ask(node))),
                    None => break,
                },
            }
        }
        if self.belief.layout().shards().is_empty() {
            let silent = || format!("no node of the cluster answers within {} ms", limit.as_millis());
            self.cannot(problem.unwrap_or_else(silent));
        }
        self.publish(self.next_anchor().is_some());
        let pools = self.pools_of_primaries();
        self.trouble.looked(&pools, began, taken > 0);
    }

    /// Has those who wait for a map, and the log, know why there is none, or not the one that there should be.
    fn cannot(&mut self, why: String) {
        if self.problem.as_deref() == Some(&*why) {
            return;
        }
        tracing::warn!(reason = why, "cluster cannot be followed");
        let why = self.problem.insert(why.into());
        self.published.send_if_modified(|map| {
            let is_none = map.problem.is_some();
            if is_none {
                *map = Arc::new(Map { problem: Some(Arc::clone(why)), ..Map::default() });
            }
            is_none
        });
    }

    /// Asks one node for its view of the cluster.
    fn ask(&mut self, node: Address) -> impl Future<Output = Result<Answer, String>> + Send + use<> {
        ask(self.question(node))
    }

    fn question(&mut self, node: Address) -> Question {
        let settings = self.pools.first().settings();
        let at = self.reached(&node);
        let endpoint = settings.endpoint.at(at.host.clone(), at.port);
        let (open, asked) = (self.open.remove(&node), self.belief.asks());
        Question { node, endpoint, limit: settings.connect_timeout, asked, open }
    }

    /// Takes in a view; otherwise says why it is none to go by.
    async fn take(&mut self, answer: Answer) -> Result<(), String> {
        let Answer { node, asked, mut conversation, view } = answer;
        if view.layout.shards().is_empty() {
            return Err(format!("{node}: it knows of no node that has a slot"));
        }
        let failing = view.failing.clone();
        let is_believed = self.belief.views(asked, view);
        if is_believed {
            self.trouble.failing = failing;
        }
        // What it says of commands may be long in coming.
        self.publish(false);
        let limit = self.pools.first().settings().connect_timeout;
        let learned = self.commands.learn(&mut conversation, limit).await;
        if learned.map_err(|problem| format!("{node}: {problem}"))? {
            self.publish(true);
        }
        let said = if is_believed { Ok(()) } else { Err(format!("{node}: it knows less than others")) };
        self.open.insert(node, conversation);
        said
    }

    /// Has the pools follow, and shows what is known.
    fn publish(&mut self, again: bool) {
        let layout = self.belief.layout();
        let Some(commands) = self.commands.known().filter(|_| !layout.shards().is_empty()) else { return };
        let before = Arc::clone(&self.published.borrow());
        if before.layout.generation == layout.generation && !again {
            return;
        }
        self.note_leaving(&before);
        self.seat_anchor();
        let layout = self.belief.layout().clone();
        let mut nodes = Vec::with_capacity(layout.shards().len());
        for shard in layout.shards() {
            let address = &shard.primary;
            let is_anchor = self.anchor.node.as_ref() == Some(address);
            let node = match before.node_at(address).filter(|node| node.is_first == is_anchor) {
                Some(node) => Arc::clone(node),
                None => match self.enter(address, is_anchor) {
                    Ok(node) => {
                        self.commands.renew();
                        Arc::new(node)
                    }
                    Err(NoPool::Closed) => return,
                    // Those of former primaries are in use, until they have had their moment.
                    Err(NoPool::Full(_)) if self.full_since.get_or_insert_with(Instant::now).elapsed() < 2 * GRACE => {
                        return;
                    }
                    Err(error) => return self.cannot(format!("{address}: no pool for it: {error}")),
                },
            };
            nodes.push(node);
        }
        (self.problem, self.full_since) = (None, None);
        self.tell(&before, &layout);
        let (anchor_slot, is_shown) = (self.anchor.slot, self.settings.is_shown);
        self.published.send_replace(Arc::new(Map { layout, commands, nodes, anchor_slot, is_shown, problem: None }));
        self.leave();
        let members: BTreeSet<&Address> = self.belief.layout().members().collect();
        self.open.retain(|node, _| members.contains(node) || self.settings.seeds.contains(node));
    }

    /// What the anchor is to be now, if that is another.
    fn next_anchor(&self) -> Option<Anchor> {
        let is_leaving = self.anchor.node.as_ref().is_some_and(|node| self.leaving.contains_key(node));
        self.anchor.next(self.belief.layout(), &self.trouble, is_leaving, Instant::now())
    }

    /// Has the first pool go where the anchor is to be.
    fn seat_anchor(&mut self) {
        let Some(next) = self.next_anchor() else { return };
        let Some(node) = &next.node else { return };
        let at = self.reached(node);
        self.pools.go(&at.host, at.port);
        self.pools.hold(None);
        self.anchor = next;
    }

    /// Notes which nodes are primaries no more. One that answers has a moment to do so: it sends elsewhere what it has
    /// not executed.
    fn note_leaving(&mut self, before: &Map) {
        let now = Instant::now();
        let shards = self.belief.layout().shards();
        let is_primary = |node: &Address| shards.iter().any(|shard| shard.primary == *node);
        self.leaving.retain(|node, _| !is_primary(node));
        for node in before.nodes.iter().map(|node| &node.address).filter(|node| !is_primary(node)) {
            let grace = if self.trouble.is_lost(node) { Duration::ZERO } else { GRACE };
            self.leaving.entry(node.clone()).or_insert(now + grace);
        }
    }

    /// Ends what is under way at nodes that have had their moment: their replies may never come.
    fn leave(&mut self) {
        let now = Instant::now();
        let over: Vec<Address> =
            self.leaving.iter().filter(|(_, until)| now >= **until).map(|(node, _)| node.clone()).collect();
        for node in &over {
            self.leaving.remove(node);
            if self.anchor.node.as_ref() == Some(node) {
                self.publish(true);
                continue;
            }
            let at = self.reached(node);
            let reason: Arc<str> = format!("{node} is not a primary any more").into();
            self.pools.at(&Key::node(at.host.as_str(), at.port).at, |control| {
                control.hold(Some(Arc::clone(&reason)));
                control.go(&at.host, at.port);
            });
        }
    }

    fn enter(&self, address: &Address, is_anchor: bool) -> Result<Node, NoPool> {
        let at = self.reached(address);
        let key = if is_anchor { Key::default() } else { Key::node(at.host.as_str(), at.port) };
        let node = Node::new(address.clone(), key, &self.pools, self.runtimes)?;
        if !is_anchor {
            self.pools.at(&node.key().at, |control| control.hold(None));
        }
        Ok(node)
    }

    /// One line for each change that an operator may ask about.
    fn tell(&self, before: &Map, now: &topology::Layout) {
        let primaries = |layout: &topology::Layout| -> Vec<String> {
            layout.shards().iter().map(|shard| shard.primary.to_string()).collect()
        };
        let (old, new) = (primaries(&before.layout), primaries(now));
        if old != new {
            tracing::info!(
                primaries = new.join(","),
                before = old.join(","),
                generation = now.generation,
                uncovered_slots = now.uncovered(),
                "cluster has other primaries"
            );
        } else {
            tracing::debug!(generation = now.generation, "slots of the cluster have moved");
        }
    }
}
