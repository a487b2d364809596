//! All that sessions publish for those who look on: the console, `INFO`, `CLIENT` and the metrics read it and never
//! know a session. One of it for a gateway.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::observe::{
    counts::Counts, registry::Registry, sharing::input_memory::InputMemory, slow_log::log::SlowLog,
    turned_away::TurnedAway,
};

/// See the module's documentation.
// Open: each field has methods of its own, and is what a reader or writer asks for.
#[derive(Debug)]
pub(crate) struct Published {
    started: Instant,
    pub(crate) registry: Registry,
    pub(crate) counts: Counts,
    pub(crate) slow_log: SlowLog,
    pub(crate) turned_away: TurnedAway,
    /// Unfinished requests beyond the first 64 KiB of each session.
    pub(crate) input: Arc<InputMemory>,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            registry: Registry::default(),
            counts: Counts::default(),
            slow_log: SlowLog::default(),
            turned_away: TurnedAway::default(),
            input: Arc::default(),
        }
    }
}

impl Published {
    /// Counts a login with a wrong name or password, of a client at `address` that calls itself `user`, and tells of it.
    pub(crate) fn login_refused(&self, address: &dyn std::fmt::Display, user: &str) {
        self.counts.logins_refused.add_one();
        tracing::warn!(user, %address, "login refused");
    }

    /// For how long the gateway has been running.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
