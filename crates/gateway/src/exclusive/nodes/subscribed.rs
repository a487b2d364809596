//! Sharded channels that are subscribed at a node of a cluster. When their slot leaves it, the node ends the subscriptions of
//! its own accord and says so. Asked by `exchange` and `connection`.

use std::io;

use crate::exclusive::{lending::Lending, message::subject};

/// The error of a connection that is given up for that.
pub(in crate::exclusive) const CUT_OFF: io::ErrorKind = io::ErrorKind::ConnectionAborted;

/// Whether a message says so: the client is closed then, as after the loss of its node. `command` is what it has asked for.
pub(in crate::exclusive) fn is_cut_off(lending: &Lending, message: &[u8], command: Option<&str>) -> bool {
    lending.node().is_some() && command != Some("sunsubscribe") && subject(message) == Some(b"sunsubscribe")
}
