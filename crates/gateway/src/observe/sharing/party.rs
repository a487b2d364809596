//! Whom a client counts with where something is shared fairly: first all that have logged in as the same user, of
//! these all that come from the same host.

use std::sync::Arc;

use crate::observe::{address::Address, registry::Entry};

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Open: a plain value.
pub(crate) struct Party {
    /// Nobody where a client has not logged in, or need not.
    pub(crate) user: Option<Arc<str>>,
    /// An address without its port.
    pub(crate) host: Address,
}

impl Party {
    pub(crate) fn of(entry: &Entry) -> Self {
        Self { user: entry.user(), host: entry.address().without_port() }
    }
}
