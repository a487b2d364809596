//! How far a caller's job has come, for those who look on.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

/// What a [`Caller`](crate::Caller) is at, as others see it: they find it at the ticket that its job has.
#[derive(Debug)]
pub struct Progress {
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
        Self { ticket: Mutex::new(ticket) }
    }

    /// The caller has another ticket.
    pub(crate) fn follows(&self, ticket: Arc<Ticket>) {
        *self.lock() = ticket;
    }

    /// Where the caller's job is now.
    pub fn stage(&self) -> Stage {
        let ticket = self.lock();
        let Some(since) = ticket.began_at() else { return Stage::Idle };
        let age = Duration::from_micros(Moment::now().since(since));
        if ticket.taken_at().is_some() { Stage::InFlight(age) } else { Stage::Waiting(age) }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Ticket>> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
