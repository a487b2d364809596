//! Those who have a pool: what starts and ends it, a handle to run it, and a typed handle to use it.

pub(crate) mod access;
pub(crate) mod client;
pub(crate) mod control;
pub(crate) mod key;
pub(crate) mod logins;
mod members;
mod places;
pub(crate) mod pool;
pub(crate) mod pools;
