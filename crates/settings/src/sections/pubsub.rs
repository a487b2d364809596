//! `[pubsub]`: how subscribers are served.

use crate::typed::{section::section, units::ByteCount};

section! {
    /// `[pubsub]`
    PubSub {
        /// `dedicated`: a subscriber gets an exclusive connection, and everything is as with Redis itself.
        /// `shared`: one further connection subscribes for all clients, so that subscribers cost the upstream
        /// nothing. PUBLISH and PUBSUB NUMSUB then count the gateway as one subscriber. Messages that are published
        /// while this connection is lost are missed. Needs a restart.
        mode: String = "dedicated".into() => AtStart,
        /// `shared`: how many messages a client may be behind; then it is closed. Messages are kept once for all clients.
        /// Needs a restart.
        backlog_messages: usize = 1_024 => AtStart,
        /// `shared`: bytes of messages that are kept for clients which have not read them, for all channels together.
        /// Beyond this the oldest messages go. Clients that still had to read those are closed. Needs a restart.
        backlog_bytes_max: ByteCount = ByteCount(67_108_864) => AtStart,
        /// `shared`: channels and patterns subscribed at the same time, for all clients together. A further one gets
        /// an error. Clients of one host and user have `clients.share_percent` of them at most. Needs a restart.
        subscriptions_max: usize = 10_000 => AtStart,
    }
}
