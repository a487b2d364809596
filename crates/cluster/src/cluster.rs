//! The handle to a cluster, for those who send requests and those who look on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pool::{JobError, Key, Pools, Settings};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};
use topology::Address;

use crate::{
    following::{
        keeper::Keeper,
        news::{News, Word},
    },
    map::{Map, Node},
    scripts::Scripts,
};

/// How long a node that may be a primary no more has to turn out to be none.
const TURNS_OUT: Duration = Duration::from_secs(1);

/// How a cluster is found and followed.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Nodes that are asked first; any of them may be down.
    pub seeds: Vec<Address>,
    /// How often a node is asked for its view when nothing happens.
    pub refresh: Duration,
    /// For the address that a node announces, the one at which it is reached from here, where that is another.
    pub reached_at: BTreeMap<Address, Address>,
    /// Bytes of the texts of scripts that are kept, to be loaded at nodes that do not know them.
    pub scripts_bytes_max: usize,
    /// What nodes say of being one of a cluster is for clients, too.
    pub is_shown: bool,
}

impl ClusterSettings {
    /// Where a node is reached from here.
    pub(crate) fn reached<'a>(&'a self, node: &'a Address) -> &'a Address {
        self.reached_at.get(node).unwrap_or(node)
    }
}

/// See the module's documentation. Clones are cheap and equal.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: ClusterSettings,
    pools: Pools,
    runtimes: usize,
    map: watch::Receiver<Arc<Map>>,
    news: Arc<News>,
    scripts: Scripts,
    keeper: JoinHandle<()>,
}

impl Cluster {
    /// Starts to look for the cluster. Until it is found requests wait, as long as they may wait for a primary.
    /// `runtimes` are as many as the pools were started on.
    pub fn start(settings: ClusterSettings, pools: Pools, runtimes: usize) -> Self {
        let (published, map) = watch::channel(Arc::new(Map {
            problem: Some("no node of the cluster has answered yet".into()),
            ..Map::default()
        }));
        let (news, published) = (Arc::<News>::default(), Arc::new(published));
        let start = {
            let (settings, pools, news) = (settings.clone(), pools.clone(), Arc::clone(&news));
            move || {
                Keeper::new(settings.clone(), pools.clone(), runtimes, Arc::clone(&published), Arc::clone(&news)).run()
            }
        };
        let keeper = tokio::spawn(keep_running(start));
        let scripts = Scripts::new(settings.scripts_bytes_max);
        Self(Arc::new(Inner { settings, pools, runtimes, map, news, scripts, keeper }))
    }

    /// What is known of the cluster now.
    pub fn map(&self) -> Arc<Map> {
        Arc::clone(&self.0.map.borrow())
    }

    /// Waits until there is a map, as long as a request may wait for a primary.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn found(&self) -> Result<(), JobError> {
        let settings = self.pools().first().settings();
        self.known(&settings, Instant::now()).await.map(drop)
    }

    /// The map, once there is one.
    pub(crate) async fn known(&self, settings: &Settings, started: Instant) -> Result<Arc<Map>, JobError> {
        let map = self.map();
        if map.problem.is_none() {
            return Ok(map);
        }
        let (waited, key) = settings.primary_wait();
        let mut maps = self.watch();
        let found = timeout_at(started + waited, maps.wait_for(|map| map.problem.is_none())).await;
        match found {
            Ok(Ok(map)) => Ok(Arc::clone(&map)),
            Ok(Err(_)) => Err(JobError::Closed),
            Err(_) => {
                let reason = self.map().problem.clone().unwrap_or_else(|| "the cluster was not found".into());
                Err(JobError::FailoverTimeout { waited, key, reason })
            }
        }
    }

    /// Follows what is known of the cluster.
    pub fn watch(&self) -> watch::Receiver<Arc<Map>> {
        self.0.map.clone()
    }

    /// Something speaks against what is known: it is looked at again, soon.
    pub fn doubt(&self) {
        self.0.news.doubt();
    }

    /// Whether a node that has said what a replica says, or a script of its own, is no primary any more: it is asked.
    ///
    /// # Cancel safety
    /// It is asked all the same.
    pub async fn is_replaced(&self, node: &Address) -> bool {
        let mut maps = self.watch();
        let is_gone = |map: &Arc<Map>| map.node_at(node).is_none();
        if is_gone(&self.map()) {
            return true;
        }
        let looked_at = timeout(TURNS_OUT, self.0.news.looked_at(node));
        tokio::select! { _ = looked_at => {}, _ = maps.wait_for(is_gone) => {} }
        is_gone(&self.map())
    }

    /// Where a node is reached from here.
    pub fn reached<'a>(&'a self, node: &'a Address) -> &'a Address {
        self.0.settings.reached(node)
    }

    /// A client has sent a command that no node has told of.
    pub(crate) fn misses_command(&self) {
        self.0.news.misses_command();
    }

    /// The scripts that clients have loaded.
    pub(crate) fn scripts(&self) -> &Scripts {
        &self.0.scripts
    }

    pub(crate) fn pools(&self) -> &Pools {
        &self.0.pools
    }

    /// Whether the first pool leads to this node now.
    pub(crate) fn is_seated_at(&self, node: &Address) -> bool {
        let at = self.reached(node);
        self.pools().first().settings().endpoint.host_and_port() == Some((at.host.as_str(), at.port))
    }

    /// A node has said that the one at `to` has this slot.
    pub(crate) fn heard(&self, slot: u16, to: &Address) {
        self.0.news.tell(Word { slot, to: to.clone() });
    }

    /// The node at this address, if it belongs to the cluster: a reply that names any other leads nowhere.
    pub(crate) fn node(&self, map: &Map, address: &Address) -> Option<Arc<Node>> {
        if let Some(node) = map.node_at(address) {
            return Some(Arc::clone(node));
        }
        if !map.layout.has(address) {
            return None;
        }
        let at = self.reached(address);
        let key = Key::node(at.host.as_str(), at.port);
        Node::new(address.clone(), key, &self.0.pools, self.0.runtimes).ok().map(Arc::new)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Starts the task anew if it panics, which is a bug; rounds go by what was known.
pub(crate) async fn keep_running<F>(start: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    // Ends what it holds when it is dropped.
    let mut tasks = JoinSet::new();
    loop {
        tasks.spawn(start());
        match tasks.join_next().await {
            Some(Err(error)) => tracing::error!(%error, "following the cluster ended unexpectedly, starting it anew"),
            Some(Ok(())) | None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_task_is_started_anew_if_it_panics() {
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        keep_running(move || {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            async move { assert!(number == 2, "a bug") }
        })
        .await;
        assert_eq!(starts.load(Ordering::Relaxed), 3);
    }
}
