//! Follows the upstream's primary where sentinels name it. One task owns what is known and decides, by the crate
//! `topology`; a task for each sentinel and each node tells it what they say. It drives the pool: requests wait, go on
//! at another node, or go on where they were. Called by `process`; those who only look read what it publishes.

pub(crate) mod follower;
pub(crate) mod node_link;
pub(crate) mod pace;
mod readers;
pub(crate) mod sentinel_link;
mod shards;
