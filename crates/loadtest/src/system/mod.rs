//! Systems that this program starts itself, as child processes, and what they use of the machine. Called
//! by `compare` and `tune`.

pub mod peers;
pub mod process;
pub mod respool;
pub mod start;
pub mod usage;

pub use start::{System, SystemError, find};
