//! The handle to a cluster, for those who send requests and those who look on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pool::{Key, Pools};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};
use topology::Address;

use crate::{
    keeper::{Keeper, keep_running},
    map::{Map, Node},
};

/// Words of nodes about single slots that wait to be heard. Further ones are not kept: a view of the cluster has them
/// all.
const WORDS_MAX: usize = 256;

/// How a cluster is found and followed.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Nodes that are asked first; any of them may be down.
    pub seeds: Vec<Address>,
    /// How often a node is asked for its view when nothing happens.
    pub refresh: Duration,
    /// Where nodes are reached from here that announce another address, if anywhere else.
    pub nat: BTreeMap<Address, Address>,
}

/// A node has said that another one has a slot.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) slot: u16,
    pub(crate) to: Address,
}

/// See the module's documentation. Clones are cheap and equal.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pools: Pools,
    runtimes: usize,
    map: watch::Receiver<Arc<Map>>,
    words: mpsc::Sender<Word>,
    doubt: Arc<Notify>,
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
        let (words, heard) = mpsc::channel(WORDS_MAX);
        let doubt = Arc::<Notify>::default();
        let keeper = Keeper::new(settings, pools.clone(), runtimes, published, Arc::clone(&doubt));
        let keeper = tokio::spawn(keep_running(keeper, heard));
        Self(Arc::new(Inner { pools, runtimes, map, words, doubt, keeper }))
    }

    /// What is known of the cluster now.
    pub fn map(&self) -> Arc<Map> {
        Arc::clone(&self.0.map.borrow())
    }

    /// Follows what is known of the cluster.
    pub fn watch(&self) -> watch::Receiver<Arc<Map>> {
        self.0.map.clone()
    }

    /// Something speaks against what is known: it is looked at again, soon.
    pub fn doubt(&self) {
        self.0.doubt.notify_one();
    }

    pub(crate) fn pools(&self) -> &Pools {
        &self.0.pools
    }

    /// A node has said that the one at `to` has this slot.
    pub(crate) fn heard(&self, slot: u16, to: &Address) {
        // What finds no room is asked for.
        if self.0.words.try_send(Word { slot, to: to.clone() }).is_err() {
            self.doubt();
        }
    }

    /// The node at this address, if it belongs to the cluster: a reply that names any other leads nowhere.
    pub(crate) fn node(&self, map: &Map, address: &Address) -> Option<Arc<Node>> {
        if let Some(node) = map.node_at(address) {
            return Some(Arc::clone(node));
        }
        if !map.layout.has(address) {
            return None;
        }
        let access = self.0.pools.find(&Key::node(address.host.as_str(), address.port)).ok()?;
        Some(Arc::new(Node::new(address.clone(), access, self.0.runtimes)))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}
