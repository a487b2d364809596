//! TLS on both sides of the gateway, by rustls.
//!
//! [`ClientTls`] is how connections to an upstream are made safe, [`ServerTls`] how clients are served. Both are made of
//! files ([`ClientFiles`], [`ServerFiles`]): whatever is wrong with a file is said when they are made, and not at the first
//! connection. [`explain`] says in words why a connection has failed. Knows nothing of Redis, and keeps no connection.

mod client;
mod error;
mod failure;
mod name;
mod pem;
mod read_ahead;
mod server;
mod sni;
mod verify;

pub use client::{ClientFiles, ClientStream, ClientTls, Verify};
pub use error::TlsError;
pub use failure::{Cause, cause, explain};
pub use name::common_name;
pub use read_ahead::ReadAhead;
pub use server::{ClientAuth, Pair, ServerFiles, ServerStream, ServerTls, Version};
