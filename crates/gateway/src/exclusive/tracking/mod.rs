//! Invalidations of client-side caching: what they are about (`caching`), whom they go to (`redirect`), and how they reach
//! a client (`invalidation`).

mod caching;
pub(crate) mod invalidation;
pub(crate) mod redirect;
