//! Bounds on memory that many share: bytes of requests and of replies.

pub(crate) mod budget;
pub(crate) mod reply_memory;
pub(crate) mod share;
