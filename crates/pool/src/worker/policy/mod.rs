//! What a connection decides by, without a clock and without I/O.

pub(super) mod flow;
mod patience;
pub(super) mod progress;
