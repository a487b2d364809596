//! Faults on a seeded schedule under a verified load: real clients, the real gateway, a real Redis behind
//! a relay that breaks on command, and an operator who is busy meanwhile. `soak` has the tests.

mod history;
mod listening;
mod pipeline;
mod schedule;
mod soak;
pub(super) mod stateful;
mod tally;
mod trial;
mod vanishing;
mod writer;
