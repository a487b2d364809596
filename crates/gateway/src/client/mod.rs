//! A client of a session: what Redis would remember of it, and what it has sent. Used by `session` and the rooms that
//! serve a session's requests.

pub(crate) mod input;
pub(crate) mod state;
