//! What the policy is told.

use std::{sync::Arc, time::Instant};

use crate::{Address, Message, Named, Peer, Role};

/// News, and who it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A sentinel published a message.
    Heard {
        /// The sentinel.
        sentinel: Address,
        /// What it said.
        message: Message,
    },
    /// A sentinel answered who the primary is.
    Answered {
        /// The sentinel.
        sentinel: Address,
        /// When it was asked: what it says may be as old.
        asked: Instant,
        /// What it calls itself; empty if it does not say.
        id: String,
        /// What it said.
        named: Named,
        /// The replicas that it knows.
        replicas: Vec<Address>,
        /// The other sentinels that it knows.
        peers: Vec<Peer>,
    },
    /// A sentinel cannot be reached, or knows nothing of the service.
    Silent {
        /// The sentinel.
        sentinel: Address,
    },
    /// Somebody else names the replicas of a [shard](crate::Policy::shard).
    Named {
        /// All of them.
        replicas: Vec<Address>,
    },
    /// A node answered `ROLE`.
    Role {
        /// The node.
        node: Address,
        /// What it said.
        role: Role,
        /// When it was asked: what it says may be as old.
        asked: Instant,
        /// Names the history of its data, if it was asked for that; a primary and its replicas have it in common.
        history: Option<Arc<str>>,
    },
    /// A node cannot be reached, or its connection was closed.
    Gone {
        /// The node.
        node: Address,
    },
    /// Time has passed.
    Tick,
}
