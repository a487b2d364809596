//! Which primary is the anchor, to which all goes that belongs to no slot. It is told what the time is.

use tokio::time::Instant;
use topology::{Address, Layout};

use crate::following::trouble::Trouble;

/// The node of the first pool.
#[derive(Debug)]
pub(crate) struct Anchor {
    pub(crate) node: Option<Address>,
    /// A slot that it had when it became that.
    pub(crate) slot: u16,
}

impl Anchor {
    /// What it is to be now, if that is another: it stays where it is as long as that is a primary, and for a moment longer
    /// if that node `is_leaving`. One that is gone for long, and that nobody replaces, has no part in what others can do.
    pub(crate) fn next(&self, layout: &Layout, trouble: &Trouble, is_leaving: bool, now: Instant) -> Option<Self> {
        let mut primaries = layout.shards().iter().map(|shard| &shard.primary);
        let is_there = |node: &Address| !trouble.is_given_up(node, now);
        let is_seated = |node: &Address| is_leaving || primaries.clone().any(|primary| primary == node);
        let seated = self.node.as_ref().filter(|node| is_seated(node));
        let next = match seated {
            Some(node) if is_leaving || is_there(node) => return None,
            // The one that has taken over from the former, if that can be told.
            None => layout.primary_of(self.slot).filter(|node| is_there(node)),
            Some(_) => None,
        };
        let is_usable = |node: &&Address| !trouble.is_lost(node);
        // Without one that is there, what waits may as well wait for the former.
        let first = || if seated.is_none() { primaries.clone().next() } else { None };
        let next = next.or_else(|| primaries.clone().find(is_usable)).or_else(first)?.clone();
        let shard = primaries.position(|primary| *primary == next);
        Some(Self { slot: shard.and_then(|shard| layout.first_slot(shard)).unwrap_or_default(), node: Some(next) })
    }
}
