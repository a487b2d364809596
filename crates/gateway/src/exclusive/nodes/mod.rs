//! Exchanges with a cluster, whose nodes have a part of the keys each: at which node the connection is (`at_node`), how a
//! request or a transaction gets to the node that has its keys (`elsewhere`), also one that waits there (`blocked`) or was
//! only begun (`begun`), or to all (`everywhere`), what other nodes execute with a transaction (`others`), what becomes of
//! clients that are bound to nodes (`bound`), and what is noted of transactions, scripts above all (`noted`). Where
//! sentinels are followed, how a request gets to another primary (`demoted`). Called by `exchange`.

pub(super) mod at_node;
mod begun;
pub(super) mod blocked;
pub(super) mod bound;
mod demoted;
mod elsewhere;
mod everywhere;
mod noted;
mod others;
