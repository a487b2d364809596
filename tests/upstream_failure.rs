//! What clients see when the upstream breaks: exactly one reply to each request, a value or an error and
//! never another request's, nothing executed twice, and recovery without reconnecting.

mod broken;
mod frozen;
mod killed;
mod scripted;
mod state;
