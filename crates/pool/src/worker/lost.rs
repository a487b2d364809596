//! How a worker's connection ends.

use std::{io, time::Duration};

use resp::ReplyError;
use thiserror::Error;

/// Why a connection is of no further use.
#[derive(Debug, Error)]
pub(crate) enum Lost {
    #[error("closed by the upstream")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("protocol error from the upstream: {0}")]
    Malformed(#[from] ReadError),
    #[error("upstream completed no reply for {} ms with requests in flight", .0.as_millis())]
    Silent(Duration),
    #[error("another node is the primary now")]
    Left,
}

/// Why nothing further can be read from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Framing(#[from] ReplyError),
    #[error("a reply that nothing had asked for")]
    Unasked,
}
