//! Requests on an exclusive connection: the connection that a session borrows (`connection`), what it is needed for
//! (`lending`), a request on its way there (`request`), and what goes out and comes back (`exchange`). Called by
//! `session`. May use the client's wire and state, and `local_reply` for what stands in a transaction.

mod blocking_time;
mod change;
pub(crate) mod connection;
pub(crate) mod exchange;
mod lending;
pub(crate) mod placeholder;
pub(crate) mod request;
mod settle;
