//! Accepts clients: binds addresses, bounds how many there are, owns the session tasks. Called by `process`.

pub(crate) mod accept;
pub(crate) mod threads;
