//! The replies that one connection or producer is owed: finds their ends in what comes, checks and
//! counts them, and settles those that never come. Used by lanes and by the in-process form.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use resp::{ReplyError, ReplyKind, ReplyScanner, Value};

use crate::{
    measure::{tally::Tally, wrong::Wrong},
    target::DEPTH_MAX,
    traffic::{
        check::Checker,
        expected::Awaited,
        ledger::{Counter, Ledger},
    },
};

/// The part of an error reply that is kept, in bytes.
const ERROR_BYTES_MAX: usize = 160;

/// See the module's documentation.
#[derive(Debug)]
pub struct Replies {
    number: u32,
    ledger: Option<Arc<Ledger>>,
    own_list: Vec<u8>,
    executed: Counter,
    awaited: VecDeque<Awaited>,
    answered: u64,
    scanner: ReplyScanner,
    /// The beginning of a reply that has to be looked at.
    partial: Vec<u8>,
    /// A reply of the operation at hand was an error.
    failed: bool,
}

impl Replies {
    /// Those of connection `number`, whose own list is `own_list`.
    pub fn new(number: u32, own_list: Vec<u8>, ledger: Option<Arc<Ledger>>) -> Self {
        Self {
            number,
            ledger,
            own_list,
            executed: Counter::default(),
            awaited: VecDeque::new(),
            answered: 0,
            scanner: ReplyScanner::new(DEPTH_MAX),
            partial: Vec::new(),
            failed: false,
        }
    }

    /// Where requests put down what they expect.
    pub fn due(&mut self) -> &mut VecDeque<Awaited> {
        &mut self.awaited
    }

    /// Whether none is due.
    pub fn is_empty(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Replies that are due.
    pub fn count(&self) -> usize {
        self.awaited.len()
    }

    /// Operations answered since the connection was made.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Takes in the next bytes of the stream, which came at `now`.
    ///
    /// # Errors
    /// They are no RESP.
    pub fn take(&mut self, mut chunk: &[u8], now: Instant, tally: &mut Tally) -> Result<(), ReplyError> {
        while !chunk.is_empty() {
            let progress = self.scanner.scan(chunk)?;
            let (piece, rest) = chunk.split_at(progress.consumed);
            chunk = rest;
            let is_error = matches!(self.partial.first().or(piece.first()), Some(b'-' | b'!'));
            let looked_at = is_error || self.ledger.is_some();
            match progress.complete {
                Some(ReplyKind::Push) => self.partial.clear(),
                None if looked_at => self.partial.extend_from_slice(piece),
                None => {}
                Some(kind) if !looked_at => self.reply(kind, &[], now, tally),
                Some(kind) if self.partial.is_empty() => self.reply(kind, piece, now, tally),
                Some(kind) => {
                    let mut whole = std::mem::take(&mut self.partial);
                    whole.extend_from_slice(piece);
                    self.reply(kind, &whole, now, tally);
                    whole.clear();
                    self.partial = whole;
                }
            }
        }
        Ok(())
    }

    /// None of the replies due came within `limit`: they are missing.
    pub fn miss(&mut self, limit: Duration, tally: &mut Tally) {
        for awaited in std::mem::take(&mut self.awaited) {
            self.lose_track(&awaited);
            tally.counts.record_wrong(Wrong::Missing, || {
                let name = awaited.operation.name();
                format!("connection {}: no reply to {name} within {limit:?}", self.number)
            });
        }
    }

    /// The replies due will not come, for a reason that is known: their operations count as not answered.
    pub fn give_up(&mut self, tally: &mut Tally) {
        for awaited in std::mem::take(&mut self.awaited) {
            self.lose_track(&awaited);
            tally.counts.unanswered += u64::from(awaited.last);
        }
    }

    /// A new connection: nothing is due, and nothing half read.
    pub fn restart(&mut self) {
        self.awaited.clear();
        self.answered = 0;
        self.partial.clear();
        self.failed = false;
        self.scanner = ReplyScanner::new(DEPTH_MAX);
    }

    fn reply(&mut self, kind: ReplyKind, bytes: &[u8], now: Instant, tally: &mut Tally) {
        let Some(awaited) = self.awaited.pop_front() else {
            tally
                .counts
                .record_wrong(Wrong::Surplus, || format!("connection {}: a reply that nobody asked for", self.number));
            return;
        };
        if kind == ReplyKind::Error {
            self.failed = true;
            let line = bytes.strip_prefix(b"-").unwrap_or(bytes);
            tally.counts.record_error(String::from_utf8_lossy(&line[..line.len().min(ERROR_BYTES_MAX)]).trim_end());
            self.lose_track(&awaited);
        } else if self.ledger.is_some() {
            self.check(&awaited, bytes, tally);
        }
        self.answered += u64::from(awaited.last);
        if awaited.last && !std::mem::take(&mut self.failed) {
            if awaited.measured {
                tally.record(awaited.operation, now.saturating_duration_since(awaited.since));
            } else {
                tally.operations_warmup += 1;
            }
        }
    }

    fn check(&self, awaited: &Awaited, bytes: &[u8], tally: &mut Tally) {
        tally.counts.verified += 1;
        let finding = match (self.checker(), Value::decode(&Bytes::copy_from_slice(bytes))) {
            (Some(checker), Ok((value, _))) => checker.check(&awaited.expected, &value),
            (None, _) => Ok(()),
            (Some(_), Err(error)) => Err((Wrong::Shape, error.to_string())),
        };
        if let Err((wrong, text)) = finding {
            tally.counts.record_wrong(wrong, || format!("connection {}: {text}", self.number));
        }
    }

    fn checker(&self) -> Option<Checker<'_>> {
        self.ledger.as_deref().map(|ledger| Checker {
            ledger,
            writer: self.number,
            own_list: &self.own_list,
            executed: &self.executed,
        })
    }

    fn lose_track(&self, awaited: &Awaited) {
        if let Some(checker) = self.checker() {
            checker.lose_track(&awaited.expected);
        }
    }
}
