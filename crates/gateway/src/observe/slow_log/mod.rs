//! The slow log: requests that took long (`log`), and how they are shown (`args`). Sessions add to it, the console
//! shows it.

mod args;
pub(crate) mod log;
