//! Replies that the gateway makes itself, from what it knows of a client, in Redis's words. Called by `session`, and
//! by `exclusive` for what stands in a transaction. May change the client's state and look at what sessions publish;
//! what needs the upstream is only read here and left to the caller.

pub(crate) mod about_clients;
pub(crate) mod client_commands;
mod client_filter;
mod client_line;
pub(crate) mod info;
pub(crate) mod monitored;
mod presented;
pub(crate) mod requester;
pub(crate) mod session_commands;
