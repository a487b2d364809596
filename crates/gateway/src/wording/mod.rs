//! Every error reply of the gateway's own. Used by all rooms.

pub(crate) mod errors;
