//! The links of shared pub/sub: one to the upstream, where one connection subscribes for all clients, and, where the
//! upstream is a cluster, one for the events of each other primary, as primaries come and go. The gateway ends them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cluster::{Cluster, Map};
use pool::Caller;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use topology::{Address, Layout};

use crate::{
    config::live_settings::LiveSettings,
    pubsub::{
        directory::Directory,
        link::{Link, Serves},
        shared_connection::{To, keep_running},
    },
};

/// How long at most it takes until what is known of a failover is whole, and half of how long who was a replica may still
/// be one.
const SETTLES: Duration = Duration::from_secs(5);

/// The running tasks.
#[derive(Debug)]
pub(crate) struct SharedPubSub {
    tasks: JoinSet<()>,
}

impl SharedPubSub {
    /// Starts them; each connects once there is something for it to subscribe to.
    pub(crate) fn start(
        directory: &Arc<Directory>,
        caller: Caller,
        cluster: Option<&Cluster>,
        settings: LiveSettings,
    ) -> Self {
        let mut tasks = JoinSet::new();
        if directory.is_for_all() {
            tasks.spawn(keep_running(Link::new(directory, Serves::All), To::Upstream(caller), settings.clone()));
        }
        if let Some(cluster) = cluster {
            directory.await_nodes(true);
            tasks.spawn(follow(Arc::clone(directory), cluster.clone(), settings));
        }
        Self { tasks }
    }

    /// Ends them and closes their connections, after the sessions have ended.
    pub(crate) async fn end(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Has a link to each primary of the cluster but the first, where all else comes from.
async fn follow(directory: Arc<Directory>, cluster: Cluster, settings: LiveSettings) {
    let (mut map, mut kin, mut first) = (cluster.watch(), Kin::default(), None);
    // Each ends its task when it is dropped.
    let mut links: BTreeMap<Address, JoinSet<()>> = BTreeMap::new();
    loop {
        let now = Arc::clone(&map.borrow_and_update());
        let nodes: Vec<_> = now.nodes().iter().filter(|node| !node.is_first()).collect();
        links.retain(|link, _| nodes.iter().any(|node| node.address() == link));
        kin.look(now.layout());
        // While one takes over there may be none, and subscribers are still at the former one.
        first = now.nodes().iter().find(|node| node.is_first()).map(|node| node.address().clone()).or(first);
        directory.are_at(Shards { map: Arc::clone(&now), first: first.clone(), kin: kin.clone() });
        for node in nodes {
            links.entry(node.address().clone()).or_insert_with(|| {
                let serves = Serves::Events(node.address().clone());
                let (link, mut task) = (Link::new(&directory, serves), JoinSet::new());
                task.spawn(keep_running(link, To::Node(Arc::clone(node)), settings.clone()));
                task
            });
        }
        if now.problem().is_none() {
            directory.await_nodes(false);
        }
        if let Ok(Err(_)) = timeout(SETTLES, map.changed()).await {
            return;
        }
    }
}

/// Of each node that is a replica, or was just now: of which primary, and until when that counts. A replica tells the same
/// events as its primary, and what is known of a failover comes slot by slot at first.
#[derive(Debug, Clone, Default)]
struct Kin(BTreeMap<Address, (Address, Instant)>);

impl Kin {
    fn look(&mut self, layout: &Layout) {
        let now = Instant::now();
        self.0.retain(|_, (_, until)| now < *until);
        for shard in layout.shards() {
            let is_primary = |node: &&Address| layout.shards().iter().any(|shard| shard.primary == **node);
            for replica in shard.replicas.iter().filter(|replica| !is_primary(replica)) {
                // Looked at again before that is over.
                self.0.insert(replica.clone(), (shard.primary.clone(), now + 2 * SETTLES));
            }
        }
    }

    fn are(&self, one: &Address, other: &Address) -> bool {
        let primary = |node| self.0.get(node).map_or(node, |(primary, _)| primary);
        primary(one) == primary(other) || primary(one) == other || one == primary(other)
    }
}

/// Which node has which slot, and which nodes tell the same.
#[derive(Debug)]
pub(super) struct Shards {
    map: Arc<Map>,
    /// Where all else comes from.
    first: Option<Address>,
    kin: Kin,
}

impl Shards {
    /// Whether what `node` tells of a key is heard from nobody else: `is_up` says which nodes are heard, the first one being
    /// none of them.
    pub(super) fn are_told_by(&self, node: &Address, key: &[u8], is_up: impl Fn(Option<&Address>) -> bool) -> bool {
        let owner = self.map.layout().primary_of(cluster::slot(key));
        let told_by_first = self.first.as_ref().is_some_and(|first| self.kin.are(node, first) && is_up(None));
        let told_by_owner = owner.is_some_and(|owner| owner != node && self.kin.are(node, owner) && is_up(Some(owner)));
        !told_by_first && !told_by_owner
    }
}
