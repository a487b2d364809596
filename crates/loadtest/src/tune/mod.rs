//! The command `tune`: finds the pool for an upstream by measuring. Called by the command line.

pub mod arguments;
pub mod command;
pub mod point;
pub mod readings;
pub mod recorded;
pub mod report;
pub mod search;
#[cfg(test)]
mod simulation;
pub mod tuned;
pub mod verdict;

pub use arguments::TuneArgs;
pub use command::tune;
