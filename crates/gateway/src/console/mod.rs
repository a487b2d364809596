//! `RESPOOL …`: what an operator sees and changes. Called by `local_reply` and `metrics`.

pub(crate) mod command;
pub(crate) mod glob;
pub(crate) mod http;
pub(crate) mod rows;
pub(crate) mod views;
