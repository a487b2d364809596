//! Every error reply that the gateway makes itself, beside those it has from Redis's own sources.
//! Errors of its own begin with `ERR respool: ` and name the key of the bound that was exceeded.

use std::{fmt::Display, num::NonZeroU32, time::Duration};

use pool::{Facts, JobError};
use resp::RequestError;
use settings::UserLimits;

/// How an error reply of the gateway's own begins, on the wire.
pub(crate) const OWN: &[u8] = b"-ERR respool: ";

/// Why a request was not executed, or why its reply is not there.
pub(crate) fn job(error: &JobError, upstream: &str) -> String {
    match error {
        // The upstream's own words about a database.
        JobError::StateRefused(text) => text.to_string(),
        JobError::UpstreamDown(_)
        | JobError::LoginRefused(_)
        | JobError::ConnectionLost { .. }
        | JobError::QueueTimeout(_)
        | JobError::PauseTimeout(_)
        | JobError::FailoverTimeout { .. }
        | JobError::Unplaced { .. }
        | JobError::ReplyTimeout(_)
        | JobError::RepliesTooLarge(_)
        | JobError::ReplyTooDeep(_)
        | JobError::RepliesFull(_)
        | JobError::ExclusiveTimeout { .. }
        | JobError::ExclusiveShare { .. }
        | JobError::Closed
        | JobError::WorkerGone(_) => format!("ERR respool: {error} (upstream {upstream})"),
    }
}

/// For a request that follows a `SELECT` that failed.
pub(crate) fn after_failed_select(error: &JobError, upstream: &str) -> String {
    format!("ERR respool: not executed, because the SELECT before it failed: {error} (upstream {upstream})")
}

/// What cannot be framed; the connection is closed after it.
pub(crate) fn request(error: &RequestError) -> Vec<u8> {
    match error {
        // Any byte may have stood there, and Redis repeats it as it is.
        RequestError::ExpectedBulk(byte) => [&b"ERR Protocol error: expected '$', got '"[..], &[*byte], b"'"].concat(),
        other => format!("ERR {other}").into_bytes(),
    }
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
pub(crate) fn replies_full(max: usize) -> String {
    format!(
        "ERR respool: replies_bytes_max exceeded: clients have not read {max} bytes of replies, the request was not sent"
    )
}

/// Reads are for replicas alone.
pub(crate) fn no_replica(lag_max: Duration) -> String {
    format!(
        "ERR respool: no replica is within replica_lag_max_ms ({} ms), and reads = \"replica\"",
        lag_max.as_millis()
    )
}

/// Unfinished requests fill the memory set aside for them.
pub(crate) fn input_full(max: usize) -> String {
    format!("ERR respool: input_bytes_max exceeded: unfinished requests fill {max} bytes")
}

/// A client's name that is longer than it may be.
pub(crate) fn name_too_long(max: usize) -> String {
    format!("ERR respool: a client's name is longer than name_bytes_max, {max} bytes")
}

/// Names of channels that fill what may be kept of one client.
pub(crate) fn names_too_large(max: usize) -> String {
    format!("ERR respool: the names that this client is subscribed to are larger than request_bytes_max, {max} bytes")
}

/// A transaction with too much in it that the gateway has to remember until it is executed.
pub(crate) fn transaction_too_large(max: usize) -> String {
    format!(
        "ERR respool: requests of this transaction that the gateway answers are larger than request_bytes_max, {max} bytes"
    )
}

/// Redis's own, for a subscriber that speaks RESP2. Names a subcommand as `command|subcommand`.
pub(crate) fn restricted(command: &str) -> String {
    format!(
        "ERR Can't execute '{command}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
         this context"
    )
}

/// All clients together have as many subscriptions as there may be.
pub(crate) fn subscriptions_full(max: usize) -> String {
    format!("ERR respool: subscriptions_max exceeded: {max} channels and patterns are subscribed")
}

/// Clients of the same host and user are subscribed to as many channels as they may be.
pub(crate) fn subscriptions_share_full(share: usize) -> String {
    format!("ERR respool: share_percent exceeded: clients of this host and user have {share} channels and patterns")
}

/// A subscriber that is too slow; the connection is closed after it.
pub(crate) fn overrun(bound: usize, missed: u64) -> String {
    format!("ERR respool: backlog_messages exceeded: more than {bound} messages behind, {missed} were not sent")
}

/// Subscribers have too much to read, and this one has the oldest of it; the connection is closed after it.
pub(crate) fn backlog_full(max: usize) -> String {
    format!("ERR respool: backlog_bytes_max exceeded: messages that subscribers have not read fill {max} bytes")
}

/// A subscription that the upstream took back; the connection is closed after it.
pub(crate) const SUBSCRIPTION_ENDED: &str = "ERR respool: the upstream ended a subscription";

/// With shared pub/sub there is no connection on which a transaction could change subscriptions.
pub(crate) const SUBSCRIBE_IN_MULTI: &str =
    "ERR respool: subscriptions cannot change within MULTI where pubsub.mode is \"shared\"";

/// Of a cluster: a subscriber listens at another node than that of its transaction.
pub(crate) const SUBSCRIBE_BESIDE_MULTI: &str =
    "ERR respool: subscriptions cannot change within MULTI while there are others, where the upstream is a cluster";

/// The console's answers are not the upstream's, which executes a transaction.
pub(crate) const RESPOOL_IN_MULTI: &str = "ERR respool: RESPOOL is not allowed within MULTI";

/// With more names, or none, what `EXEC` replies has not as many items as it says.
pub(crate) const SUBSCRIBE_MANY_IN_MULTI: &str = "ERR respool: within MULTI, subscriptions change one name at a time";

/// A user has as many clients as it may have. `name` is shown as it is: it is one that may log in.
pub(crate) fn user_clients_full(name: &str, max: usize) -> String {
    format!("ERR respool: clients_max of user \"{name}\" exceeded: {max} clients have logged in")
}

/// A user has sent more requests than it may send, and is to wait so long.
pub(crate) fn user_requests_full(name: &str, limits: &UserLimits, wait: Duration) -> String {
    let (rate, wait) = (limits.requests_per_second.map_or(0, NonZeroU32::get), wait.as_micros().div_ceil(1000));
    format!(
        "ERR respool: requests_per_second of user \"{name}\" exceeded: {rate}; the request was not sent, wait {wait} ms"
    )
}

/// The upstream could not be asked whether a login is right.
pub(crate) fn login_unasked(reason: &dyn Display, upstream: &str) -> String {
    format!("ERR respool: the login could not be asked of the upstream: {reason} (upstream {upstream})")
}

/// A login takes the connection that the client has for itself to another user.
pub(crate) const LOGIN_WHILE_LENT: &str = "ERR respool: AUTH and HELLO are not possible while the client has a connection of its own (MULTI, WATCH, SUBSCRIBE, MONITOR, CLIENT TRACKING)";

/// Redis's own.
pub(crate) const CLIENTS_MAX: &str = "ERR max number of clients reached";

/// Redis's own.
pub(crate) const NO_LOGIN: &str = "NOAUTH Authentication required.";

/// Redis's own, for an `EXEC`.
pub(crate) const EXEC_NO_LOGIN: &str = "EXECABORT Transaction discarded because of: NOAUTH Authentication required.";

/// Redis's own.
pub(crate) const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// Redis's own, of the upstream's version.
pub(crate) fn hello_without_login(facts: &Facts) -> String {
    let version = if facts.may_be_since(7, 2) { "<proto> " } else { "" };
    format!(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO {version}AUTH <user> <pass> \
         option can be used to authenticate the client and select the RESP protocol version at the same time"
    )
}

/// Redis's own, for a transaction that holds a request that could not be queued.
pub(crate) const EXEC_ABORT: &str = "EXECABORT Transaction discarded because of previous errors.";

/// Redis's own, for one that a node refuses to execute.
pub(crate) fn exec_abort_of(error: &str) -> String {
    format!("EXECABORT Transaction discarded because of: {error}")
}

/// Redis's own, for an `EXEC` with arguments.
pub(crate) const EXEC_ARITY: &str =
    "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";

/// For a request that follows a refused `MULTI`.
pub(crate) const AFTER_REFUSED_MULTI: &str = "ERR respool: not executed, because the MULTI before it was refused";

/// For a `MULTI` that follows a refused `WATCH`.
pub(crate) const AFTER_REFUSED_WATCH: &str = "ERR respool: not executed, because a WATCH before it was refused";

/// Of a cluster with several shards: it is for connections of other nodes too than that of the transaction.
pub(crate) const TRACKING_IN_MULTI: &str = "ERR respool: CLIENT TRACKING, CACHING, NO-TOUCH and IMPORT-SOURCE cannot be \
    within MULTI in a cluster with several shards";

/// Of a cluster: the slot of the key of a transaction is not, or not any more, at the node where that was begun.
pub(crate) const TRANSACTION_ELSEWHERE: &str =
    "ERR respool: the key's slot is at another node of the cluster than the transaction, which is aborted";

/// Of a cluster: what the client watches or subscribes binds it to one node.
pub(crate) const ELSEWHERE: &str = "ERR respool: the key's slot is at another node of the cluster than the keys that are watched, or the channels \
     that are subscribed, on this connection";

/// The upstream has become another between saying what a command is and this.
pub(crate) const UNHEARD: &str =
    "ERR respool: the upstream has just become another process, which is to be asked what this command is; try again";

/// What changes a connection that others share, under another name than its own.
pub(crate) const RENAMED: &str =
    "a command that the upstream has renamed goes through the gateway only if it leaves its connection as it is";

/// `[commands] deny`.
pub(crate) const DENIED: &str = "this command is denied by the gateway's configuration";
