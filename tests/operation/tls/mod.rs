//! TLS on both sides, with certificates of all kinds and with other people's TLS at the far end.

pub(crate) mod certificates;
pub(crate) mod client;
mod clients;
mod storm;
mod upstream;
