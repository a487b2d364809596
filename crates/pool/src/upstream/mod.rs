//! The upstream: how it is reached and logged in to, what it is found to be, and whether it is up. Workers and
//! exclusive connections get their connections here and tell what they learn; knows neither.

pub(crate) mod checks;
pub(crate) mod conversation;
pub(crate) mod databases;
pub(crate) mod facts;
pub(crate) mod health;
pub(crate) mod knowledge;
pub(crate) mod limits;
pub(crate) mod login;
pub(crate) mod needs;
pub(crate) mod node;
pub(crate) mod stream;
pub(crate) mod watch;
