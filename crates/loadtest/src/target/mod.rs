//! What is loaded: its URL, how to connect to it, and the connection. The ground of the crate.

pub mod endpoint;
pub mod stream;

pub use endpoint::{Address, DEPTH_MAX, Target, TargetError};
