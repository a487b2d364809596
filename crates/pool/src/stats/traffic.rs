//! What goes over the connections to the upstream: bytes both ways, and the error replies by the word that they begin
//! with. Counted by workers, by those who borrow a connection, and by those who keep one.

use std::sync::atomic::{AtomicU64, Ordering};

use resp::ReplyKind;

use crate::stats::tally::add;

/// The words by which Redis and Valkey begin their errors, and one for all others: those of scripts and modules have no
/// end.
const CODES: [&str; 28] = [
    "ERR",
    "WRONGTYPE",
    "OOM",
    "READONLY",
    "LOADING",
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "BUSY",
    "BUSYGROUP",
    "BUSYKEY",
    "DENIED",
    "EXECABORT",
    "IOERR",
    "MASTERDOWN",
    "MISCONF",
    "NOAUTH",
    "NOGROUP",
    "NOPERM",
    "NOREPLICAS",
    "NOSCRIPT",
    "NOTBUSY",
    "UNBLOCKED",
    "UNKILLABLE",
    "WRONGPASS",
    OTHER,
];

const OTHER: &str = "other";

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    /// In the order of [`CODES`].
    errors: [AtomicU64; CODES.len()],
}

/// What had gone over the connections to the upstream at some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficTotals {
    /// Bytes sent to the upstream.
    pub sent: u64,
    /// Bytes received from it.
    pub received: u64,
    /// Error replies by the word that they begin with: those that Redis knows, and `other`.
    pub errors: Vec<(&'static str, u64)>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            sent: AtomicU64::default(),
            received: AtomicU64::default(),
            errors: [const { AtomicU64::new(0) }; CODES.len()],
        }
    }
}

impl Traffic {
    /// So many bytes have gone out.
    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.sent, bytes as u64);
    }

    /// So many bytes have come.
    pub(crate) fn received(&self, bytes: usize) {
        add(&self.received, bytes as u64);
    }

    /// A reply to a request has come. Errors inside of it are not looked for.
    pub(crate) fn replied(&self, kind: ReplyKind, reply: &[u8]) {
        if kind == ReplyKind::Error {
            let code = code(reply);
            let index = CODES.iter().position(|known| known.as_bytes() == code).unwrap_or(CODES.len() - 1);
            add(&self.errors[index], 1);
        }
    }

    pub(crate) fn totals(&self) -> TrafficTotals {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TrafficTotals {
            sent: load(&self.sent),
            received: load(&self.received),
            errors: CODES.into_iter().zip(self.errors.iter().map(load)).collect(),
        }
    }
}

/// The first word of an error, which may be one of RESP3 with its length in front.
fn code(error: &[u8]) -> &[u8] {
    let text = match error {
        [b'!', rest @ ..] => rest.iter().position(|byte| *byte == b'\n').map_or(rest, |end| &rest[end + 1..]),
        [_, rest @ ..] => rest,
        [] => error,
    };
    let end = text.iter().position(|byte| !byte.is_ascii_uppercase()).unwrap_or(text.len());
    &text[..end]
}

#[cfg(all(test, not(feature = "uncounted")))]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_first_word_if_it_is_known() {
        let traffic = Traffic::default();
        for error in ["-OOM command not allowed\r\n", "!9\r\nOOM twice\r\n", "-ERR x\r\n", "-MINE x\r\n", "-\r\n"] {
            traffic.replied(ReplyKind::Error, error.as_bytes());
        }
        traffic.replied(ReplyKind::Answer, b"+OOM\r\n");
        let errors: Vec<_> = traffic.totals().errors.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(errors, [("ERR", 1), ("OOM", 2), ("other", 2)]);
    }
}
