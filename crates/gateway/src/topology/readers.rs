//! Makes replicas known to those who read: the pool of each that follows the primary, and which commands are reads. Part
//! of the owner of the topology.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::topology::{Address, Topology};
use cluster::Cluster;
use pool::{Access, Conversation, ConversationError, Key, NoPool, Pools};
use thiserror::Error;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    command::told::read_only::ReadOnly,
    observe::sharing::{nodes::Nodes, readers::Reader},
    topology::pace::NAME,
};

/// Before the primary is asked again for its commands.
const RETRY: Duration = Duration::from_secs(1);

/// See the module's documentation. Ends what it has started when it goes.
#[derive(Debug)]
pub(super) struct Replicas {
    pools: Pools,
    nodes: Arc<Nodes>,
    /// Whose shard it is, if one of a cluster: that knows the commands.
    cluster: Option<Cluster>,
    /// The ways into the pools of replicas that have been of use.
    found: BTreeMap<Address, Access>,
    /// There was no pool for one, which has been told.
    is_short: bool,
    /// Asks for commands, and of which generation.
    asking: Option<(u64, JoinHandle<()>)>,
}

/// Why it is not known which commands are reads.
#[derive(Debug, Error)]
enum Unknown {
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    #[error("the answer to COMMAND says nothing of reads")]
    Answer,
}

impl Replicas {
    pub(super) fn new(pools: Pools, nodes: Arc<Nodes>, cluster: Option<Cluster>) -> Self {
        Self { pools, nodes, cluster, found: BTreeMap::new(), is_short: false, asking: None }
    }

    /// Has readers go by this.
    pub(super) fn follow(&mut self, topology: &Topology) {
        self.ask_for_commands(topology);
        self.found.retain(|address, _| topology.replicas.iter().any(|replica| replica.address == *address));
        let mut replicas = Vec::new();
        for replica in &topology.replicas {
            let (Some(caught_up), Some(round_trip)) = (replica.caught_up, replica.round_trip) else { continue };
            if let Some(access) = self.access(&replica.address) {
                replicas.push(Reader { access, caught_up, round_trip });
            }
        }
        self.nodes.readers.change(|known| {
            known.replicas = replicas;
            known.round_trip = topology.round_trip;
        });
    }

    fn access(&mut self, address: &Address) -> Option<Access> {
        if let Some(access) = self.found.get(address) {
            return Some(access.clone());
        }
        let key = match self.cluster.as_ref().map(|cluster| cluster.reached(address)) {
            None => Key::node(address.host.as_str(), address.port),
            Some(at) => Key::replica(at.host.as_str(), at.port),
        };
        match self.pools.find(&key) {
            Ok(access) => {
                self.is_short = false;
                self.found.insert(address.clone(), access.clone());
                Some(access)
            }
            Err(NoPool::Closed) => None,
            Err(error) => {
                if !std::mem::replace(&mut self.is_short, true) {
                    tracing::warn!(replica = %address, %error, "replica gets no reads, pool.pools_max is reached");
                }
                None
            }
        }
    }

    /// Another primary may know other commands.
    fn ask_for_commands(&mut self, topology: &Topology) {
        let generation = topology.generation;
        let Some(primary) = topology.primary.clone().filter(|_| topology.proven && self.cluster.is_none()) else {
            return;
        };
        if self.asking.as_ref().is_some_and(|(of, _)| *of == generation) {
            return;
        }
        self.end();
        let (pools, nodes) = (self.pools.clone(), Arc::clone(&self.nodes));
        self.asking = Some((generation, tokio::spawn(learn(pools, nodes, primary))));
    }

    fn end(&mut self) {
        if let Some((_, asking)) = self.asking.take() {
            asking.abort();
        }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks until there is an answer.
async fn learn(pools: Pools, nodes: Arc<Nodes>, primary: Address) {
    let mut is_told = false;
    loop {
        match ask(&pools, &primary).await {
            Ok(commands) => {
                nodes.readers.change(|known| known.commands = Some(Arc::new(commands)));
                return;
            }
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(node = %primary, %error, "reads go to the primary, its commands are not known");
                }
                sleep(RETRY).await;
            }
        }
    }
}

async fn ask(pools: &Pools, primary: &Address) -> Result<ReadOnly, Unknown> {
    let settings = pools.first().settings();
    let (limit, endpoint) = (settings.connect_timeout, settings.endpoint.at(primary.host.clone(), primary.port));
    let replies = Conversation::open(&endpoint, NAME, limit).await?.ask(&[&["COMMAND"]], limit).await?;
    ReadOnly::read(&replies[0]).ok_or(Unknown::Answer)
}
