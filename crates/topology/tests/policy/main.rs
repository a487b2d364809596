//! The policy: how failovers go, and that no order of events sends a write to a node that was left.

mod orders;
mod replicas;
mod scenarios;
mod told;
mod undone;
