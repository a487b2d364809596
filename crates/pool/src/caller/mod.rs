//! Callers: those who have jobs executed. Owns the deadlines of a job and the decision to try again.
//!
//! What keeps the requests of a caller in order on a shared queue: it has one job out at a time, and a second one only
//! on the same connection and behind the first, by way of that connection's [lane](crate::queue::lane). The second
//! needs the same state of the connection. It comes back as not sent where it might overtake the first, or would pass
//! those who wait in the queue; it goes through the queue then, once the first has its replies. There is no third.

mod attempt;
pub(crate) mod caller;
pub(crate) mod further;
mod holding;
mod lending;
pub(crate) mod several;
