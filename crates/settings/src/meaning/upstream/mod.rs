//! What the upstream's URL means where it is more than an address: TLS, sentinels, and replicas.

pub(crate) mod reads;
pub(crate) mod sentinels;
pub(crate) mod tls;
