//! The log: how it is set up, what a line of it may be, and what is left of it at the end. Started by `main`; all rooms write
//! to it by `tracing`.

mod line;
pub(crate) mod logs;
mod rest;
