//! The configuration in force and the one way to change it; what a configuration is says the crate `settings`. Knows
//! no other room: what it needs of them it is given as functions. Used by all rooms above.

pub(crate) mod live_settings;
pub(crate) mod operator;
pub(crate) mod outcome;
