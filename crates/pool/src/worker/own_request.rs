//! Requests that a worker sends for itself, beside those of its jobs.

use std::sync::Arc;

use resp::{Protocol, ReplyKind, write_request};

use crate::settings::ours::OWN;

/// Why a worker sends a request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Into the database that jobs need.
    Select(u32),
    /// Into the protocol version that jobs need.
    Hello(Protocol),
    /// A sign of life.
    Ping,
    /// What is the upstream now?
    Check,
    /// None of its own: a job sent it, which another worker has now.
    Moved,
}

/// A request for a sign of life of a connection that speaks `protocol`, of a pool of a further login or not.
pub(crate) fn ping(protocol: Protocol, is_guest: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    match is_guest {
        false => write_request(&mut bytes, &["PING", OWN]),
        // Which needs no rights.
        true => write_request(&mut bytes, &["HELLO", &protocol.version().to_string()]),
    }
    bytes
}

/// A request of the worker's own has been answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) purpose: Purpose,
    pub(crate) kind: ReplyKind,
    pub(crate) reply: Vec<u8>,
}

impl Answered {
    /// The error that the reply is, without its mark.
    pub(crate) fn error_text(&self) -> Arc<str> {
        let text = String::from_utf8_lossy(self.reply.strip_prefix(b"-").unwrap_or(&self.reply));
        text.trim_end().into()
    }
}
