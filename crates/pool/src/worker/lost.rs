//! How a worker's connection ends.

use std::{io, time::Duration};

use thiserror::Error;

use crate::worker::in_flight::ReadError;

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
