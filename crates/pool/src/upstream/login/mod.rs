//! How a connection to the upstream is made: when it is its turn, what is asked, and what the answers say. Called by
//! `node`, which has it all in one place.

pub(crate) mod backoff;
pub(crate) mod login;
pub(crate) mod pace;
pub(crate) mod question;
pub(crate) mod talk;
