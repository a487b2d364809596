//! The way into a pool, for those who are not among its callers yet.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Instant,
};

use crate::{
    caller::caller::Caller, queue::branch::Entrances, settings::ours::Ours, shared::Shared, upstream::facts::Facts,
};

/// The right to send jobs into a pool. A pool of a directory is not ended as unused while anybody has it.
#[derive(Debug, Clone)]
pub struct Access {
    pub(super) entrances: Entrances,
    pub(super) shared: Arc<Shared>,
}

impl Access {
    /// A handle for one party that has at most one job at a time and runs on the runtime of this index.
    ///
    /// # Panics
    /// If the pool has no runtime of this index.
    pub fn caller_on(&self, runtime: usize) -> Caller {
        assert!(runtime < self.entrances.len(), "a caller runs on one of the pool's runtimes");
        Caller::new(Arc::clone(&self.entrances), runtime, Arc::clone(&self.shared))
    }

    /// Has a caller send what follows into this pool; afterwards this is the way into the one before. To be used for
    /// pools of one directory and between two calls: the caller's runtime, its progress and the bounds that it has
    /// taken shares of are the same in all of them. A call whose future was dropped counts as failed where it was made.
    pub fn exchange(&mut self, caller: &mut Caller) {
        caller.call_was_dropped();
        std::mem::swap(&mut self.entrances, &mut caller.entrances);
        std::mem::swap(&mut self.shared, &mut caller.shared);
    }

    /// The same for as long as what comes back is held.
    pub fn lead<'c>(&self, caller: &'c mut Caller) -> Led<'c> {
        let mut access = self.clone();
        access.exchange(caller);
        Led { caller, home: Some(access) }
    }

    /// Whether what a caller sends goes this way already: to the same pool, with the same login.
    pub fn leads_as(&self, caller: &Caller) -> bool {
        Arc::ptr_eq(&self.shared, &caller.shared)
    }

    /// What the pool's upstream has said about itself.
    pub fn facts(&self) -> Arc<Facts> {
        self.shared.node.facts()
    }

    /// The connections that this process has at upstreams.
    pub fn ours(&self) -> Ours {
        self.shared.settings.borrow().endpoint.ours.clone()
    }

    /// When a worker connected last. What the node was before may not hold of what is there since.
    pub fn connected_at(&self) -> Instant {
        self.shared.node.health.connected_at().instant().into_std()
    }

    /// Whether a worker is connected, so that a job need not wait for that: one look, for those who have a choice.
    pub fn is_connected(&self) -> bool {
        self.shared.branches.is_any_served()
    }
}

/// A caller that may have been led into another pool, and is back when this is dropped.
#[derive(Debug)]
pub struct Led<'c> {
    caller: &'c mut Caller,
    home: Option<Access>,
}

impl<'c> Led<'c> {
    /// One that stays where it is.
    pub fn at_home(caller: &'c mut Caller) -> Self {
        Self { caller, home: None }
    }
}

impl Deref for Led<'_> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        self.caller
    }
}

impl DerefMut for Led<'_> {
    fn deref_mut(&mut self) -> &mut Caller {
        self.caller
    }
}

impl Drop for Led<'_> {
    fn drop(&mut self) {
        if let Some(home) = &mut self.home {
            home.exchange(self.caller);
        }
    }
}
