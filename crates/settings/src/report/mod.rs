//! What `--check` tells of a configuration: its keys, and what its bounds may cost in memory and descriptors.

pub(crate) mod change;
pub(crate) mod descriptors;
pub(crate) mod report;
