//! A name that is subscribed for sessions: the bounded broadcast of its messages, those who listen, and where its
//! subscription at the upstream stands. Owned by `directory`.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::broadcast;

use crate::{
    observe::registry::Entry,
    pubsub::{backlog::Gone, message::Message},
};

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
    pub(super) sender: broadcast::Sender<Arc<Message>>,
    pub(super) gone: Gone,
    /// By the id of the session.
    pub(super) listeners: HashMap<u64, Arc<Entry>>,
    pub(super) upstream: Upstream,
    /// Requests about it that the upstream has not answered.
    pub(super) outstanding: u32,
    /// Has been confirmed to a listener.
    pub(super) served: bool,
    /// Has got messages that its listeners have not been woken for.
    pub(super) fresh: bool,
}

impl Feed {
    /// One without listeners, for a name that is not subscribed yet.
    pub(super) fn new(backlog_messages: usize) -> Self {
        Self {
            sender: broadcast::Sender::new(backlog_messages),
            gone: Gone::default(),
            listeners: HashMap::new(),
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
