//! The node that gets the writes, and one that is to get them next.

use std::time::Instant;

use crate::{Address, Chosen};

/// The node that gets the writes.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) address: Address,
    pub(crate) epoch: u64,
    /// A sentinel names it, or there are none.
    pub(crate) confirmed: bool,
    /// Since when it is without proof or without confirmation, if it is.
    pub(crate) doubted: Option<Instant>,
    /// The node that was left for it, if it was promoted before our eyes.
    pub(crate) instead_of: Option<Address>,
}

/// A node that is to get the writes from now on.
pub(crate) struct Successor {
    pub(crate) address: Address,
    pub(crate) epoch: u64,
    pub(crate) confirmed: bool,
    pub(crate) chosen: Chosen,
}
