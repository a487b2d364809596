//! What was measured: counts, latencies, their course over time, and the outcome of a load.

pub mod counts;
pub mod median;
pub mod outcome;
pub mod tally;
pub mod timeline;
pub mod written_keys;
pub mod wrong;
