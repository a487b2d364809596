//! What became of a new configuration: what was put in force, from what to what, and what waits for a restart. Made by
//! the operator; shown by the console and the log.

use settings::{Change, Config, GatewaySettings, changes, changes_of_files};

/// See the module's documentation.
// Open: a plain value, shown by the console.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) applied: Vec<Change>,
    pub(crate) needs_restart: Vec<Change>,
    /// What is valid and about never meant, of all that is in force.
    pub(crate) warnings: Vec<String>,
    /// How many keys have the value that they had.
    pub(crate) unchanged: usize,
    /// Counts the configurations that were in force.
    pub(crate) generation: u64,
}

impl Outcome {
    /// `old` was in force and `new` is now; `wanted` is what was asked for.
    pub(crate) fn new(
        generation: u64,
        old: (&Config, &GatewaySettings),
        wanted: &Config,
        new: (&Config, &GatewaySettings),
    ) -> Self {
        let mut applied = changes(old.0, new.0);
        applied.extend(changes_of_files(old.1, new.1, &applied));
        let needs_restart = changes(new.0, wanted);
        let changed = applied.iter().chain(&needs_restart).map(|change| &change.key);
        let unchanged = wanted.values().keys().filter(|key| !changed.clone().any(|changed| changed == *key)).count();
        Self { applied, needs_restart, warnings: new.1.warnings.clone(), unchanged, generation }
    }
}
