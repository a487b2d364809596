//! Connections beside the workers': lent to one caller, or kept for a subscription. Used by callers; knows no queue.

pub(crate) mod exclusives;
pub(crate) mod lent;
pub(crate) mod line;
pub(crate) mod permit;
pub(crate) mod preparation;
pub(crate) mod standing;
