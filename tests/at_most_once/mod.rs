//! The promise about writes: a request that may have been sent is not sent again, and a request that a client
//! had sent whole is executed even if the client goes. That holds while the primary moves, too.

mod cancellation;
pub(crate) mod cluster;
mod failover;
mod killed;
