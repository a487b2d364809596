//! Shared pub/sub: one upstream subscription for all subscribers of a name. Owns the directory of what is subscribed
//! (`directory`), the connection that brings the messages (`shared_connection`, run by `process`) and what a session
//! has of them (`subscriptions`). Called by `session` and `exclusive`. May use the client's wire.

mod backlog;
pub(crate) mod directory;
mod feed;
mod message;
mod queue;
pub(crate) mod request;
pub(crate) mod shared_connection;
mod subscriber;
pub(crate) mod subscriptions;
