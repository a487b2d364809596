//! What the upstream's URL means where it is more than an address: TLS, sentinels, replicas, and clusters.

pub(crate) mod cluster;
pub(crate) mod hosts;
pub(crate) mod logins;
pub(crate) mod reads;
pub(crate) mod sentinels;
pub(crate) mod tls;
