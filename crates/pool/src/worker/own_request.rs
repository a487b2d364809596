//! Requests that a worker sends for itself, beside those of its jobs.

use resp::Protocol;

/// Why a worker sends a request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Into the database that the next job needs.
    Select,
    /// The same where it is not known yet whether that database exists; the job waits for the reply.
    TrySelect,
    /// Into the protocol version that the next job needs.
    Hello(Protocol),
    /// A sign of life.
    Ping,
}

/// A request of the worker's own has been answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) purpose: Purpose,
    pub(crate) reply: Vec<u8>,
}
