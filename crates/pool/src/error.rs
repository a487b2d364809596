//! Why a job failed. One enum for the library; the gateway turns it into error replies in one place.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

/// Whether a failed job's requests may have reached the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Certainly not: sending them again cannot execute anything twice.
    No,
    /// They may have been executed, or may still be.
    Maybe,
}

/// Why a job has no replies, or not all of them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JobError {
    /// The job waited in the queue, or for a place in it, as long as it may. Try later.
    #[error("queue_timeout_ms exceeded: no worker took the request within {} ms", .0.as_millis())]
    QueueTimeout(Duration),
    /// The pool was paused and not resumed in time. Try later.
    #[error("pause_timeout_ms exceeded: paused by an operator for more than {} ms", .0.as_millis())]
    PauseTimeout(Duration),
    /// There was no primary to send the job to for as long as it may wait for one. Try later.
    #[error("no primary within {key} ({} ms): {reason}", .waited.as_millis())]
    FailoverTimeout {
        /// The bound.
        waited: Duration,
        /// The key that says so.
        key: &'static str,
        /// What was waited for.
        reason: Arc<str>,
    },
    /// No node of a cluster executed the job for as long as it may wait: they sent it from one to another, or told it to
    /// come later. Made by programs that follow a cluster; the pool itself does not. Try later.
    #[error("no node of the cluster took the request within {} ms: {reason}", .waited.as_millis())]
    Unplaced {
        /// How long it waited.
        waited: Duration,
        /// What was said last.
        reason: Arc<str>,
    },
    /// The job was sent and not answered in time. Its late replies are thrown away.
    #[error("reply_timeout_ms exceeded: no reply within {} ms, the request may have been executed", .0.as_millis())]
    ReplyTimeout(Duration),
    /// No worker is connected and the last attempt to connect failed; holds why.
    #[error("upstream is down: {0}")]
    UpstreamDown(Arc<str>),
    /// No worker is connected, because the node does not let the user in with whose login the pool's connections are made: it
    /// does not know that user, or another password.
    /// Holds where, and its words.
    #[error("the client's user is not let in: {0}")]
    LoginRefused(Arc<str>),
    /// The connection broke before all replies were there.
    #[error("connection to the upstream lost: {reason}{}", executed(*.sent))]
    ConnectionLost {
        /// What happened to it.
        reason: Arc<str>,
        /// Whether the requests may have been executed.
        sent: Sent,
    },
    /// The upstream refused the database or the protocol version that the job needs; holds its error reply
    /// without the mark. The job was not run.
    #[error("{0}")]
    StateRefused(Arc<str>),
    /// The replies of the job are larger than `reply_bytes_max`, in bytes.
    #[error("reply_bytes_max exceeded: the replies are larger than {0} bytes, the request was executed")]
    RepliesTooLarge(usize),
    /// A reply of the job has more than `reply_depth_max` aggregates inside each other.
    #[error("reply_depth_max exceeded: a reply is nested deeper than {0} levels, the request was executed")]
    ReplyTooDeep(usize),
    /// Callers hold so many bytes of replies that these found no room; the bound, in bytes.
    #[error("replies_bytes_max exceeded: clients have not read {0} bytes of replies, the request was executed")]
    RepliesFull(usize),
    /// All exclusive connections are lent and none came back in time.
    #[error("exclusive_max exceeded: all {max} exclusive connections were in use for {} ms", .waited.as_millis())]
    ExclusiveTimeout {
        /// The bound.
        max: usize,
        /// How long the caller waited.
        waited: Duration,
    },
    /// Those with whom the caller shares a part of the exclusive connections have all of it. Made by programs that share
    /// them out; the pool itself does not.
    #[error(
        "share_percent exceeded: clients of this host and user have had their {share} exclusive connections for {} ms",
        .waited.as_millis()
    )]
    ExclusiveShare {
        /// How many they may have.
        share: usize,
        /// How long the caller waited.
        waited: Duration,
    },
    /// The pool is closing and takes no further jobs.
    #[error("the pool is shutting down")]
    Closed,
    /// The worker that had the job ended without answering it, which is a bug.
    #[error("the worker ended unexpectedly{}", executed(*.0))]
    WorkerGone(Sent),
}

fn executed(sent: Sent) -> &'static str {
    match sent {
        Sent::No => ", the request was not sent",
        Sent::Maybe => ", the request may have been executed",
    }
}

impl JobError {
    /// What [`kind`](Self::kind) may say.
    pub(crate) const KINDS: [&str; 16] = [
        "queue_timeout",
        "pause_timeout",
        "failover_timeout",
        "unplaced",
        "reply_timeout",
        "upstream_down",
        "login_refused",
        "connection_lost",
        "state_refused",
        "replies_too_large",
        "reply_too_deep",
        "replies_full",
        "exclusive_timeout",
        "exclusive_share",
        "closed",
        "worker_gone",
    ];

    /// The kind of error, as metrics name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::QueueTimeout(_) => "queue_timeout",
            Self::PauseTimeout(_) => "pause_timeout",
            Self::FailoverTimeout { .. } => "failover_timeout",
            Self::Unplaced { .. } => "unplaced",
            Self::ReplyTimeout(_) => "reply_timeout",
            Self::UpstreamDown(_) => "upstream_down",
            Self::LoginRefused(_) => "login_refused",
            Self::ConnectionLost { .. } => "connection_lost",
            Self::StateRefused(_) => "state_refused",
            Self::RepliesTooLarge(_) => "replies_too_large",
            Self::ReplyTooDeep(_) => "reply_too_deep",
            Self::RepliesFull(_) => "replies_full",
            Self::ExclusiveTimeout { .. } => "exclusive_timeout",
            Self::ExclusiveShare { .. } => "exclusive_share",
            Self::Closed => "closed",
            Self::WorkerGone(_) => "worker_gone",
        }
    }

    /// Whether the requests may have reached the upstream.
    pub fn sent(&self) -> Sent {
        match self {
            Self::QueueTimeout(_)
            | Self::PauseTimeout(_)
            | Self::FailoverTimeout { .. }
            | Self::Unplaced { .. }
            | Self::UpstreamDown(_)
            | Self::LoginRefused(_)
            | Self::StateRefused(_)
            | Self::ExclusiveTimeout { .. }
            | Self::ExclusiveShare { .. }
            | Self::Closed => Sent::No,
            Self::ReplyTimeout(_) | Self::RepliesTooLarge(_) | Self::ReplyTooDeep(_) | Self::RepliesFull(_) => {
                Sent::Maybe
            }
            Self::ConnectionLost { sent, .. } | Self::WorkerGone(sent) => *sent,
        }
    }
}
