//! What is counted and shown of all this.

pub(crate) mod class;
pub(crate) mod gauge;
pub(crate) mod histogram;
pub(crate) mod tally;
pub(crate) mod totals;
pub(crate) mod traffic;
pub(crate) mod under_way;
