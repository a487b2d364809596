//! Bounds on what many share: bytes of requests and of replies, and the turns of their connections.

pub(crate) mod budget;
pub(crate) mod reply_memory;
pub(crate) mod share;
pub(crate) mod turns;
