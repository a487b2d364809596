//! What all sessions of a gateway have in common, given to each by reference.

use std::sync::Arc;

use pool::Budget;

use crate::{feeds::Feeds, registry::Registry, settings::SessionSettings};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: SessionSettings,
    /// The upstream as error texts name it, without credentials.
    pub(crate) upstream: String,
    pub(crate) embedded: bool,
    /// Unfinished requests beyond the first 64 KiB of each session.
    pub(crate) input_bytes: Arc<Budget>,
    /// Replies that clients have not read.
    pub(crate) reply_bytes: Arc<Budget>,
    pub(crate) registry: Registry,
    /// Shared pub/sub; `None` where each subscriber has a connection of its own.
    pub(crate) feeds: Option<Arc<Feeds>>,
}

impl Context {
    pub(crate) fn new(settings: SessionSettings, upstream: String, embedded: bool, feeds: Option<Arc<Feeds>>) -> Self {
        Self {
            settings,
            upstream,
            embedded,
            feeds,
            input_bytes: Arc::default(),
            reply_bytes: Arc::default(),
            registry: Registry::default(),
        }
    }
}
