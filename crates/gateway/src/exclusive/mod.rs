//! Requests on an exclusive connection: what is lent, what it is needed for, and what goes out and comes back.
//! Called by `session`.

pub(crate) mod blocking_time;
pub(crate) mod exchange;
pub(crate) mod lending;
pub(crate) mod placeholder;
pub(crate) mod request;
