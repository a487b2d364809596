//! All that sessions publish for those who look on: the console, `INFO`, `CLIENT` and the metrics read it and never
//! know a session. One of it for a gateway.

use std::{
    fmt::Display,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use ::topology::Topology;
use cluster::Cluster;
use pool::{JobError, Origin};
use tokio::time::timeout;

use crate::{
    command::told::{names::Names, remembered::Remembered},
    observe::{
        counts::{Counts, Fault},
        registry::Registry,
        requests::{monitors::Monitors, slow_log::SlowLog},
        sharing::{
            accounts::Accounts,
            input_memory::InputMemory,
            nodes::{Nodes, Shards},
            shares::Shares,
        },
        turned_away::{Kind, TurnedAway},
    },
};

/// See the module's documentation.
// Open: each field has methods of its own, and is what a reader or writer asks for.
#[derive(Debug)]
pub(crate) struct Published {
    started: Instant,
    pub(crate) registry: Registry,
    pub(crate) counts: Counts,
    pub(crate) slow_log: SlowLog,
    pub(crate) monitors: Monitors,
    pub(crate) turned_away: TurnedAway,
    /// The nodes, where there is one shard.
    pub(crate) nodes: Arc<Nodes>,
    /// The cluster, if the upstream is one.
    pub(crate) cluster: OnceLock<Cluster>,
    pub(crate) shards: Shards,
    /// Users and what they have.
    pub(crate) accounts: Accounts,
    /// Unfinished requests beyond the first 64 KiB of each session.
    pub(crate) input: Arc<InputMemory>,
    /// Exclusive connections, by who borrows them.
    pub(crate) borrowed: Arc<Shares>,
    pub(crate) remembered: Remembered,
    pub(crate) names: Names,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            registry: Registry::default(),
            counts: Counts::default(),
            slow_log: SlowLog::default(),
            monitors: Monitors::default(),
            turned_away: TurnedAway::default(),
            nodes: Arc::default(),
            cluster: OnceLock::new(),
            shards: Shards::default(),
            accounts: Accounts::default(),
            input: Arc::default(),
            borrowed: Arc::default(),
            remembered: Remembered::default(),
            names: Names::default(),
        }
    }
}

impl Published {
    /// Whether sentinels say which node is the primary.
    pub(crate) fn has_sentinels(&self) -> bool {
        self.nodes.topology.borrow().as_ref().is_some_and(|topology| topology.sentinels > 0)
    }

    /// Whether the primary has taken the place of another no longer than `limit` ago.
    pub(crate) fn is_primary_new(&self, limit: Duration) -> bool {
        let since = self.nodes.topology.borrow().as_ref().and_then(|topology| topology.since);
        since.is_some_and(|since| since.elapsed() < limit)
    }

    /// Whether the node at the `origin` of a reply turns out to be no primary within `limit`: requests wait for another, or
    /// have one.
    pub(crate) async fn is_left(&self, origin: &Origin, limit: Duration) -> bool {
        let mut topology = self.nodes.topology.subscribe();
        let generation = topology.borrow().as_ref().map(|topology| topology.generation);
        let is_left = |topology: &Topology| topology.awaited.is_some() || Some(topology.generation) != generation;
        let turns_out = topology.wait_for(|topology| topology.as_deref().is_some_and(is_left));
        let left = async {
            tokio::select! { turned_out = turns_out => turned_out.is_ok(), () = origin.left() => true }
        };
        timeout(limit, left).await.unwrap_or(false)
    }

    /// Counts a login with a wrong name or password, of a client at `address` that calls itself `user`.
    pub(crate) fn login_refused(&self, address: &dyn Display, user: &str) {
        self.counts.logins_refused.add_one();
        self.turned_away.note(Kind::Login, address, user);
    }

    /// Counts what went wrong with a client at `address`; `reason` says more, if there is more to say.
    pub(crate) fn fault(&self, fault: Fault, address: &dyn Display, reason: &str) {
        self.counts.fault(fault);
        let kind = match fault {
            // It may do that.
            Fault::ClientGone => return,
            Fault::ClientStuck => Kind::Stuck,
            Fault::RepliesFull => Kind::RepliesFull,
            Fault::InputFull => Kind::InputFull,
            Fault::Protocol => Kind::Protocol,
        };
        self.turned_away.note(kind, address, reason);
    }

    /// So many requests of a client at `address` have failed.
    pub(crate) fn failed(&self, failure: &JobError, requests: u32, address: &dyn Display) {
        // The upstream's own words about a database are no failure.
        if !matches!(failure, JobError::StateRefused(_)) {
            self.turned_away.note_many(Kind::Failed(failure.kind()), requests, address, &failure.to_string());
        }
    }

    /// For how long the gateway has been running.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
