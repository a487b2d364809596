//! Connections beside the workers': lent to one caller, or kept for a subscription.

pub(crate) mod lent;
pub(crate) mod permit;
pub(crate) mod subscription;
