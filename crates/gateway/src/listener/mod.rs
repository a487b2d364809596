//! Accepts clients: binds addresses, bounds how many clients there are, chooses the thread that serves each, owns the
//! session tasks. Called by `process`. Opens sessions and knows nothing of what they do.

pub(crate) mod accept;
pub(crate) mod threads;
