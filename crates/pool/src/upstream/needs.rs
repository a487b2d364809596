//! The state that a connection to the upstream has to be in before requests are written to it.

use resp::Protocol;

/// The state a connection has to be in before a burst is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// The database, by number.
    pub db: u32,
    /// The protocol version in which the replies have to come.
    pub protocol: Protocol,
}
