//! Invalidations of client-side caching: what they are about (`caching`), whom they go to (`redirect`), how they reach
//! a client (`invalidation`), and where its keys are at several nodes (`shards`, `further`, `parts`), each of which tells of
//! `FLUSHALL` (`flushes`).

mod caching;
pub(super) mod flushes;
mod further;
pub(crate) mod invalidation;
mod parts;
pub(crate) mod redirect;
pub(super) mod shards;
