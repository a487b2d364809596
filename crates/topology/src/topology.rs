//! What is known about a service's nodes: the one value that everybody else reads.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::Address;

/// A snapshot. Two with the same generation have the same primary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// Rises each time that another node becomes the one that gets the writes; 0 before there is one.
    pub generation: u64,
    /// The node that gets the writes.
    pub primary: Option<Address>,
    /// The primary answered `ROLE` when it was last asked, and said that it is one.
    pub proven: bool,
    /// Why it is the primary.
    pub chosen: Option<Chosen>,
    /// Since when it is, if it has taken the place of another.
    pub since: Option<Instant>,
    /// The sentinels' configuration epoch: a node named with a lower one is not gone back to.
    pub epoch: u64,
    /// The replicas, by address.
    pub replicas: Vec<Replica>,
    /// How long the primary's answers take, of late.
    pub round_trip: Option<Duration>,
    /// Why requests wait, if they do.
    pub awaited: Option<Awaited>,
    /// Sentinels that answer.
    pub sentinels_up: usize,
    /// Sentinels that are known.
    pub sentinels: usize,
}

/// A replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Where it is.
    pub address: Address,
    /// It is connected to its primary and in step.
    pub linked: bool,
    /// Bytes of the replication stream that it lacks, as far as both ends were heard.
    pub behind: Option<u64>,
    /// It has every write that the primary had acknowledged by then.
    pub caught_up: Option<Instant>,
    /// How long its answers take, of late.
    pub round_trip: Option<Duration>,
}

/// Why a node became the one that gets the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// It is the address that the configuration names.
    Configured,
    /// A sentinel named it, with a higher configuration epoch than any before.
    Named,
    /// A sentinel began a failover, and this replica turned primary.
    Promoted,
    /// The former primary says that it is a replica of this one.
    Followed,
    /// Most of the sentinels named it for a while, and the former one is no primary or none that they know.
    Agreed,
}

/// What requests wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaited {
    /// The first primary: no sentinel has named one that says so itself.
    First,
    /// The end of a failover from this primary, which a sentinel has begun.
    Failover(Address),
    /// Sentinels name this node; it has not said yet that it is a primary.
    Proof(Address),
    /// The primary of this node, which was one itself and is a replica now.
    Primary {
        /// The former primary.
        of: Address,
        /// The node that it follows.
        at: Address,
    },
    /// A word of the sentinels about this replica, which turned primary though no failover was heard of.
    Explanation(Address),
    /// A word of the sentinels about this node: the one that promoted it was lost before the others heard of it.
    Confirmation(Address),
}

impl Chosen {
    /// In lower case, for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Named => "named by a sentinel",
            Self::Promoted => "promoted",
            Self::Followed => "followed",
            Self::Agreed => "agreed by most sentinels",
        }
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("no sentinel has named a primary that says it is one"),
            Self::Failover(from) => write!(f, "a failover from {from} is in progress"),
            Self::Proof(at) => write!(f, "the sentinels name {at}, which has not said that it is a primary"),
            Self::Primary { of, at } => {
                write!(f, "{of} is a replica now, and its primary {at} has not said that it is one")
            }
            Self::Confirmation(at) => {
                write!(f, "the sentinel that promoted {at} is lost or gave up, and no other names it")
            }
            Self::Explanation(at) => write!(f, "the replica {at} turned primary, and no sentinel has said why"),
        }
    }
}
