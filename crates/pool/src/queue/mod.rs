//! The queue: a job, the ticket that decides who has it, the branches that hold it, and the lanes past them for a
//! caller's second job. Callers put jobs in, workers take them out; knows neither.

pub(crate) mod branch;
pub(crate) mod early;
pub(crate) mod expected;
pub(crate) mod job;
pub(crate) mod lane;
pub(crate) mod progress;
pub(crate) mod ticket;
pub(crate) mod together;
