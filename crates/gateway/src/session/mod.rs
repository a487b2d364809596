//! One client's connection: its input, its state, and the way of each request. Called by `listener`.

pub(crate) mod burst_size;
pub(crate) mod context;
pub(crate) mod dispatch;
pub(crate) mod session;
