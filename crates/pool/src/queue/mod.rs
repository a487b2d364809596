//! The way into the pool: a caller, its job, the ticket that decides who has it, and the queue's branches.

pub(crate) mod branch;
pub(crate) mod caller;
pub(crate) mod job;
pub(crate) mod progress;
pub(crate) mod ticket;
