//! `[pubsub]`: how subscribers are served.

use crate::section::section;

section! {
    /// `[pubsub]`
    PubSub {
        /// `dedicated`: a subscriber borrows an exclusive connection, and everything is as with Redis itself.
        /// `shared`: one further connection subscribes for all clients together, so that subscribers cost the
        /// upstream nothing; PUBLISH and PUBSUB NUMSUB then count the gateway as one subscriber, and messages
        /// published while the connection is lost and made anew are missed. Needs a restart.
        mode: String = "dedicated".into(),
        /// `shared`: messages of a channel or pattern that a client may be behind before it is closed, rounded up
        /// to a power of two. They are kept once for all clients. Costs 40 bytes each for every channel, used or
        /// not, besides the messages.
        backlog_messages: usize = 1_024,
        /// `shared`: bytes of messages that are kept for clients that have not read them, all channels together.
        /// Beyond, the oldest go, and clients that still had to read them are closed.
        backlog_bytes_max: usize = 67_108_864,
        /// `shared`: channels and patterns subscribed at the same time, all clients together. Further ones get an
        /// error.
        subscriptions_max: usize = 10_000,
    }
}
