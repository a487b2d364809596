//! What becomes of clients that are bound to nodes: whose keys that are watched (`watched`) or channels (`subscribed`) leave
//! their node, whose connection is lost (`lost`), and what monitors are shown (`monitored`).

pub(crate) mod lost;
pub(crate) mod monitored;
pub(crate) mod subscribed;
pub(crate) mod watched;
