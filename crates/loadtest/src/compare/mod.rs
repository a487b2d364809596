//! The command `compare`: several systems under the same loads, side by side. Called by the command line.

pub mod arguments;
pub mod command;
pub mod comparison;
pub mod course;
pub mod lineup;
pub mod redis_benchmark;
pub mod report;
pub mod round;
pub mod standing;
pub mod workload;

pub use arguments::CompareArgs;
pub use command::compare;
