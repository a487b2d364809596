//! Requests on an exclusive connection: the connection that a session borrows (`connection`, `borrow`), what it is needed
//! for (`lending`), what comes of it (`incoming`), a request on its way there (`request`), whom another is to tell what is invalid (`tracking`), what
//! the upstream is asked in a client's stead (`question`), what goes out and comes back (`exchange`; of a cluster,
//! `nodes`), and what transactions hold and have executed (`transaction`). Called by `session`. May use the client's wire and
//! state, and `local_reply` for what stands in a transaction.

mod borrow;
mod change;
pub(crate) mod connection;
pub(crate) mod exchange;
mod incoming;
mod lending;
mod nodes;
mod question;
pub(crate) mod request;
pub(crate) mod tracking;
pub(crate) mod transaction;
