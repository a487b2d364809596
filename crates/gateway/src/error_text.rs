//! Every error reply that the gateway makes itself, beside those it has from Redis's own sources.
//! Errors of its own begin with `ERR respool: ` and name the bound or wait that ran out.

use pool::JobError;
use resp::RequestError;

use crate::context::Context;

/// Why a request was not executed, or why its reply is not there.
pub(crate) fn job(error: &JobError, context: &Context) -> String {
    match error {
        // The upstream's own words about a database.
        JobError::StateRefused(text) => text.to_string(),
        JobError::UpstreamDown(_)
        | JobError::ConnectionLost { .. }
        | JobError::QueueTimeout(_)
        | JobError::ReplyTimeout(_)
        | JobError::RepliesTooLarge(_)
        | JobError::ExclusiveTimeout { .. }
        | JobError::Closed
        | JobError::WorkerGone(_) => format!("ERR respool: {error} (upstream {})", context.upstream),
    }
}

/// What cannot be framed; the connection is closed after it.
pub(crate) fn request(error: &RequestError) -> String {
    format!("ERR {error}")
}

/// As in Redis, for a command of our own or one answered here.
pub(crate) fn wrong_arity(command: &str) -> String {
    format!("ERR wrong number of arguments for '{}' command", command.to_ascii_lowercase())
}

/// As in Redis.
pub(crate) fn unknown_subcommand(command: &str, subcommand: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&subcommand[..subcommand.len().min(128)]);
    format!("ERR unknown subcommand '{shown}'. Try {command} HELP.")
}

/// A command that no client of a gateway may use.
pub(crate) fn refused(reason: &str) -> String {
    format!("ERR respool: {reason}")
}

/// Replies wait for their clients to read them, and there is no room for more.
pub(crate) fn replies_full(context: &Context) -> String {
    let max = context.settings.replies_bytes_max;
    format!("ERR respool: replies_bytes_max ran out: clients have not read {max} bytes of replies")
}

/// Unfinished requests fill the memory set aside for them.
pub(crate) fn input_full(max: usize) -> String {
    format!("ERR respool: input_bytes_max ran out: unfinished requests fill {max} bytes")
}

/// Redis's own.
pub(crate) const CLIENTS_MAX: &str = "ERR max number of clients reached";
