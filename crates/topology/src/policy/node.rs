//! What the policy knows of one node.

use std::time::{Duration, Instant};

use crate::Role;

/// A node as it was last seen.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// What it said last, even if it is gone since.
    pub(crate) role: Option<Role>,
    /// Since when it says that it is a primary, if it does.
    pub(crate) primary_since: Option<Instant>,
    /// When it turned from a replica into a primary before our eyes; forgotten when it is a replica again.
    pub(crate) turned: Option<Instant>,
    /// It answered when it was last asked.
    pub(crate) reachable: bool,
    /// It has every write that the primary had acknowledged by then.
    pub(crate) caught_up: Option<Instant>,
    /// How long its answers take, of late.
    pub(crate) round_trip: Option<Duration>,
}

impl Node {
    /// It said this.
    pub(crate) fn says(&mut self, role: Role, now: Instant) {
        if role.is_primary() {
            if matches!(self.role, Some(Role::Replica { .. })) {
                self.turned = Some(now);
            }
            self.primary_since.get_or_insert(now);
        } else {
            self.turned = None;
            self.primary_since = None;
        }
        self.reachable = true;
        self.role = Some(role);
    }

    /// It took so long to answer.
    pub(crate) fn took(&mut self, round_trip: Duration) {
        self.round_trip = Some(self.round_trip.map_or(round_trip, |known| (known * 7 + round_trip) / 8));
    }

    /// It says that it is a primary, and answers.
    pub(crate) fn proves(&self) -> bool {
        self.reachable && self.primary_since.is_some()
    }
}
