//! What workers and callers of one pool have in common. Holds no sender of the queue: the queue ends
//! when the last caller is gone.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};

use crate::{
    bounds::budget::Budget,
    exclusive::exclusives::Exclusives,
    queue::branch::Branches,
    settings::settings::Settings,
    stats::gauge::Gauges,
    upstream::{facts::Facts, health::Health},
};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    pub(crate) branches: Arc<Branches>,
    pub(crate) health: Health,
    /// Bytes of requests queued and in flight.
    pub(crate) queued_bytes: Arc<Budget>,
    /// Bytes of replies, from when they come until their callers let them go.
    pub(crate) reply_bytes: Arc<Budget>,
    /// The right to try the upstream while it is down.
    pub(crate) probe: Semaphore,
    pub(crate) exclusives: Arc<Exclusives>,
    facts: Mutex<Arc<Facts>>,
    pub(crate) workers: Gauges,
}

impl Shared {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>, branches: Branches) -> Self {
        let reply_bytes = Arc::new(Budget::default());
        Self {
            exclusives: Arc::new(Exclusives::new(settings.clone(), Arc::clone(&reply_bytes))),
            settings,
            branches: Arc::new(branches),
            health: Health::new(),
            queued_bytes: Arc::new(Budget::default()),
            reply_bytes,
            probe: Semaphore::new(1),
            facts: Mutex::default(),
            workers: Gauges::default(),
        }
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// What the upstream said at the last login.
    pub(crate) fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn publish(&self, facts: Facts) -> Arc<Facts> {
        let facts = Arc::new(facts);
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&facts);
        facts
    }
}
