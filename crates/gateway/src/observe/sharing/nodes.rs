//! What is known of the nodes of one shard, and of those of each shard of a cluster. Written by those who follow the
//! topology.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use ::topology::{Address, Topology};
use tokio::sync::watch;

use crate::observe::sharing::readers::Readers;

/// A primary and its replicas.
// Open: each field has methods of its own, and is what a reader or writer asks for.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// What is known of them, if somebody follows them.
    pub(crate) topology: watch::Sender<Option<Arc<Topology>>>,
    /// Replicas that may have reads.
    pub(crate) readers: Readers,
}

/// The nodes of each shard of a cluster whose replicas have reads, by its primary.
#[derive(Debug, Default)]
pub(crate) struct Shards(RwLock<HashMap<Address, Arc<Nodes>>>);

impl Shards {
    /// What is known of the shard with this primary.
    pub(crate) fn of(&self, primary: &Address) -> Option<Arc<Nodes>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(primary).cloned()
    }

    pub(crate) fn replace(&self, shards: HashMap<Address, Arc<Nodes>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shards;
    }
}
