//! Bounds on what many share: bytes of requests and of replies, the turns of their connections, and what of unknown
//! size is asked for at a time.

pub(crate) mod budget;
pub(crate) mod queue_room;
pub(crate) mod reply_memory;
pub(crate) mod share;
pub(crate) mod trust;
pub(crate) mod turns;
