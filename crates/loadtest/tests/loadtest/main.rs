//! The harness against truth: scripted upstreams with known delays and faults, and real systems.

mod ends;
mod percentiles;
mod program;
mod scripted;
mod wrong_replies;
