//! Room for requests that are queued and in flight. All pools of a directory have it in common. The pools of a further
//! login have half of it at most, so that others find room however much that one sends.

use std::sync::Arc;

use crate::bounds::{budget::Budget, share::Share};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct QueueRoom {
    all: Arc<Budget>,
    /// Of a further login.
    own: Option<Arc<Budget>>,
}

/// What one job has of it.
#[derive(Debug)]
pub(crate) struct Place {
    _all: Share,
    /// Boxed, because every session has room for a job and few have this.
    _own: Option<Box<Share>>,
}

impl QueueRoom {
    /// That of a pool; `own` is what the pools of its login have, where that is a further one.
    pub(crate) fn new(all: Arc<Budget>, own: Option<Arc<Budget>>) -> Self {
        Self { all, own }
    }

    /// What the pools of a further login have of it together.
    pub(crate) fn own(&self) -> Option<&Arc<Budget>> {
        self.own.as_ref()
    }

    /// What all pools have of it together.
    pub(crate) fn all(&self) -> &Arc<Budget> {
        &self.all
    }

    /// A place for `bytes` where all may have `max`, if it is free now and nobody waits for one.
    pub(crate) fn try_take(&self, bytes: usize, max: usize) -> Option<Place> {
        let own = match &self.own {
            Some(own) => Some(Box::new(own.try_take(bytes, max / 2)?)),
            None => None,
        };
        Some(Place { _all: self.all.try_take(bytes, max)?, _own: own })
    }

    /// The same once it is free. Whoever waits for what its own login has keeps nobody else waiting.
    ///
    /// # Cancel safety
    /// As [`Budget::take`].
    pub(crate) async fn take(&self, bytes: usize, max: usize) -> Place {
        let own = match &self.own {
            Some(own) => Some(Box::new(own.take(bytes, max / 2).await)),
            None => None,
        };
        Place { _all: self.all.take(bytes, max).await, _own: own }
    }
}
