//! The command `compare`: several systems under the same loads, side by side. Called by the command line.

pub mod command;
pub mod course;
pub mod lineup;
pub mod redis_benchmark;
pub mod report;
pub mod round;
pub mod workload;

pub use command::{CompareArgs, Comparison, Generator, OpenRate, Peer, Row, Table, compare};
