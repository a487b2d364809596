//! TLS on both sides, with certificates of all kinds and with other people's TLS at the far end.

mod certificates;
mod client;
mod clients;
mod upstream;
