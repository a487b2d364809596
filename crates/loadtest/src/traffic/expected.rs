//! What the reply to a request has to be: written down when the request is, read when the reply comes.

use std::time::Instant;

use crate::load::mix::Operation;

/// What a reply has to be, if it is looked at.
#[derive(Debug)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Expected {
    /// Anything: replies are not verified.
    Anything,
    /// A simple string.
    Text(&'static str),
    /// The answer to a `SET` of this version.
    Stored { key: u64, version: u64 },
    /// The value of a key, no older than the floor.
    Value { key: u64, floor: u64 },
    /// The values of keys, each with its floor.
    Values(Box<[(u64, u64)]>),
    /// The next value of a counter.
    Count { key: u64 },
    /// The answer to an `LPUSH` of this version: a length.
    Pushed { key: u64, version: u64 },
    /// Items of a list, newest first.
    Items { key: u64, floor: u64 },
    /// The answers to an `INCR` and to a `SET` of this version.
    Executed { key: u64, version: u64 },
    /// A length.
    Length,
    /// The name of the connection's own list, and the item of this version.
    Popped { version: u64 },
}

/// A reply that is due.
#[derive(Debug)]
pub struct Awaited {
    /// When it was sent or, in an open loop, should have been.
    pub since: Instant,
    /// Whether it counts.
    pub measured: bool,
    /// What it is part of.
    pub operation: Operation,
    /// Whether the operation is done when it is here.
    pub last: bool,
    /// What it has to be.
    pub expected: Expected,
}

/// Keys index the ledger's vectors, which are no longer than memory.
pub fn at(key: u64) -> usize {
    usize::try_from(key).unwrap_or(usize::MAX)
}
