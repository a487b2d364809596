//! Replies that the gateway makes itself, from a session's state, in Redis's words. Called by `session`.

pub(crate) mod client_commands;
pub(crate) mod info;
pub(crate) mod session_commands;
