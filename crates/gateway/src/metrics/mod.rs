//! What others than Redis clients are told over HTTP: metrics, health, status. Reads what the rooms below
//! publish, and never a session.

pub(crate) mod families;
mod page;
pub(crate) mod server;
