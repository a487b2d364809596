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

/// What a borrower wants of the state of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// This state.
    State(Needs),
    /// Replies in this protocol version, in whatever database. For requests that do not depend on one and have to overtake
    /// what others wait for: an upstream that is busy executes `HELLO` before them, and may refuse a `SELECT`.
    AnyDb(Protocol),
}

impl From<Needs> for Wanted {
    fn from(needs: Needs) -> Self {
        Self::State(needs)
    }
}

impl Wanted {
    /// The state that a connection has to be in which `is` in another.
    pub(crate) fn of(self, is: Needs) -> Needs {
        match self {
            Self::State(needs) => needs,
            Self::AnyDb(protocol) => Needs { protocol, ..is },
        }
    }
}
