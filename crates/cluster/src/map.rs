//! What rounds go by: the layout of the cluster, what its commands mean, and the way to each primary. A value; the keeper
//! publishes another one when anything has changed.

use std::{
    collections::HashSet,
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use pool::{Access, Attempts, Caller, JobError, Key, NoPool, Ours, Pools, Standing};
use route::Commands;
use topology::{Address, Layout};

/// Callers of one node and runtime that are kept for the next round.
const CALLERS_KEPT: usize = 256;

/// Scripts of which is remembered that a node was told them.
const TOLD_MAX: usize = 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Map {
    pub(crate) layout: Layout,
    pub(crate) commands: Arc<Commands>,
    /// Of each shard of the layout its primary.
    pub(crate) nodes: Vec<Arc<Node>>,
    /// A slot of the shard whose primary is the anchor, or is to be once the former has had its moment to answer.
    pub(crate) anchor_slot: u16,
    /// What nodes say of being one of a cluster is for clients, too.
    pub(crate) is_shown: bool,
    /// Why nothing is known yet.
    pub(crate) problem: Option<Arc<str>>,
}

impl Map {
    /// Why nothing is known yet, if so.
    pub fn problem(&self) -> Option<&Arc<str>> {
        self.problem.as_ref()
    }

    /// Which node has which slot.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The primaries, in the order of the layout's shards.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Whether one primary has all keys, as one Redis has.
    pub fn is_one_shard(&self) -> bool {
        self.nodes.len() == 1
    }

    /// The primary that has this slot.
    pub(crate) fn node_of(&self, slot: u16) -> Option<&Arc<Node>> {
        self.nodes.get(self.layout.shard_of(slot)?)
    }

    /// The node of the first pool, if that is a primary.
    pub(crate) fn anchor(&self) -> Option<&Address> {
        self.nodes.iter().find(|node| node.is_first).map(|node| &node.address)
    }

    /// Where all goes that belongs to no slot: to the anchor, or to the one that is to be it next.
    pub(crate) fn home(&self) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.is_first).or_else(|| self.node_of(self.anchor_slot))
    }

    /// The connections that this process has at nodes.
    pub(crate) fn ours(&self) -> Ours {
        self.nodes.first().map(|node| node.access.ours()).unwrap_or_default()
    }

    /// The primary at this address, if there is one.
    pub fn node_at(&self, address: &Address) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.address == *address)
    }
}

/// A node, and the way into its pool.
pub struct Node {
    pub(crate) address: Address,
    /// Its pool is the first one of the directory.
    pub(crate) is_first: bool,
    /// The name of its pool.
    key: Key,
    access: Access,
    /// Where users with a login of their own have pools at it.
    pools: Pools,
    /// For each runtime callers that nobody uses now: a session has some only while it needs them. All with the gateway's
    /// own login.
    #[allow(clippy::vec_box, reason = "the boxes are what is lent: a burst holds one while it is out")]
    callers: Vec<Mutex<Vec<Box<Caller>>>>,
    told: Mutex<Told>,
}

/// Hashes of the scripts that a node was told since it was connected last, for transactions that want them.
struct Told {
    since: Instant,
    scripts: HashSet<u64>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Node {
    /// The node whose pool has this name, which is started if there is none.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(crate) fn new(address: Address, key: Key, pools: &Pools, runtimes: usize) -> Result<Self, NoPool> {
        let (is_first, access, pools) = (key == Key::default(), pools.find(&key)?, pools.clone());
        let told = Mutex::new(Told { since: access.connected_at(), scripts: HashSet::new() });
        let callers = (0..runtimes).map(|_| Mutex::default()).collect();
        Ok(Self { address, is_first, key, access, pools, callers, told })
    }

    /// Whether it was told the script with this hash.
    pub(crate) fn is_told(&self, script: u64) -> bool {
        self.told().scripts.contains(&script)
    }

    /// It was.
    pub(crate) fn tell(&self, script: u64) {
        let mut told = self.told();
        if told.scripts.len() >= TOLD_MAX {
            told.scripts.clear();
        }
        told.scripts.insert(script);
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        let (mut told, connected) = (lock(&self.told), self.access.connected_at());
        if told.since != connected {
            *told = Told { since: connected, scripts: HashSet::new() };
        }
        told
    }

    /// The name of its pool in the directory.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether a worker is connected to it.
    pub(crate) fn is_connected(&self) -> bool {
        self.access.is_connected()
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether its pool is the first one of the directory: where all goes that belongs to no slot.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Opens a connection there that stays, from the first runtime.
    ///
    /// # Errors
    /// As [`Caller::open_standing`].
    ///
    /// # Cancel safety
    /// As [`Caller::open_standing`].
    pub async fn open_standing(&self, name: &str, attempts: &mut Attempts) -> Result<Standing, JobError> {
        self.own_caller(0).open_standing(name, attempts).await
    }

    /// The way into its pool for one who sends by way of `caller`: with the same login, whoever that is.
    ///
    /// # Errors
    /// There is no pool for that login.
    pub(crate) fn access(&self, caller: &Caller) -> Result<Access, JobError> {
        if !caller.is_guest() {
            return Ok(self.access.clone());
        }
        self.pools.find_as(caller, &self.key).map_err(|reason| match reason {
            NoPool::Closed => JobError::Closed,
            NoPool::Full(_) | NoPool::UserFull(_) => {
                JobError::UpstreamDown(format!("no pool for this user at {}: {reason}", self.address).into())
            }
        })
    }

    /// A caller for one who sends by way of `caller`, with the same login and on the same runtime, for as long as it holds it.
    ///
    /// # Errors
    /// There is no pool for that login.
    pub(crate) fn caller(&self, caller: &Caller) -> Result<CallerOf<'_>, JobError> {
        if caller.is_guest() {
            let of_user = self.access(caller)?.caller_on(caller.runtime());
            return Ok(CallerOf { home: None, caller: Some(Box::new(of_user)) });
        }
        Ok(self.own_caller(caller.runtime()))
    }

    /// A caller with the gateway's own login.
    pub(crate) fn own_caller(&self, runtime: usize) -> CallerOf<'_> {
        let kept = self.callers.get(runtime).and_then(|kept| lock(kept).pop());
        let caller = kept.unwrap_or_else(|| Box::new(self.access.caller_on(runtime)));
        CallerOf { home: Some(self), caller: Some(caller) }
    }
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A caller of a node.
#[derive(Debug)]
pub(crate) struct CallerOf<'n> {
    /// Where it is given back to when it is dropped. One with a user's login is for nobody else.
    home: Option<&'n Node>,
    /// There until it is dropped.
    caller: Option<Box<Caller>>,
}

impl Deref for CallerOf<'_> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        self.caller.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for CallerOf<'_> {
    fn deref_mut(&mut self) -> &mut Caller {
        self.caller.as_mut().expect("there until it is dropped")
    }
}

impl Drop for CallerOf<'_> {
    fn drop(&mut self) {
        if let (Some(caller), Some(node)) = (self.caller.take(), self.home)
            && let Some(kept) = node.callers.get(caller.runtime())
        {
            let mut kept = lock(kept);
            if kept.len() < CALLERS_KEPT {
                kept.push(caller);
            }
        }
    }
}
