//! What the upstream has said of commands: which of them only read (`read_only`), what those are that no table here
//! names (`names`), and what it answers to those whose words are its own (`remembered`). Asked by sessions.

pub(crate) mod names;
pub(crate) mod read_only;
pub(crate) mod remembered;
