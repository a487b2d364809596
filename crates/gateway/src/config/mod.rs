//! The configuration: as it is typed, what it means, and what is in force. Used by all rooms above.

pub(crate) mod failed_logins;
pub(crate) mod file;
pub(crate) mod in_force;
pub(crate) mod log_settings;
pub(crate) mod operator;
pub(crate) mod settings;
pub(crate) mod users;
