//! Invalidations of client-side caching: whom they go to (`redirect`), and how they reach a client (`invalidation`).

pub(crate) mod invalidation;
pub(crate) mod redirect;
