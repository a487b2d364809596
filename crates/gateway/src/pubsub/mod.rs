//! Shared pub/sub: one upstream subscription for all subscribers of a name. Owns the directory of what is subscribed
//! (`directory`, with a `link` for each connection that brings messages: `shared_connection`, started by `nodes` for
//! `process`) and what a session has of them (`subscriptions`). Of a cluster, events of keys are heard at each node
//! (`events`), for all subscribers. Called by `session` and `exclusive`. May use the client's wire.

mod backlog;
pub(crate) mod directory;
pub(crate) mod events;
mod feed;
mod link;
pub(crate) mod message;
pub(crate) mod nodes;
mod queue;
pub(crate) mod request;
mod shared_connection;
mod subscriber;
pub(crate) mod subscriptions;
