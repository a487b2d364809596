//! What the gateway counts beside the pool. Relaxed additions; read by the console and the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Clients that were let in.
    pub(crate) clients_accepted: Count,
    /// Clients beyond `clients_max`.
    pub(crate) clients_refused: Count,
    /// Subscribers closed because they were too slow.
    pub(crate) subscribers_overrun: Count,
    /// Requests answered by the gateway itself.
    pub(crate) requests_here: Count,
    /// Requests that no client may send.
    pub(crate) requests_refused: Count,
    /// Requests sent to exclusive connections.
    pub(crate) requests_exclusive: Count,
}
