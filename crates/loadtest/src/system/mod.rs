//! Systems that this program starts itself, as child processes, and what they use of the machine. Called
//! by `compare` and `tune`.

pub mod certificates;
pub mod doors;
pub mod peers;
pub mod process;
pub mod respool;
pub mod start;
pub mod usage;

pub use doors::Wanted;
pub use start::{System, SystemError, find};
