//! How far a caller's job has come, for those who look on.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{queue::ticket::Ticket, time::timestamp::Moment};

/// Where a caller's job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It has none.
    Idle,
    /// Not taken by a worker yet, or waiting for an exclusive connection; for how long.
    Waiting(Duration),
    /// A worker has it; how long ago it began to wait for one.
    InFlight(Duration),
}

/// What a [`Caller`](crate::Caller) is at, as others see it.
#[derive(Debug)]
pub struct Progress {
    /// The moment at which the job began, or 0.
    since: AtomicU64,
    ticket: Mutex<Arc<Ticket>>,
}

impl Default for Progress {
    /// Of nobody yet.
    fn default() -> Self {
        Self::new(Arc::new(Ticket::new()))
    }
}

impl Progress {
    pub(crate) fn new(ticket: Arc<Ticket>) -> Self {
        Self { since: AtomicU64::new(0), ticket: Mutex::new(ticket) }
    }

    pub(crate) fn began(&self, at: Moment) {
        self.since.store(at.micros().max(1), Ordering::Relaxed);
    }

    /// When the job at hand began.
    pub(crate) fn began_at(&self) -> Moment {
        Moment::from_micros(self.since.load(Ordering::Relaxed))
    }

    pub(crate) fn ended(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// The caller has another ticket.
    pub(crate) fn follows(&self, ticket: Arc<Ticket>) {
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = ticket;
    }

    /// Where the caller's job is now.
    pub fn stage(&self) -> Stage {
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 {
            return Stage::Idle;
        }
        let age = Duration::from_micros(Moment::now().since(Moment::from_micros(since)));
        let taken = self.ticket.lock().unwrap_or_else(PoisonError::into_inner).taken_at();
        if taken.is_some() { Stage::InFlight(age) } else { Stage::Waiting(age) }
    }
}
