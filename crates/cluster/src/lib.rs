//! A cluster of Redis or Valkey as one Redis. A [`Cluster`] knows which node has which slot, has a pool for each node,
//! and executes a burst of requests wherever they belong: in several nodes at once, with the replies in order. What
//! nodes say to send a request elsewhere, or to have it wait, is dealt with here and seen by nobody.
//!
//! A `keeper` task owns what is known of the cluster and publishes it as a `map`; a `round` is what becomes of one
//! burst. What belongs to no slot goes to the anchor: one primary, whose pool is the first of the directory.

mod cluster;
mod everywhere;
mod following;
mod hints;
mod lend;
mod map;
mod replicas;
mod round;
mod scripts;
mod shown;
mod taught;
mod together;

pub use cluster::{Cluster, ClusterSettings};
pub use everywhere::{
    at_once::Asked,
    within::{OfAll, Parts, Prepared, Rows, Unprepared},
};
pub use following::seeds::{Found, examine};
pub use lend::{Borrowed, Split};
pub use map::{Map, Node};
pub use replicas::{Choice, Reads};
pub use round::round::Executed;
pub use round::routes::{LentRoutes, Routes};
pub use route::{Merge, SLOTS, slot};
pub use shown::standalone::{NO_CLUSTER, hello as standalone_hello, info as standalone_info};
pub use taught::{Taught, runs_script};
