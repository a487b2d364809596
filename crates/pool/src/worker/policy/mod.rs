//! What a connection decides by, without I/O.

pub(super) mod batching;
pub(super) mod flow;
mod patience;
pub(super) mod progress;
