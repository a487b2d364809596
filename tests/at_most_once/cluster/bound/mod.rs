//! Clients that are bound to connections of nodes: what they do there is done as at one Redis, and what they are told there
//! is told once.

mod events;
mod lent;
mod monitored;
mod tracked;
