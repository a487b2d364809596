//! The promise of parity: commands do, and replies are, what a client gets from Redis itself.

pub(crate) mod clients;
mod commands;
mod embedded;
mod monitors;
mod pushes;
mod refusals;
mod replies;
mod shared_pubsub;
mod states;
mod transactions;
mod upstream_logins;
mod upstreams_words;
