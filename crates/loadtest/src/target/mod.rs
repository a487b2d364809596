//! What is loaded: its URL, how to connect to it, and the connection. The ground of the crate.

pub mod connect;
pub mod endpoint;
pub mod stream;
pub mod tls;
pub mod transport;

pub use connect::{DEPTH_MAX, TargetError};
pub use endpoint::{Address, Target};
pub use tls::TlsArgs;
pub use transport::Transport;
