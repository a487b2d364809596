//! What is known of a piece of a round, and where it goes now.

use std::{sync::Arc, time::Duration};

use pool::{Burst, JobError, Settings};
use topology::Address;

use crate::{map::Node, replicas::Chosen};

/// What is known of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// To be sent where it belongs.
    Due,
    /// To be sent to this node, behind `ASKING` or not.
    To(Address, bool),
    /// To be sent again after a moment.
    Waits(Patience),
    /// To be sent again once more is known.
    Stuck(Patience, Missing),
    /// Its script says what a replica says, and this is where it was. Otherwise as `Done`.
    Refused(Address, (usize, usize, usize)),
    /// Where the replies to it are: in this buffer, from here to there.
    Done(usize, usize, usize),
}

/// What has to be known before a piece is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// The node to which it was sent on, behind `ASKING` or not: it is none of the cluster yet.
    pub(super) named: Option<(Address, bool)>,
    /// Who has its slot, if anybody: that one has nothing else to say.
    pub(super) owner: Option<Address>,
}

/// How long a piece waits, from the beginning of the round, and the error that it gets then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patience {
    pub(super) limit: Duration,
    pub(super) failure: JobError,
}

impl Patience {
    /// As long as it may wait for a primary.
    pub(super) fn for_primary(settings: &Settings, reason: impl Into<Arc<str>>) -> Self {
        let (waited, key) = settings.primary_wait();
        Self { limit: waited, failure: JobError::FailoverTimeout { waited, key, reason: reason.into() } }
    }

    /// As long as this, for a node that takes it.
    pub(super) fn for_place(settings: &Settings, most: Duration, reason: impl Into<Arc<str>>) -> Self {
        let waited = most.min(settings.queue_timeout);
        Self { limit: waited, failure: JobError::Unplaced { waited, reason: reason.into() } }
    }
}

/// Where a piece goes now.
pub(super) enum Way {
    /// Into the pool of a node.
    Node(Arc<Node>),
    /// Into the first pool, which follows its primary by itself.
    Anchor,
    /// To a replica of this node.
    Replica(Arc<Node>, Chosen),
}

impl Way {
    pub(super) fn to(node: &Arc<Node>) -> Self {
        if node.is_first { Self::Anchor } else { Self::Node(Arc::clone(node)) }
    }

    /// The replica, if it is one.
    pub(super) fn replica(&self) -> Option<&Chosen> {
        match self {
            Self::Replica(_, chosen) => Some(chosen),
            Self::Node(_) | Self::Anchor => None,
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Node(one), Self::Node(other)) => one.address == other.address,
            (Self::Anchor, Self::Anchor) => true,
            (Self::Replica(one, _), Self::Replica(other, _)) => one.address == other.address,
            (Self::Node(_) | Self::Anchor | Self::Replica(..), _) => false,
        }
    }
}

/// Pieces that go to one node together, each behind `ASKING` or not.
pub(super) struct Batch {
    pub(super) way: Way,
    pub(super) pieces: Vec<(usize, bool)>,
    pub(super) burst: Burst,
}
