//! The queue: a job, the ticket that decides who has it, and the branches that hold it. Callers put jobs in, workers
//! take them out; knows neither.

pub(crate) mod branch;
pub(crate) mod job;
pub(crate) mod progress;
pub(crate) mod ticket;
