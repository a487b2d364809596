//! What the upstream's URL means where it is more than an address: TLS, and sentinels.

pub(crate) mod sentinels;
pub(crate) mod tls;
