//! The configuration file as it is typed: what a key is, the kinds of values, and the file as a whole. Used by
//! `sections`, where each key stands, by `reading` and by `meaning`.

pub(crate) mod config;
pub(crate) mod key;
pub(crate) mod kind;
pub(crate) mod secret;
pub(crate) mod section;
pub(crate) mod shipped;
pub(crate) mod units;
