//! What a pool is told: where its upstream is, and what tunes and bounds it. Read by all rooms above.

pub(crate) mod endpoint;
pub(crate) mod login;
pub(crate) mod ours;
pub(crate) mod password;
pub(crate) mod role;
pub(crate) mod settings;
pub(crate) mod tenure;
pub(crate) mod url;
