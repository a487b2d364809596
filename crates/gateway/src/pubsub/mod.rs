//! Shared pub/sub: one upstream subscription for all subscribers of a name. Called by `session`; its connection
//! is run by `process`.

pub(crate) mod backlog;
pub(crate) mod cursor;
pub(crate) mod directory;
pub(crate) mod message;
pub(crate) mod shared_connection;
pub(crate) mod subscriber;
pub(crate) mod subscriptions;
