//! What drains the queue: a worker, its connection, and what is in flight on it.

pub(crate) mod aside;
pub(crate) mod connection;
pub(crate) mod in_flight;
mod joined;
pub(crate) mod lost;
mod news;
pub(crate) mod own_request;
mod policy;
mod preparation;
mod slot;
mod waits;
pub(crate) mod worker;
