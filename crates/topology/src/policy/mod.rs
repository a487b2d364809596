//! What follows from what sentinels and nodes say. Takes events and the time, and decides who gets the writes.

pub(crate) mod event;
mod heads;
pub(crate) mod node;
pub(crate) mod patience;
pub(crate) mod policy;
mod replicas;
pub(crate) mod sentinels;
mod serving;
