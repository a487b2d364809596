//! What a session knows of its client: the state that Redis would keep for a connection.

use pool::Needs;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct ClientState {
    /// As `CLIENT ID` says it.
    pub(crate) id: u64,
    /// `CLIENT SETNAME`; empty for none.
    pub(crate) name: Vec<u8>,
    /// Database and protocol version, which every job of the session needs.
    pub(crate) needs: Needs,
}

impl ClientState {
    pub(crate) fn new(id: u64, db: u32) -> Self {
        Self { id, name: Vec::new(), needs: Needs { db, ..Needs::default() } }
    }
}
