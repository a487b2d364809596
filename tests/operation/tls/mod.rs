//! TLS on both sides, with certificates of all kinds and with other people's TLS at the far end.

pub(super) mod certificates;
pub(super) mod client;
mod clients;
mod upstream;
