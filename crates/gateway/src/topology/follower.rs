//! The task that owns the topology: hears the links, lets the policy decide, publishes what it decided, and has the
//! pools follow. It starts and ends a link for each sentinel and each node that matters.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use ::topology::{Address, Chosen, Event, Pace, Patience, Policy, Topology};
use cluster::Cluster;
use pool::Pools;
use settings::{GatewaySettings, ReadSettings, SentinelSettings, SingleSettings};
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{sleep, sleep_until},
};

use crate::{
    observe::{published::Published, sharing::nodes::Nodes},
    topology::{
        node_link::NodeLink, pace::Wanted, readers::Replicas, sentinel_link::SentinelLink, shards::follow_shards,
    },
};

/// Events that wait to be heard. A link waits with a further one.
const NEWS_MAX: usize = 64;

/// How long a former primary that calls itself a replica has to answer what it was sent before.
const REFUSES_FOR: Duration = Duration::from_secs(1);

/// The running task.
#[derive(Debug)]
pub(crate) struct Follower {
    task: JoinHandle<()>,
}

/// Whom it follows, and how.
#[derive(Debug, Clone)]
pub(super) struct Followed {
    pub(super) by: By,
    pub(super) reads: Option<ReadSettings>,
    /// How often nodes are asked when nothing happens.
    pub(super) period: Duration,
}

#[derive(Debug, Clone)]
pub(super) enum By {
    /// Sentinels name the primary.
    Sentinels(SentinelSettings),
    /// The URL does. Requests do not follow the primary: they go where the URL leads.
    Url(SingleSettings),
    /// The cluster does, one of whose shards has this primary and, for now, these replicas. It says where requests go.
    Shard(Cluster, Address, watch::Receiver<Vec<Address>>),
}

impl Follower {
    /// Starts it, if there is anybody to follow. Until it has found a primary the pools hold all requests.
    pub(crate) fn start(settings: &GatewaySettings, pools: Pools, published: Arc<Published>) -> Option<Self> {
        let reads = settings.session.reads;
        if let (Some(cluster), Some(reads)) = (published.cluster.get(), reads) {
            let task = follow_shards(cluster.clone(), reads, pools, Arc::clone(&published));
            return Some(Self { task: tokio::spawn(task) });
        }
        let (refresh, by) = match (settings.sentinel.clone(), settings.single.clone()) {
            (Some(sentinel), _) => (sentinel.refresh, By::Sentinels(sentinel)),
            (None, Some(single)) => (single.refresh, By::Url(single)),
            (None, None) => return None,
        };
        let period = reads.map_or(refresh, |reads| refresh.min(reads.period()));
        let followed = Followed { by, reads, period };
        Some(Self { task: tokio::spawn(keep_running(followed, pools, Arc::clone(&published.nodes))) })
    }

    /// Ends it and closes its connections.
    pub(crate) async fn end(self) {
        self.task.abort();
        // It ends by being aborted, as nothing else ends it.
        let _ = self.task.await;
    }
}

/// Starts the task anew if it panics, which is a bug; the pools stay where they were.
pub(super) async fn keep_running(followed: Followed, pools: Pools, shown: Arc<Nodes>) {
    // Ends what it holds when it is dropped.
    let mut tasks = JoinSet::new();
    loop {
        tasks.spawn(Owner::new(followed.clone(), pools.clone(), Arc::clone(&shown)).run());
        if let Some(Err(error)) = tasks.join_next().await {
            tracing::error!(%error, "following the primary ended unexpectedly, starting it anew");
        }
    }
}

struct Owner {
    followed: Followed,
    pools: Pools,
    policy: Policy,
    /// Where it shows what it knows.
    shown: Arc<Nodes>,
    wanted: watch::Sender<Wanted>,
    /// For the links; we keep one, so that it never closes.
    to_us: mpsc::Sender<Event>,
    news: mpsc::Receiver<Event>,
    sentinels: BTreeMap<Address, AbortHandle>,
    nodes: BTreeMap<Address, AbortHandle>,
    links: JoinSet<()>,
    /// Where reads may go to them.
    replicas: Option<Replicas>,
}

impl Owner {
    fn new(followed: Followed, pools: Pools, shown: Arc<Nodes>) -> Self {
        let (to_us, news) = mpsc::channel(NEWS_MAX);
        let policy = match &followed.by {
            By::Sentinels(by) => Policy::sentinels(by.sentinels.iter().cloned(), Patience::within(by.failover_wait)),
            By::Url(single) => {
                let (primary, replicas) = (single.primary.clone(), single.replicas.clone());
                Policy::single(primary, replicas, Patience::within(Duration::ZERO))
            }
            By::Shard(_, primary, named) => Policy::shard(primary.clone(), named.borrow().clone()),
        };
        let cluster = match &followed.by {
            By::Shard(cluster, ..) => Some(cluster.clone()),
            By::Sentinels(_) | By::Url(_) => None,
        };
        let replicas = followed.reads.map(|_| Replicas::new(pools.clone(), Arc::clone(&shown), cluster));
        Self {
            policy,
            followed,
            pools,
            shown,
            wanted: watch::Sender::new(Wanted { pace: Pace::Fast, round: 0 }),
            to_us,
            news,
            sentinels: BTreeMap::new(),
            nodes: BTreeMap::new(),
            links: JoinSet::new(),
            replicas,
        }
    }

    async fn run(mut self) {
        let mut upstream = self.pools.first().upstream();
        loop {
            self.follow();
            self.publish();
            let deadline = self.policy.deadline(Instant::now());
            tokio::select! {
                event = self.news.recv() => {
                    if let Some(event) = event {
                        self.policy.on(event, Instant::now());
                    }
                }
                replicas = named(&mut self.followed.by) => self.policy.on(Event::Named { replicas }, Instant::now()),
                () = until(deadline) => self.policy.on(Event::Tick, Instant::now()),
                // The pool has lost its connections, or found some: what the others know is worth asking.
                changed = upstream.changed() => match changed {
                    Ok(()) => self.wanted.send_modify(|wanted| wanted.round += 1),
                    Err(_) => return,
                },
                Some(ended) = self.links.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a link of the topology ended unexpectedly");
                        // All begin anew, the one that is missing with them.
                        return;
                    }
                }
            }
        }
    }

    /// Has a link for each that matters, and none for others.
    fn follow(&mut self) {
        let pace = self.policy.pace(Instant::now());
        self.wanted.send_if_modified(|wanted| std::mem::replace(&mut wanted.pace, pace) != pace);
        let sentinels: Vec<Address> = self.policy.sentinels_followed().cloned().collect();
        let nodes: Vec<Address> = self.policy.nodes_asked().cloned().collect();
        end_others(&mut self.sentinels, &sentinels);
        end_others(&mut self.nodes, &nodes);
        for sentinel in sentinels {
            if !self.sentinels.contains_key(&sentinel) {
                let Some(link) = self.sentinel_link(&sentinel) else { continue };
                self.sentinels.insert(sentinel, self.links.spawn(link.run()));
            }
        }
        for node in nodes {
            if !self.nodes.contains_key(&node) {
                let link = self.node_link(&node).run();
                self.nodes.insert(node, self.links.spawn(link));
            }
        }
    }

    fn sentinel_link(&self, sentinel: &Address) -> Option<SentinelLink> {
        let By::Sentinels(settings) = &self.followed.by else { return None };
        Some(SentinelLink {
            endpoint: settings.login.at(sentinel.host.clone(), sentinel.port),
            sentinel: sentinel.clone(),
            service: Arc::clone(&settings.service),
            limit: self.pools.first().settings().connect_timeout,
            period: settings.refresh,
            wanted: self.wanted.subscribe(),
            news: self.to_us.clone(),
        })
    }

    fn node_link(&self, node: &Address) -> NodeLink {
        let at = match &self.followed.by {
            By::Shard(cluster, ..) => cluster.reached(node),
            By::Sentinels(_) | By::Url(_) => node,
        };
        NodeLink {
            node: node.clone(),
            at: at.clone(),
            pool: self.pools.first().clone(),
            period: self.followed.period,
            asks_history: self.followed.reads.is_some(),
            wanted: self.wanted.subscribe(),
            news: self.to_us.clone(),
        }
    }

    /// Shows what is decided, and has the pools follow.
    fn publish(&mut self) {
        let now = self.policy.topology();
        let before = self.shown.topology.borrow().clone();
        if before.as_deref() == Some(now) {
            return;
        }
        self.shown.topology.send_replace(Some(Arc::new(now.clone())));
        let before = before.unwrap_or_default();
        match &self.followed.by {
            By::Shard(..) => tell_of_replicas(&before, now),
            By::Sentinels(_) | By::Url(_) => tell(&before, now),
        }
        if let Some(replicas) = &mut self.replicas {
            replicas.follow(now);
        }
        if matches!(self.followed.by, By::Url(_) | By::Shard(..)) {
            return;
        }
        if now.generation != before.generation
            && let Some(primary) = &now.primary
        {
            let former = self.pools.go(&primary.host, primary.port);
            if now.chosen == Some(Chosen::Followed) {
                // It refuses what it was sent, which is asked again.
                let limit = self.pools.first().settings().failover_wait.min(REFUSES_FOR);
                self.links.spawn(async move {
                    sleep(limit).await;
                    drop(former);
                });
            }
        }
        if now.awaited != before.awaited {
            let reason = now.awaited.as_ref().map(|awaited| awaited.to_string().into());
            self.pools.hold(reason.as_ref());
        }
    }
}

fn end_others(links: &mut BTreeMap<Address, AbortHandle>, wanted: &[Address]) {
    links.retain(|address, link| {
        let stays = wanted.contains(address);
        if !stays {
            link.abort();
        }
        stays
    });
}

/// One line for each change that an operator may ask about.
fn tell(before: &Topology, now: &Topology) {
    if now.generation != before.generation {
        let shown = |address: &Option<Address>| address.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::info!(
            primary = shown(&now.primary),
            generation = now.generation,
            epoch = now.epoch,
            before = shown(&before.primary),
            why = now.chosen.map_or("", Chosen::name),
            replicas = replicas(now),
            "primary is another"
        );
    }
    if now.proven != before.proven && now.generation == before.generation && now.primary.is_some() {
        let primary = now.primary.as_ref().map(ToString::to_string).unwrap_or_default();
        if now.proven {
            tracing::info!(primary, generation = now.generation, "primary proves itself again");
        } else {
            tracing::info!(primary, generation = now.generation, "primary does not say that it is one");
        }
    }
    tell_of_replicas(before, now);
    match (&before.awaited, &now.awaited) {
        (before, Some(awaited)) if before.as_ref() != Some(awaited) => {
            tracing::info!(awaited = %awaited, "requests wait");
        }
        (Some(_), None) => tracing::info!("requests go on"),
        _ => {}
    }
}

fn tell_of_replicas(before: &Topology, now: &Topology) {
    // All are told of together with another primary, and may not be known until then.
    if now.generation != before.generation || now.awaited.is_some() {
        return;
    }
    let linked = |topology: &Topology, address: &Address| {
        topology.replicas.iter().find(|replica| replica.address == *address).map(|replica| replica.linked)
    };
    for replica in &now.replicas {
        let (replica, is_linked, lag_bytes) = (&replica.address, replica.linked, replica.behind);
        match linked(before, replica) {
            Some(was_linked) if was_linked == is_linked => {}
            _ if is_linked => tracing::info!(%replica, lag_bytes, "replica follows the primary"),
            Some(_) => tracing::info!(%replica, "replica does not follow the primary any more"),
            None => tracing::info!(%replica, "replica does not follow the primary yet"),
        }
    }
    for replica in before.replicas.iter().map(|replica| &replica.address) {
        if linked(now, replica).is_none() {
            tracing::info!(%replica, "replica is gone");
        }
    }
}

/// As `address +bytes` each: how far they are behind.
fn replicas(topology: &Topology) -> String {
    let shown = topology.replicas.iter().map(|replica| match replica.behind {
        Some(behind) if replica.linked => format!("{} +{behind}", replica.address),
        Some(_) | None => format!("{} not linked", replica.address),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The replicas of a shard, once they are others.
async fn named(by: &mut By) -> Vec<Address> {
    if let By::Shard(_, _, named) = by
        && named.changed().await.is_ok()
    {
        return named.borrow_and_update().clone();
    }
    std::future::pending().await
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
