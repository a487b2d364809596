//! A client of the gateway: its wire (what it sends, what it is sent, when it has to end) and its state (what Redis
//! would remember of it). A `session` owns both and lends them to the rooms that serve its requests. Uses `command`
//! to tell where a burst ends, and `observe` to be seen. Knows no session, and nothing of the upstream.

pub(crate) mod gather;
mod input;
pub(crate) mod link;
pub(crate) mod outlet;
pub(crate) mod state;
mod writing;
