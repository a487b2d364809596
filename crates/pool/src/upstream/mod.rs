//! How the upstream is reached: address, stream, login, what it says of itself, whether it is up.

pub(crate) mod backoff;
pub(crate) mod endpoint;
pub(crate) mod facts;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod stream;
