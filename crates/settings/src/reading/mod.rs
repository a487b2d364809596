//! From a file, the command line and the environment to a configuration, with the place of what is wrong. Used by
//! whoever starts the gateway or reloads its configuration.

pub(crate) mod args;
pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod origin;
pub(crate) mod source;
pub(crate) mod suggestion;
pub(crate) mod unreadable;
pub(crate) mod values;
