//! Those who have a pool: what starts and ends it, a handle to run it, and a typed handle to use it.

pub(crate) mod client;
pub(crate) mod control;
mod places;
pub(crate) mod pool;
