//! `RESPOOL …`: what an operator sees and changes. Called by `local_reply` and `metrics`.

pub(crate) mod glob;
pub(crate) mod respool_command;
pub(crate) mod rows;
pub(crate) mod views;
