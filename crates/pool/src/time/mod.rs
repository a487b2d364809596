//! Deadlines that move often, and points in time that fit into an atomic.

pub(crate) mod alarm;
pub(crate) mod timestamp;
