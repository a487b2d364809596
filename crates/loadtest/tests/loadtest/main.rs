//! The harness against truth: scripted upstreams with known delays and faults, and real systems.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod compare;
mod ends;
mod floor;
mod keys;
mod lateness;
mod percentiles;
mod program;
mod refill;
mod scripted;
mod series;
mod transports;
mod wrong_replies;
