//! What all sessions of a gateway have in common, given to each by reference.

use std::{sync::Arc, time::Instant};

use pool::Budget;
use settings::ConfigError;

use crate::{
    config::operator::{Operator, Outcome},
    observe::{counts::Counts, registry::Registry, slow_log::SlowLog},
    pubsub::directory::Feeds,
};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) since: Instant,
    pub(crate) operator: Operator,
    /// Unfinished requests beyond the first 64 KiB of each session.
    pub(crate) input_bytes: Arc<Budget>,
    pub(crate) registry: Registry,
    pub(crate) counts: Counts,
    pub(crate) slow_log: SlowLog,
    /// Shared pub/sub; `None` where each subscriber has a connection of its own.
    pub(crate) feeds: Option<Arc<Feeds>>,
}

impl Context {
    pub(crate) fn new(operator: Operator, feeds: Option<Arc<Feeds>>) -> Self {
        Self {
            since: Instant::now(),
            operator,
            feeds,
            input_bytes: Arc::default(),
            registry: Registry::default(),
            counts: Counts::default(),
            slow_log: SlowLog::default(),
        }
    }

    /// Reads the configuration file again and puts it in force. Nothing changes if it is not valid.
    pub(crate) fn reload(&self) -> Result<Outcome, ConfigError> {
        let outcome = self.operator.reload();
        self.tell(outcome)
    }

    /// Puts one key in force until the next reload.
    pub(crate) fn set(&self, key: &str, text: &str) -> Result<Outcome, ConfigError> {
        let outcome = self.operator.set(key, text);
        self.tell(outcome)
    }

    fn tell(&self, outcome: Result<Outcome, ConfigError>) -> Result<Outcome, ConfigError> {
        match &outcome {
            Ok(outcome) => {
                // Quiet sessions have time-outs that may have changed.
                self.registry.wake_all();
                if let Some(feeds) = &self.feeds {
                    feeds.changed.notify_one();
                }
                tracing::info!(
                    generation = outcome.generation,
                    applied = outcome.applied.join(" "),
                    needs_restart = outcome.needs_restart.join(" "),
                    unchanged = outcome.unchanged.len(),
                    "configuration in force"
                );
            }
            Err(error) => {
                self.counts.reloads_refused.add(1);
                tracing::error!(%error, "configuration refused, nothing has changed");
            }
        }
        outcome
    }
}
