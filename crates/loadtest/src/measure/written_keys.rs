//! The keys that a load has left in its target, or removed from it.

use serde::Serialize;

use crate::load::Load;

/// See the module's documentation.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WrittenKeys {
    /// What their names begin with.
    pub prefix: String,
    /// How many there may be; 0 if the load only reads, or its target ended with it.
    pub at_most: u64,
    /// How many were removed, if they were to be.
    pub removed: Option<u64>,
    /// Why they could not be removed.
    pub not_removed: Option<String>,
}

impl WrittenKeys {
    /// Those of `load`, which stay as long as nobody removes them.
    pub fn of(load: &Load) -> Self {
        Self { prefix: load.key_prefix.clone(), at_most: load.keys_written_max(), ..Self::default() }
    }
}
