//! What can be wrong with bytes on the wire. The texts of [`RequestError`] are Redis's own.

use thiserror::Error;

/// A request that cannot be framed. The text is what Redis answers (after `-ERR `) before it closes
/// the connection; the caller does the same, because what follows cannot be framed either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestError {
    /// `*` was not followed by a canonical count within the limit.
    #[error("Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// A client that has not logged in sent more arguments than it may.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// The count line does not end within 64 KiB.
    #[error("Protocol error: too big mbulk count string")]
    MultibulkLineTooLong,
    /// An argument did not begin with `$`; holds the byte that stood there.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    /// `$` was not followed by a canonical length within the limit.
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// A client that has not logged in sent a longer argument than it may.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// The length line does not end within 64 KiB.
    #[error("Protocol error: too big bulk count string")]
    BulkLineTooLong,
    /// An inline request does not end within 64 KiB.
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    /// The quotes of an inline request do not match.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The whole request passes the limit in bytes; holds the limit.
    #[error("respool: request larger than request_bytes_max ({0} bytes)")]
    TooLarge(usize),
}

impl RequestError {
    /// Whether it is one only before the client has logged in.
    pub fn is_of_strangers(&self) -> bool {
        matches!(self, Self::UnauthenticatedMultibulkLength | Self::UnauthenticatedBulkLength)
    }
}

/// A reply that cannot be framed. The connection it came on is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// A reply began with a byte that no RESP type begins with.
    #[error("reply of unknown type 0x{0:02x}")]
    UnknownType(u8),
    /// A length or count was not a canonical integer in range.
    #[error("reply with an invalid length")]
    Length,
    /// A line or a bulk string did not end with CR LF.
    #[error("reply without its line end")]
    LineEnd,
    /// Aggregates inside aggregates past the limit; holds the limit.
    #[error("reply nested deeper than {0}")]
    TooDeep(usize),
}
