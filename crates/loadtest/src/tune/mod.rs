//! The command `tune`: finds the pool for an upstream by measuring. Called by the command line.

pub mod command;
pub mod point;
pub mod readings;
pub mod recorded;
pub mod report;
pub mod search;
#[cfg(test)]
mod simulation;
pub mod verdict;

pub use command::{Measured, TuneArgs, Tuned, tune};
