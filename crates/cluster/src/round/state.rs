//! What is known of a piece of a round, and where it goes now.

use std::{sync::Arc, time::Duration};

use pool::Burst;
use topology::Address;

use crate::map::Node;

/// What is known of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// To be sent where it belongs.
    Due,
    /// To be sent to this node, behind `ASKING` or not.
    To(Address, bool),
    /// To be sent again after a moment, until so long after the beginning of the round; why.
    Waits(Arc<str>, Duration),
    /// To be sent again once more is known, until so long after the beginning of the round; why.
    Stuck(Arc<str>, Duration, Missing),
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

/// Where a piece goes now.
pub(super) enum Way {
    /// Into the pool of a node.
    Node(Arc<Node>),
    /// Into the first pool, which follows its primary by itself.
    Anchor,
}

impl Way {
    pub(super) fn to(node: &Arc<Node>) -> Self {
        if node.is_first { Self::Anchor } else { Self::Node(Arc::clone(node)) }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Node(one), Self::Node(other)) => one.address == other.address,
            (Self::Anchor, Self::Anchor) => true,
            (Self::Node(_), Self::Anchor) | (Self::Anchor, Self::Node(_)) => false,
        }
    }
}

/// Pieces that go to one node together, each behind `ASKING` or not.
pub(super) struct Batch {
    pub(super) way: Way,
    pub(super) pieces: Vec<(usize, bool)>,
    pub(super) burst: Burst,
}
