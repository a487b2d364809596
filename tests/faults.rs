//! Faults on a seeded schedule under a verified load: real clients, the real gateway, a real Redis behind
//! a relay that breaks on command, and an operator who is busy meanwhile. `soak` has the tests.

mod environment;
mod history;
mod listening;
mod pipeline;
mod scenarios;
mod schedule;
mod soak;
mod stateful;
mod tally;
mod trial;
mod vanishing;
mod writer;
