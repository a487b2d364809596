//! The promise of one answer: what clients see when the upstream breaks is exactly one reply to each request, a
//! value or an error and never another request's, nothing executed twice, and recovery without reconnecting.

mod broken;
mod environment;
mod faults;
mod frozen;
mod scenarios;
mod scripted;
mod state;
mod upstream;
