//! A name that is subscribed for sessions: those who listen, and where its subscription at the upstream stands. Owned by
//! `directory`.

use std::{collections::HashMap, sync::Arc};

use crate::{observe::sharing::party::Party, pubsub::queue::Queue};

/// Where a feed's subscription at the upstream stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    Absent,
    Asked,
    Confirmed,
    Refused(Arc<str>),
    Leaving,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Feed {
    /// By the id of the session.
    pub(super) listeners: HashMap<u64, Arc<Queue>>,
    /// To whose share it counts.
    pub(super) party: Party,
    pub(super) upstream: Upstream,
    /// Requests about it that the upstream has not answered.
    pub(super) outstanding: u32,
    /// Has been confirmed to a listener.
    pub(super) served: bool,
    /// Has got messages that its listeners have not been woken for.
    pub(super) fresh: bool,
}

impl Feed {
    /// One without listeners, for a name that is not subscribed yet, and that a client of `party` wants.
    pub(super) fn new(party: Party) -> Self {
        Self {
            listeners: HashMap::new(),
            party,
            upstream: Upstream::Absent,
            outstanding: 0,
            served: false,
            fresh: false,
        }
    }

    /// Has its listeners look at what has come.
    pub(super) fn wake(&mut self) {
        self.fresh = false;
        self.listeners.values().for_each(|listener| listener.wake());
    }
}
