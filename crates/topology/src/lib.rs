//! Which nodes of Redis or Valkey there are and which one gets the writes: what sentinels and nodes say, and what
//! follows from it. No I/O and no clock: events and the time go in, a [`Topology`] comes out.
//!
//! [`Policy`] is the state machine, [`Event`] what it is told, [`Topology`] what it decides. [`Role`], [`Named`] and
//! [`Message`] read what nodes and sentinels send. Of a cluster, [`View`] and [`Redirection`] read what nodes send, and
//! [`Belief`] makes a [`Layout`] of it: which node has which slot.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use topology::{Address, Event, Named, Patience, Policy, Role};
//!
//! let (sentinel, node) = (Address::new("s1", 26379), Address::new("10.0.0.1", 6379));
//! let mut policy = Policy::sentinels([sentinel.clone()], Patience::within(Duration::from_secs(5)));
//! let now = Instant::now();
//! let named = Named { primary: node.clone(), epoch: 0, failing_over: false };
//! let (id, replicas, peers) = (String::new(), Vec::new(), Vec::new());
//! policy.on(Event::Answered { sentinel, asked: now, id, named, replicas, peers }, now);
//! assert_eq!(policy.topology().primary, None, "it has not proved that it is one");
//! let role = Role::Primary { offset: 0, replicas: Vec::new() };
//! policy.on(Event::Role { node: node.clone(), role, asked: now, history: None }, now);
//! assert_eq!(policy.topology().primary, Some(node));
//! ```

mod address;
mod cluster;
mod policy;
mod refusal;
mod role;
mod sentinel;
mod topology;

pub use address::{Address, AddressError};
pub use cluster::{
    answer::{ClusterError, View},
    belief::{Belief, Heard},
    layout::{Layout, Shard},
    redirection::Redirection,
};
pub use policy::{
    event::Event,
    patience::Patience,
    policy::{Pace, Policy},
};
pub use refusal::{Refusal, are_refusals_in, says_refused, says_refused_within};
pub use role::{Role, RoleError};
pub use sentinel::{
    answer::{AnswerError, Named, Peer, read_peers, read_replicas},
    message::Message,
};
pub use topology::{Awaited, Chosen, Replica, Topology};
