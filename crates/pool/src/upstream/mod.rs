//! How the upstream is reached: stream, login, what it says of itself, whether it is up. Used by workers and for
//! exclusive connections; knows neither.

pub(crate) mod backoff;
pub(crate) mod conversation;
pub(crate) mod facts;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod needs;
pub(crate) mod stream;
