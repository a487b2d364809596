//! Accepts clients: binds addresses, bounds how many clients there are, chooses the thread that serves each, owns the
//! session tasks. Called by `process`. Opens sessions and knows nothing of what they do.

pub(crate) mod accept;
pub(crate) mod client_stream;
pub(crate) mod door;
pub(crate) mod greeting;
pub(crate) mod handshakes;
pub(crate) mod passed;
pub(crate) mod proxy_header;
pub(crate) mod socket_file;
pub(crate) mod threads;
