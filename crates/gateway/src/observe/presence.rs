//! A session's place among those that there are: held by the session, given up when the session ends, however that
//! comes.

use std::{ops::Deref, sync::Arc};

use pool::Progress;

use crate::observe::{address::Address, published::Published, registry::Entry};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Presence {
    published: Arc<Published>,
    entry: Arc<Entry>,
}

impl Presence {
    /// A new session of a client at `address` that has come to `local`. Its jobs come as far as `progress` says.
    pub(crate) fn new(published: &Arc<Published>, address: Address, local: Address, progress: Arc<Progress>) -> Self {
        Self { published: Arc::clone(published), entry: published.registry.enter(address, local, progress) }
    }

    /// Where the session writes down what others may see.
    pub(crate) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// To be woken by, and to be seen by others.
    pub(crate) fn shared(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Deref for Presence {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.published.registry.leave(&self.entry);
        self.entry.inbox().close();
        if self.published.monitors.exist() {
            self.published.monitors.leave(self.entry.id());
        }
    }
}
