//! A name that is subscribed for sessions: those who listen, and where its subscription stands at each link to the
//! upstream. Owned by `directory`.

use std::{collections::HashMap, sync::Arc};

use crate::{observe::sharing::party::Party, pubsub::queue::Queue};

/// Where a feed's subscription at one link stands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Upstream {
    #[default]
    Absent,
    Asked,
    Confirmed,
    Refused(Arc<str>),
    Leaving,
}

/// The same, and what is still to come.
#[derive(Debug, Default)]
pub(super) struct Stand {
    pub(super) upstream: Upstream,
    /// Requests about it that the upstream has not answered.
    pub(super) outstanding: u32,
}

impl Stand {
    /// Whether there is no subscription, and none under way.
    fn is_over(&self) -> bool {
        self.outstanding == 0 && matches!(self.upstream, Upstream::Absent | Upstream::Refused(_))
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Feed {
    /// By the id of the session.
    pub(super) listeners: HashMap<u64, Arc<Queue>>,
    /// To whose share it counts.
    pub(super) party: Party,
    /// By the number of the link; what is not there is absent.
    stands: Vec<(u64, Stand)>,
    /// Has been confirmed to a listener.
    pub(super) served: bool,
    /// Has got messages that its listeners have not been woken for.
    pub(super) fresh: bool,
}

impl Feed {
    /// One without listeners, for a name that is not subscribed yet, and that a client of `party` wants.
    pub(super) fn new(party: Party) -> Self {
        Self { listeners: HashMap::new(), party, stands: Vec::new(), served: false, fresh: false }
    }

    /// Where it stands at a link.
    pub(super) fn at(&mut self, link: u64) -> &mut Stand {
        let at = self.stands.iter().position(|(of, _)| *of == link).unwrap_or_else(|| {
            self.stands.push((link, Stand::default()));
            self.stands.len() - 1
        });
        &mut self.stands[at].1
    }

    /// The link is no more.
    pub(super) fn leave(&mut self, link: u64) {
        self.stands.retain(|(of, _)| *of != link);
    }

    /// Whether nobody listens, and there is no subscription of it at any link.
    pub(super) fn is_over(&self) -> bool {
        self.listeners.is_empty() && self.stands.iter().all(|(_, stand)| stand.is_over())
    }

    /// Has its listeners look at what has come.
    pub(super) fn wake(&mut self) {
        self.fresh = false;
        self.listeners.values().for_each(|listener| listener.wake());
    }
}
