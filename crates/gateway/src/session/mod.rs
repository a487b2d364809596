//! One client's connection to the gateway. Owns a session's parts (the client's wire and state, the caller of the
//! pool, the exclusive connection, the subscriptions) and the way of each request through them: `session` gathers
//! requests, `burst` has them executed (for a client that pipelines `ahead`, where replicas have reads `reads`, at one node of a cluster `led`), `request`
//! serves the one that does not go with a burst: by what it may be (`rules`), with more than the client's state (`local`),
//! as the user that the upstream lets in (`logins`). Made by `listener` with an `opener`. Uses every room below; no room
//! below knows it.

mod ahead;
mod burst;
mod burst_size;
mod led;
mod local;
mod logins;
pub(crate) mod opener;
mod reads;
mod refused;
mod request;
mod rules;
pub(crate) mod session;
