//! The pool as its callers see it. All but `typed_client` and `guests` run under a paused clock on in-memory
//! streams, where `upstream` plays the other side; a module per concern.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "pool/aside.rs"]
mod aside;
#[path = "pool/batching.rs"]
mod batching;
#[path = "pool/bounds.rs"]
mod bounds;
#[path = "pool/branches.rs"]
mod branches;
#[path = "pool/closing.rs"]
mod closing;
#[path = "pool/counts.rs"]
mod counts;
#[path = "pool/further.rs"]
mod further;
#[path = "pool/gates.rs"]
mod gates;
#[path = "pool/guests.rs"]
mod guests;
#[path = "pool/lending.rs"]
mod lending;
#[path = "pool/life.rs"]
mod life;
#[path = "pool/model.rs"]
mod model;
#[path = "pool/order.rs"]
mod order;
#[path = "pool/outage.rs"]
mod outage;
#[path = "pool/pools.rs"]
mod pools;
#[path = "pool/processes.rs"]
mod processes;
#[path = "pool/regressions.rs"]
mod regressions;
#[path = "pool/retry.rs"]
mod retry;
#[path = "pool/several.rs"]
mod several;
#[path = "pool/silence.rs"]
mod silence;
#[path = "pool/state.rs"]
mod state;
#[path = "pool/typed_client.rs"]
mod typed_client;
#[path = "pool/upstream.rs"]
mod upstream;
