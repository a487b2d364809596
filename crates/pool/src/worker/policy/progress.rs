//! How a connection gets on: when it was used, and since when nothing has come of it.

use std::time::Duration;

use tokio::time::Instant;

use crate::worker::policy::patience::Patience;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Progress {
    /// When something was last sent or received.
    pub(crate) last_used: Instant,
    /// When a reply last came on: became whole, or grew by as much as one read takes. With nothing in flight, when
    /// there last was something. A byte now and then is no sign of life.
    pub(crate) last: Instant,
    /// Bytes read since then.
    unfinished: usize,
    patience: Patience,
}

impl Progress {
    pub(in crate::worker) fn new(now: Instant) -> Self {
        Self { last_used: now, last: now, unfinished: 0, patience: Patience::default() }
    }

    /// Something is to be sent; with nothing in flight if it was `idle`.
    pub(in crate::worker) fn used(&mut self, now: Instant, idle: bool) {
        self.last_used = now;
        if idle {
            self.last = now;
            self.unfinished = 0;
        }
    }

    /// It is not the upstream that is silent.
    pub(in crate::worker) fn excused(&mut self, now: Instant) {
        self.last = now;
    }

    /// So many bytes were read.
    pub(in crate::worker) fn read(&mut self, bytes: usize) {
        self.unfinished += bytes;
    }

    /// What was read has been looked at; `whole`: a reply ends there. `enough` bytes are as good as that.
    pub(in crate::worker) fn heard(&mut self, now: Instant, whole: bool, enough: usize) {
        self.last_used = now;
        if whole || self.unfinished >= enough {
            self.patience.learn(now.saturating_duration_since(self.last));
            self.last = now;
            self.unfinished = 0;
        }
    }

    /// How long it may be silent, with requests in flight, before that is unusual; never more than `max`.
    pub(crate) fn patience(&self, max: Duration) -> Duration {
        self.patience.limit(max)
    }
}
